package scenario

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// ledger is what the invariants remember: an independent account of what was
// issued, kept from the operations alone.
type ledger struct {
	ids     map[string]bool           // Application and id
	open    map[string]grant          // by Application: issued and not finished
	sizes   map[int32]map[int32]int32 // limit by step and batch, when it began
	drifted map[string]bool           // changed by hand since it was Healthy
	rollout int64
	started int64 // highest id ever
}

type grant struct {
	step int32
	id   int64
}

func newLedger() ledger {
	return ledger{ids: map[string]bool{}, open: map[string]grant{}, sizes: map[int32]map[int32]int32{}, drifted: map[string]bool{}}
}

// foreign notes an operation of a person: the id of ours may be lost by it.
func (l *ledger) foreign(name string) {
	for key := range l.ids {
		if strings.HasPrefix(key, name+" ") {
			delete(l.ids, key)
		}
	}
	delete(l.open, name)
	l.drifted[name] = true
}

// permit checks what must hold when an operation is issued.
func (w *World) permit(op rollout.Operation) {
	r := w.Set.Status.Rollout
	key := op.Application + " " + op.ID
	if w.ledger.ids[key] {
		w.problem("I3: operation %s issued twice", key)
	}
	w.ledger.ids[key] = true
	w.barriers(op)
	rec := w.Status(op.Application)
	switch op.Kind {
	case rollout.KindSelfHeal:
		if rec.Status != rollout.Healthy || rec.Reason != rollout.ReasonSelfHealing {
			w.problem("I7: self-heal of %s, the stored record says %s %s", op.Application, rec.Status, rec.Reason)
		}
		if !slices.Equal(op.Revisions, rec.TargetRevisions) {
			w.problem("I4: self-heal of %s to %v, its target is %v", op.Application, op.Revisions, rec.TargetRevisions)
		}
		return
	case rollout.KindRollback:
		if rec.Status != rollout.Pending || r.Phase != rollout.PhaseRollingBack {
			w.problem("I7: rollback of %s, the stored record says %s in phase %s", op.Application, rec.Status, r.Phase)
		}
		if rec.Rollback == nil || !slices.Equal(op.Revisions, rec.Rollback.Revisions) {
			w.problem("I4: rollback of %s to %v, its point is %v", op.Application, op.Revisions, rec.Rollback)
		}
	default:
		if rec.Status != rollout.Pending {
			w.problem("I7: %s got an operation, the stored record says %s", op.Application, rec.Status)
		}
		w.pinned(op, rec)
		w.order(op)
	}
	w.limit(op, rec)
}

// ahead holds I7: the record that was handed in has admitted what the decision
// requests. The new record is not stored yet.
func (w *World) ahead(d rollout.Decision) {
	for _, op := range d.Operations {
		rec := w.Status(op.Application)
		admitted := rec.Status == rollout.Pending || (op.Kind == rollout.KindSelfHeal && rec.Reason == rollout.ReasonSelfHealing)
		if !admitted || rollout.OperationID(w.Set, d.Rollout.ID, rec.Attempt) != op.ID {
			w.problem("I7: operation %s for %s, the stored record says %s %s, attempt %d", op.ID, op.Application, rec.Status, rec.Reason, rec.Attempt)
		}
	}
}

// barriers holds I5.
func (w *World) barriers(op rollout.Operation) {
	r := w.Set.Status.Rollout
	if v, ok := w.Set.Annotations[v1alpha1.AnnotationPauseRollout]; (ok && !strings.EqualFold(v, "false")) || w.rolling().Paused || w.rolling().DryRun {
		w.problem("I5: %s got an operation while paused", op.Application)
	}
	if r.Halt != nil && op.Kind != rollout.KindRollback {
		w.problem("I5: %s got an operation while halted: %s", op.Application, r.Halt.Reason)
	}
	if until, ok := w.windows[w.step(op.Application)]; ok && w.Now.Before(until) {
		w.problem("I5: %s got an operation while its window is closed", op.Application)
	}
	if w.closed[op.Application] && op.Kind != rollout.KindRollback {
		w.problem("I5: %s got an operation while the windows of its project are closed", op.Application)
	}
}

