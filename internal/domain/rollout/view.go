package rollout

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// View answers, from the stored status alone, what people ask of a rollout:
// which step, which Applications, waiting for what since when, what happens
// next, and what a person can do. API, CLI and UI show it as it is.
type View struct {
	ID      int64      `json:"id"`
	Phase   string     `json:"phase"`
	Trigger string     `json:"trigger,omitempty"`
	Started *time.Time `json:"startedAt,omitempty"`
	// Summary is one sentence: what the rollout does or waits for.
	Summary string `json:"summary"`
	// Since is when that began.
	Since *time.Time `json:"since,omitempty"`
	// Next is what happens when that is over.
	Next    string                   `json:"next,omitempty"`
	Target  []v1alpha1.RolloutSource `json:"target,omitempty"`
	Queued  []v1alpha1.RolloutSource `json:"queued,omitempty"`
	Current int                      `json:"currentStep"`
	Steps   []StepView               `json:"steps"`
	// Blocking are the Applications that hold the current step.
	Blocking []ApplicationView `json:"blocking,omitempty"`
	// Actions are what a person can do now.
	Actions []Action `json:"actions,omitempty"`
}

// StepView is a step for people.
type StepView struct {
	v1alpha1.RolloutStepStatus
	// Title is name or number.
	Title string `json:"title"`
	// Waits says what the step waits for.
	Waits string `json:"waits,omitempty"`
}

// ApplicationView is an Application that is not where it should be.
type ApplicationView struct {
	Name    string     `json:"name"`
	Step    string     `json:"step"`
	Status  string     `json:"status"`
	Reason  string     `json:"reason,omitempty"`
	Message string     `json:"message"`
	Since   *time.Time `json:"since,omitempty"`
}

// Action is something that a person can do, with the annotation that does it.
type Action struct {
	// Name is pause, resume, promote, retry, abort or rollback.
	Name string `json:"name"`
	// Why says what it does now.
	Why string `json:"why"`
	// Annotation and Value on the ApplicationSet; an empty Value removes it.
	Annotation string `json:"annotation"`
	Value      string `json:"value,omitempty"`
}

// Explain makes the view; nil when the set has no rollout.
func Explain(set *v1alpha1.ApplicationSet) *View {
	r := set.Status.Rollout
	if r == nil {
		return nil
	}
	v := &View{ID: r.ID, Phase: r.Phase, Trigger: r.Trigger, Current: int(r.CurrentStep)}
	if r.StartedAt != nil {
		v.Started = &r.StartedAt.Time
	}
	if r.Target != nil {
		v.Target = r.Target.Sources
	}
	if r.Queued != nil {
		v.Queued = r.Queued.Sources
	}
	for i := range r.Steps {
		s := &r.Steps[i]
		v.Steps = append(v.Steps, StepView{RolloutStepStatus: *s, Title: cmp.Or(s.Name, fmt.Sprint(s.Index)), Waits: stepWaits(s)})
	}
	v.blocking(set)
	v.summarize(r)
	v.actions(set, r)
	return v
}

func stepWaits(s *v1alpha1.RolloutStepStatus) string {
	switch s.Phase {
	case StepPending:
		return "the steps before it"
	case StepSyncing:
		return fmt.Sprintf("%d of %d Applications to be synced", s.Total-s.Healthy, s.Total)
	case StepWaitingHealthy:
		return fmt.Sprintf("%d of %d Applications to become Healthy", s.Total-s.Healthy, s.Total)
	case PhaseBaking:
		return fmt.Sprintf("its bake time, %d s so far", s.BakedSeconds)
	case PhaseAnalyzing:
		return "its metrics"
	case PhaseAwaiting:
		return "approval"
	case PhaseHalted:
		return "a person, or recovery"
	}
	return ""
}

// blocking lists members of the current step that are not Healthy, at most
// fifty.
func (v *View) blocking(set *v1alpha1.ApplicationSet) {
	current := fmt.Sprint(v.Current)
	for i := range set.Status.ApplicationStatus {
		a := &set.Status.ApplicationStatus[i]
		if v.Current == 0 || a.Step != current || a.Status == Healthy || len(v.Blocking) >= 50 {
			continue
		}
		view := ApplicationView{Name: a.Application, Step: a.Step, Status: a.Status, Reason: a.Reason, Message: a.Message}
		if a.LastTransitionTime != nil {
			view.Since = &a.LastTransitionTime.Time
		}
		v.Blocking = append(v.Blocking, view)
	}
}

