package render_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// hooked is a tree that calls before before every Stat.
type hooked struct {
	memory
	before func()
}

func (h hooked) Stat(name string) (tree.Entry, error) {
	h.before()
	return h.memory.Stat(name)
}

func TestGivesUpAtTheDeadline(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	defer close(release)
	slow := hooked{memory{"app/a.yaml": ""}, func() { cancel(); <-release }}
	_, err := render.Render(ctx, render.Request{Source: v1alpha1.ApplicationSource{Path: "app"}, Tree: slow})
	if !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "app: rendering did not end in time") {
		t.Errorf("error %v, want the source and the context's end", err)
	}
}

func TestPanicIsAnErrorOfOneRender(t *testing.T) {
	bad := hooked{memory{"app/a.yaml": ""}, func() { panic("boom") }}
	_, err := render.Render(t.Context(), render.Request{Source: v1alpha1.ApplicationSource{Path: "app"}, Tree: bad})
	if err == nil || err.Error() != "app: rendering failed unexpectedly: boom" {
		t.Errorf("error %v, want the source and what happened", err)
	}
}

func TestUsedSaysWhatTheResultDependsOn(t *testing.T) {
	for file, want := range map[string]render.Inputs{
		"directory":                 0,
		"kustomize":                 0,
		"kustomize-options":         render.UsesRevision | render.UsesInstance | render.UsesTargetRevision,
		"helm":                      render.UsesName | render.UsesNamespace | render.UsesCluster,
		"helm-options":              render.UsesInstance | render.UsesNamespace | render.UsesCluster,
		"override":                  render.UsesInstance,
		"kustomize-labels-selector": 0,
	} {
		_, request := load(t, filepath.Join("testdata", file+".txtar"))
		result, err := render.Render(t.Context(), request)
		if err != nil || result.Used != want {
			t.Errorf("%s: used %b, %v; want %b", file, result.Used, err, want)
		}
	}
}

// TestReadsAreExact renders cases, then changes the repository in one place.
func TestReadsAreExact(t *testing.T) {
	for _, c := range []struct {
		file    string
		changed string // path, in the end "+" for added, "-" for removed
		valid   bool
	}{
		{"directory", "app/a.yaml", false},
		{"directory", "app/README.md", true},
		{"directory", "app/NEWS.md+", true},
		{"directory", "app/new.yaml+", false},
		{"directory", "app/n.json-", false},
		{"directory", "app/sub/b.yaml", true},
		{"directory", "other/c.yaml", true},
		{"directory", "app/kustomization.yml+", false},
		{"directory", "app/.argocd-source.yaml+", false},
		{"kustomize", "base/web.yaml", false},
		{"kustomize", "base/env.list", false},
		{"kustomize", "base/unused.yaml+", true},
		{"kustomize", "prod/unused.yaml+", true},
		{"kustomize", "prod/kustomization.yml+", false},
		{"kustomize", "base/kustomization.yml+", false},
		{"kustomize-options", "gone/kustomization.yaml+", false},
		{"helm", "chart/values.yaml", false},
		{"helm", "chart/templates/deploy.yaml", false},
		{"helm", "chart/templates/x.bak", true},
		{"helm", "chart/ignored/x", true},
		{"helm", "elsewhere/x+", true},
		{"helm-options", "chart/gone.yaml+", false},
		{"helm-options", "shared/c.yaml+", false},
		{"helm-dependencies", "charts/lib/values.yaml", false},
		{"helm-dependencies", "charts/other/values.yaml+", true},
	} {
		_, request := load(t, filepath.Join("testdata", c.file+".txtar"))
		recorder := render.NewRecorder(request.Tree)
		request.Tree = recorder
		refs := map[string]tree.Tree{}
		for name, r := range request.Refs {
			refs[name] = render.NewRecorder(r)
		}
		request.Refs = refs
		if _, err := render.Render(t.Context(), request); err != nil {
			t.Fatalf("%s: %v", c.file, err)
		}
		_, again := load(t, filepath.Join("testdata", c.file+".txtar"))
		next := maps.Clone(again.Tree.(memory))
		if !recorder.Reads().Unchanged(next) {
			t.Errorf("%s: reads of the same tree differ", c.file)
		}
		switch path := strings.TrimRight(c.changed, "+-"); {
		case strings.HasSuffix(c.changed, "-"):
			delete(next, path)
		default:
			if _, exists := next[path]; exists == strings.HasSuffix(c.changed, "+") {
				t.Fatalf("%s: %s: the case is wrong", c.file, c.changed)
			}
			next[path] += "\n# changed\n"
		}
		if got := recorder.Reads().Unchanged(next); got != c.valid {
			t.Errorf("%s: after a change of %s the result is valid: %v, want %v", c.file, c.changed, got, c.valid)
		}
	}
}

func TestTogetherAsAlone(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for _, file := range files {
		_, request := load(t, file)
		alone := rendered(t, request)
		for range 8 {
			all.Go(func() {
				if got := rendered(t, request); got != alone {
					t.Errorf("%s: together:\n%s\nalone:\n%s", file, got, alone)
				}
			})
		}
	}
	all.Wait()
}

func rendered(t *testing.T, r render.Request) string {
	result, err := render.Render(t.Context(), r)
	if err != nil {
		return err.Error()
	}
	raw, err := json.Marshal(result.Objects)
	if err != nil {
		t.Error(err)
	}
	return string(raw)
}

func BenchmarkRender(b *testing.B) {
	for _, name := range []string{"directory", "kustomize", "kustomize-options", "helm", "helm-dependencies"} {
		b.Run(name, func(b *testing.B) {
			_, request := load(b, filepath.Join("testdata", name+".txtar"))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := render.Render(b.Context(), request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
