package rollout

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

func timeOf(t *metav1.Time) *time.Time {
	if t == nil || t.IsZero() {
		return nil
	}
	utc := t.UTC()
	return &utc
}

// summarize says in one sentence what the rollout does or waits for, since
// when, until when, and what comes next. What stops it beats what it waits
// for.
func (v *View) summarize(look Look) {
	r := look.Set.Status.Rollout
	step := "the rollout"
	if v.Current > 0 && v.Current <= len(v.Steps) {
		s := &v.Steps[v.Current-1]
		step = stepLabel(v.Current, s.Name)
		v.Summary, v.Next, v.Since = step+" waits for "+s.Waits, v.after(), stepSince(&s.RolloutStepStatus)
	}
	switch {
	case r.Phase == PhaseCompleted || r.Phase == PhaseIdle:
		v.Summary, v.Next, v.Since = "every Application runs its target", "a new revision or a change of the template starts the next rollout", timeOf(r.CompletedAt)
	case r.Phase == PhaseDryRun:
		v.Summary, v.Next = "a dry run: nothing is synced", "set spec.strategy.rollingSync.dryRun to false to begin"
	case r.Halt != nil:
		v.Summary, v.Next, v.Since = step+" is halted: "+haltSummary(look.Set, r.Halt), haltNext(r.Halt), timeOf(r.Halt.Since)
	case r.Pause != nil:
		v.paused(r.Pause)
	case r.Phase == PhaseRollingBack:
		v.Summary, v.Next = "Applications return to what they ran before", "then the target is rejected until a new one arrives"
	case v.Current == 0:
		v.Summary, v.Next, v.Since = "a new revision is being compared with the one before", "if it changes anything, the next rollout begins", timeOf(r.StartedAt)
	default:
		v.clocks(look)
	}
}

// haltSummary says why the rollout is halted.
func haltSummary(set *v1alpha1.ApplicationSet, h *v1alpha1.RolloutHalt) string {
	text := h.Reason
	if len(h.Applications) > 0 {
		text += ": " + strings.Join(h.Applications, ", ")
	}
	for _, c := range set.Status.Conditions {
		if c.Type == v1alpha1.AppSetRolloutHalted && c.Status == "True" && h.Reason == HaltInvalidStrategy {
			text += ": " + c.Message
		}
	}
	return text
}

func (v *View) paused(p *v1alpha1.RolloutPause) {
	v.Summary, v.Next = "paused by "+strings.Join(p.Sources, ", "), "running syncs finish; it goes on when the pause is taken away"
	v.Since, v.Until = timeOf(p.Since), timeOf(p.Until)
	if p.Reason != "" {
		v.Summary += ": " + p.Reason
	}
	if p.Until != nil && len(p.Sources) == 1 {
		v.Next = "it goes on at " + p.Until.UTC().Format(time.RFC3339)
	}
}

// clocks adds what a clock decides: bakes, deadlines and approvals in time.
func (v *View) clocks(look Look) {
	s, mem := &v.Steps[v.Current-1], look.record()
	all := settings(look.Set.Spec.Strategy.RollingSync)
	if v.Current > len(all) || v.Current > len(mem.Steps) {
		return
	}
	c, m := &all[v.Current-1], &mem.Steps[v.Current-1]
	until := func(ms int64) {
		t := time.UnixMilli(ms).UTC()
		v.Until = &t
	}
	switch {
	case s.Phase == PhaseBaking && m.Baking > 0:
		p := &planner{now: look.Now.UnixMilli()}
		rest := max(0, max(c.bake, c.batchBake).Milliseconds()-m.Baked-p.credit(m))
		if s.Healthy < s.Total { // between batches
			rest = max(0, c.batchBake.Milliseconds()-m.Baked-p.credit(m))
		}
		until(p.now + rest)
	case s.Phase == PhaseAwaiting:
		v.Next = "after approval, " + strings.TrimPrefix(v.Next, "then ")
		if c.approval == ApprovalBefore {
			v.Next = fmt.Sprintf("after approval, %s begins: %d Applications, at most %d at a time", stepLabel(v.Current, s.Name), s.Total, s.Limit)
		}
		if c.approvalTimeout > 0 && m.Awaits > 0 {
			until(m.Awaits + c.approvalTimeout.Milliseconds() + mem.PausedFor)
			v.Next += "; without it the rollout halts"
		}
	case s.Deadline != nil:
		v.Until = timeOf(s.Deadline)
		v.Next += fmt.Sprintf("; not complete in time, the step fails (%s)", c.onFailure)
	}
}

// record is what is remembered; nothing when it cannot be read.
func (look Look) record() *memory {
	mem, err := decode(look.Set.Status.Rollout.Record)
	if err != nil {
		return &memory{}
	}
	return mem
}

// stepSince is when a step came into its phase, as far as the status tells.
func stepSince(s *v1alpha1.RolloutStepStatus) *time.Time {
	if s.HealthySince != nil && s.Phase != StepSyncing && s.Phase != StepWaitingHealthy {
		return timeOf(s.HealthySince)
	}
	return timeOf(s.StartedAt)
}

// after says what follows the current step.
func (v *View) after() string {
	for i := v.Current; i < len(v.Steps); i++ {
		if s := &v.Steps[i]; s.Total > 0 {
			return fmt.Sprintf("then %s begins: %d Applications, at most %d at a time", stepLabel(i+1, s.Name), s.Total, s.Limit)
		}
	}
	return "then the rollout is complete"
}

func haltNext(h *v1alpha1.RolloutHalt) string {
	switch {
	case h.Reason == HaltInvalidStrategy:
		return "correct the strategy, see the condition RolloutHalted"
	case h.Reason == HaltStepTimeout:
		return "it goes on when all of the step are Healthy, at a new target, or at a retry"
	case h.Sticky:
		return "it goes on at a new target or at a retry"
	}
	return "it goes on when they recover, or at a new target"
}
