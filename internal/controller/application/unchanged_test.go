package application

import (
	"context"
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

func TestComparisonHolds(t *testing.T) {
	good := func() *v1alpha1.Application {
		source := &v1alpha1.ApplicationSource{RepoURL: "https://git.example.com/a", Path: "app"}
		return &v1alpha1.Application{
			Spec: v1alpha1.ApplicationSpec{Source: source},
			Status: v1alpha1.ApplicationStatus{
				Sync: v1alpha1.SyncStatus{
					Status: v1alpha1.SyncStatusSynced, Digest: "d", AfterOperation: "1", ComparedTo: v1alpha1.ComparedTo{Source: *source},
				},
				OperationState: &v1alpha1.OperationState{ID: "1", Phase: v1alpha1.OperationSucceeded},
			},
		}
	}
	for name, c := range map[string]struct {
		change func(*v1alpha1.Application)
		holds  bool
	}{
		"a whole comparison": {func(*v1alpha1.Application) {}, true},
		"out of sync":        {func(a *v1alpha1.Application) { a.Status.Sync.Status = v1alpha1.SyncStatusOutOfSync }, true},
		"never synced":       {func(a *v1alpha1.Application) { a.Status.OperationState, a.Status.Sync.AfterOperation = nil, "" }, true},
		"a warning": {func(a *v1alpha1.Application) {
			a.Status.Conditions = conditionsOf(v1alpha1.ConditionSharedResourceWarning)
		}, true},
		"unknown":             {func(a *v1alpha1.Application) { a.Status.Sync.Status = v1alpha1.SyncStatusUnknown }, false},
		"without a digest":    {func(a *v1alpha1.Application) { a.Status.Sync.Digest = "" }, false},
		"a failed comparison": {func(a *v1alpha1.Application) { a.Status.Conditions = conditionsOf(v1alpha1.ConditionComparisonError) }, false},
		"another path":        {func(a *v1alpha1.Application) { a.Spec.Source.Path = "other" }, false},
		"another cluster":     {func(a *v1alpha1.Application) { a.Spec.Destination.Name = "other" }, false},
		"another ignore rule": {func(a *v1alpha1.Application) {
			a.Spec.IgnoreDifferences = []v1alpha1.ResourceIgnoreDifferences{{Kind: "Job"}}
		}, false},
		"many sources":          {func(a *v1alpha1.Application) { a.Spec.Sources = []v1alpha1.ApplicationSource{*a.Spec.Source} }, false},
		"an operation is asked": {func(a *v1alpha1.Application) { a.Operation = &v1alpha1.Operation{} }, false},
		"an operation runs":     {func(a *v1alpha1.Application) { a.Status.OperationState.Phase = v1alpha1.OperationRunning }, false},
		"an operation ended":    {func(a *v1alpha1.Application) { a.Status.OperationState.ID = "2" }, false},
	} {
		app := good()
		c.change(app)
		if got := comparisonHolds(app); got != c.holds {
			t.Errorf("%s: holds %t, want %t", name, got, c.holds)
		}
	}
}

func conditionsOf(kind string) []v1alpha1.ApplicationCondition {
	return []v1alpha1.ApplicationCondition{{Type: kind, Message: "m"}}
}

// TestReasonsOfArrivals: an Application that comes for a new revision only is
// told apart from one that comes, also or again, for something else.
func TestReasonsOfArrivals(t *testing.T) {
	key := types.NamespacedName{Namespace: "argocd", Name: "a"}
	begun, answers := make(chan arrival), make(chan error)
	l := newLanes(func(_ context.Context, a arrival) (outcome, error) {
		begun <- a
		return outcome{}, <-answers
	})
	l.start(t.Context())
	defer l.stop()
	arrives := func(what string, moved bool, answer error) {
		t.Helper()
		if a := <-begun; a.key != key || a.moved != moved {
			t.Errorf("%s: arrival %+v, want moved %t", what, a, moved)
		}
		answers <- answer
	}
	l.moved(key)
	arrives("a new revision", true, nil)
	l.add(key)
	arrives("anything else", false, nil)
	l.because(key)
	l.moved(key)
	arrives("both at once", false, nil)
	l.moved(key)
	arrives("a pass that fails", true, errors.New("no answer"))
	arrives("the repetition", false, nil)
	l.moved(key)
	arrives("a new revision afterwards", true, nil)
}
