package rollout

import (
	"fmt"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// tally counts the members of a step.
type tally struct {
	total, waiting, pending, progressing, healthy, synced int
	// failed ones count against maxFailures; blocked ones need no sync and are
	// not Healthy, or cannot be synced; open ones are still under way.
	failed, blocked, open int
	// flight uses slots; lapsed had one and lost its health before the step
	// was complete.
	flight, lapsed int
	// needs: some member needs a sync. unwell: a Healthy one is not so now.
	// sick: some member is Degraded or Missing.
	needs, unwell, sick bool
	names               []string // of failed ones, at most ten
}

// count makes the tallies of all steps; failures to render count only where
// the rollout has arrived, up to the step reached.
func (p *planner) tallies(reached int) {
	if p.stats == nil {
		p.stats = make([]tally, len(p.steps))
	} else {
		clear(p.stats)
	}
	for i := range p.entries {
		e := &p.entries[i]
		if e.inFlight() && e.Admitted >= 1 && e.Admitted <= len(p.stats) && (!failure(e.Reason) || p.Members[i].running()) {
			p.stats[e.Admitted-1].flight++ // failed ones have ended: tolerated, or the step halts
		}
		if e.Step < 1 || e.Step > len(p.stats) {
			continue
		}
		p.tally(i, &p.stats[e.Step-1], e.Step <= reached)
	}
}

func (p *planner) tally(i int, s *tally, reached bool) {
	m, e := &p.Members[i], &p.entries[i]
	s.total++
	if p.seen[i] == Current {
		s.synced++
	}
	switch e.Status {
	case Waiting:
		s.waiting++
	case Pending:
		s.pending++
	case Progressing:
		s.progressing++
	case Healthy:
		s.healthy++
		s.unwell = s.unwell || !m.healthy()
	}
	s.sick = s.sick || m.sick()
	s.needs = s.needs || e.Flags.has(touched|again) || e.Status == Pending || (e.Status == Waiting && p.seen[i] == Outdated)
	switch {
	case e.Status == Healthy:
	case failure(e.Reason) && (reached || e.Flags.has(touched)):
		s.failed++
		if len(s.names) < 10 {
			s.names = append(s.names, e.Name)
		}
	case e.Reason == ReasonNoSyncNeeded || e.Reason == ReasonInvalid || e.Reason == ReasonTerminating:
		s.blocked++
	default:
		s.open++
		if e.Status == Progressing && e.Admitted == 0 {
			s.lapsed++
		}
	}
}

// tolerance is how many failed and blocked members a step may have.
func (p *planner) tolerance(step int) int {
	n, err := Share(p.steps[step-1].maxFailures, p.stats[step-1].total)
	if err != nil {
		return 0
	}
	return n
}

// settledStep says that nothing is under way in a step and that what is not
// Healthy is tolerated.
func (p *planner) settledStep(step int) bool {
	s := &p.stats[step-1]
	failed := s.failed
	if p.steps[step-1].onFailure == OnFailureContinue {
		failed = 0
	}
	return s.open == 0 && failed+s.blocked <= p.tolerance(step)
}

// locked says that no gate opens now.
func (p *planner) locked(step int) bool {
	return p.hold || p.barred(step) || (p.mem.Sticky != "" && p.mem.StickyStep == p.mem.Steps[step-1].Key) || p.regressed() != nil
}

// gates walks the steps in order: the first one that is not complete is the
// current one, and only its members may be admitted.
func (p *planner) gates() {
	p.current = 0
	p.tallies(len(p.steps))
	for k := 1; k <= len(p.steps); k++ {
		if p.stats[k-1].total == 0 {
			continue
		}
		if !p.passes(k) {
			p.current = k
			break
		}
	}
	if p.current > 0 {
		p.tallies(p.current)
	}
	for k := range p.mem.Steps {
		s := &p.mem.Steps[k]
		s.Needed = s.Needed || p.stats[k].needs
		p.mem.Needed = p.mem.Needed || s.Needed
	}
	if p.current > 0 {
		p.enter(p.current)
	}
}

// passes says that a step is complete, and moves its clocks.
func (p *planner) passes(k int) bool {
	s, st := &p.mem.Steps[k-1], &p.stats[k-1]
	s.Needed = s.Needed || st.needs
	for i := range p.entries {
		if p.entries[i].Step == k && p.entries[i].Flags.has(touched) {
			s.Touched = true
			break
		}
	}
	if !p.settledStep(k) {
		if s.Passed && !s.Reopened {
			s.Reopened, s.Started, s.Used, s.Runs, s.Completed, s.TimedOut = true, p.Now.Unix(), 0, 0, 0, false
		}
		if s.Healthy > 0 && !s.Passed {
			s.Healthy = 0
		}
		return false
	}
	if p.mem.Sticky == HaltStepTimeout && p.mem.StickyStep == s.Key && st.failed == 0 && st.blocked == 0 {
		p.mem.Sticky, p.mem.StickyStep, s.TimedOut, s.Used, s.Runs = "", "", false, 0, 0
	}
	if s.Healthy == 0 {
		s.Healthy = p.Now.Unix()
		if s.Needed {
			p.announce(k)
			p.event(false, "RolloutStepHealthy", fmt.Sprintf("rollout %d: all Applications of %s are Healthy", p.id, p.label(k)))
		}
	}
	if !s.Passed && !p.proven(k) {
		return false
	}
	if !s.Passed || s.Reopened {
		if s.Started > 0 {
			s.Paused = p.mem.PausedFor - s.PausedAt
		}
		s.Passed, s.Reopened, s.Completed, s.Runs, s.Baking = true, false, p.Now.Unix(), 0, 0
		if s.Announced {
			p.event(false, "RolloutStepCompleted", fmt.Sprintf("rollout %d: %s completed, %d Applications", p.id, p.label(k), st.total))
		}
	}
	return true
}

// proven says that a step whose members are Healthy has baked, has been
// measured and approved.
func (p *planner) proven(k int) bool {
	s, c := &p.mem.Steps[k-1], &p.steps[k-1]
	if p.stats[k-1].unwell {
		p.stopBake(k)
		return false
	}
	if s.Inherit && !s.Needed {
		return !p.locked(k)
	}
	baked := p.bake(k, max(c.bake, c.batchBake).Milliseconds())
	measured := p.invalid != "" || p.analyzed(k, baked)
	if !baked || !measured || p.locked(k) {
		return false
	}
	return c.approval != ApprovalAfter || p.approved(s)
}

func (p *planner) approved(s *stepMemory) bool {
	return s.Approval != nil && s.Approval.State == ApprovalApproved
}

// enter notes that a step is the current one.
func (p *planner) enter(k int) {
	s := &p.mem.Steps[k-1]
	if s.Started == 0 {
		s.Started, s.PausedAt = p.Now.Unix(), p.mem.PausedFor
	}
	if !p.settledStep(k) {
		p.stopBake(k)
	}
	if p.stats[k-1].needs && !p.locked(k) {
		p.announce(k)
	}
}

// announce tells once that a step with something to do has begun.
func (p *planner) announce(k int) {
	s := &p.mem.Steps[k-1]
	if s.Announced || !s.Needed {
		return
	}
	s.Announced = true
	limit, err := Limit(p.steps[k-1].max, p.stats[k-1].total)
	if err != nil {
		return
	}
	p.event(false, "RolloutStepStarted", fmt.Sprintf("rollout %d: %s started, %d Applications, at most %d at a time", p.id, p.label(k), p.stats[k-1].total, limit))
}

// well says that all members of a step that count as Healthy are so now.
func (p *planner) well(k int) bool {
	s := &p.stats[k-1]
	return !s.unwell && s.flight == 0 && s.lapsed == 0
}

// maxCredit bounds what one look at the bake clock may add: longer gaps were
// not observed, whatever the clocks say.
const maxCredit = 75_000

// credit is the unstored part of the bake clock.
func (p *planner) credit(s *stepMemory) int64 {
	if s.Baking == 0 {
		return 0
	}
	from := s.Baking
	if p.since() <= p.now { // else the clock was set back meanwhile
		from = max(from, p.since())
	}
	return min(max(0, p.now-from), maxCredit)
}

// since is when the caller began to observe, in milliseconds; 0 is always.
func (p *planner) since() int64 {
	if p.Watched.IsZero() {
		return 0
	}
	return p.Watched.UnixMilli()
}

// bake lets the bake clock of a step run while all its members are Healthy and
// says whether it has reached what is needed (L11). Time that nobody observed
// does not count; what has accumulated is stored now and then.
func (p *planner) bake(k int, need int64) bool {
	s := &p.mem.Steps[k-1]
	if need == 0 {
		return true
	}
	if !p.well(k) {
		p.stopBake(k)
		return false
	}
	if s.Baked >= need {
		return true
	}
	if s.Baking == 0 || s.Baking > p.now { // it starts, or the clock was set back
		s.Baking = p.now
	}
	credit := p.credit(s)
	rest := need - s.Baked - credit
	switch {
	case rest <= 0:
		s.Baked, s.Baking = need, 0
		return true
	case credit >= persistBake.Milliseconds() || (s.Baking < p.since() && p.since() <= p.now):
		s.Baked, s.Baking = s.Baked+credit, p.now
	}
	p.wakeIn(min(rest, persistBake.Milliseconds()-(p.now-s.Baking)))
	return false
}

// stopBake stops the bake clock; bad health sets it back to nothing.
func (p *planner) stopBake(k int) {
	s := &p.mem.Steps[k-1]
	if s.Baking > 0 {
		s.Baked += p.credit(s)
		s.Baking = 0
	}
	if p.stats[k-1].sick && (s.Baked > 0 || s.Measures > 0) && !s.Passed {
		s.Baked, s.Measures, s.Analysis = 0, 0, nil
	}
}

// regressed says that health was lost in a step that was complete, and that
// the strategy halts for it.
func (p *planner) regressed() *v1alpha1.RolloutHalt {
	if p.rolling.CompletedStepRegression != "Halt" || !(p.active() || p.restart) {
		return nil
	}
	var h *v1alpha1.RolloutHalt
	for i := range p.entries {
		if e := &p.entries[i]; e.Reason == ReasonRegressed {
			if h == nil {
				h = &v1alpha1.RolloutHalt{Reason: HaltRegressed, Step: int32(e.Step)} //nolint:gosec // steps are few
			}
			if len(h.Applications) < 10 {
				h.Applications = append(h.Applications, e.Name)
			}
		}
	}
	return h
}
