package application

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// syncing is an Application in the midst of an automated sync, rolled is what a
// pass makes of it when all is applied and pods are still to come.
func syncing() *v1alpha1.Application {
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "argocd", Name: "web", UID: "u", ResourceVersion: "7"}}
	app.Operation = &v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{Revision: "abc"}, InitiatedBy: v1alpha1.OperationInitiator{Automated: true}}
	app.Status.OperationState = &v1alpha1.OperationState{Operation: *app.Operation, Phase: v1alpha1.OperationRunning, ID: "op-1"}
	app.Status.Sync.Status, app.Status.Health.Status = v1alpha1.SyncStatusOutOfSync, v1alpha1.HealthMissing
	return app
}

func rolled() *v1alpha1.Application {
	app := syncing()
	app.Operation = nil
	app.Status.OperationState.Phase = v1alpha1.OperationSucceeded
	app.Status.OperationState.SyncResult = &v1alpha1.SyncOperationResult{Revision: "abc", Resources: []*v1alpha1.ResourceResult{{Kind: "Deployment", Name: "web", Status: v1alpha1.ResultSynced}}}
	app.Status.Sync.Status, app.Status.Health.Status = v1alpha1.SyncStatusSynced, v1alpha1.HealthProgressing
	app.Status.Resources = []v1alpha1.ResourceStatus{{Kind: "Deployment", Name: "web", Status: v1alpha1.SyncStatusSynced, Health: &v1alpha1.HealthStatus{Status: v1alpha1.HealthProgressing, Message: "0 of 1"}}}
	return app
}

func TestWhatMayWait(t *testing.T) {
	off := false
	for name, c := range map[string]struct {
		stored, next *v1alpha1.Application
		change       func(stored, next *v1alpha1.Application)
		want         bool
	}{
		"the good end of an automated sync": {syncing(), rolled(), nil, true},
		"its whole end":                     {syncing(), rolled(), func(_, b *v1alpha1.Application) { b.Status.Health.Status = v1alpha1.HealthHealthy }, false},
		"its bad end":                       {syncing(), rolled(), func(_, b *v1alpha1.Application) { b.Status.OperationState.Phase = v1alpha1.OperationFailed }, false},
		"with a degraded object":            {syncing(), rolled(), func(_, b *v1alpha1.Application) { b.Status.Health.Status = v1alpha1.HealthDegraded }, false},
		"with drift that is left":           {syncing(), rolled(), func(_, b *v1alpha1.Application) { b.Status.Sync.Status = v1alpha1.SyncStatusOutOfSync }, false},
		"somebody waits for it":             {syncing(), rolled(), func(a, _ *v1alpha1.Application) { a.Operation.InitiatedBy.Automated = false }, false},
		"a hook ran": {syncing(), rolled(), func(_, b *v1alpha1.Application) {
			b.Status.OperationState.SyncResult.Resources[0].HookType = "PreSync"
		}, false},
		"something was pruned": {syncing(), rolled(), func(_, b *v1alpha1.Application) {
			b.Status.OperationState.SyncResult.Resources[0].Status = v1alpha1.ResultPruned
		}, false},
		"a new condition": {syncing(), rolled(), func(_, b *v1alpha1.Application) {
			b.Status.Conditions = conditionsOf(v1alpha1.ConditionSharedResourceWarning)
		}, false},
		"a hold": {syncing(), rolled(), func(_, b *v1alpha1.Application) { b.Status.Hold = &v1alpha1.Hold{} }, false},
		"a rollout waits for it": {syncing(), rolled(), func(_, b *v1alpha1.Application) {
			b.Spec.SyncPolicy = &v1alpha1.SyncPolicy{Automated: &v1alpha1.SyncPolicyAutomated{Enabled: &off}}
			b.Annotations = map[string]string{v1alpha1.AnnotationRolloutHeldBy: "set"}
		}, false},
		"a sync begins":  {rolled(), syncing(), nil, false},
		"another begins": {syncing(), syncing(), func(_, b *v1alpha1.Application) { b.Status.OperationState.ID = "op-2" }, false},
		"other words":    {rolled(), rolled(), func(_, b *v1alpha1.Application) { b.Status.Resources[0].Health.Message = "1 of 1" }, true},
		"another health": {rolled(), rolled(), func(_, b *v1alpha1.Application) { b.Status.Resources[0].Health.Status = v1alpha1.HealthHealthy }, false},
		"other words and another revision": {rolled(), rolled(), func(_, b *v1alpha1.Application) {
			b.Status.Resources[0].Health.Message, b.Status.Sync.Revision = "1 of 1", "def"
		}, false},
		"an object more": {rolled(), rolled(), func(_, b *v1alpha1.Application) {
			b.Status.Resources = append(b.Status.Resources, v1alpha1.ResourceStatus{Name: "new"})
		}, false},
	} {
		if c.change != nil {
			c.change(c.stored, c.next)
		}
		if got := mayWait(c.stored, c.next); got != c.want {
			t.Errorf("%s: may wait %t, want %t", name, got, c.want)
		}
	}
}

