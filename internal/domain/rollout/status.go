package rollout

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

func stepLabel(step int, name string) string {
	if name == "" {
		return "step " + strconv.Itoa(step)
	}
	return fmt.Sprintf("step %d (%s)", step, name)
}

// title is the name of a step or its number.
func (p *planner) title(step int) string {
	if n := p.steps[step-1].name; n != "" {
		return n
	}
	return strconv.Itoa(step)
}

// finish writes the record and what is made from it.
func (p *planner) finish() {
	p.tallies(p.current)
	closed := p.current > 0 && p.window(p.current).Closed
	p.pauseClock(len(p.paused) > 0 || closed)
	r := &v1alpha1.RolloutStatus{
		ID: p.id, Trigger: p.trigger, ObservedGeneration: p.Set.Generation, StartedAt: p.before.StartedAt, CompletedAt: p.before.CompletedAt,
		CurrentStep: int32(p.current), Counts: p.counts(), Target: p.sources(), History: p.before.History, //nolint:gosec // steps are few
		Halt: p.halt, Queued: p.queued, RejectedTargets: p.rejected(),
	}
	p.out.Rollout = r
	if p.restart {
		r.StartedAt, r.CompletedAt = stamp(p.Now.Unix()), nil
		r.History = p.history("Superseded", nil)
	}
	r.Pause = p.pause(closed)
	for k := range p.steps {
		r.Steps = append(r.Steps, p.stepStatus(k+1))
	}
	p.complete(r)
	r.Phase = p.phase(r)
	p.stalled(r)
	p.out.Applications = p.applications()
	p.mem.entries = p.entries
	record, err := p.mem.encode()
	if err != nil {
		record = p.before.Record // cannot be: plain values only
	}
	r.Record = record
	p.conditions(r)
	p.announcements(r)
	p.out.Events = p.events
}

// pauseClock stops the clock of the rollout while it is paused.
func (p *planner) pauseClock(paused bool) {
	switch {
	case paused && p.mem.PauseSince == 0:
		p.mem.PauseSince = p.now
	case !paused && p.mem.PauseSince > 0:
		p.mem.PausedFor += max(0, p.now-p.mem.PauseSince)
		p.mem.PauseSince = 0
	}
	if paused && p.current > 0 {
		if until := p.window(p.current).Until; p.window(p.current).Closed && !until.IsZero() {
			p.wake(until.Sub(p.Now))
		}
	}
}

func (p *planner) pause(closed bool) *v1alpha1.RolloutPause {
	sources := p.paused
	if closed {
		sources = append(slices.Clone(sources), "Window")
	}
	if len(sources) == 0 {
		return nil
	}
	out := &v1alpha1.RolloutPause{Sources: sources, Reason: clip(p.Set.Annotations[v1alpha1.AnnotationPauseReason], maxReason), Since: stamp(p.Now.Unix())}
	if old := p.before.Pause; old != nil {
		out.Since = old.Since
	}
	if closed {
		if until := p.window(p.current).Until; !until.IsZero() {
			out.Until = stamp(until.Unix())
		}
	}
	return out
}

// complete closes a rollout whose steps are all complete.
func (p *planner) complete(r *v1alpha1.RolloutStatus) {
	if p.current != 0 || p.mem.Mode != "" {
		r.CompletedAt = nil
		return
	}
	if p.hold || r.CompletedAt != nil {
		return
	}
	r.CompletedAt = stamp(p.Now.Unix())
	result := "NoChange"
	if p.mem.Needed {
		result = "Completed"
		p.event(false, "RolloutCompleted", fmt.Sprintf("rollout %d completed at %s", p.id, revisions(r.Target)))
	}
	r.History = p.history(result, r)
}

func revisions(t *v1alpha1.RolloutTarget) string {
	var out []string
	if t != nil {
		for _, s := range t.Sources {
			if !slices.Contains(out, s.Revision) {
				out = append(out, s.Revision)
			}
		}
	}
	return strings.Join(out[:min(len(out), 10)], ", ")
}

// history closes a rollout with a result: the stored one when it is superseded,
// or the one that has just completed.
func (p *planner) history(result string, now *v1alpha1.RolloutStatus) []v1alpha1.RolloutHistory {
	r, known := now, p.before.History
	if now == nil {
		if r = p.before; !p.active() {
			return known
		}
		if p.before.Phase == PhaseRolledBack || p.before.Phase == PhaseAborted {
			result = p.before.Phase
		}
	}
	if p.restart && now != nil {
		known = p.history("Superseded", nil)
	}
	done := v1alpha1.RolloutHistory{ID: r.ID, Result: result, StartedAt: r.StartedAt, CompletedAt: stamp(p.Now.Unix())}
	if r.Target != nil {
		done.Sources = r.Target.Sources
	}
	limit := 10
	if p.rolling.HistoryLimit != nil {
		limit = max(0, int(*p.rolling.HistoryLimit))
	}
	out := slices.DeleteFunc(slices.Clone(known), func(h v1alpha1.RolloutHistory) bool { return h.ID == r.ID })
	out = append(out, done)
	return out[max(0, len(out)-limit):]
}