// pinned holds I4: the operation goes to what the stored record pins.
func (w *World) pinned(op rollout.Operation, rec v1alpha1.ApplicationSetAppStatus) {
	if !slices.Equal(op.Revisions, rec.TargetRevisions) {
		w.problem("I4: %s got %v, the record pins %v", op.Application, op.Revisions, rec.TargetRevisions)
	}
	t := w.Set.Status.Rollout.Target
	if len(t.Sources) != 1 || t.Sources[0].Revision != op.Revisions[0] {
		w.problem("I4: %s got %v, the rollout pins %+v", op.Application, op.Revisions, t.Sources)
	}
}

// order holds I2: everything in earlier steps is Healthy at the target, in the
// record and in truth.
func (w *World) order(op rollout.Operation) {
	step := w.step(op.Application)
	for name := range w.Desired {
		k := w.step(name)
		if k == 0 || k >= step || w.skipped(name) {
			continue
		}
		rec := w.Status(name)
		s := w.setting(k)
		loose := s.MaxFailures != nil || s.OnFailure == rollout.OnFailureContinue
		if rec.Status != rollout.Healthy {
			if !loose {
				w.problem("I2: %s of step %d got an operation while %s of step %d is %s %s", op.Application, step, name, k, rec.Status, rec.Reason)
			}
			continue
		}
		want := w.contentOf(rec.TargetRevisions[0], name)
		if _, lag := w.stale[name]; !lag && w.deployed[name] != want && !w.ledger.drifted[name] {
			w.problem("I2: %s of step %d got an operation while %s of step %d runs %q, its target is %q", op.Application, step, name, k, w.deployed[name], want)
		}
		if !slices.Equal(rec.TargetRevisions, op.Revisions) {
			w.problem("I2: %s of step %d got %v while %s of step %d is Healthy at %v", op.Application, step, op.Revisions, name, k, rec.TargetRevisions)
		}
	}
}

func (w *World) skipped(name string) bool {
	if app := w.view(name); app != nil && app.Annotations[v1alpha1.AnnotationRolloutSkip] == "true" {
		return true
	}
	return w.rolling().ManualSyncPolicy == rollout.ManualSkip && w.Desired[name].Spec.SyncPolicy.Automated == nil
}

func (w *World) setting(step int) v1alpha1.StepDefaults {
	var out v1alpha1.StepDefaults
	if d := w.rolling().Defaults; d != nil {
		out = *d
	}
	if step >= 1 && step <= len(w.rolling().Steps) {
		s := w.rolling().Steps[step-1]
		if s.MaxFailures != nil {
			out.MaxFailures = s.MaxFailures
		}
		if s.OnFailure != "" {
			out.OnFailure = s.OnFailure
		}
	}
	return out
}

// limit holds I1 on the operations themselves: what was issued in a step and
// has not become Healthy, failed for good, or been superseded.
func (w *World) limit(op rollout.Operation, rec v1alpha1.ApplicationSetAppStatus) {
	r := w.Set.Status.Rollout
	step := int32(w.step(op.Application)) //nolint:gosec // steps are few
	w.settle()
	w.ledger.open[op.Application] = grant{step: step, id: r.ID}
	n := 0
	for _, g := range w.ledger.open {
		if g.step == step {
			n++
		}
	}
	if step < 1 || int(step) > len(r.Steps) {
		return
	}
	allowed := r.Steps[step-1].Limit
	if op.Kind == rollout.KindRollback {
		allowed = max(1, allowed)
	}
	if n > int(max(allowed, w.ledger.sizes[step][rec.Batch])) {
		w.problem("I1: step %d: %d in flight with %s, limit %d: %v", step, n, op.Application, allowed, w.ledger.open)
	}
}

// admitted notes the limit under which members of a stored record were
// admitted: it holds for their batch, whatever happens to the step.
func (w *World) admitted(old []v1alpha1.ApplicationSetAppStatus, d rollout.Decision) {
	if w.ledger.rollout != d.Rollout.ID {
		w.ledger.rollout = d.Rollout.ID
		clear(w.ledger.sizes)
	}
	was := map[string]string{}
	for i := range old {
		was[old[i].Application] = old[i].Status
	}
	for i := range d.Applications {
		a := &d.Applications[i]
		if a.Status != rollout.Pending || was[a.Application] == rollout.Pending {
			continue
		}
		step := int32(w.step(a.Application)) //nolint:gosec // steps are few
		if step < 1 || int(step) > len(d.Rollout.Steps) {
			continue
		}
		if w.ledger.sizes[step] == nil {
			w.ledger.sizes[step] = map[int32]int32{}
		}
		if w.ledger.sizes[step][a.Batch] == 0 || w.rolling().Batching == "Sliding" {
			w.ledger.sizes[step][a.Batch] = d.Rollout.Steps[step-1].Limit
		}
	}
}

