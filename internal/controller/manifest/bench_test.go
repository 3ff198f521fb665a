package manifest_test

import (
	"fmt"
	"testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// BenchmarkDecide decides for a thousand Applications of one repository after
// commits that changed nothing they read, with nothing of Git's objects in
// memory.
func BenchmarkDecide(b *testing.B) {
	w := start(b)
	files := gitserver.Files{}
	for i := range 1000 {
		files[fmt.Sprintf("apps/%d/c.yaml", i)] = configMap("c", fmt.Sprint(i))
	}
	w.commit(b, files)
	source := func(i int) v1alpha1.ApplicationSource {
		return v1alpha1.ApplicationSource{RepoURL: w.url, Path: fmt.Sprintf("apps/%d", i), TargetRevision: "main"}
	}
	query := func(i int) manifest.Query {
		name := fmt.Sprint("app-", i)
		return manifest.Query{
			App: render.App{Name: name, Instance: name, Namespace: "shop", Project: "default"}, Sources: []v1alpha1.ApplicationSource{source(i)}, KubeVersion: "1.36.3",
		}
	}
	id, err := w.Resolve(b.Context(), "default", source(0), true)
	if err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		if _, err := w.Generate(b.Context(), query(i), []string{id}); err != nil {
			b.Fatal(err)
		}
	}
	n := 0
	for b.Loop() {
		b.StopTimer()
		n++
		w.commit(b, gitserver.Files{"README.md": fmt.Sprint(n)})
		if id, err = w.Resolve(b.Context(), "default", source(0), true); err != nil {
			b.Fatal(err)
		}
		if _, err := w.Tree(b.Context(), "default", w.url, id, false); err != nil {
			b.Fatal(err)
		}
		w.options.Mirrors.Forget()
		b.StartTimer()
		for i := range 1000 {
			if _, known, err := w.Decide(b.Context(), query(i), []string{id}); err != nil || !known {
				b.Fatal(known, err)
			}
		}
	}
}