func (p *planner) phase(r *v1alpha1.RolloutStatus) string {
	switch {
	case p.rolling.DryRun:
		return PhaseDryRun
	case p.mem.Mode == modeRolledBack:
		return PhaseRolledBack
	case p.mem.Mode == modeAborted:
		return PhaseAborted
	case p.current == 0 && p.mem.Mode == "" && p.halt == nil && !p.hold:
		for i := range r.History {
			if r.History[i].ID == r.ID && r.History[i].Result == "Completed" {
				return PhaseCompleted
			}
		}
		if p.mem.Needed {
			return PhaseCompleted
		}
		return PhaseIdle
	case p.halt != nil:
		return PhaseHalted
	case r.Pause != nil:
		return PhasePaused
	case p.mem.Mode == modeRollingBack:
		return PhaseRollingBack
	case p.current == 0:
		return PhaseProgressing
	}
	switch s := r.Steps[p.current-1].Phase; s {
	case PhaseAwaiting, PhaseBaking, PhaseAnalyzing:
		return s
	}
	return PhaseProgressing
}

func (p *planner) stepStatus(k int) v1alpha1.RolloutStepStatus {
	m, c, t := &p.mem.Steps[k-1], &p.steps[k-1], &p.stats[k-1]
	small := func(n int) int32 { return int32(n) } //nolint:gosec // bounded by members
	s := v1alpha1.RolloutStepStatus{
		Index: small(k), Name: c.name, Total: small(t.total), Waiting: small(t.waiting), Pending: small(t.pending), Progressing: small(t.progressing),
		Healthy: small(t.healthy), Synced: small(t.synced), Failed: small(t.failed), Blocked: small(t.blocked), Batch: m.Batch,
		StartedAt: stamp(m.Started), HealthySince: stamp(m.Healthy), CompletedAt: stamp(m.Completed), BakedSeconds: m.Baked / 1000,
		Approval: m.Approval, Analysis: m.Analysis, Phase: p.stepPhase(k),
	}
	if limit, err := Limit(c.max, t.total); err == nil {
		s.Limit = small(limit)
	}
	if s.PausedSeconds = m.Paused / 1000; k == p.current && m.Started > 0 {
		s.PausedSeconds = (p.mem.PausedFor - m.PausedAt) / 1000
	}
	if m.Runs > 0 && len(p.paused) == 0 && c.stepTimeout > 0 {
		s.Deadline = stamp((m.Runs + c.stepTimeout.Milliseconds() - m.Used + p.mem.PausedFor) / 1000)
	}
	for i := range p.Members {
		if p.Members[i].Class == Skipped && StepOf(p.rolling.Steps, p.Members[i].Rendered.Labels) == k {
			s.Skipped++
		}
	}
	return s
}

func (p *planner) stepPhase(k int) string {
	s, t, c := &p.mem.Steps[k-1], &p.stats[k-1], &p.steps[k-1]
	switch {
	case t.total == 0:
		return StepEmpty
	case p.current == 0 || k < p.current:
		return StepComplete
	case k > p.current:
		return StepPending
	case p.halt != nil:
		return PhaseHalted
	case p.awaits(k):
		return PhaseAwaiting
	case !p.settledStep(k) && c.batchBake > 0 && s.Baking > 0:
		return PhaseBaking
	case !p.settledStep(k) && (t.waiting+t.pending > 0 || p.syncing(k)):
		return StepSyncing
	case !p.settledStep(k) || t.unwell:
		return StepWaitingHealthy
	case s.Baked < max(c.bake, c.batchBake).Milliseconds():
		return PhaseBaking
	case !p.judged(k):
		return PhaseAnalyzing
	}
	return StepWaitingHealthy
}

func (p *planner) syncing(k int) bool {
	for i := range p.entries {
		if p.entries[i].Step == k && p.Members[i].running() {
			return true
		}
	}
	return false
}

// counts counts the Applications by class.
func (p *planner) counts() *v1alpha1.RolloutCounts {
	c := &v1alpha1.RolloutCounts{}
	p.out.Manual = make([]int, len(p.steps))
	for i := range p.Members {
		switch p.Members[i].Class {
		case Managed:
			c.Managed++
		case Manual:
			c.Manual++
			if k := p.Members[i].Step; k >= 1 && k <= len(p.steps) {
				p.out.Manual[k-1]++
			}
		case Unmatched:
			c.Unmatched++
		case Skipped:
			c.Skipped++
		}
		if len(matching(p.rolling.Steps, p.Members[i].Rendered.Labels)) > 1 {
			c.Overlapping++
		}
	}
	return c
}

