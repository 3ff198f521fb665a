package application

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

// A change that nobody waits for stays unwritten for patience, so that what
// follows from it is stored in the same write, and up to longPatience while
// other Applications of the cluster wait for a worker.
const (
	patience     = 500 * time.Millisecond
	longPatience = 2 * time.Second
)

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

// goOn continues from what an earlier pass, or another process, has left. When
// somebody has written more than labels and annotations meanwhile, what is not
// written is void, as it would be after a restart; that a sync has ended is
// carried over, and that one has begun is known from the journal all the same.
func (p *pass) goOn() {
	p.mu.Lock()
	u, ok := p.unwritten[p.key]
	_, ended := p.ends[p.key]
	if ok && (ended && u.operation != nil || u.base.ResourceVersion != p.before.ResourceVersion && !rebasable(u.base, p.before)) {
		delete(p.unwritten, p.key)
		ok = false
	}
	p.mu.Unlock()
	if !ok {
		if !p.carryOver() {
			p.resume()
		}
		return
	}
	u.status.DeepCopyInto(&p.app.Status)
	p.app.Operation = u.operation.DeepCopy()
	p.events, p.since = slices.Clone(u.events), u.since
}

// resume takes up the operation that the journal has of an Application, unless
// the Application shows it or a later one.
func (p *pass) resume() {
	e, ok := p.journal.entry(p.key)
	if !ok {
		return
	}
	state, op := p.before.Status.OperationState, e.operation(p.before)
	if op == nil || p.before.Operation != nil || p.before.DeletionTimestamp != nil ||
		state != nil && (state.ID == e.ID || e.StartedAt.Before(&state.StartedAt)) {
		p.journal.drop(p.key)
		return
	}
	p.app.Operation = op
	p.begin()
	p.app.Status.OperationState.ID, p.app.Status.OperationState.StartedAt = e.ID, e.StartedAt
}

// noted stores the begin of an automated sync in the journal, when nothing else
// has to be stored before its first act: the rest goes with its end.
func (p *pass) noted(ctx context.Context) bool {
	if !p.started || !p.plain || !p.since.IsZero() || p.app.Status.Hold != nil || p.before.Operation != nil || !maps.Equal(p.before.Annotations, p.app.Annotations) ||
		!slices.Equal(p.before.Finalizers, p.app.Finalizers) {
		return false
	}
	e, ok, err := newEntry(p.app)
	if ok {
		err = p.journal.note(ctx, p.key, e)
	}
	if err != nil {
		p.log.Debug("begin of an operation is stored in its Application", "error", err.Error())
	}
	if !ok || err != nil {
		return false
	}
	p.keepUnwritten()
	p.showLater(ctx)
	return true
}

// plain says that a sync to what was looked at applies objects of one wave and
// does nothing else: cut off at any instant, it is carried out once more with
// the same outcome.
func plain(v *view, options []string) bool {
	if len(v.hooks) > 0 || slices.Contains(options, createNamespace) {
		return false
	}
	for _, pair := range v.pairs {
		if pair.Target == nil || syncplan.Wave(pair.Target) != syncplan.Wave(v.pairs[0].Target) {
			return false
		}
		if m := syncplan.MannerOf(pair.Target, pair.Live, options, false); m.Mode == syncplan.Replace || m.Force {
			return false
		}
	}
	return true
}

// keepUnwritten remembers for the next pass what is not written.
func (p *pass) keepUnwritten() {
	if p.since.IsZero() || p.since.After(p.Clock.Now()) {
		p.since = p.Clock.Now()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unwritten[p.key] = unwritten{base: p.before, status: *p.app.Status.DeepCopy(), operation: p.app.Operation.DeepCopy(), events: slices.Clone(p.events), since: p.since}
}

// await puts the write off for a moment when more is to come that is stored
// with it.
func (p *pass) await() bool {
	if !mayWait(p.before, p.app) {
		return false
	}
	age := time.Duration(0)
	if p.ended { // what comes now follows from the end
		p.since = time.Time{}
	}
	if !p.since.IsZero() {
		age = max(0, p.Clock.Since(p.since))
	}
	rest := patience - age
	if rest <= 0 && age < longPatience && p.lanes.crowded(p.cluster.Server) {
		rest = patience
	}
	if rest <= 0 {
		return false
	}
	p.keepUnwritten()
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
	if next.Operation != nil || stored.Operation != nil && !stored.Operation.InitiatedBy.Automated {
		return false
	}
	before, state := stored.Status.OperationState, next.Status.OperationState
	if stored.Operation == nil && (state == nil || before != nil && before.ID == state.ID) {
		return onlyWords(stored.Status, next.Status)
	}
	return state != nil && state.Operation.InitiatedBy.Automated && state.Phase == v1alpha1.OperationSucceeded && repeatable(state.SyncResult) &&
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
