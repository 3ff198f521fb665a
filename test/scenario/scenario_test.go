package scenario

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
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

// TestSetsDoNotShareLimits rolls two sets at once.
func TestSetsDoNotShareLimits(t *testing.T) {
	t.Parallel()
	one, two := New(), New()
	two.Set.UID = "9876543210"
	for _, w := range []*World{one, two} {
		if err := w.Play("fleet a1..a4:wave=x\nstep wave=x max 1\nstart R1\npush R2\nexpect syncing a1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := one.Play("finish a1 Healthy\nexpect syncing a2"); err != nil {
		t.Error(err)
	}
	if err := two.Play("expect syncing a1"); err != nil {
		t.Error(err)
	}
	if one.Issued[0].ID == two.Issued[0].ID {
		t.Errorf("operations of two sets share the id %s", one.Issued[0].ID)
	}
}

// TestScale brings a change to 2,000 Applications in five steps of 10%: one
// operation each, in order, and a status that can be stored.
func TestScale(t *testing.T) {
	t.Parallel()
	w := New()
	w.quick = true
	for k := range 5 {
		if err := w.Play(fmt.Sprintf("fleet s%d-001..s%d-400:wave=%d\nstep wave=%d max 10%%", k, k, k, k)); err != nil {
			t.Fatal(err)
		}
	}
	w.startAt("R1")
	w.Rest()
	if err := w.push([]string{"R2"}, true); err != nil {
		t.Fatal(err)
	}
	for rounds := 0; w.Set.Status.Rollout.CompletedAt == nil || rounds == 0; rounds++ {
		w.Rest()
		running := w.Syncing()
		if len(running) > 40 || rounds > 60 {
			t.Fatalf("round %d: %d in flight", rounds, len(running))
		}
		for _, name := range running {
			if err := w.Finish(name, v1alpha1.HealthHealthy); err != nil {
				t.Fatal(err)
			}
		}
		status := w.Set.Status.DeepCopy()
		if size, ok := rollout.Fit(status); !ok || size > 1<<20 {
			t.Fatalf("round %d: status of %d bytes", rounds, size)
		}
		if len(w.Problems) > 0 {
			t.Fatal(w.Problems[0])
		}
	}
	if len(w.Issued) != 2000 {
		t.Errorf("%d operations for 2,000 Applications", len(w.Issued))
	}
}

// TestJ25Restarts kills the controller at twenty random points of a rollout to
// 80 members in batches of 20: each is synced exactly once, batch after batch.
func TestJ25Restarts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		random := rand.New(rand.NewPCG(25, seed)) //nolint:gosec // the same every time
		w := New()
		if err := w.Play("fleet a01..a80:wave=rest\nstep wave=rest max 25%\nstart R1"); err != nil {
			t.Fatal(err)
		}
		points := []string{"before-store", "after-store", "after-act", "conflict", ""}
		crashes := map[int]string{}
		for len(crashes) < 20 {
			crashes[random.IntN(80)] = points[random.IntN(len(points))]
		}
		w.crash = "after-store"
		if err := w.push([]string{"R2"}, true); err != nil {
			t.Fatal(err)
		}
		for finished := 0; finished < 80; {
			w.Rest()
			running := w.Syncing()
			if len(running) == 0 {
				w.forget() // it died before it asked for anything
				continue
			}
			if point, dies := crashes[finished]; dies {
				delete(crashes, finished)
				if w.crash = point; point == "" {
					w.forget()
				}
			}
			if err := w.Finish(running[random.IntN(len(running))], v1alpha1.HealthHealthy); err != nil {
				t.Fatal(err)
			}
			finished++
		}
		w.crash = ""
		w.Rest()
		if len(crashes) > 0 || w.Set.Status.Rollout.CompletedAt == nil || len(w.Issued) != 80 || len(w.Problems) > 0 {
			t.Fatalf("seed %d: %d operations, phase %s, %d crashes to come, problems %v", seed, len(w.Issued), w.Set.Status.Rollout.Phase, len(crashes), w.Problems)
		}
		for i, op := range w.Issued {
			if n, err := strconv.Atoi(op.Application[1:]); err != nil || (n-1)/20 != i/20 {
				t.Errorf("seed %d: operation %d is for %s", seed, i, op.Application)
			}
		}
	}
}

// TestK7Refreshes: of 500 members that nobody has compared with a commit, 50
// at a time are asked to look, and the next as soon as some have.
func TestK7Refreshes(t *testing.T) {
	t.Parallel()
	w := New()
	if err := w.Play("fleet a001..a500:wave=x\nstep wave=x\nstart R1"); err != nil {
		t.Fatal(err)
	}
	if err := w.push([]string{"R2"}, false); err != nil {
		t.Fatal(err)
	}
	outstanding, asked := map[string]bool{}, 0
	turn := func() {
		d, _ := w.Decide()
		for _, name := range d.Refreshes {
			outstanding[name] = true
			w.Apps[name].Annotations[v1alpha1.AnnotationRefresh] = "normal"
			asked++
		}
		if len(outstanding) > 50 {
			t.Fatalf("%d refreshes at a time", len(outstanding))
		}
	}
	turn()
	w.Now = w.Now.Add(4 * time.Second) // for evidence that nothing changes
	for range 5 {
		turn()
	}
	if asked != 50 {
		t.Fatalf("%d refreshes asked for at first, want 50", asked)
	}
	for rounds := 0; asked < 500; rounds++ {
		if rounds > 100 {
			t.Fatalf("%d of 500 asked for", asked)
		}
		done := slices.Sorted(maps.Keys(outstanding))
		for _, name := range done[:min(7, len(done))] {
			delete(outstanding, name)
			w.Compare(name)
		}
		turn()
	}
}

// TestFlapping writes nothing for health that comes and goes where it decides
// nothing.
func TestFlapping(t *testing.T) {
	t.Parallel()
	w := New()
	if err := w.Play("fleet P5\nstart R1\npush R2\nexpect syncing c"); err != nil {
		t.Fatal(err)
	}
	before := w.Writes
	for range 100 {
		if err := w.Play("health eu Progressing\nhealth eu Healthy"); err != nil {
			t.Fatal(err)
		}
	}
	if w.Writes != before {
		t.Errorf("%d writes for a later step's health", w.Writes-before)
	}
}
