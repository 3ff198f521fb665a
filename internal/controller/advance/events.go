package advance

import (
	"fmt"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// changes are the events that lie between two stored statuses and are not the
// planner's: that the strategy has no effect, and that a rollout is abandoned.
func (t *turn) changes(old, now v1alpha1.ApplicationSetStatus) []rollout.Event {
	var out []rollout.Event
	if c := conditionOf(now, v1alpha1.AppSetStrategyIgnored); c != nil {
		if was := conditionOf(old, v1alpha1.AppSetStrategyIgnored); was == nil || was.Reason != c.Reason {
			reason := "RolloutStrategyIgnored"
			if c.Reason == "ProgressiveSyncsDisabled" {
				reason = c.Reason
			}
			t.log.Warn("strategy has no effect", "reason", c.Reason, "message", c.Message)
			out = append(out, rollout.Event{Warning: true, Reason: reason, Message: c.Message})
		}
	}
	if old.Rollout != nil && old.Rollout.CompletedAt == nil && now.Rollout == nil {
		out = append(out, rollout.Event{Warning: true, Reason: "RolloutAbandoned", Message: fmt.Sprintf("rollout %d is abandoned: automation of the Applications is restored, what is outdated syncs at once", old.Rollout.ID)})
	}
	return out
}

func conditionOf(s v1alpha1.ApplicationSetStatus, kind string) *v1alpha1.ApplicationSetCondition {
	for i := range s.Conditions {
		if c := &s.Conditions[i]; c.Type == kind && c.Status == "True" {
			return c
		}
	}
	return nil
}
