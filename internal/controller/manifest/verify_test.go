package manifest_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/test/gitserver"
)

func TestProjectThatDemandsSignatures(t *testing.T) {
	w := start(t)
	w.commit(t, gitserver.Files{"a/x.yaml": "x"})
	src := v1alpha1.ApplicationSource{RepoURL: w.url, Path: "a", TargetRevision: "main"}
	id, err := w.Resolve(t.Context(), "default", src, true)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(spec v1alpha1.AppProjectSpec) error {
		return w.Verify(t.Context(), &v1alpha1.AppProject{Spec: spec}, []v1alpha1.ApplicationSource{src, src}, []string{id, id}, nil)
	}
	if err := verify(v1alpha1.AppProjectSpec{}); err != nil {
		t.Errorf("without a demand: %v", err)
	}
	err = verify(v1alpha1.AppProjectSpec{SignatureKeys: []v1alpha1.SignatureKey{{KeyID: "0123456789ABCDEF"}}})
	if err == nil || !strings.Contains(err.Error(), "commit "+id[:7]+" is not signed") || !strings.Contains(err.Error(), w.url) {
		t.Errorf("an unsigned commit gives %v", err)
	}
	o := w.options
	o.Unsigned, o.Registerer = true, prometheus.NewRegistry()
	w.Service = manifest.New(t.Context(), o)
	if err := verify(v1alpha1.AppProjectSpec{SignatureKeys: []v1alpha1.SignatureKey{{KeyID: "0123456789ABCDEF"}}}); err != nil {
		t.Errorf("switched off: %v", err)
	}
}
