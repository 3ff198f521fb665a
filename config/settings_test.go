package config_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/config"
	"github.com/sluice-cd/sluice/internal/adapter/jq"
	"github.com/sluice-cd/sluice/internal/domain/diff"
	"github.com/sluice-cd/sluice/internal/domain/kindfilter"
)

// TestSettingsToBeginWith: they are understood, leave out what nobody deploys,
// and let changes pass that say nothing (spec/diff-health.md §6 and §7).
func TestSettingsToBeginWith(t *testing.T) {
	t.Parallel()
	objects, err := config.Install()
	if err != nil {
		t.Fatal(err)
	}
	var data map[string]string
	for _, o := range objects {
		if o.GetName() == "argocd-cm" {
			data, _, err = unstructured.NestedStringMap(o.Object, "data")
		}
	}
	if err != nil || len(data) == 0 {
		t.Fatalf("argocd-cm has %v, %v", data, err)
	}
	filter, problems := kindfilter.Parse(data)
	parsed := diff.ParseSettings(data)
	if problems = append(problems, parsed.Problems...); len(problems) > 0 {
		t.Error(problems)
	}
	for _, c := range []struct {
		group, kind string
		out         bool
	}{
		{"cilium.io", "CiliumIdentity", true}, {"wgpolicyk8s.io", "PolicyReport", true}, {"kyverno.io", "UpdateRequest", true}, {"certificates.k8s.io", "CertificateSigningRequest", true},
		{"cert-manager.io", "CertificateRequest", true}, {"authorization.k8s.io", "SubjectAccessReview", true},
		{"cert-manager.io", "Certificate", false}, {"kyverno.io", "ClusterPolicy", false}, {"discovery.k8s.io", "EndpointSlice", false}, {"", "ConfigMap", false},
	} {
		if got := filter.Excluded(c.group, c.kind, "https://far"); got != c.out {
			t.Errorf("%s/%s is left out: %t, want %t", c.group, c.kind, got, c.out)
		}
	}
	updates := diff.Updates{Rules: diff.Compile(parsed.Updates, jq.Compiler{}.Compile), Options: parsed.Compare}
	object := func(annotation, value string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{
			"name": "a", "namespace": "n", "uid": "u", "annotations": map[string]any{annotation: value},
		}}}
	}
	for annotation, matters := range map[string]bool{"control-plane.alpha.kubernetes.io/leader": false, "example.com/mine": true} {
		if got := updates.Matter(t.Context(), object(annotation, "1"), object(annotation, "2"), false); got != matters {
			t.Errorf("a change of %s counts: %t, want %t", annotation, got, matters)
		}
	}
}
