package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

func TestSyncWindow(t *testing.T) {
	now := time.Date(2026, 7, 3, 18, 0, 0, 0, time.UTC) // a Friday evening
	freeze := v1alpha1.SyncWindow{Kind: "deny", Schedule: "0 17 * * 5", Duration: "63h", Applications: []string{"web"}, Description: "weekend freeze"}
	lenient, running := freeze, freeze
	lenient.ManualSync, running.SyncOverrun = true, true
	automated := &v1alpha1.Operation{InitiatedBy: v1alpha1.OperationInitiator{Automated: true, Username: "applicationset-controller"}}
	person := &v1alpha1.Operation{InitiatedBy: v1alpha1.OperationInitiator{Username: "alice"}}
	app := &v1alpha1.Application{}
	app.Name = "web"
	for _, c := range []struct {
		name    string
		windows []v1alpha1.SyncWindow
		op      *v1alpha1.Operation
		started time.Time
		allowed bool
	}{
		{"no windows", nil, nil, time.Time{}, true},
		{"an automated sync to be", []v1alpha1.SyncWindow{freeze}, nil, time.Time{}, false},
		{"an operation of a rollout", []v1alpha1.SyncWindow{lenient}, automated, now, false},
		{"a person, no manualSync", []v1alpha1.SyncWindow{freeze}, person, now, false},
		{"a person, manualSync", []v1alpha1.SyncWindow{lenient}, person, now, true},
		{"began before the window, no overrun", []v1alpha1.SyncWindow{freeze}, automated, now.Add(-2 * time.Hour), false},
		{"began before the window, overrun", []v1alpha1.SyncWindow{running}, automated, now.Add(-2 * time.Hour), true},
	} {
		v := policy.SyncWindow(project(func(s *v1alpha1.AppProjectSpec) { s.SyncWindows = c.windows }), app, c.op, c.started, now)
		if v.Allowed != c.allowed {
			t.Errorf("%s: %+v, want allowed %v", c.name, v, c.allowed)
		}
		if !c.allowed && (!strings.Contains(v.Why, "weekend freeze") || v.Until != time.Date(2026, 7, 6, 8, 0, 0, 0, time.UTC)) {
			t.Errorf("%s: says %q until %s", c.name, v.Why, v.Until)
		}
	}
}