func (v *View) summarize(r *v1alpha1.RolloutStatus) {
	step := "the rollout"
	if v.Current > 0 && v.Current <= len(v.Steps) {
		s := v.Steps[v.Current-1]
		step = stepLabel(v.Current, s.Name)
		v.Summary, v.Next = step+" waits for "+s.Waits, v.after()
		v.Since = timeOf(&s.RolloutStepStatus)
	}
	switch {
	case r.Phase == PhaseCompleted || r.Phase == PhaseIdle:
		v.Summary, v.Next = "every Application runs its target", "a new revision or a change of the template starts the next rollout"
		if r.CompletedAt != nil {
			v.Since = &r.CompletedAt.Time
		}
	case r.Phase == PhaseDryRun:
		v.Summary, v.Next = "a dry run: nothing is synced", "set spec.strategy.rollingSync.dryRun to false to begin"
	case r.Halt != nil:
		v.Summary, v.Next = fmt.Sprintf("%s is halted: %s", step, r.Halt.Reason), haltNext(r.Halt)
		if len(r.Halt.Applications) > 0 {
			v.Summary += ": " + strings.Join(r.Halt.Applications, ", ")
		}
		if r.Halt.Since != nil {
			v.Since = &r.Halt.Since.Time
		}
	case r.Pause != nil:
		v.Summary, v.Next = "paused by "+strings.Join(r.Pause.Sources, ", "), "running syncs finish; it goes on when the pause is taken away"
		if r.Pause.Until != nil {
			v.Next = "it goes on at " + r.Pause.Until.UTC().Format(time.RFC3339)
		}
		if r.Pause.Since != nil {
			v.Since = &r.Pause.Since.Time
		}
	case r.Phase == PhaseRollingBack:
		v.Summary, v.Next = "Applications return to what they ran before", "then the target is rejected until a new one arrives"
	}
}

func timeOf(s *v1alpha1.RolloutStepStatus) *time.Time {
	if s.HealthySince != nil && s.Phase != StepSyncing && s.Phase != StepWaitingHealthy {
		return &s.HealthySince.Time
	}
	if s.StartedAt != nil {
		return &s.StartedAt.Time
	}
	return nil
}

// after says what follows the current step.
func (v *View) after() string {
	for i := v.Current; i < len(v.Steps); i++ {
		if s := v.Steps[i]; s.Total > 0 {
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

// actions lists what a person can do now.
func (v *View) actions(set *v1alpha1.ApplicationSet, r *v1alpha1.RolloutStatus) {
	id := fmt.Sprint(r.ID)
	add := func(name, why, annotation, value string) {
		v.Actions = append(v.Actions, Action{Name: name, Why: why, Annotation: annotation, Value: value})
	}
	if _, paused := set.Annotations[v1alpha1.AnnotationPauseRollout]; paused {
		add("resume", "take the pause away", v1alpha1.AnnotationPauseRollout, "")
	} else {
		add("pause", "let running syncs finish and pick up nothing more", v1alpha1.AnnotationPauseRollout, "true")
	}
	running := r.CompletedAt == nil
	for i := range v.Steps {
		if a := v.Steps[i].Approval; a != nil && a.State == ApprovalAwaiting {
			add("promote", "approve "+stepLabel(i+1, v.Steps[i].Name), v1alpha1.AnnotationPromoteRollout, fmt.Sprintf("%s/%d", id, i+1))
		}
	}
	if running && r.Halt != nil && r.Halt.Reason != HaltInvalidStrategy {
		add("retry", "clear failures and try failed Applications again", v1alpha1.AnnotationRetryRollout, id)
	}
	if running && r.Phase != PhaseAborted && r.Phase != PhaseRolledBack {
		add("abort", "sync nothing more until the target changes", v1alpha1.AnnotationAbortRollout, id)
	}
	if r.Phase != PhaseRollingBack && r.Phase != PhaseRolledBack && r.Phase != PhaseIdle && r.Phase != PhaseDryRun {
		add("rollback", "return what this rollout has synced to what it ran before", v1alpha1.AnnotationRollbackRollout, id)
	}
}
