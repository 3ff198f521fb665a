package transport_test

import (
	"bytes"
	"crypto/rand"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cache"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rendercase"
)

// TestDecideAndKeep: what was rendered is decided without rendering, and kept
// in the cache of the repo-server.
func TestDecideAndKeep(t *testing.T) {
	store, err := cache.New(cache.Options{Key: bytes.Repeat([]byte("k"), cache.KeyBytes), Random: rand.Reader, Disk: cache.DiskOptions{Dir: t.TempDir()}, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	holds := &holding{Cache: store, held: map[string]int{}}
	w := start(t, holds)
	if _, err := w.repository.Commit("all", gitserver.Files{"plain/c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"}); err != nil {
		t.Fatal(err)
	}
	id, err := w.remote.Resolve(t.Context(), "default", w.source("plain"), true)
	if err != nil {
		t.Fatal(err)
	}
	q := manifest.Query{App: render.App{Name: "a", Project: "default"}, Sources: []v1alpha1.ApplicationSource{w.source("plain")}}
	decided := func(want string) {
		t.Helper()
		if digest, known, err := w.remote.Decide(t.Context(), q, []string{id}); digest != want || known != (want != "") || err != nil {
			t.Errorf("decided %q %t %v, want %q", digest, known, err, want)
		}
	}
	decided("")
	m, err := w.remote.Generate(t.Context(), q, []string{id})
	if err != nil {
		t.Fatal(err)
	}
	decided(m.Digest)
	if err := w.remote.Keep(t.Context(), "argocd/a", []manifest.Deployment{{Query: q, Revisions: []string{id}}}); err != nil {
		t.Fatal(err)
	}
	if holds.held["argocd/a"] != 2 {
		t.Errorf("held: %v, want the record and the objects", holds.held)
	}
	if err := w.remote.Keep(t.Context(), "argocd/a", nil); err != nil || holds.held["argocd/a"] != 0 {
		t.Errorf("held after all was let go: %v %v", holds.held, err)
	}
	uploaded := q
	uploaded.Local = rendercase.Files{"plain/c.yaml": ""}
	if _, _, err := w.remote.Decide(t.Context(), uploaded, []string{id}); err == nil {
		t.Error("uploaded files were decided about elsewhere")
	}
}

// holding notes how many entries each holder has.
type holding struct {
	*cache.Cache
	held map[string]int
}

func (h *holding) Hold(holder string, names []string) {
	h.held[holder] = len(names)
	h.Cache.Hold(holder, names)
}
