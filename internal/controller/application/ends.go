package application

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// end is how an operation ended, for as long as its Application does not show
// it. Whoever edits the Application meanwhile, or asks for another operation,
// makes void what else was found, but not this.
type end struct {
	uid     types.UID
	state   v1alpha1.OperationState
	history []v1alpha1.RevisionHistory
	events  []event
	// requests are the operation as it was stored and as it was carried out:
	// what else the Application asks for then is still to be done.
	requests [2]*v1alpha1.Operation
}

// keepEnd remembers that an operation has ended.
func (p *pass) keepEnd(carriedOut *v1alpha1.Operation) {
	e := end{
		uid: p.app.UID, state: *p.app.Status.OperationState.DeepCopy(), history: slices.Clone(p.app.Status.History), events: slices.Clone(p.events),
		requests: [2]*v1alpha1.Operation{p.before.Operation.DeepCopy(), carriedOut.DeepCopy()},
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ends[p.key] = e
}

// owes says that the end of an operation is to be stored, before another one
// may begin.
func (p *pass) owes() bool {
	_, ok := p.owed()
	return ok
}

func (p *pass) owed() (e end, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok = p.ends[p.key]
	stored := p.before.Status.OperationState
	if ok && (e.uid != p.before.UID || stored != nil && stored.ID == e.state.ID && stored.Phase.Completed()) {
		delete(p.ends, p.key)
		ok = false
	}
	return e, ok
}

// carryOver puts the end of an operation onto an Application that somebody has
// written before the end was; ok is false when none is owed.
func (p *pass) carryOver() (ok bool) {
	e, ok := p.owed()
	if !ok {
		return false
	}
	p.app.Status.OperationState, p.app.Status.History = e.state.DeepCopy(), slices.Clone(e.history)
	for _, done := range e.requests {
		if done != nil && equality.Semantic.DeepEqual(p.app.Operation, done) {
			p.app.Operation = nil
		}
	}
	p.events, p.hurry = slices.Clone(e.events), true
	return true
}
