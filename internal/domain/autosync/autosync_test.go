package autosync_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/autosync"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// app has an automated policy and, when phase is given, a last operation that
// synced revision and ended ten seconds ago.
func app(phase v1alpha1.OperationPhase, revision string, change ...func(*v1alpha1.Application)) *v1alpha1.Application {
	a := &v1alpha1.Application{}
	a.Spec.Source = &v1alpha1.ApplicationSource{RepoURL: "r", Path: "p"}
	a.Spec.SyncPolicy = &v1alpha1.SyncPolicy{Automated: &v1alpha1.SyncPolicyAutomated{}}
	if phase != "" {
		ended := metav1.NewTime(now.Add(-10 * time.Second))
		a.Status.OperationState = &v1alpha1.OperationState{
			Phase: phase, Message: "why", FinishedAt: &ended,
			Operation:  v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{}},
			SyncResult: &v1alpha1.SyncOperationResult{Revision: revision, Source: *a.Spec.Source},
		}
	}
	for _, c := range change {
		c(a)
	}
	return a
}

func heal(a *v1alpha1.Application)  { a.Spec.SyncPolicy.Automated.SelfHeal = true }
func prune(a *v1alpha1.Application) { a.Spec.SyncPolicy.Automated.Prune = true }
func attempts(n int64) func(*v1alpha1.Application) {
	return func(a *v1alpha1.Application) { a.Status.OperationState.Operation.Sync.AutoHealAttemptsCount = n }
}

func TestDecide(t *testing.T) {
	changed := []v1alpha1.ResourceStatus{{Kind: "Deployment", Status: v1alpha1.SyncStatusOutOfSync}}
	extra := []v1alpha1.ResourceStatus{{Kind: "ConfigMap", Status: v1alpha1.SyncStatusOutOfSync, RequiresPruning: true}}
	forbidden := []v1alpha1.ResourceStatus{{Kind: "Deployment", Status: v1alpha1.SyncStatusUnknown}}
	off := false
	for _, c := range []struct {
		name      string
		app       *v1alpha1.Application
		status    v1alpha1.SyncStatusCode
		resources []v1alpha1.ResourceStatus
		starts    bool
		wait      time.Duration
		refused   string
	}{
		{"a first sync", app("", ""), v1alpha1.SyncStatusOutOfSync, changed, true, 0, ""},
		{"in sync", app("", ""), v1alpha1.SyncStatusSynced, nil, false, 0, ""},
		{"not known", app("", ""), v1alpha1.SyncStatusUnknown, changed, false, 0, ""},
		{"no policy", app("", "", func(a *v1alpha1.Application) { a.Spec.SyncPolicy = nil }), v1alpha1.SyncStatusOutOfSync, changed, false, 0, ""},
		{"switched off", app("", "", func(a *v1alpha1.Application) { a.Spec.SyncPolicy.Automated.Enabled = &off }), v1alpha1.SyncStatusOutOfSync, changed, false, 0, ""},
		{"an operation is requested", app("", "", func(a *v1alpha1.Application) { a.Operation = &v1alpha1.Operation{} }), v1alpha1.SyncStatusOutOfSync, changed, false, 0, ""},
		{"being deleted", app("", "", func(a *v1alpha1.Application) { at := metav1.NewTime(now); a.DeletionTimestamp = &at }), v1alpha1.SyncStatusOutOfSync, changed, false, 0, ""},
		{"only something to prune, without prune", app("", ""), v1alpha1.SyncStatusOutOfSync, extra, false, 0, ""},
		{"something to prune, and more", app("", "", prune), v1alpha1.SyncStatusOutOfSync, append(extra, changed...), true, 0, ""},
		{"everything to prune", app("", "", prune), v1alpha1.SyncStatusOutOfSync, extra, false, 0, "auto-sync will wipe out all resources"},
		{"a new revision", app(v1alpha1.OperationSucceeded, "old"), v1alpha1.SyncStatusOutOfSync, changed, true, 0, ""},
		{"the same revision again", app(v1alpha1.OperationSucceeded, "new"), v1alpha1.SyncStatusOutOfSync, changed, false, 0, ""},
		{"the same revision, healing", app(v1alpha1.OperationSucceeded, "new", heal), v1alpha1.SyncStatusOutOfSync, changed, true, 0, ""},
		{"healing too often", app(v1alpha1.OperationSucceeded, "new", heal, attempts(3)), v1alpha1.SyncStatusOutOfSync, changed, false, 8 * time.Second, ""},
		{"the same revision failed", app(v1alpha1.OperationFailed, "new", heal), v1alpha1.SyncStatusOutOfSync, changed, false, 0, "Failed last sync attempt to [new]: why"},
		{"what the project forbids", app("", ""), v1alpha1.SyncStatusOutOfSync, forbidden, true, 0, ""},
		{"what the project forbids, healing", app(v1alpha1.OperationSucceeded, "new", heal), v1alpha1.SyncStatusOutOfSync, forbidden, false, 0, ""},
		{"what the project forbids, and more", app(v1alpha1.OperationSucceeded, "new", heal), v1alpha1.SyncStatusOutOfSync, append(forbidden, changed...), true, 0, ""},
		{"still running", app(v1alpha1.OperationRunning, "new", heal), v1alpha1.SyncStatusOutOfSync, changed, false, 0, ""},
	} {
		got := autosync.Decide(c.app, autosync.Seen{Status: c.status, Revisions: []string{"new"}, Resources: c.resources, Pace: autosync.DefaultPace}, now)
		if (got.Operation != nil) != c.starts || got.Wait != c.wait || !strings.Contains(got.Refused, c.refused) || (c.refused == "") != (got.Refused == "") {
			t.Errorf("%s: %+v", c.name, got)
		}
		if op := got.Operation; op != nil && (op.Sync.Revision != "new" || !op.InitiatedBy.Automated || op.Retry.Limit != 5) {
			t.Errorf("%s: operation %+v", c.name, op)
		}
	}
}

