package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/test/rig"
)

// rehearsal compares every Application in a process of its own: it says what the
// controller said, which runs all the time.
func (r *coreRig) rehearsal() {
	r.Helper()
	stored, now := filepath.Join(r.home, "stored.yaml"), filepath.Join(r.home, "now.yaml")
	must(r.T, rig.Until(r.Context(), 60*time.Second, "both say the same", func(context.Context) (bool, error) {
		r.fine(r.core, "admin", "app", "get-reconcile-results", stored)
		r.fine(r.core, "admin", "app", "get-reconcile-results", now, "--refresh")
		d := r.core("admin", "app", "diff-reconcile-results", stored, now, "--exit-code")
		if d.Code != 0 {
			r.Logf("%+v", d)
		}
		return d.Code == 0, nil
	}))
	raw, err := os.ReadFile(now)
	must(r.T, err)
	for _, part := range []string{"name: plain\n", "name: chart\n", "name: alpha-web\n", "status: OutOfSync\n", "status: Synced\n", "status: Healthy\n"} {
		if !strings.Contains(string(raw), part) {
			r.Errorf("the rehearsal does not say %q:\n%s", part, raw)
		}
	}
}
