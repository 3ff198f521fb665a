package rollout

import (
	"fmt"
	"slices"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// permit requests the operations that the stored record has admitted, and
// takes back those that may no longer start (A6). Nothing that this decision
// admits is requested before it has been stored.
func (p *planner) permit() {
	begin := map[int]int{} // rollbacks by step
	for i := range p.entries {
		m, n := &p.Members[i], &p.entries[i]
		old := p.mem.get(n.Name)
		if old == nil || m.Live == nil || old.Attempt != n.Attempt || m.running() {
			continue
		}
		switch {
		case n.Status == Pending && old.Status == Pending && n.Flags.has(back):
			if p.still() || p.window(n.Admitted).Closed || p.mem.Sticky != "" || p.mem.Mode != modeRollingBack {
				n.Status, n.Admitted = Waiting, 0
				n.Flags.set(returning, false)
				continue
			}
			if k := n.Admitted; !p.crowded(k, begin[k]) {
				begin[k]++
				p.issueBack(m, n)
			}
		case n.Status == Pending && old.Status == Pending:
			if !p.open(m, n) {
				n.Status, n.Reason, n.Admitted = Waiting, "", 0
				continue
			}
			p.issue(m, n, KindSync)
		case n.Reason == ReasonSelfHealing && old.Reason == ReasonSelfHealing && n.Status == Healthy && !m.issued(p.operation(n)):
			if p.barred(n.Step) || p.hold || m.Window.Closed {
				n.Reason = ""
				continue
			}
			p.issue(m, n, KindSelfHeal)
		}
	}
	p.tallies(p.current)
}

// withhold takes back what was permitted before this very decision halted the
// rollout or turned it back: analyses are judged last. The record still asks
// for it, and the next decision answers no.
func (p *planner) withhold() {
	if p.halt == nil && p.mem.Mode == "" {
		return
	}
	p.out.Operations = slices.DeleteFunc(p.out.Operations, func(o Operation) bool { return o.Kind != KindRollback })
}

// open says that an admitted operation may still start.
func (p *planner) open(m *Member, n *entry) bool {
	return n.Admitted == p.current && n.Step == p.current && !p.locked(p.current) && !p.awaiting(p.current) && !m.Window.Closed
}

func (p *planner) issue(m *Member, n *entry, kind Kind) {
	op := Operation{Application: n.Name, ID: p.operation(n), Kind: kind, Revisions: n.Revisions, List: len(m.Rendered.Spec.Sources) > 0}
	if policy := m.Rendered.Spec.SyncPolicy; policy != nil && policy.Automated != nil && m.Class != Manual {
		op.Prune = policy.Automated.Prune
	}
	if kind == KindSelfHeal {
		op.Heals = n.Heals
	}
	p.out.Operations = append(p.out.Operations, op)
}

func (p *planner) issueBack(m *Member, n *entry) {
	h := p.point(m, n)
	if h == nil {
		p.undone(n, ReasonNoRollbackPoint)
		return
	}
	p.issue(m, n, KindRollback)
	op := &p.out.Operations[len(p.out.Operations)-1]
	op.Revisions, op.Sources, op.List = h.Revisions, h.Sources, len(h.Sources) > 0
	if len(h.Sources) == 0 {
		op.Revisions, op.Sources = []string{h.Revision}, []v1alpha1.ApplicationSource{h.Source}
	}
}

// awaiting says that the step must be approved before anything in it changes.
func (p *planner) awaiting(k int) bool {
	s := &p.mem.Steps[k-1]
	return p.steps[k-1].approval == ApprovalBefore && s.Needed && !s.Passed && !p.approved(s)
}

// admit picks the members of the current step that may change next, and asks
// for evidence where it is missing (§6.8).
func (p *planner) admit() {
	k := p.current
	if k == 0 {
		return
	}
	if !p.hold {
		p.ask(k)
	}
	p.shut(k)
	p.patience(k)
	if p.locked(k) || p.awaiting(k) {
		return
	}
	limit, err := Limit(p.steps[k-1].max, p.stats[k-1].total)
	if err != nil {
		return
	}
	free := limit - p.stats[k-1].flight - p.stats[k-1].lapsed
	s := &p.mem.Steps[k-1]
	if p.steps[k-1].sliding {
		p.take(k, free, 1)
		return
	}
	switch p.batch(k) {
	case batchOpen: // members that fell out of it may come back, nobody else
		p.take(k, min(free, int(s.BatchSize)-p.stats[k-1].flight), s.Batch)
		return
	case batchBaking:
		return
	}
	if free <= 0 || p.gather(k, free) {
		return
	}
	if n := p.take(k, free, s.Batch+1); n > 0 {
		s.Batch++
		s.BatchSize, s.Gathers, s.Baked, s.Baking = int32(limit), 0, 0, 0 //nolint:gosec // bounded by members
		if limit < p.stats[k-1].total {
			p.event(false, "RolloutBatchStarted", fmt.Sprintf("rollout %d: batch %d of %s started, %d Applications", p.id, s.Batch, p.label(k), n))
		}
	}
}

const (
	batchNone = iota
	batchOpen
	batchBaking
)

// batch says where the batch of a step stands.
func (p *planner) batch(k int) int {
	s := &p.mem.Steps[k-1]
	if s.Batch == 0 {
		return batchNone
	}
	for i := range p.entries {
		e := &p.entries[i]
		if e.Step == k && e.Batch == s.Batch && e.Status != Healthy && !failure(e.Reason) && e.Reason != ReasonInvalid && e.Reason != ReasonTerminating {
			return batchOpen
		}
	}
	if c := &p.steps[k-1]; c.batchBake > 0 && !p.bake(k, c.batchBake.Milliseconds()) {
		return batchBaking
	}
	return batchNone
}

// gather waits a moment for members that are just being compared, so that the
// first batch is not made of the one that was compared first.
func (p *planner) gather(k, free int) bool {
	s := &p.mem.Steps[k-1]
	ready, coming := 0, 0
	for i := range p.entries {
		if p.entries[i].Step != k || p.entries[i].Status != Waiting || ready+coming >= free {
			continue
		}
		switch {
		case p.admissible(i):
			ready++
		case p.seen[i] == NotKnown && p.Members[i].Live != nil && !p.Members[i].terminating() && p.targets[i].Problem == "" && p.Members[i].Invalid == "":
			coming++
		}
	}
	if coming == 0 || ready == 0 {
		return false
	}
	if s.Gathers == 0 || s.Gathers > p.now {
		s.Gathers = p.now
	}
	if rest := gatherTime.Milliseconds() - (p.now - s.Gathers); rest > 0 {
		p.wakeIn(rest)
		return true
	}
	return false
}

// admissible says that a member of the current step needs a sync and may have
// one.
func (p *planner) admissible(i int) bool {
	m, e := &p.Members[i], &p.entries[i]
	return e.Status == Waiting && !m.Window.Closed && p.driven(m) && m.Live != nil && !m.running() && (p.seen[i] == Outdated || e.Flags.has(again)) &&
		!failure(e.Reason) && e.Reason != ReasonInvalid && e.Reason != ReasonTerminating && !e.Flags.has(back|undone)
}

// take admits up to free members in name order into a batch: with an open
// batch only those that belong to it.
func (p *planner) take(k, free int, batch int32) int {
	s, n := &p.mem.Steps[k-1], 0
	for i := range p.entries {
		e := &p.entries[i]
		if e.Step != k || !p.admissible(i) || (!p.steps[k-1].sliding && batch == s.Batch && e.Batch != batch) {
			continue
		}
		if n >= free {
			break
		}
		e.Status, e.Reason, e.Admitted, e.Batch, e.Since, e.FailedAt, e.Issued = Pending, "", k, batch, p.Now.Unix(), 0, 0
		e.Attempt++
		n++
	}
	if n > 0 {
		p.mem.Needed = true
		p.mem.Steps[k-1].Needed = true
	}
	return n
}

// shut says of members that need a sync why they get none: the windows of
// their project are closed.
func (p *planner) shut(k int) {
	for i := range p.entries {
		m, e := &p.Members[i], &p.entries[i]
		if e.Step != k || e.Status != Waiting || e.Reason != "" || !m.Window.Closed || !p.driven(m) || (p.seen[i] != Outdated && !e.Flags.has(again)) {
			continue
		}
		e.Reason = ReasonWindowClosed
		if !m.Window.Until.IsZero() {
			p.wake(m.Window.Until.Sub(p.Now))
		}
	}
}

// maxRefreshes bounds the refreshes asked for at a time.
const maxRefreshes = 50

// ask requests a refresh, once per target, of members whose status says
// nothing about the target.
func (p *planner) ask(k int) {
	outstanding, now := 0, p.Now.Unix()
	for i := range p.entries {
		if e := &p.entries[i]; e.Step == k && e.Asked > 0 && now-e.Asked < int64(askAgain.Seconds()) {
			outstanding++
		}
	}
	for i := range p.entries {
		m, e := &p.Members[i], &p.entries[i]
		if e.Step != k || p.seen[i] != NotKnown || (e.Status != Waiting && e.Status != Progressing) || p.targets[i].Problem != "" || m.Invalid != "" || !m.settled() {
			continue
		}
		if e.Asked > 0 && now-e.Asked < int64(askAgain.Seconds()) && e.Asked <= now {
			p.wakeIn((e.Asked + int64(askAgain.Seconds()) - now) * 1000)
			continue
		}
		if outstanding >= maxRefreshes {
			return
		}
		outstanding++
		e.Asked = now
		if e.Status == Waiting && e.Reason == "" {
			e.Reason = ReasonRefreshing
		}
		p.out.Refreshes = append(p.out.Refreshes, e.Name)
	}
}

// patience runs the clock of approvalTimeout.
func (p *planner) patience(k int) {
	s, c := &p.mem.Steps[k-1], &p.steps[k-1]
	waits := p.awaits(k)
	if !waits {
		s.Awaits = 0
		if s.Approval != nil && s.Approval.State == ApprovalAwaiting {
			s.Approval = nil
		}
		return
	}
	if s.Awaits == 0 || s.Awaits > p.clock {
		s.Awaits = max(1, p.clock)
	}
	if s.Approval == nil {
		s.Approval = &v1alpha1.RolloutApproval{State: ApprovalAwaiting}
		p.event(false, "RolloutAwaitingApproval", fmt.Sprintf("rollout %d: %s waits for approval: promote %d/%d", p.id, p.label(k), p.id, k))
	}
	if c.approvalTimeout == 0 || p.mem.Sticky != "" || len(p.paused) > 0 || p.window(k).Closed {
		return
	}
	if rest := c.approvalTimeout.Milliseconds() - (p.clock - s.Awaits); rest > 0 {
		p.wakeIn(rest)
		return
	}
	p.stick(HaltApprovalTimeout, k)
	p.halts(p.stop())
}

// awaits says that a step waits for a person, before or after its members.
func (p *planner) awaits(k int) bool {
	s, c := &p.mem.Steps[k-1], &p.steps[k-1]
	if p.hold || p.mem.Mode != "" || p.rolling.DryRun || p.invalid != "" || s.Passed || p.approved(s) {
		return false
	}
	switch c.approval {
	case ApprovalBefore:
		return p.awaiting(k) && p.stats[k-1].needs && p.stats[k-1].waiting > 0
	case ApprovalAfter:
		return p.settledStep(k) && !p.stats[k-1].unwell && !(s.Inherit && !s.Needed) &&
			s.Baked >= max(c.bake, c.batchBake).Milliseconds() && p.judged(k)
	}
	return false
}
