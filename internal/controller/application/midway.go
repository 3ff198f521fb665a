package application

import (
	"maps"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

// midway are results of a running operation that are not stored yet.
type midway struct {
	operation string
	result    *v1alpha1.SyncOperationResult
}

// resume puts what is known of the running operation, but not stored yet, into
// the state that this pass goes on from.
func (p *pass) resume() {
	p.mu.Lock()
	m, ok := p.unstored[p.key]
	p.mu.Unlock()
	state := p.app.Status.OperationState
	if ok && state != nil && state.ID == m.operation && !state.Phase.Completed() {
		state.SyncResult = m.result.DeepCopy()
	}
}

// waitsMidway says that the operation has applied its objects and waits for
// their health: the status is then stored when nothing else is to be done, for
// most often the end of the operation comes first and makes that write needless.
// Who takes over after a crash applies the objects once more, which changes
// nothing. What could not be found out that way is never put off: hooks, what
// was pruned, and what failed.
func (p *pass) waitsMidway() bool {
	before, state := p.before.Status.OperationState, p.app.Status.OperationState
	if p.idle || before == nil || state == nil || before.ID != state.ID || before.Phase != v1alpha1.OperationRunning ||
		state.Phase != v1alpha1.OperationRunning || state.FinishedAt != nil || before.RetryCount != state.RetryCount || state.SyncResult == nil ||
		policy.Holder(p.app) != "" || !maps.Equal(p.before.Annotations, p.app.Annotations) || !slices.Equal(p.before.Finalizers, p.app.Finalizers) ||
		!reflect.DeepEqual(p.before.Operation, p.app.Operation) || !reflect.DeepEqual(p.before.Status.Conditions, p.app.Status.Conditions) {
		return false
	}
	for _, r := range state.SyncResult.Resources {
		if r.HookType != "" || r.Status != v1alpha1.ResultSynced || r.HookPhase == v1alpha1.OperationFailed {
			return false
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unstored[p.key] = midway{operation: state.ID, result: state.SyncResult.DeepCopy()}
	return true
}

// stored notes that nothing is put off any more.
func (c *Controller) stored(key types.NamespacedName, written *v1alpha1.Application) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written[key] = written // nobody changes it
	delete(c.unstored, key)
}
