package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// View answers what people ask of a rollout: which step, which Applications,
// waiting for what since when, what happens next, and what a person can do.
// API, CLI and UI show it as it is.
type View struct {
	// Ignored is the reason why the strategy has no effect, Summary says it in
	// words; then there is no rollout and every other field is empty.
	Ignored   string     `json:"ignored,omitempty"`
	ID        int64      `json:"id"`
	Phase     string     `json:"phase"`
	Trigger   string     `json:"trigger,omitempty"`
	Started   *time.Time `json:"startedAt,omitempty"`
	Completed *time.Time `json:"completedAt,omitempty"`
	// Summary is one sentence: what the rollout does or waits for.
	Summary string `json:"summary"`
	// Since is when that began, Until when it ends by itself at the earliest or
	// fails at the latest, as Next says; nil when no clock decides.
	Since *time.Time `json:"since,omitempty"`
	Until *time.Time `json:"until,omitempty"`
	// Next is what happens when that is over.
	Next   string                   `json:"next,omitempty"`
	Target []v1alpha1.RolloutSource `json:"target,omitempty"`
	// Queued is what the next rollout will bring, with onNewTarget: Queue.
	Queued  []v1alpha1.RolloutSource `json:"queued,omitempty"`
	Current int                      `json:"currentStep"`
	Steps   []StepView               `json:"steps"`
	Pause   *v1alpha1.RolloutPause   `json:"pause,omitempty"`
	Halt    *v1alpha1.RolloutHalt    `json:"halt,omitempty"`
	Counts  *v1alpha1.RolloutCounts  `json:"counts,omitempty"`
	// Blocking are the Applications that hold the current step, Elsewhere those
	// of other steps that are under way or that something is wrong with; at
	// most fifty of each, More counts the others.
	Blocking  []ApplicationView `json:"blocking,omitempty"`
	Elsewhere []ApplicationView `json:"elsewhere,omitempty"`
	More      int               `json:"more,omitempty"`
	// Warnings are conditions of the set that do not stop the rollout, but that
	// a person should know of.
	Warnings []string `json:"warnings,omitempty"`
	// Actions are what a person can do now.
	Actions []Action                  `json:"actions,omitempty"`
	History []v1alpha1.RolloutHistory `json:"history,omitempty"`
}

// StepView is a step for people.
type StepView struct {
	v1alpha1.RolloutStepStatus
	// Title is name or number.
	Title string `json:"title"`
	// Selects says in words which Applications belong to it.
	Selects string `json:"selects"`
	// Waits says what the step waits for.
	Waits string `json:"waits,omitempty"`
	// BakeSeconds is how long it must stay Healthy.
	BakeSeconds int64 `json:"bakeSeconds,omitempty"`
	// OnFailure is what happens when it fails.
	OnFailure string `json:"onFailure"`
}

// ApplicationView is an Application that is not where it should be.
type ApplicationView struct {
	Name    string `json:"name"`
	Step    string `json:"step"`
	Batch   int32  `json:"batch,omitempty"`
	Attempt int32  `json:"attempt,omitempty"`
	Status  string `json:"status"`
	Reason  string `json:"reason,omitempty"`
	// Message says what it waits for, since Since.
	Message string     `json:"message"`
	Since   *time.Time `json:"since,omitempty"`
	// Health, Sync, Operation and Problem are those of the Application now:
	// its running or last operation, and the first of its errors.
	Health    v1alpha1.HealthStatusCode `json:"health,omitempty"`
	Sync      v1alpha1.SyncStatusCode   `json:"sync,omitempty"`
	Operation string                    `json:"operation,omitempty"`
	Problem   string                    `json:"problem,omitempty"`
}

// Action is something that a person can do, with the annotation that does it.
type Action struct {
	Verb Verb `json:"verb"`
	// Ask is what the API is to be asked; Annotation and Value on the
	// ApplicationSet do the same, an empty Value removes it.
	Ask        Ask    `json:"ask"`
	Why        string `json:"why"`
	Permission string `json:"permission"`
	Annotation string `json:"annotation"`
	Value      string `json:"value,omitempty"`
}

// Look is everything that Explain looks at.
type Look struct {
	Set *v1alpha1.ApplicationSet
	// Applications of the set, as far as they are known; nil leaves out what
	// only they can tell.
	Applications []v1alpha1.Application
	// Gate is --enable-progressive-syncs.
	Gate bool
	Now  time.Time
}

