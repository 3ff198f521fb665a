package rollout

import (
	"fmt"
	"slices"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/autosync"
)

// member carries one record over to what is seen now.
func (p *planner) member(i int) {
	m := &p.Members[i]
	if p.entries == nil {
		p.entries, p.seen = make([]entry, len(p.Members)), make([]Observation, len(p.Members))
	}
	n := &p.entries[i]
	n.Name = m.Name()
	old := p.mem.get(n.Name)
	if old != nil {
		*n = *old
	}
	c, t := p.changes[i], p.targets[i]
	assumed := c == undecided && !p.restart && n.Spec == t.SpecHash
	if c == undecided {
		c = differs // without evidence that it is the same
	}
	anew := p.restart || c == fresh || c == differs
	gone := n.UID != "" && (m.Live == nil || uid(m) != n.UID)
	if anew || gone {
		p.forget(n, m, c)
	}
	if assumed {
		n.Flags.set(unproven, true)
	}
	p.retarget(n, m, t, c)
	p.look(i)
	if m.Live != nil {
		n.UID = uid(m)
	}
	if p.takesPart(m) {
		n.Step = m.Step
		switch {
		case n.Admitted > 0 && m.running():
			// Its operation counts where it was admitted; it holds the earlier
			// of both gates.
			n.Step = min(m.Step, n.Admitted)
		case n.Admitted != m.Step:
			n.Admitted, n.Batch = 0, 0 // moved to another step
		}
		p.transit(i, anew || gone)
	} else {
		p.outside(i)
	}
	if old == nil || n.Status != old.Status {
		n.Since = p.Now.Unix()
		if n.Step > 0 && (n.Status == Healthy || n.Status == Progressing) {
			p.mem.Progress, p.mem.Stalled = p.Now.Unix(), false
		}
	}
	if m.Class == Unmatched && (old == nil || old.Step != n.Step) && p.named < maxNamed {
		p.named++
		p.about(n.Name, true, "ApplicationUnmatched", fmt.Sprintf("Application %s matches no step of the rollout: %s", n.Name, p.unmatchedWords()))
	}
	p.told(old, n)
}

// maxNamed bounds events about newly unmatched Applications in one decision.
const maxNamed = 10

// look observes a member against its target. What has been rendered for the
// target once does not fail to render: then a comparison that fails says that
// the cluster cannot be reached, which is no failure (scenario G18).
func (p *planner) look(i int) {
	m, n := &p.Members[i], &p.entries[i]
	key := n.Key
	if n.Flags.has(unproven) {
		key = ""
	}
	p.seen[i] = m.observe(p.targets[i], key, p.queued != nil && n.Status != Healthy && p.takesPart(m))
	if p.seen[i] == Failing && key != "" {
		p.seen[i] = NotKnown
	}
}

func uid(m *Member) string { return string(m.Live.UID[:min(len(m.Live.UID), 6)]) }

// forget drops what was true of another rollout or another target.
func (p *planner) forget(n *entry, m *Member, c change) {
	n.Batch, n.FailedAt, n.Issued, n.Heals, n.HealedAt, n.Asked, n.Point = 0, 0, 0, 0, 0, 0, 0
	keep := flags(0)
	if c == unchanged || c == moved {
		keep = remaining | unproven
	}
	if p.restart {
		n.Attempt = 0
	} else {
		keep |= touched // it was synced in this rollout, if not to this target
	}
	n.Flags &= keep
	if !m.running() {
		n.Admitted = 0
	}
}

// retarget records the target, and its key as soon as that is known.
func (p *planner) retarget(n *entry, m *Member, t Target, c change) {
	if t.Problem != "" {
		if n.Status == "" {
			n.Spec = t.SpecHash
		}
		return
	}
	n.Revisions, n.Spec = t.Revisions, t.SpecHash
	key := m.key(t.Digest)
	if key == "" && m.settled() && m.placed() && m.at(t.Revisions) {
		key = m.reported()
	}
	switch {
	case n.Flags.has(unproven):
		n.Flags.set(unproven, n.Key != "" && key != n.Key)
	case c == fresh || c == differs:
		n.Key = ""
	}
	if n.Key == "" {
		n.Key = key
	}
}

