package scenario

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// TestScripts runs every script of testdata.
func TestScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d scripts: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := Run(string(raw)); err != nil {
				t.Error(err)
			}
		})
	}
}

// random plays arbitrary events: commits, syncs that end well or badly, late
// notices, crashes between storing and acting, pauses, membership.
func random(w *World, r *rand.Rand, events int) {
	healths := []v1alpha1.HealthStatusCode{v1alpha1.HealthHealthy, v1alpha1.HealthHealthy, v1alpha1.HealthProgressing, v1alpha1.HealthDegraded}
	for i := range events {
		names := make([]string, 0, len(w.Apps))
		for name := range w.Apps {
			names = append(names, name)
		}
		slices.Sort(names)
		name := names[r.IntN(len(names))]
		switch r.IntN(12) {
		case 0:
			_ = w.push([]string{"R" + string(rune('a'+i%26)) + string(rune('a'+i/26%26))}, r.IntN(2) == 0)
		case 1, 2, 3, 4:
			if w.Apps[name].Operation != nil {
				_ = w.Finish(name, healths[r.IntN(len(healths))])
			}
		case 5, 6:
			w.Compare(name)
		case 7:
			w.Apps[name].Status.Health.Status = healths[r.IntN(len(healths))]
		case 8:
			w.Set.Annotations[v1alpha1.AnnotationPauseRollout] = "true"
		case 9:
			delete(w.Set.Annotations, v1alpha1.AnnotationPauseRollout)
		case 10:
			w.Decide() // the process dies after storing, before acting
			w.Set = w.Set.DeepCopy()
		case 11:
			if r.IntN(4) == 0 {
				w.Manual(name)
			}
		}
		if r.IntN(5) > 0 { // sometimes the event is lost
			w.Rest()
		}
	}
}

// calm lets everything end well and tells whether the rollout completes.
func calm(w *World) bool {
	delete(w.Set.Annotations, v1alpha1.AnnotationPauseRollout)
	for range 60 {
		w.Rest()
		for name, app := range w.Apps {
			if app.Operation != nil {
				_ = w.Finish(name, v1alpha1.HealthHealthy)
			}
			app.Status.Health.Status = v1alpha1.HealthHealthy
			w.Compare(name)
		}
	}
	w.Rest()
	return w.Set.Status.Rollout.CurrentStep == 0
}

// TestRandom holds the invariants under random events and requires that a
// calm fleet completes.
func TestRandom(t *testing.T) {
	t.Parallel()
	runs := 300
	for i := range runs {
		seed := uint64(i + 1)
		r := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // reproducible on purpose
		w := New()
		w.AddStep("wave", "canary", "1")
		w.AddStep("wave", "primary", "2")
		w.AddStep("", "", "50%")
		for _, m := range []string{"a1:canary", "a2:canary", "b1:primary", "b2:primary", "b3:primary", "c1:rest", "c2:rest", "c3:rest", "c4:rest"} {
			w.Add(m[:2], map[string]string{"wave": m[3:]})
		}
		w.startAt("R1")
		w.Rest()
		random(w, r, 120)
		if len(w.Problems) > 0 {
			t.Fatalf("seed %d: %v", seed, w.Problems)
		}
		if !calm(w) {
			t.Fatalf("seed %d: a calm fleet does not complete: step %d, record %+v", seed, w.Set.Status.Rollout.CurrentStep, w.Set.Status.ApplicationStatus)
		}
	}
}