// Explain makes the view from what is stored; nil when the set has neither a
// rollout nor a strategy that is ignored.
func Explain(look Look) *View {
	set := look.Set
	if reason, words := Ignored(set, look.Gate); reason != "" {
		return &View{Ignored: reason, Summary: words, Steps: []StepView{}}
	}
	r := set.Status.Rollout
	if r == nil || !Rolling(set, look.Gate) {
		return nil
	}
	v := &View{
		ID: r.ID, Phase: r.Phase, Trigger: r.Trigger, Current: int(r.CurrentStep), Started: timeOf(r.StartedAt), Completed: timeOf(r.CompletedAt),
		Pause: r.Pause, Halt: r.Halt, Counts: r.Counts, History: r.History, Steps: []StepView{},
	}
	if r.Target != nil {
		v.Target = r.Target.Sources
	}
	if r.Queued != nil {
		v.Queued = r.Queued.Sources
	}
	all := settings(set.Spec.Strategy.RollingSync)
	for i := range r.Steps {
		s := &r.Steps[i]
		view := StepView{RolloutStepStatus: *s, Title: cmp.Or(s.Name, strconv.Itoa(int(s.Index)))}
		if i < len(all) {
			view.BakeSeconds, view.OnFailure = int64(max(all[i].bake, all[i].batchBake).Seconds()), all[i].onFailure
			view.Selects = selects(set, i)
		}
		view.Waits = stepWaits(&view)
		v.Steps = append(v.Steps, view)
	}
	v.applications(look)
	v.summarize(look)
	v.warnings(set)
	v.actions(set)
	return v
}

// selects says in words what a step selects.
func selects(set *v1alpha1.ApplicationSet, i int) string {
	steps := set.Spec.Strategy.RollingSync.Steps
	if i >= len(steps) {
		return "Applications that match no step"
	}
	var all []string
	for _, e := range steps[i].MatchExpressions {
		text := strings.TrimSpace(e.Key + " " + e.Operator + " " + strings.Join(e.Values, ", "))
		all = append(all, text)
	}
	if len(all) == 0 {
		return "every Application"
	}
	return strings.Join(all, " and ")
}

func stepWaits(s *StepView) string {
	open := s.Total - s.Healthy
	switch s.Phase {
	case StepPending:
		return "the steps before it"
	case StepSyncing:
		return fmt.Sprintf("%d of %d Applications to be synced", open, s.Total)
	case StepWaitingHealthy:
		if open == 0 {
			return "its gate to open"
		}
		return fmt.Sprintf("%d of %d Applications to become Healthy", open, s.Total)
	case PhaseBaking:
		return fmt.Sprintf("its bake time: %d of %d s", s.BakedSeconds, s.BakeSeconds)
	case PhaseAnalyzing:
		return "its metrics"
	case PhaseAwaiting:
		return "approval"
	case PhaseHalted:
		return "a person, or recovery"
	}
	return ""
}

// most is how many Applications each list of a view holds.
const most = 50

// applications lists members of the current step that are not Healthy, and
// those of others that are under way or have a reason to be looked at.
func (v *View) applications(look Look) {
	live := make(map[string]*v1alpha1.Application, len(look.Applications))
	for i := range look.Applications {
		live[look.Applications[i].Name] = &look.Applications[i]
	}
	current, after := strconv.Itoa(v.Current), v.Current > len(look.Set.Spec.Strategy.RollingSync.Steps)
	for i := range look.Set.Status.ApplicationStatus {
		a := &look.Set.Status.ApplicationStatus[i]
		into := &v.Elsewhere
		switch here := v.Current > 0 && (a.Step == current || after && a.Step == "-1" && !outsider(a.Reason)); {
		case here && a.Status != Healthy:
			into = &v.Blocking
		case noteworthy(a):
		default:
			continue
		}
		if len(*into) >= most {
			v.More++
			continue
		}
		*into = append(*into, applicationView(a, live[a.Application]))
	}
}

// outsider says that an Application takes part in no step, not even in the one
// of those that match none.
func outsider(reason string) bool {
	return slices.Contains([]Class{Unmatched, Skipped, Manual}, Class(reason))
}

