// Package e2e runs the real sluice process against real clusters and reads
// what happened from the clusters themselves.
package e2e

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/test/rig"
)

// binaries is the folder that make build fills.
func binaries(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("SLUICE_BIN")
	if bin == "" {
		t.Fatal("SLUICE_BIN is not set: run these tests with make test, which builds the binaries first")
	}
	bin, err := filepath.Abs(bin)
	must(t, err)
	return bin
}

// start brings up a rig that goes away with the test.
func start(t *testing.T, clusters string) *rig.Rig {
	t.Helper()
	r, err := rig.Start(t.Context(), rig.Options{Bin: binaries(t), Dir: t.TempDir(), Clusters: clusters})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			if raw, err := os.ReadFile(r.Log()); err == nil {
				t.Logf("end of the log:\n%s", raw[max(0, len(raw)-12000):])
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := r.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// settle waits until every cluster runs the revision.
func settle(t *testing.T, r *rig.Rig, revision string, limit time.Duration) {
	t.Helper()
	must(t, rig.Until(t.Context(), limit, "every cluster at "+revision, func(ctx context.Context) (bool, error) {
		return r.Settled(ctx, revision)
	}))
}