// outside handles Applications that are no part of any step.
func (p *planner) outside(i int) {
	m, n := &p.Members[i], &p.entries[i]
	if n.Admitted > 0 && m.running() {
		n.Step, n.Status, n.Reason = n.Admitted, Progressing, ReasonFinishingPrevious
		return
	}
	attempt := n.Attempt // an id is never used twice
	*n = entry{Name: n.Name, UID: n.UID, Since: n.Since, Revisions: n.Revisions, Spec: n.Spec, Key: n.Key, Attempt: attempt, Reason: string(m.Class)}
	n.Status = Waiting
	if p.seen[i] == Current && m.healthy() {
		n.Status = Healthy
	}
}

// transit is the state machine of spec/progressive-sync.md §6.6.
func (p *planner) transit(i int, anew bool) {
	m, n := &p.Members[i], &p.entries[i]
	mine := n.Attempt > 0 && m.Live != nil && m.carries(p.operation(n))
	switch {
	case m.terminating():
		n.Status, n.Reason, n.Admitted = Waiting, ReasonTerminating, 0
		return
	case m.Invalid != "" && !m.running():
		n.Status, n.Reason, n.Admitted = Waiting, ReasonInvalid, 0
		return
	case n.Flags.has(back | undone):
		p.reverting(i, mine)
		return
	case anew && m.running():
		n.Status = Progressing
		n.Flags.set(touched, n.Flags.has(touched) || mine)
		p.occupy(m, n, false)
		return
	case anew || n.Status == "" || n.Reason == ReasonTerminating || n.Reason == ReasonInvalid:
		n.Status, n.Reason, n.Admitted = Waiting, "", 0
	}
	switch n.Status {
	case Pending:
		p.pending(i, mine)
	case Progressing:
		p.progressing(i, mine)
	case Healthy:
		p.healthy(i, mine)
	default:
		p.waiting(i)
	}
}

func (p *planner) operation(n *entry) string { return OperationID(p.Set, p.id, n.Attempt) }

// occupy marks a member whose operation runs: it uses a slot.
func (p *planner) occupy(m *Member, n *entry, mine bool) {
	switch {
	case mine:
		n.Flags.set(touched, true)
		if n.Issued == 0 {
			n.Issued = p.clock
		}
		if n.Reason != ReasonTimedOut {
			n.Reason = ""
		}
	case m.ours(p.prefix):
		n.Reason = ReasonFinishingPrevious
	default:
		n.Reason = ReasonManualSync
	}
	if n.Admitted == 0 {
		n.Admitted = n.Step
	}
}

// waiting members finish without a sync when they run the target already.
func (p *planner) waiting(i int) {
	m, n, seen := &p.Members[i], &p.entries[i], p.seen[i]
	n.Point = 0
	if h := latest(m); h != nil && p.driven(m) {
		n.Point = h.ID + 1
	}
	if seen != Failing && n.Reason != ReasonTimedOut {
		n.FailedAt = 0
	}
	switch {
	case m.running():
		n.Status = Progressing
		p.occupy(m, n, false)
	case seen == Current && m.healthy():
		p.arrive(m, n)
	case n.Reason == ReasonTimedOut:
	case n.Flags.has(again) && (seen == Current || seen == Outdated):
		n.Reason = ""
	case seen == Current:
		n.Status, n.Reason = Progressing, ReasonNoSyncNeeded
	case p.targets[i].Problem != "":
		n.Reason = ReasonUnresolved
	case seen == Failing:
		if n.Reason != ReasonComparisonFailed {
			n.Reason = ""
		}
		p.fail(n, ReasonComparisonFailed, p.grace.Milliseconds())
	case seen == Outdated && !p.driven(m):
		n.Reason = ReasonManualRequired
	case seen == NotKnown && n.Asked > 0:
		n.Reason = ReasonRefreshing
	default:
		n.Reason = ""
	}
	if seen != NotKnown {
		n.Asked = 0
	}
}

// latest is the newest successful deployment of an Application.
func latest(m *Member) *v1alpha1.RevisionHistory {
	if m.Live == nil || len(m.Live.Status.History) == 0 {
		return nil
	}
	return &m.Live.Status.History[len(m.Live.Status.History)-1]
}

// arrive makes a member Healthy at its target and frees its slot.
func (p *planner) arrive(m *Member, n *entry) {
	n.Status, n.Reason, n.FailedAt, n.Issued, n.Admitted, n.Asked = Healthy, "", 0, 0, 0, 0
	n.Flags.set(again, false)
	differ := m.Live.Status.Sync.Status == v1alpha1.SyncStatusOutOfSync
	n.Flags.set(remaining, differ)
	if differ {
		n.Reason = ReasonRemaining
	}
}

