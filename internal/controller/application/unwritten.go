package application

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

// patience is how long a change that nobody waits for may stay unwritten, so
// that what follows from it is stored in the same write.
const patience = 500 * time.Millisecond

// unwritten is what a pass found and put off. It is lost with the process, so
// nothing is put off that could not be found out again.
type unwritten struct {
	// base is the stored version that the rest was computed from.
	base      *v1alpha1.Application
	status    v1alpha1.ApplicationStatus
	operation *v1alpha1.Operation
	events    []event
	since     time.Time
}

// goOn continues from what an earlier pass put off. When somebody has written
// more than labels and annotations meanwhile, it is void, as it would be after
// a restart.
func (p *pass) goOn() {
	p.mu.Lock()
	defer p.mu.Unlock()
	u, ok := p.unwritten[p.key]
	if !ok {
		return
	}
	if u.base.ResourceVersion != p.before.ResourceVersion && !rebasable(u.base, p.before) {
		delete(p.unwritten, p.key)
		return
	}
	u.status.DeepCopyInto(&p.app.Status)
	p.app.Operation = u.operation.DeepCopy()
	p.events, p.since = slices.Clone(u.events), u.since
}

// await puts the write off for a moment when more is to come that is stored
// with it.
func (p *pass) await() bool {
	now := p.Clock.Now()
	if p.since.IsZero() || p.since.After(now) {
		p.since = now
	}
	rest := patience - now.Sub(p.since)
	if rest <= 0 || !mayWait(p.before, p.app) {
		return false
	}
	p.mu.Lock()
	p.unwritten[p.key] = unwritten{base: p.before, status: *p.app.Status.DeepCopy(), operation: p.app.Operation.DeepCopy(), events: p.events, since: p.since}
	p.mu.Unlock()
	p.soon(rest)
	return true
}

// mayWait says that a change of an Application is soon followed by another and
// that nobody waits for it: the words about health of objects that are not yet
// healthy, and the good end of an automated sync whose objects become healthy
// now. Rollouts wait for each change of their members. What a sync pruned and
// how its hooks ended is written at once, for nobody could find it out again.
func mayWait(stored, next *v1alpha1.Application) bool {
	if policy.Holder(next) != "" || !maps.Equal(stored.Annotations, next.Annotations) || !slices.Equal(stored.Finalizers, next.Finalizers) ||
		!reflect.DeepEqual(stored.Status.Conditions, next.Status.Conditions) || !reflect.DeepEqual(stored.Status.Hold, next.Status.Hold) {
		return false
	}
	if stored.Operation == nil {
		return next.Operation == nil && onlyWords(stored.Status, next.Status)
	}
	state := next.Status.OperationState
	return next.Operation == nil && stored.Operation.InitiatedBy.Automated && state != nil && state.Phase == v1alpha1.OperationSucceeded && repeatable(state.SyncResult) &&
		next.Status.Sync.Status == v1alpha1.SyncStatusSynced && next.Status.Health.Status == v1alpha1.HealthProgressing
}

// repeatable says that a sync that is carried out once more has the same
// results: it only applied objects.
func repeatable(r *v1alpha1.SyncOperationResult) bool {
	return r != nil && !slices.ContainsFunc(r.Resources, func(r *v1alpha1.ResourceResult) bool {
		return r.HookType != "" || r.Status != v1alpha1.ResultSynced
	})
}

// onlyWords says that two statuses differ in nothing but the words about the
// health of objects.
func onlyWords(stored, next v1alpha1.ApplicationStatus) bool {
	if len(stored.Resources) != len(next.Resources) {
		return false
	}
	next.Resources = slices.Clone(next.Resources)
	for i := range next.Resources {
		a, b := stored.Resources[i].Health, next.Resources[i].Health
		if a == nil || b == nil || a.Status != b.Status {
			continue
		}
		same := *b
		same.Message = a.Message
		next.Resources[i].Health = &same
	}
	return reflect.DeepEqual(stored, next)
}