func TestPaces(t *testing.T) {
	for name, c := range map[string]struct {
		pace     autosync.Pace
		attempts int64
		want     time.Duration
	}{
		"none":               {autosync.Pace{}, 5, 0},
		"fixed":              {autosync.Pace{Base: 7 * time.Second, Factor: 1}, 0, 7 * time.Second},
		"fixed, later":       {autosync.Pace{Base: 7 * time.Second, Factor: 1}, 9, 7 * time.Second},
		"it grows":           {autosync.Pace{Base: time.Second, Factor: 2, Cap: 10 * time.Second}, 4, 8 * time.Second},
		"to its cap":         {autosync.Pace{Base: time.Second, Factor: 2, Cap: 10 * time.Second}, 5, 10 * time.Second},
		"before the first":   {autosync.Pace{Base: time.Second, Factor: 2}, 0, 0},
		"without a cap":      {autosync.Pace{Base: time.Second, Factor: 1 << 40}, 900, 24 * time.Hour},
		"a cap below a base": {autosync.Pace{Base: time.Minute, Factor: 2, Cap: time.Second}, 1, time.Second},
	} {
		if got := c.pace.Delay(c.attempts); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestHealDelayGrowsToACap(t *testing.T) {
	last := time.Duration(-1)
	for n := range int64(100) {
		d := autosync.HealDelay(n)
		if d < last || d > 300*time.Second {
			t.Fatalf("delay after %d attempts is %s, after %s", n, d, last)
		}
		last = d
	}
	if autosync.HealDelay(0) != 0 || autosync.HealDelay(1) != 2*time.Second || autosync.HealDelay(2) != 6*time.Second || last != 300*time.Second {
		t.Errorf("delays %s, %s, %s ... %s", autosync.HealDelay(0), autosync.HealDelay(1), autosync.HealDelay(2), last)
	}
}
