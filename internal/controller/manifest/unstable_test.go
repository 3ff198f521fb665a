package manifest_test

import (
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// TestChartsThatAreNeverTheSame: a source that gives something else for the
// same inputs is named, once it has been rendered again; between two renders
// its manifests stay as they are. What changes with its inputs is not named.
func TestChartsThatAreNeverTheSame(t *testing.T) {
	w := start(t)
	chart := "{apiVersion: v2, name: c, version: 1.0.0}"
	w.commit(t, gitserver.Files{
		"random/Chart.yaml": chart, "random/templates/c.yaml": configMap("c", "{{ randAlphaNum 20 | quote }}"),
		"calm/Chart.yaml": chart, "calm/templates/c.yaml": configMap("c", "{{ .Release.Name | quote }}"),
	})
	for _, withStore := range []bool{false, true} {
		if withStore {
			w.restart(t, t.TempDir(), w.options.Mirrors)
		}
		ask := func(path string, hard bool) *manifest.Manifests {
			t.Helper()
			m, err := w.sources(t, manifest.Query{Hard: hard}, v1alpha1.ApplicationSource{RepoURL: w.url, Path: path, TargetRevision: "main"})
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		first := ask("random", false)
		if again := ask("random", false); again.Digest != first.Digest || len(again.Warnings) > 0 {
			t.Errorf("asked twice: %s, %s, warnings %q", first.Digest, again.Digest, again.Warnings)
		}
		second := ask("random", true)
		if second.Digest == first.Digest || len(second.Warnings) != 1 || !strings.HasPrefix(second.Warnings[0], "NonDeterministicRender: source 1 gave different manifests") {
			t.Errorf("rendered twice: %s, %s, warnings %q", first.Digest, second.Digest, second.Warnings)
		}
		if third := ask("random", false); third.Digest != second.Digest || len(third.Warnings) != 1 {
			t.Errorf("asked afterwards: %s, %s, warnings %q", second.Digest, third.Digest, third.Warnings)
		}
		ask("calm", false)
		w.commit(t, gitserver.Files{"calm/values.yaml": "a: " + strings.Repeat("x", len(first.Digest)) + "\n", "calm/templates/d.yaml": configMap("d", "x")})
		if m := ask("calm", false); len(m.Warnings) > 0 {
			t.Errorf("after a change: warnings %q", m.Warnings)
		}
		if m := ask("calm", true); len(m.Warnings) > 0 {
			t.Errorf("rendered twice: warnings %q", m.Warnings)
		}
	}
}
