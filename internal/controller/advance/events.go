package advance

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// announce emits the events that lie between two stored statuses: once per
// occurrence, because a status is stored once.
func (t *turn) announce(old, now v1alpha1.ApplicationSetStatus) {
	before, after := old.Rollout, now.Rollout
	if after == nil {
		if before != nil {
			t.event(corev1.EventTypeWarning, "RolloutAbandoned", fmt.Sprintf("rollout %d was abandoned: automation of the Applications is restored", before.ID))
		}
		return
	}
	if before == nil {
		before = &v1alpha1.RolloutStatus{}
	}
	if before.ID != after.ID {
		if before.ID > 0 && before.CompletedAt == nil {
			t.event(corev1.EventTypeNormal, "RolloutSuperseded", fmt.Sprintf("rollout %d is superseded by rollout %d", before.ID, after.ID))
		}
		t.event(corev1.EventTypeNormal, "RolloutStarted", fmt.Sprintf("rollout %d started: trigger %s, target %s", after.ID, after.Trigger, targets(after)))
	}
	t.stepEvents(before, after)
	if (before.Pause == nil) != (after.Pause == nil) {
		if after.Pause != nil {
			t.event(corev1.EventTypeNormal, "RolloutPaused", "paused by "+strings.Join(after.Pause.Sources, ", "))
		} else {
			t.event(corev1.EventTypeNormal, "RolloutResumed", fmt.Sprintf("rollout %d goes on", after.ID))
		}
	}
	if after.Halt != nil && (before.Halt == nil || before.Halt.Reason != after.Halt.Reason) {
		t.event(corev1.EventTypeWarning, "RolloutHalted", fmt.Sprintf("rollout %d halted at step %d: %s: %s", after.ID, after.Halt.Step, after.Halt.Reason, strings.Join(after.Halt.Applications, ", ")))
	}
	if after.CompletedAt != nil && (before.CompletedAt == nil || before.ID != after.ID) {
		t.event(corev1.EventTypeNormal, "RolloutCompleted", fmt.Sprintf("rollout %d completed at %s", after.ID, targets(after)))
	}
}

func (t *turn) stepEvents(before, after *v1alpha1.RolloutStatus) {
	for i, s := range after.Steps {
		var was v1alpha1.RolloutStepStatus
		if i < len(before.Steps) && before.ID == after.ID {
			was = before.Steps[i]
		}
		if s.Phase == was.Phase {
			continue
		}
		switch {
		case s.Phase == "Complete" && was.Phase != "":
			t.event(corev1.EventTypeNormal, "RolloutStepCompleted", fmt.Sprintf("rollout %d: step %d completed, %d Applications", after.ID, s.Index, s.Total))
		case after.CurrentStep == s.Index && before.CurrentStep != s.Index:
			t.event(corev1.EventTypeNormal, "RolloutStepStarted", fmt.Sprintf("rollout %d: step %d started, %d Applications, at most %d at a time", after.ID, s.Index, s.Total, s.Limit))
		}
	}
}

func (t *turn) event(kind, reason, message string) {
	t.Recorder.Event(t.set, kind, reason, message)
	t.log.Info(message, "reason", reason)
}

func targets(r *v1alpha1.RolloutStatus) string {
	var out []string
	if r.Target != nil {
		for _, s := range r.Target.Sources {
			out = append(out, s.Revision)
		}
	}
	return strings.Join(out, ", ")
}
