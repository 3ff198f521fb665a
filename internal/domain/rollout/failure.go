package rollout

import (
	"fmt"
	"slices"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// Reasons of a halt.
const (
	HaltApplicationDegraded = "ApplicationDegraded"
	HaltSyncFailed          = "SyncFailed"
	HaltComparisonFailed    = "ComparisonFailed"
	HaltStepTimeout         = "StepTimeoutExceeded"
	HaltMaxFailures         = "MaxFailuresExceeded"
	HaltAnalysisFailed      = "AnalysisFailed"
	HaltApprovalTimeout     = "ApprovalTimeout"
	HaltRegressed           = "CompletedStepRegressed"
	HaltInvalidStrategy     = "InvalidStrategy"
	HaltAborted             = "Aborted"
	HaltRolledBack          = "RolledBack"
)

// failures decides what stops the rollout (§8 L7, L8, L13).
func (p *planner) failures() {
	if p.current > 0 {
		p.stepClock(p.current)
	}
	for k := 1; k <= len(p.steps) && p.mem.Mode == ""; k++ {
		p.failing(k)
	}
	p.halts(p.stop())
}

// halts sets the halt of this decision; one that goes on keeps its time.
func (p *planner) halts(h *v1alpha1.RolloutHalt) {
	if p.halt = h; h == nil {
		return
	}
	h.Since = stamp(p.Now.Unix())
	if old := p.before.Halt; old != nil && old.Reason == h.Reason && !p.restart {
		h.Since = old.Since
	}
}

// stop is what halts the rollout now, the gravest first.
func (p *planner) stop() *v1alpha1.RolloutHalt {
	if p.invalid != "" {
		return &v1alpha1.RolloutHalt{Reason: HaltInvalidStrategy}
	}
	if p.mem.Mode == modeAborted || p.mem.Mode == modeRolledBack {
		return &v1alpha1.RolloutHalt{Reason: string(p.mem.Mode), Step: int32(p.current), Sticky: true} //nolint:gosec // steps are few
	}
	if p.mem.Sticky != "" {
		h := &v1alpha1.RolloutHalt{Reason: p.mem.Sticky, Sticky: true}
		for k := range p.mem.Steps {
			if p.mem.Steps[k].Key == p.mem.StickyStep {
				h.Step, h.Applications = int32(k+1), p.unfinished(k+1) //nolint:gosec // steps are few
			}
		}
		return h
	}
	if p.mem.Mode == modeRollingBack {
		return nil
	}
	if p.halt != nil {
		return p.halt
	}
	return p.regressed()
}

// unfinished names members of a step that are not Healthy, at most ten.
func (p *planner) unfinished(k int) []string {
	var out []string
	for i := range p.entries {
		if e := &p.entries[i]; e.Step == k && e.Status != Healthy && len(out) < 10 {
			out = append(out, e.Name)
		}
	}
	return out
}

// failing acts when more members of a step have failed than it tolerates.
func (p *planner) failing(k int) {
	s, c := &p.stats[k-1], &p.steps[k-1]
	if s.failed == 0 || s.failed <= p.tolerance(k) || c.onFailure == OnFailureContinue {
		return
	}
	if c.onFailure == OnFailureRollback && p.mayTurn(k) {
		p.turnBack(fmt.Sprintf("%s failed: %v", p.label(k), s.names))
		return
	}
	if p.halt != nil {
		return
	}
	reason := HaltMaxFailures
	if n, err := Share(c.maxFailures, 100); err == nil && n == 0 { // 0 written down is the default
		reason = p.reasonOf(k)
	}
	p.halt = &v1alpha1.RolloutHalt{Reason: reason, Step: int32(k), Applications: s.names} //nolint:gosec // steps are few
}

// mayTurn says that a rollback may begin: not while paused or out of hours.
func (p *planner) mayTurn(k int) bool {
	return len(p.paused) == 0 && !p.window(k).Closed && !p.rolling.DryRun && p.invalid == "" && p.mem.Sticky == ""
}

func (p *planner) reasonOf(k int) string {
	for i := range p.entries {
		e := &p.entries[i]
		if e.Step != k || e.Status == Healthy {
			continue
		}
		switch e.Reason {
		case ReasonHealthDegraded:
			return HaltApplicationDegraded
		case ReasonSyncFailed:
			return HaltSyncFailed
		case ReasonComparisonFailed:
			return HaltComparisonFailed
		}
	}
	return HaltMaxFailures
}

// stick halts until a person or a new target ends it.
func (p *planner) stick(reason string, k int) {
	p.mem.Sticky, p.mem.StickyStep = reason, p.mem.Steps[k-1].Key
}

// stepClock runs the clock of stepTimeout: while the step syncs or waits for
// health, not while anything but its members holds it.
func (p *planner) stepClock(k int) {
	s, c := &p.mem.Steps[k-1], &p.steps[k-1]
	if c.stepTimeout == 0 || s.TimedOut {
		return
	}
	if p.settledStep(k) || p.awaiting(k) || p.window(k).Closed || p.mem.Mode != "" || p.hold || p.rolling.DryRun || p.invalid != "" {
		if s.Runs > 0 {
			s.Used, s.Runs = s.Used+max(0, p.clock-s.Runs), 0
		}
		return
	}
	if s.Runs == 0 || s.Runs > p.clock {
		s.Runs = p.clock
	}
	if len(p.paused) > 0 {
		return // the clock of the rollout stands still
	}
	if rest := c.stepTimeout.Milliseconds() - s.Used - (p.clock - s.Runs); rest > 0 {
		p.wakeIn(rest)
		return
	}
	p.timeout(k)
}

// timeout fails every unfinished member. When only members that needed no sync
// are unfinished, nothing is rolled back.
func (p *planner) timeout(k int) {
	s, c := &p.mem.Steps[k-1], &p.steps[k-1]
	s.TimedOut, s.Runs = true, 0
	s.Used = c.stepTimeout.Milliseconds()
	p.event(true, "RolloutStepTimedOut", fmt.Sprintf("rollout %d: %s is not Healthy after %s: %v", p.id, p.label(k), c.stepTimeout, p.unfinished(k)))
	blockedOnly := p.stats[k-1].open+p.stats[k-1].failed == 0
	for i := range p.entries {
		e := &p.entries[i]
		blocked := e.Reason == ReasonNoSyncNeeded || e.Reason == ReasonInvalid || e.Reason == ReasonTerminating
		if e.Step != k || !p.takesPart(&p.Members[i]) || e.Status == Healthy || failure(e.Reason) || (blocked && c.onFailure != OnFailureContinue) {
			continue
		}
		if e.Status == Pending {
			continue // it may be on its way
		}
		e.Reason, e.FailedAt = ReasonTimedOut, p.now
		p.about(e.Name, true, "RolloutApplicationFailed", fmt.Sprintf("rollout %d: Application %s of %s failed: %s", p.id, e.Name, p.label(k), ReasonTimedOut))
	}
	p.tallies(p.current)
	switch {
	case c.onFailure == OnFailureContinue:
	case c.onFailure == OnFailureRollback && !blockedOnly && p.mayTurn(k):
		p.turnBack(p.label(k) + " exceeded its time")
	default:
		p.stick(HaltStepTimeout, k)
	}
}

// turnBack begins the rollback of everything this rollout has synced.
func (p *planner) turnBack(why string) {
	p.mem.Mode, p.mem.Sticky, p.mem.StickyStep = modeRollingBack, "", ""
	p.event(true, "RolloutRollbackStarted", fmt.Sprintf("rollout %d is rolled back: %s", p.id, why))
}

// rejected are the targets that must not be tried again by themselves.
func (p *planner) rejected() []string {
	out := p.before.RejectedTargets
	if p.mem.Mode != modeRolledBack {
		return out
	}
	mark := p.fingerprint()
	if slices.Contains(out, mark) {
		return out
	}
	out = append(slices.Clone(out), mark)
	return out[max(0, len(out)-5):]
}