// pending members wait for their operation to become visible; permit issues it.
func (p *planner) pending(i int, mine bool) {
	m, n := &p.Members[i], &p.entries[i]
	switch {
	case mine, m.running():
		n.Status, n.Reason = Progressing, ""
		n.Flags.set(again, false)
		if mine {
			n.Flags.set(touched, true)
			n.Issued = p.clock
		}
		p.progressing(i, mine) // it may be over already
	case p.seen[i] == Current && !n.Flags.has(again): // a person brought it there
		n.Status, n.Reason = Progressing, ReasonManualSync
		p.progressing(i, false)
	}
}

func (p *planner) progressing(i int, mine bool) {
	m, n, seen := &p.Members[i], &p.entries[i], p.seen[i]
	if m.running() {
		p.occupy(m, n, mine)
		p.overdue(i, mine)
		return
	}
	if n.Reason == ReasonFinishingPrevious {
		if n.Reason = ""; seen != Current || !n.Flags.has(touched) {
			n.Status, n.Admitted = Waiting, 0
			p.waiting(i)
			return
		}
	}
	if n.Reason == ReasonManualSync && seen == Current {
		n.Flags.set(touched, m.synced(p.targets[i]))
		n.Reason = ""
	}
	failed := m.ended() == v1alpha1.OperationFailed || m.ended() == v1alpha1.OperationError
	switch {
	case seen == Current && m.healthy():
		p.arrive(m, n)
	case mine && failed && seen != Current:
		p.fail(n, ReasonSyncFailed, 0)
	case seen == Outdated:
		n.Status, n.Reason, n.Admitted, n.FailedAt = Waiting, "", 0, 0 // it needs a sync of its own
		p.waiting(i)
		return
	case seen == Failing:
		p.fail(n, ReasonComparisonFailed, p.grace.Milliseconds())
	case seen == Current && !n.Flags.has(touched):
		n.Reason, n.FailedAt, n.Admitted = ReasonNoSyncNeeded, 0, 0
	case seen == Current && m.Live.Status.Health.Status == v1alpha1.HealthDegraded:
		p.fail(n, ReasonHealthDegraded, p.grace.Milliseconds())
	case seen == Current && n.Reason != ReasonTimedOut:
		n.Reason, n.FailedAt = "", 0
	}
	p.overdue(i, mine)
}

// fail notes since when something is wrong; it counts after the grace period.
func (p *planner) fail(n *entry, reason string, grace int64) {
	if n.FailedAt == 0 || n.FailedAt > p.now {
		n.FailedAt = p.now
	}
	if rest := grace - (p.now - n.FailedAt); rest > 0 {
		p.wakeIn(rest)
		return
	}
	if n.Reason != ReasonTimedOut {
		n.Reason = reason
	}
}

// overdue fails a member that is not Healthy in its time, and ends its
// operation (applicationTimeout, L9).
func (p *planner) overdue(i int, mine bool) {
	n := &p.entries[i]
	if n.Status != Progressing || !n.Flags.has(touched) || n.Issued == 0 || n.Admitted == 0 || n.Admitted > len(p.steps) {
		return
	}
	limit := p.steps[n.Admitted-1].applicationTimeout.Milliseconds()
	if limit == 0 {
		return
	}
	if rest := limit - (p.clock - n.Issued); rest > 0 {
		p.wakeIn(rest)
		return
	}
	if !failure(n.Reason) {
		n.Reason = ReasonTimedOut
		if n.FailedAt == 0 {
			n.FailedAt = p.now
		}
	}
	if mine && p.Members[i].running() && n.Reason == ReasonTimedOut {
		p.out.Terminate = append(p.out.Terminate, n.Name)
	}
}

func failure(reason string) bool {
	switch reason {
	case ReasonSyncFailed, ReasonHealthDegraded, ReasonComparisonFailed, ReasonTimedOut:
		return true
	}
	return false
}

// done says that the step has been complete in this rollout.
func (p *planner) done(step int) bool {
	return step >= 1 && step <= len(p.mem.Steps) && p.mem.Steps[step-1].Passed
}

