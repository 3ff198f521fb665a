package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

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
