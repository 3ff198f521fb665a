package application

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// midwayPass is a pass that has just applied one object of operation "op" and
// waits for its health.
func midwayPass() *pass {
	key := types.NamespacedName{Namespace: "argocd", Name: "guestbook"}
	before := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	before.Operation = &v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{Revision: "r1"}}
	before.Status.OperationState = &v1alpha1.OperationState{ID: "op", Phase: v1alpha1.OperationRunning, Operation: *before.Operation}
	p := &pass{
		Controller: &Controller{deferred: map[types.NamespacedName]bool{}, unstored: map[types.NamespacedName]midway{}, written: map[types.NamespacedName]*v1alpha1.Application{}},
		key:        key, before: before, app: before.DeepCopy(),
	}
	p.app.Status.OperationState.SyncResult = &v1alpha1.SyncOperationResult{Resources: []*v1alpha1.ResourceResult{
		{Kind: "Deployment", Name: "web", Status: v1alpha1.ResultSynced, HookPhase: v1alpha1.OperationRunning, Message: "deployment.apps/web created"},
	}}
	return p
}

func TestWhatIsPutOffMidway(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p *pass)
		want   bool
	}{
		"objects that are not healthy yet": {func(*pass) {}, true},
		"nothing is more urgent":           {func(p *pass) { p.idle = true }, false},
		"a hook runs":                      {func(p *pass) { result(p).HookType = "PostSync" }, false},
		"an object was pruned":             {func(p *pass) { result(p).Status = v1alpha1.ResultPruned }, false},
		"an object was refused":            {func(p *pass) { result(p).Status = v1alpha1.ResultSyncFailed }, false},
		"an object failed":                 {func(p *pass) { result(p).HookPhase = v1alpha1.OperationFailed }, false},
		"the operation ended":              {func(p *pass) { p.app.Status.OperationState.Phase = v1alpha1.OperationSucceeded }, false},
		"somebody ends it":                 {func(p *pass) { p.before.Status.OperationState.Phase = v1alpha1.OperationTerminating }, false},
		"another operation":                {func(p *pass) { p.before.Status.OperationState.ID = "former" }, false},
		"it is repeated":                   {func(p *pass) { p.app.Status.OperationState.RetryCount = 1 }, false},
		"a warning came":                   {func(p *pass) { p.app.Status.Conditions = []v1alpha1.ApplicationCondition{{Type: "SyncError"}} }, false},
		"nothing is applied yet":           {func(p *pass) { p.app.Status.OperationState.SyncResult = nil }, false},
	} {
		p := midwayPass()
		c.change(p)
		if got := p.waitsMidway(); got != c.want {
			t.Errorf("%s: put off %v, want %v", name, got, c.want)
		}
	}
}

func result(p *pass) *v1alpha1.ResourceResult {
	return p.app.Status.OperationState.SyncResult.Resources[0]
}

// TestNothingIsLostMidway: the next pass goes on from what the last one found
// out, and only while the same operation runs.
func TestNothingIsLostMidway(t *testing.T) {
	p := midwayPass()
	if !p.waitsMidway() {
		t.Fatal("not put off")
	}
	next := newPass(p.Controller, p.before, nil)
	if r := next.app.Status.OperationState.SyncResult; r == nil || r.Resources[0].Message != "deployment.apps/web created" {
		t.Errorf("the next pass starts from %+v", r)
	}
	if next.before.Status.OperationState.SyncResult != nil {
		t.Error("what is not stored counts as stored")
	}
	other := p.before.DeepCopy()
	other.Status.OperationState.ID = "next"
	if r := newPass(p.Controller, other, nil).app.Status.OperationState.SyncResult; r != nil {
		t.Errorf("another operation starts from %+v", r)
	}
	p.stored(p.key, p.app)
	if r := newPass(p.Controller, p.before, nil).app.Status.OperationState.SyncResult; r != nil {
		t.Errorf("what is stored is put in once more: %+v", r)
	}
}