// healthy members stay so, unless health is lost before their step is complete
// (A10); afterwards that is a warning (A11).
func (p *planner) healthy(i int, mine bool) {
	m, n := &p.Members[i], &p.entries[i]
	done := p.done(n.Step)
	switch {
	case m.running():
		if (n.Reason == ReasonSelfHealing && mine) || (done && n.Reason == ReasonSelfHealing) {
			return
		}
		if done {
			n.Reason = ReasonManualSync
			return
		}
		n.Status = Progressing
		p.occupy(m, n, false)
		return
	case m.Live == nil || !m.fresh():
		return
	}
	if n.Reason == ReasonManualSync {
		n.Reason = ""
	}
	p.drift(i, mine, done)
	if n.Status != Healthy {
		return
	}
	switch bad := !m.healthy(); {
	case !bad && n.Reason == ReasonRegressed:
		n.Reason = ""
	case bad && done:
		if n.Reason != ReasonSelfHealing && p.rolling.CompletedStepRegression != "Ignore" {
			n.Reason = ReasonRegressed
		}
	case bad:
		n.Status, n.Reason, n.FailedAt = Progressing, "", 0
		p.progressing(i, mine)
	}
}

// drift tells differences that remained after a sync, which are accepted, from
// those that came later, which are healed when the policy says so (§6.10).
func (p *planner) drift(i int, mine, done bool) {
	m, n, seen := &p.Members[i], &p.entries[i], p.seen[i]
	if seen != Current && seen != Outdated {
		return
	}
	if m.Live.Status.Sync.Status == v1alpha1.SyncStatusSynced {
		n.Flags.set(remaining, false)
		if n.Reason == ReasonRemaining || n.Reason == ReasonManualOverride || n.Reason == ReasonSelfHealing {
			n.Reason = ""
		}
		return
	}
	if n.Flags.has(remaining) {
		return
	}
	state := m.Live.Status.OperationState
	foreign := state != nil && !m.ours(p.prefix) && state.Phase == v1alpha1.OperationSucceeded && state.SyncResult != nil && !m.synced(p.targets[i]) && elsewhere(state.SyncResult, n.Revisions)
	switch {
	case foreign && done:
		n.Reason = ReasonManualOverride
	case foreign:
		n.Status, n.Reason = Waiting, ""
		p.waiting(i)
	default:
		p.heal(i, mine)
	}
}

// elsewhere says that an operation went to other revisions than these.
func elsewhere(r *v1alpha1.SyncOperationResult, revisions []string) bool {
	got := r.Revisions
	if len(got) == 0 {
		got = []string{r.Revision}
	}
	return !slices.Equal(got, revisions)
}

func (p *planner) heal(i int, mine bool) {
	m, n := &p.Members[i], &p.entries[i]
	if n.Reason == ReasonSelfHealing {
		if !mine {
			return // not issued yet
		}
		n.Reason = ""
		if m.ended() == v1alpha1.OperationSucceeded {
			n.Flags.set(remaining, true)
			n.Reason = ReasonRemaining
			return
		}
	}
	policy := m.Rendered.Spec.SyncPolicy
	if m.Class == Manual || policy == nil || policy.Automated == nil || !policy.Automated.SelfHeal {
		return
	}
	if p.barred(n.Step) || p.before.Halt != nil || m.Window.Closed || p.hold {
		return
	}
	if rest := autosync.HealDelay(n.Heals).Milliseconds() - max(0, p.now-n.HealedAt); n.Heals > 0 && rest > 0 {
		p.wakeIn(rest)
		return
	}
	n.Reason, n.HealedAt = ReasonSelfHealing, p.now
	n.Attempt++
	n.Heals++
}

// told emits what happened to one member, once.
func (p *planner) told(old, n *entry) {
	was := ""
	if old != nil {
		was = old.Reason
	}
	if n.Reason == was {
		return
	}
	switch {
	case failure(n.Reason) && (n.Flags.has(touched) || n.Status == Progressing):
		p.about(n.Name, true, "RolloutApplicationFailed", fmt.Sprintf("rollout %d: Application %s of %s failed: %s", p.id, n.Name, p.label(n.Step), n.Reason))
	case n.Reason == ReasonRegressed:
		p.about(n.Name, true, "RolloutHealthRegressed", fmt.Sprintf("rollout %d: Application %s is no longer Healthy although %s is complete", p.id, n.Name, p.label(n.Step)))
	case n.Reason == ReasonManualRequired:
		p.about(n.Name, true, "ManualSyncRequired", fmt.Sprintf("rollout %d: Application %s of %s has no automated sync: sync it, or set manualSyncPolicy", p.id, n.Name, p.label(n.Step)))
	}
}