// noteworthy says that an Application that holds nothing is worth a look.
func noteworthy(a *v1alpha1.ApplicationSetAppStatus) bool {
	switch a.Reason {
	case "", ReasonUnmatched, ReasonRefreshing:
		return a.Status == Pending || a.Status == Progressing
	}
	return true
}

func applicationView(a *v1alpha1.ApplicationSetAppStatus, live *v1alpha1.Application) ApplicationView {
	out := ApplicationView{
		Name: a.Application, Step: a.Step, Batch: a.Batch, Attempt: a.Attempt, Status: a.Status, Reason: a.Reason,
		Message: a.Message, Since: timeOf(a.LastTransitionTime),
	}
	if out.Message == "" {
		out.Message = cmp.Or(waitWords[a.Reason], reasonWords[a.Reason], "it is "+a.Status)
	}
	if words := reasonWords[a.Reason]; words != "" && out.Message != words {
		out.Message += ": " + words
	}
	if live == nil {
		return out
	}
	out.Health, out.Sync = live.Status.Health.Status, live.Status.Sync.Status
	switch state := live.Status.OperationState; {
	case state != nil:
		out.Operation = string(state.Phase)
		if state.Message != "" {
			out.Operation += ": " + state.Message
		}
	case live.Operation != nil:
		out.Operation = "requested"
	}
	for _, c := range live.Status.Conditions {
		if strings.HasSuffix(c.Type, "Error") {
			out.Problem = c.Type + ": " + c.Message
			break
		}
	}
	return out
}

// reasonWords explain reasons that need more than the message says.
var reasonWords = map[string]string{
	ReasonSyncFailed:        "its sync failed and is not tried again by itself",
	ReasonHealthDegraded:    "it has been Degraded for longer than failureGracePeriod",
	ReasonNoSyncNeeded:      "it needs no sync, so the rollout cannot heal it",
	ReasonManualSync:        "a person syncs it",
	ReasonManualOverride:    "a person has brought it to another revision, where it stays until the next target",
	ReasonFinishingPrevious: "it finishes the sync of the target before",
	ReasonRegressed:         "it lost its health after its step was complete",
	ReasonRemaining:         "differences remain after its sync and are accepted",
	ReasonSelfHealing:       "it drifted and is being healed",
	ReasonTimedOut:          "was not Healthy in time",
}

// warnings takes over the conditions that people should know of.
func (v *View) warnings(set *v1alpha1.ApplicationSet) {
	for _, kind := range []string{v1alpha1.AppSetErrorOccurred, v1alpha1.AppSetStepSelectorOverlap, v1alpha1.AppSetUnmatchedApplications, v1alpha1.AppSetManualSync} {
		i := slices.IndexFunc(set.Status.Conditions, func(c v1alpha1.ApplicationSetCondition) bool { return c.Type == kind && c.Status == "True" })
		if i >= 0 {
			v.Warnings = append(v.Warnings, set.Status.Conditions[i].Message)
		}
	}
}

// actions lists what a person can do now.
func (v *View) actions(set *v1alpha1.ApplicationSet) {
	add := func(verb Verb, step int, why, value string) {
		ask := Ask{Verb: verb}
		if verb != VerbPause && verb != VerbResume {
			ask.Rollout = v.ID
		}
		if step > 0 {
			ask.Step = strconv.Itoa(step)
		}
		v.Actions = append(v.Actions, Action{Verb: verb, Ask: ask, Why: why, Permission: verb.Permission(), Annotation: verb.annotation(), Value: value})
	}
	if pausedByHand(set) {
		add(VerbResume, 0, "take the pause away", "")
	} else {
		add(VerbPause, 0, "let running syncs finish and pick up nothing more", "true")
	}
	for i := range v.Steps {
		if a := v.Steps[i].Approval; a != nil && a.State == ApprovalAwaiting {
			add(VerbPromote, i+1, "approve "+stepLabel(i+1, v.Steps[i].Name), carry(VerbPromote, v.ID, i+1))
		}
	}
	for _, offer := range []struct {
		verb Verb
		why  string
	}{
		{VerbRetry, "clear failures and try failed Applications again"},
		{VerbAbort, "sync nothing more until the target changes"},
		{VerbRollback, "return what this rollout has synced to what it ran before"},
	} {
		if impossible(set, offer.verb) == "" {
			add(offer.verb, 0, offer.why, carry(offer.verb, v.ID, 0))
		}
	}
}