// TestWhatWaitsIsGoneOnFrom: the next pass goes on from what was put off, also
// when somebody has put a label on the Application, until patience ends; a
// change that it did not know of makes it void.
func TestWhatWaitsIsGoneOnFrom(t *testing.T) {
	clock := clocktesting.NewFakeClock(friday(16))
	c := &Controller{Options: Options{Clock: clock}, unwritten: map[types.NamespacedName]unwritten{}, ends: map[types.NamespacedName]end{}, lanes: newLanes(nil), journal: newJournal(nil, "argocd", prometheus.NewRegistry())}
	pass := func(stored *v1alpha1.Application) *pass {
		p := newPass(c, stored, nil)
		p.goOn()
		return p
	}
	p := pass(syncing())
	p.app = rolled()
	p.tell("Normal", "OperationCompleted", "done")
	if !p.await() || p.again != patience {
		t.Fatalf("not put off, again %s", p.again)
	}
	clock.Step(patience / 2)
	labelled := syncing()
	labelled.ResourceVersion, labelled.Labels = "8", map[string]string{"team": "a"}
	p = pass(labelled)
	if p.app.Operation != nil || p.app.Status.OperationState.Phase != v1alpha1.OperationSucceeded || len(p.events) != 1 || p.app.Labels["team"] != "a" || p.app.ResourceVersion != "8" {
		t.Errorf("the next pass has %+v and %v", p.app, p.events)
	}
	p.app.Status.Resources[0].Health.Message = "1 of 1"
	if !p.await() || p.again != patience/2 {
		t.Errorf("patience begins anew: again %s", p.again)
	}
	clock.Step(patience)
	if p = pass(labelled); p.app.Operation != nil || p.await() {
		t.Error("not written in time")
	}
	terminated := syncing()
	terminated.ResourceVersion, terminated.Status.OperationState.Phase = "9", v1alpha1.OperationTerminating
	if p = pass(terminated); p.app.Status.OperationState.Phase != v1alpha1.OperationTerminating || len(p.events) != 0 || !p.since.Equal(time.Time{}) || len(c.unwritten) != 0 {
		t.Errorf("gone on from what is void: %+v", p.app.Status.OperationState)
	}
}

// TestTheEndWaitsFromTheEnd: how long the sync itself took does not count.
func TestTheEndWaitsFromTheEnd(t *testing.T) {
	clock := clocktesting.NewFakeClock(friday(16))
	c := &Controller{Options: Options{Clock: clock}, unwritten: map[types.NamespacedName]unwritten{}, ends: map[types.NamespacedName]end{}, lanes: newLanes(nil), journal: newJournal(nil, "argocd", prometheus.NewRegistry())}
	p := newPass(c, syncing(), nil)
	p.keepUnwritten() // its begin is in the journal
	clock.Step(2 * longPatience)
	p.app, p.ended = rolled(), true
	if !p.await() || p.again != patience {
		t.Fatalf("not put off from the end, again %s", p.again)
	}
	clock.Step(patience)
	p = newPass(c, syncing(), nil)
	p.goOn()
	if p.await() {
		t.Error("put off once more")
	}
}
