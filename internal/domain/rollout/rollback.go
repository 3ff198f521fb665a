package rollout

import (
	"fmt"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// reverting carries a member on its way back to its rollback point (§8 L8).
// The application's comparison is of no use here, it looks at the target; the
// proof is our own operation to the point and good health after it.
func (p *planner) reverting(i int, mine bool) {
	m, n := &p.Members[i], &p.entries[i]
	mine = mine && n.Flags.has(returning)
	switch {
	case n.Flags.has(undone):
		if p.seen[i] == Current && m.healthy() { // a person brought it to the target
			n.Flags.set(undone|back, false)
			p.arrive(m, n)
		}
		return
	case m.Live == nil:
		n.Status, n.Admitted = Waiting, 0
		return
	case m.running():
		n.Status = Progressing
		if n.Admitted == 0 {
			n.Admitted = n.Step
		}
		state := m.Live.Status.OperationState
		if !mine && m.ours(p.prefix) && state != nil && state.RetryCount > 0 {
			p.out.Terminate = append(p.out.Terminate, n.Name) // it only waits for its next failure
		}
		return
	case !mine && n.Flags.has(returning) && n.Admitted == 0:
		// It lost its slot meanwhile: it was not valid, or moved to another step.
		n.Flags.set(returning, false)
		n.Status, n.Reason, n.FailedAt = Waiting, ReasonRollingBack, 0
		return
	case n.Status == Pending && !mine:
		return // permit issues it
	case !n.Flags.has(returning):
		n.Status, n.Reason, n.Admitted, n.FailedAt = Waiting, ReasonRollingBack, 0, 0
		return
	case !mine:
		// The operation is gone: a person's took its place, or what is seen is
		// older than what a process before this one wrote. Both are met by
		// asking for it again, under the same id and in the same slot.
		n.Status = Pending
		return
	}
	n.Status = Progressing
	if n.Reason == ReasonInvalid || n.Reason == ReasonTerminating {
		n.Reason = ReasonRollingBack
	}
	switch phase := m.ended(); {
	case phase != v1alpha1.OperationSucceeded:
		p.fail(n, ReasonSyncFailed, 0)
	case m.healthy():
		p.undone(n, ReasonRolledBack)
	case m.fresh() && m.Live.Status.Health.Status == v1alpha1.HealthDegraded:
		p.fail(n, ReasonHealthDegraded, p.grace.Milliseconds())
	default:
		n.FailedAt = 0
	}
}

func (p *planner) undone(n *entry, reason string) {
	n.Status, n.Reason, n.Admitted, n.FailedAt, n.Issued = Waiting, reason, 0, 0, 0
	n.Flags.set(undone, true)
	n.Flags.set(back|returning|again, false)
}

// revert drives the rollback: the step reached first, then the ones before it,
// each within its own limit.
func (p *planner) revert() {
	if p.mem.Mode != modeRollingBack || p.hold {
		return
	}
	last, failed := 0, 0
	for i := range p.entries {
		m, n := &p.Members[i], &p.entries[i]
		if n.Flags.has(touched) && !n.Flags.has(back|undone) && n.Step > 0 && p.driven(m) {
			p.recall(i)
		}
		if n.Flags.has(back) || (n.Flags.has(touched) && !n.Flags.has(undone) && m.running()) {
			last = max(last, n.Step)
			if failure(n.Reason) && n.Flags.has(returning) {
				failed = n.Step
			}
		}
	}
	switch {
	case last == 0:
		p.mem.Mode = modeRolledBack
		p.event(false, "RolloutRolledBack", fmt.Sprintf("rollout %d is rolled back: its target stays rejected until a new one arrives or rollout %d is retried", p.id, p.id))
		p.halts(p.stop())
	case failed > 0:
		if p.mem.Sticky == "" {
			p.stick(HaltSyncFailed, failed)
			p.halts(p.stop())
		}
	case !p.still() && !p.window(last).Closed && p.mem.Sticky == "":
		p.recede(last)
	}
	p.tallies(p.current)
}

// still says that nothing may start: the rollout is paused, the window of its
// step is closed, it is a dry run, or the strategy is not valid.
func (p *planner) still() bool {
	return len(p.paused) > 0 || p.window(p.current).Closed || p.rolling.DryRun || p.invalid != ""
}

// recall marks a member for its rollback point.
func (p *planner) recall(i int) {
	m, n := &p.Members[i], &p.entries[i]
	if p.point(m, n) == nil {
		if !m.running() {
			p.undone(n, ReasonNoRollbackPoint)
		}
		return
	}
	n.Flags.set(back, true)
	n.Flags.set(again|returning, false)
	n.Reason, n.FailedAt = ReasonRollingBack, 0
	if !m.running() {
		n.Status, n.Admitted = Waiting, 0
	}
}

// point is the deployment that a member returns to; nil when there is none.
func (p *planner) point(m *Member, n *entry) *v1alpha1.RevisionHistory {
	if n.Point == 0 || m.Live == nil {
		return nil
	}
	for j := range m.Live.Status.History {
		if m.Live.Status.History[j].ID == n.Point-1 {
			return &m.Live.Status.History[j]
		}
	}
	return nil
}

// breadth is how many members of a step may return at a time.
func (p *planner) breadth(k int) int {
	limit, err := Limit(p.steps[k-1].max, p.stats[k-1].total)
	if err != nil {
		return 0
	}
	return max(1, limit)
}

// crowded says that as many members of a step are on their way back as may be,
// with those that begin now: the limit may have been lowered after they had
// been admitted.
func (p *planner) crowded(k, begin int) bool {
	way := begin
	for i := range p.entries {
		if n := &p.entries[i]; n.Admitted == k && n.Status == Progressing && (!failure(n.Reason) || p.Members[i].running()) {
			way++
		}
	}
	return way >= p.breadth(k)
}

// recede admits members of a step to their rollback.
func (p *planner) recede(k int) {
	free := p.breadth(k)
	for i := range p.entries {
		if n := &p.entries[i]; n.Admitted == k && n.inFlight() {
			free--
		}
	}
	for i := range p.entries {
		n := &p.entries[i]
		if free <= 0 {
			return
		}
		if n.Step == k && n.Flags.has(back) && n.Status == Waiting && n.Reason == ReasonRollingBack && !p.Members[i].running() && !p.Members[i].terminating() {
			n.Status, n.Admitted, n.Since, n.FailedAt = Pending, k, p.Now.Unix(), 0
			n.Flags.set(returning, true)
			n.Attempt++
			free--
		}
	}
}