// settle closes grants that have ended.
func (w *World) settle() {
	for name, g := range w.ledger.open {
		app, rec := w.Apps[name], w.Status(name)
		switch {
		case app == nil, w.Desired[name] == nil:
		case app.Operation != nil:
			continue
		case int(g.step) != w.step(name): // moved to another step
		case g.id != w.Set.Status.Rollout.ID, rec.Status == rollout.Healthy, rec.Status == rollout.Waiting, rec.Reason == rollout.ReasonSyncFailed:
		case rec.Status == rollout.Progressing && slices.Contains([]string{rollout.ReasonHealthDegraded, rollout.ReasonTimedOut, rollout.ReasonComparisonFailed}, rec.Reason):
		case app.Status.Health.Status == v1alpha1.HealthHealthy && app.Status.OperationState != nil && app.Status.OperationState.Phase == v1alpha1.OperationSucceeded:
		default:
			continue
		}
		delete(w.ledger.open, name)
	}
}

// step is the step of an Application by its labels.
func (w *World) step(name string) int {
	_, k := rollout.Classify(w.Set, true, w.Desired[name], nil)
	return k
}

// check holds what must be true of every stored record.
func (w *World) check(in rollout.Input, d rollout.Decision) {
	if d.Rollout.ID < w.ledger.started {
		w.problem("rollout %d after rollout %d", d.Rollout.ID, w.ledger.started)
	}
	w.ledger.started = d.Rollout.ID
	total, members := int32(0), int32(0)
	for _, s := range d.Rollout.Steps {
		total += s.Total
		if n := s.Waiting + s.Pending + s.Progressing + s.Healthy; n != s.Total {
			w.problem("I8: step %d: %d members, %d by status", s.Index, s.Total, n)
		}
	}
	for i := range in.Members {
		m := &in.Members[i]
		rec := d.Applications[i]
		if rec.Application != m.Rendered.Name {
			w.problem("the record of %s is at the place of %s", rec.Application, m.Rendered.Name)
		}
		takesPart := m.Class == rollout.Managed || (m.Class == rollout.Unmatched && m.Step > 0) || (m.Class == rollout.Manual && w.rolling().ManualSyncPolicy != rollout.ManualSkip)
		if takesPart || rec.Reason == rollout.ReasonFinishingPrevious {
			members++
		}
		w.evidence(m, w.Status(rec.Application), rec)
	}
	if total != members {
		w.problem("I8: %d members in steps, %d take part", total, members)
	}
	for _, op := range d.Operations {
		if app := w.view(op.Application); app == nil || app.Operation != nil || app.DeletionTimestamp != nil {
			w.problem("I6: operation for %s, which has one or is gone", op.Application)
		}
	}
}

// evidence holds the binding of Healthy to the target: what becomes Healthy
// runs its target and is healthy in the view that was decided on.
func (w *World) evidence(m *rollout.Member, old, rec v1alpha1.ApplicationSetAppStatus) {
	if rec.Status != rollout.Healthy || rec.Step == "-1" {
		return
	}
	became := old.Status != rollout.Healthy || fmt.Sprint(old.TargetRevisions) != fmt.Sprint(rec.TargetRevisions)
	if !became {
		return
	}
	name := rec.Application
	if m.Live == nil || m.Live.Operation != nil {
		w.problem("S5: %s is Healthy in the record while an operation runs or it does not exist", name)
		return
	}
	if old.Status != rollout.Healthy {
		if rec.Reason != rollout.ReasonRemaining { // else it drifted after its operation, which looks the same
			delete(w.ledger.drifted, name)
		}
		if m.Live.Status.Health.Status != v1alpha1.HealthHealthy {
			w.problem("S5: %s is Healthy in the record, its health is %s", name, m.Live.Status.Health.Status)
		}
	}
	if _, lag := w.stale[name]; lag || w.ledger.drifted[name] || rec.Reason == rollout.ReasonRemaining {
		return
	}
	if want := w.contentOf(rec.TargetRevisions[0], name); w.deployed[name] != want {
		w.problem("S5: %s is Healthy in the record and runs %q, its target is %q", name, w.deployed[name], want)
	}
}
