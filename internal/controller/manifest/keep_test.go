package manifest_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cache"
	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// restart makes a new service with a small cache in dir, as another process
// would; mirrors are new unless given.
func (w *world) restart(t *testing.T, dir string, mirrors *gitrepo.Mirrors) *cache.Cache {
	t.Helper()
	store, err := cache.New(cache.Options{
		Key: bytes.Repeat([]byte("k"), 32), Random: rand.Reader, Disk: cache.DiskOptions{Dir: dir, Bytes: 40_000}, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if mirrors == nil {
		if mirrors, err = gitrepo.New(t.Context(), gitrepo.Options{Dir: t.TempDir()}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(mirrors.Close)
	}
	o := w.options
	w.registry, w.seen = prometheus.NewRegistry(), map[string]float64{}
	o.Store, o.Registerer, o.Mirrors = store, w.registry, mirrors
	w.Service = manifest.New(t.Context(), o)
	return store
}

// TestRollbackNeedsNeitherGitNorRenderer: what an Application has deployed is
// kept, whatever else is rendered since, and comes back from disk when the
// repository is gone, or without a render when it is there.
func TestRollbackNeedsNeitherGitNorRenderer(t *testing.T) {
	w := start(t)
	dir := t.TempDir()
	w.restart(t, dir, w.options.Mirrors)
	w.commit(t, gitserver.Files{
		"chart/Chart.yaml": "{apiVersion: v2, name: c, version: 1.0.0}", "chart/templates/c.yaml": configMap("{{ .Release.Name }}", "{{ .Values.a }}"),
		"values/v.yaml": "a: first\n", "plain/c.yaml": configMap("plain", "first"),
	})
	sources := []v1alpha1.ApplicationSource{
		{RepoURL: w.url, Path: "chart", TargetRevision: "main", Helm: &v1alpha1.SourceHelm{ValueFiles: []string{"$values/values/v.yaml"}}},
		{RepoURL: w.url, TargetRevision: "main", Ref: "values"},
		{RepoURL: w.url, Path: "plain", TargetRevision: "main"},
	}
	query := func(name string) manifest.Query {
		return manifest.Query{
			App: render.App{Name: name, Instance: name, Namespace: "shop", Project: "default"}, Sources: sources, KubeVersion: "1.36.3",
		}
	}
	at := func() []string {
		t.Helper()
		id, err := w.Resolve(t.Context(), "default", sources[2], true)
		if err != nil {
			t.Fatal(err)
		}
		return []string{id, id, id}
	}
	old := at()
	deployed, err := w.Generate(t.Context(), query("a"), old)
	if err != nil {
		t.Fatal(err)
	}
	history := []manifest.Deployment{{Query: query("a"), Revisions: old}}
	if err := w.Keep(t.Context(), "argocd/a", history); err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 3000)
	for range 20 { // more than the cache holds
		_, _ = rand.Read(noise)
		w.commit(t, gitserver.Files{"values/v.yaml": fmt.Sprintf("a: \"%x\"\n", noise), "plain/c.yaml": configMap("plain", fmt.Sprintf("\"%x\"", noise))})
		if _, err := w.Generate(t.Context(), query("a"), at()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Keep(t.Context(), "argocd/a", history); err != nil { // known from before
		t.Fatal(err)
	}
	same := func(what string, m *manifest.Manifests, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		if m.Digest != deployed.Digest || fmt.Sprint(m.SourceTypes, m.Revisions) != fmt.Sprint(deployed.SourceTypes, old) || len(m.Objects) != 2 {
			t.Errorf("%s: %+v, want what was deployed", what, m)
		}
	}
	w.restart(t, dir, w.options.Mirrors)
	m, err := w.Generate(t.Context(), query("a"), old)
	same("the repository is there", m, err)
	if n := w.renders(t, "rendered"); n != 0 {
		t.Errorf("%d renders for a rollback", n)
	}
	if err := os.RemoveAll(w.repository.Dir()); err != nil {
		t.Fatal(err)
	}
	w.restart(t, dir, nil)
	if m, err = w.Generate(t.Context(), query("a"), old); w.renders(t, "recalled") != 1 {
		t.Error("a recalled deployment is not counted")
	}
	same("the repository is gone", m, err)
	other := query("a")
	other.App.Project = "other"
	hard := query("a")
	hard.Hard = true
	for what, q := range map[string]manifest.Query{"another Application": query("b"), "another project": other, "a hard refresh": hard} {
		if _, err := w.Generate(t.Context(), q, old); err == nil {
			t.Errorf("%s: got what it must not", what)
		}
	}
}

// TestNothingIsRenderedToBeKept: what was never rendered here is passed over,
// and without a store nothing is kept.
func TestNothingIsRenderedToBeKept(t *testing.T) {
	w := start(t)
	w.commit(t, gitserver.Files{"plain/c.yaml": configMap("plain", "first")})
	src := v1alpha1.ApplicationSource{RepoURL: w.url, Path: "plain", TargetRevision: "main"}
	id, err := w.Resolve(t.Context(), "default", src, true)
	if err != nil {
		t.Fatal(err)
	}
	past := []manifest.Deployment{
		{Query: manifest.Query{App: render.App{Name: "a", Project: "default"}, Sources: []v1alpha1.ApplicationSource{src}}, Revisions: []string{id}},
		{Query: manifest.Query{App: render.App{Name: "a", Project: "default"}, Sources: []v1alpha1.ApplicationSource{src}}},
	}
	if err := w.Keep(t.Context(), "a", past); err != nil {
		t.Error(err)
	}
	w.restart(t, t.TempDir(), nil)
	if err := w.Keep(t.Context(), "a", past); err != nil {
		t.Error(err)
	}
	if n := w.renders(t, "rendered") + w.renders(t, "failed"); n != 0 {
		t.Errorf("%d renders", n)
	}
}