// rests says that a rollout stands still because it is meant to.
func rests(r *v1alpha1.RolloutStatus) bool {
	switch r.Phase {
	case PhaseAwaiting, PhaseBaking, PhaseRolledBack, PhaseAborted, PhaseDryRun:
		return true
	}
	return r.Pause != nil
}

// stalled tells once when nothing has advanced for long although it should.
func (p *planner) stalled(r *v1alpha1.RolloutStatus) {
	if r.CompletedAt != nil || rests(r) {
		p.mem.Stalled = false
		return
	}
	if p.mem.Progress == 0 || rests(p.before) {
		p.mem.Progress = p.Now.Unix()
	}
	rest := StallTime.Milliseconds() - (p.now - p.mem.Progress*1000)
	switch {
	case rest > 0:
		p.wakeIn(rest)
	case !p.mem.Stalled:
		p.mem.Stalled = true
		p.event(true, "RolloutStalled", fmt.Sprintf("rollout %d has not advanced for %s: %s", p.id, StallTime, p.label(p.current)))
	}
}

// applications projects the record on status.applicationStatus.
func (p *planner) applications() []v1alpha1.ApplicationSetAppStatus {
	if len(p.entries) == 0 {
		return nil
	}
	out := make([]v1alpha1.ApplicationSetAppStatus, len(p.entries))
	numbers := make([]string, len(p.steps)+1)
	for k := range numbers {
		numbers[k] = strconv.Itoa(k)
	}
	numbers[0] = "-1"
	for i := range p.entries {
		e := &p.entries[i]
		a := &out[i]
		*a = v1alpha1.ApplicationSetAppStatus{
			Application: e.Name, Status: e.Status, Reason: e.Reason, Step: numbers[0], TargetRevisions: e.Revisions, SpecHash: e.Spec,
			Batch: e.Batch, Attempt: e.Attempt, LastTransitionTime: stamp(e.Since), Message: p.message(i),
		}
		if e.Step > 0 && e.Step < len(numbers) && p.Members[i].Class != Unmatched {
			a.Step = numbers[e.Step]
		}
		if failure(e.Reason) {
			a.FailedAt = stamp(e.FailedAt / 1000)
		}
		if e.Flags.has(touched) {
			if h := p.point(&p.Members[i], e); h != nil {
				a.Rollback = &v1alpha1.RollbackPoint{HistoryID: h.ID, Revisions: h.Revisions}
				if len(h.Revisions) == 0 {
					a.Rollback.Revisions = []string{h.Revision}
				}
			}
		}
	}
	return out
}

// message says for people where a member stands.
func (p *planner) message(i int) string {
	m, e := &p.Members[i], &p.entries[i]
	switch e.Status {
	case Healthy:
		return "Application resource is Healthy"
	case Pending:
		return "Application syncing"
	case Progressing:
		if m.running() {
			return "Application syncing"
		}
		if m.Live != nil && m.Live.Status.Health.Status != "" {
			return "waiting for health: Application is " + string(m.Live.Status.Health.Status)
		}
		return "waiting for health"
	}
	if text := waitWords[e.Reason]; text != "" {
		return text
	}
	switch {
	case e.Step == 0:
		return "not part of the rollout"
	case p.rolling.DryRun:
		return "waiting: dry run"
	case p.halt != nil:
		return "waiting: the rollout is halted"
	case len(p.paused) > 0:
		return "waiting: the rollout is paused"
	case p.current > 0 && e.Step > p.current:
		return "waiting for step " + strconv.Itoa(p.current)
	case p.window(e.Step).Closed:
		return "waiting for a window to open"
	case e.Step == p.current && p.awaiting(e.Step):
		return "waiting for approval"
	case p.seen[i] == NotKnown:
		return "waiting to be compared with its target"
	}
	return "waiting for its batch"
}

// waitWords explain the reasons of waiting members.
var waitWords = map[string]string{
	ReasonRefreshing:       "waiting to be compared with its target",
	ReasonUnresolved:       "waiting: the revision of its source is not known",
	ReasonInvalid:          "waiting: the Application is not valid, see the condition ErrorOccurred",
	ReasonTerminating:      "waiting: the Application is being deleted",
	ReasonManualRequired:   "waiting for a person to sync it",
	ReasonWindowClosed:     "waiting for a sync window of its project",
	ReasonComparisonFailed: "its manifests cannot be rendered",
	ReasonTimedOut:         "was not Healthy in time",
	ReasonRollingBack:      "waiting to return to what it ran before",
	ReasonRolledBack:       "returned to what it ran before",
	ReasonNoRollbackPoint:  "stays: there is nothing to return to",
}
