package application

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// friday is 2026-07-03, a Friday, at the hour given.
func friday(hour int) time.Time { return time.Date(2026, 7, 3, hour, 0, 0, 0, time.UTC) }

func windowedPass(now time.Time, windows ...v1alpha1.SyncWindow) *pass {
	app := &v1alpha1.Application{}
	app.Name, app.Namespace = "web", "argocd"
	app.Spec.SyncPolicy = &v1alpha1.SyncPolicy{Automated: &v1alpha1.SyncPolicyAutomated{}}
	app.Status.Sync = v1alpha1.SyncStatus{Status: v1alpha1.SyncStatusOutOfSync, Revision: "abc"}
	app.Status.Resources = []v1alpha1.ResourceStatus{{Kind: "ConfigMap", Name: "x", Status: v1alpha1.SyncStatusOutOfSync}}
	return &pass{
		Controller: &Controller{Options: Options{Clock: clocktesting.NewFakeClock(now), NewID: func() string { return "op-1" }}, ends: map[types.NamespacedName]end{}},
		app:        app, before: app.DeepCopy(),
		project: &v1alpha1.AppProject{Spec: v1alpha1.AppProjectSpec{SyncWindows: windows}},
	}
}

var freeze = v1alpha1.SyncWindow{Kind: "deny", Schedule: "0 17 * * 5", Duration: "63h", Applications: []string{"web"}, Description: "weekend freeze"}

func shown(p *pass) string {
	for _, c := range p.app.Status.Conditions {
		if c.Type == v1alpha1.ConditionSyncWindowClosed {
			return c.Message
		}
	}
	return ""
}

func TestAutomatedSyncWaitsForTheWindow(t *testing.T) {
	p := windowedPass(friday(16), freeze)
	p.automate(t.Context())
	p.showWindow()
	if p.app.Operation == nil || shown(p) != "" {
		t.Fatalf("before the freeze: operation %v, condition %q", p.app.Operation, shown(p))
	}
	p = windowedPass(friday(18), freeze)
	p.app.Status.Conditions = []v1alpha1.ApplicationCondition{condition(v1alpha1.ConditionSyncError, "the last attempt failed")}
	p.automate(t.Context())
	p.showWindow()
	if p.app.Operation != nil {
		t.Fatal("a sync starts inside the freeze")
	}
	if got := shown(p); !strings.Contains(got, "weekend freeze") || !strings.HasSuffix(got, "opens at 2026-07-06T08:00:00Z") {
		t.Errorf("condition %q", got)
	}
	if len(p.app.Status.Conditions) != 2 {
		t.Errorf("the result of the last attempt is lost: %v", p.app.Status.Conditions)
	}
	if want := time.Date(2026, 7, 6, 8, 0, 0, 0, time.UTC).Sub(friday(18)); p.again != want {
		t.Errorf("wakes after %s, want %s", p.again, want)
	}
	p = windowedPass(friday(18), freeze)
	p.app.Status.Sync.Status = v1alpha1.SyncStatusSynced
	p.automate(t.Context())
	p.showWindow()
	if shown(p) != "" || p.again != 0 {
		t.Errorf("nothing waits, yet condition %q, wake %s", shown(p), p.again)
	}
	healing := windowedPass(friday(18), freeze)
	healing.app.Spec.Source = &v1alpha1.ApplicationSource{}
	healing.app.Spec.SyncPolicy.Automated.SelfHeal = true
	finished := metav1.NewTime(friday(18))
	healing.app.Status.OperationState = &v1alpha1.OperationState{
		Phase: v1alpha1.OperationSucceeded, FinishedAt: &finished, SyncResult: &v1alpha1.SyncOperationResult{Revision: "abc"},
		Operation: v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{AutoHealAttemptsCount: 3}},
	}
	healing.automate(t.Context())
	if healing.app.Operation != nil || healing.again != 62*time.Hour {
		t.Errorf("a self-heal that pauses: operation %v, wakes after %s", healing.app.Operation, healing.again)
	}
	endless := freeze
	endless.Schedule = "* * * * *"
	if p := windowedPass(friday(18), endless); !p.automationHeld(true) || p.again != 10*time.Minute {
		t.Errorf("a window without end: wakes after %s", p.again)
	}
	p.project.Spec.SyncWindows = nil
	p.app.Status.Sync.Status = v1alpha1.SyncStatusOutOfSync
	p.closed = ""
	p.automate(t.Context())
	if p.app.Operation == nil {
		t.Error("no sync after the window was taken away")
	}
}

func TestProblemsOfWindowsAreTold(t *testing.T) {
	recorder := record.NewFakeRecorder(10)
	c := &Controller{Options: Options{Recorder: recorder, Log: slog.New(slog.DiscardHandler)}}
	broken := freeze
	broken.Schedule = "whenever"
	c.warnOfWindows(&v1alpha1.AppProject{Spec: v1alpha1.AppProjectSpec{SyncWindows: []v1alpha1.SyncWindow{freeze, broken}}})
	close(recorder.Events)
	var got []string
	for e := range recorder.Events {
		got = append(got, e)
	}
	if len(got) != 1 || !strings.HasPrefix(got[0], "Warning SyncWindowInvalid spec.syncWindows[1].schedule: ") {
		t.Errorf("events %q", got)
	}
}

func TestOperationWaitsForTheWindow(t *testing.T) {
	lenient, overrun := freeze, freeze
	lenient.ManualSync, overrun.SyncOverrun = true, true
	broken := freeze
	broken.Schedule = "whenever"
	for _, c := range []struct {
		name      string
		window    v1alpha1.SyncWindow
		automated bool
		started   time.Time
		phase     v1alpha1.OperationPhase
		held      bool
	}{
		{"a person", freeze, false, friday(18), v1alpha1.OperationRunning, true},
		{"a person whom the window lets through", lenient, false, friday(18), v1alpha1.OperationRunning, false},
		{"a rollout", lenient, true, friday(18), v1alpha1.OperationRunning, true},
		{"running when the window opened", freeze, true, friday(16), v1alpha1.OperationRunning, true},
		{"running on over the edge", overrun, true, friday(16), v1alpha1.OperationRunning, false},
		{"being terminated", freeze, true, friday(18), v1alpha1.OperationTerminating, false},
		{"a window that cannot be read", broken, true, friday(18), v1alpha1.OperationRunning, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := windowedPass(friday(18), c.window)
			p.app.Operation = &v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{}, InitiatedBy: v1alpha1.OperationInitiator{Automated: c.automated}}
			state := &v1alpha1.OperationState{Phase: c.phase, StartedAt: metav1.NewTime(c.started), Message: "before"}
			p.app.Status.OperationState = state
			if got := p.heldByWindow(state); got != c.held {
				t.Fatalf("held %v, want %v", got, c.held)
			}
			if !c.held {
				if state.Message != "before" || len(p.events) > 0 {
					t.Errorf("message %q, events %v", state.Message, p.events)
				}
				return
			}
			if !strings.HasPrefix(state.Message, "Sync operation blocked by sync window: ") || len(p.events) != 1 {
				t.Errorf("message %q, events %v", state.Message, p.events)
			}
			p.events = nil
			p.heldByWindow(state)
			p.showWindow()
			if len(p.events) != 0 || shown(p) == "" {
				t.Errorf("looked at again: events %v, condition %q", p.events, shown(p))
			}
		})
	}
}
