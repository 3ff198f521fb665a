package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// Verb is something that a person can ask of a rollout. API, CLI and UI know
// no other way to steer one (spec/progressive-sync.md §7.3 and §7.9).
type Verb string

// The verbs.
const (
	VerbPause    Verb = "pause"
	VerbResume   Verb = "resume"
	VerbPromote  Verb = "promote"
	VerbRetry    Verb = "retry"
	VerbAbort    Verb = "abort"
	VerbRollback Verb = "rollback"
)

// Verbs lists them in the order in which they are offered.
var Verbs = []Verb{VerbResume, VerbPause, VerbPromote, VerbRetry, VerbAbort, VerbRollback}

// ReadVerb reads a verb as people write it; approve is promote.
func ReadVerb(text string) (Verb, error) {
	v := Verb(text)
	if text == "approve" {
		v = VerbPromote
	}
	if !slices.Contains(Verbs, v) {
		return "", &Refusal{Why: Misread, Text: fmt.Sprintf("%q is nothing that can be asked of a rollout: use pause, resume, promote, retry, abort or rollback", cut(text))}
	}
	return v, nil
}

// Permission is the action on resource applicationsets that the verb needs;
// update implies all of them (spec/progressive-sync.md §7.9).
func (v Verb) Permission() string {
	if v == VerbResume {
		v = VerbPause
	}
	return "rollout/" + string(v)
}

// PermissionRead is the action on resource applicationsets that view and plan
// need.
const PermissionRead = "get"

// annotation that carries the verb.
func (v Verb) annotation() string {
	switch v {
	case VerbPromote:
		return v1alpha1.AnnotationPromoteRollout
	case VerbRetry:
		return v1alpha1.AnnotationRetryRollout
	case VerbAbort:
		return v1alpha1.AnnotationAbortRollout
	case VerbRollback:
		return v1alpha1.AnnotationRollbackRollout
	}
	return v1alpha1.AnnotationPauseRollout
}

// Ask is what a person asks for.
type Ask struct {
	Verb Verb `json:"verb"`
	// Rollout is the number of the rollout that it is meant for. All verbs but
	// pause and resume need it: what was meant for one rollout must not hit the
	// next one, which may have begun a moment ago.
	Rollout int64 `json:"rollout,omitempty"`
	// Step to promote, by name or number; empty is the one that waits.
	Step string `json:"step,omitempty"`
	// Reason for a pause, at most 256 characters, shown in the status.
	Reason string `json:"reason,omitempty"`
}

// Edit is what carries a request to the controller: annotations of the
// ApplicationSet to set and to remove. Without any there is nothing to write.
type Edit struct {
	Set    map[string]string `json:"set,omitempty"`
	Remove []string          `json:"remove,omitempty"`
	// Note says what people may not expect; empty when there is nothing.
	Note string `json:"note,omitempty"`
}

// Refused is why a request is refused.
type Refused string

// Kinds of refusals: the request cannot be understood; it is meant for a
// rollout that is not the current one; the rollout is not in a state for it.
const (
	Misread Refused = "Misread"
	Stale   Refused = "Stale"
	NotNow  Refused = "NotNow"
)

// Refusal is an error of Request.
type Refusal struct {
	Why  Refused
	Text string
}

func (r *Refusal) Error() string { return r.Text }

// WhyRefused is the kind of a refusal in err; empty when there is none.
func WhyRefused(err error) Refused {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Why
	}
	return ""
}

// maxReason bounds the reason of a pause.
const maxReason = 256

// Request turns a person's request into what must be written, or says why not:
// errors are Refusals. Gate is --enable-progressive-syncs.
func Request(set *v1alpha1.ApplicationSet, gate bool, ask Ask) (Edit, error) {
	verb, err := ReadVerb(string(ask.Verb))
	if err != nil {
		return Edit{}, err
	}
	ask.Verb = verb
	refuse := func(why Refused, format string, args ...any) (Edit, error) {
		return Edit{}, &Refusal{Why: why, Text: fmt.Sprintf("ApplicationSet %s: ", set.Name) + fmt.Sprintf(format, args...)}
	}
	if !Rolling(set, gate) {
		_, words := Ignored(set, gate)
		if words == "" {
			words = "spec.strategy.type is not RollingSync"
		}
		return refuse(NotNow, "there is no rollout to %s: %s", ask.Verb, words)
	}
	switch ask.Verb {
	case VerbPause:
		return pauseEdit(ask)
	case VerbResume:
		if why := impossible(set, ask.Verb); why != "" {
			return refuse(NotNow, "%s", why)
		}
		return resumeEdit(set), nil
	}
	r := set.Status.Rollout
	switch {
	case r == nil:
		return refuse(NotNow, "no rollout has begun yet: ask again in a moment")
	case ask.Rollout == 0:
		return refuse(Misread, "rollout: say which rollout is meant; the current one is %d", r.ID)
	case ask.Rollout != r.ID:
		return refuse(Stale, "rollout %d is not the current one, which is %d: look at it, and ask again", ask.Rollout, r.ID)
	}
	step := 0
	if ask.Verb == VerbPromote {
		if step, err = promoted(r, ask.Step); err != nil {
			return refuse(WhyRefused(err), "%s", err)
		}
		if all := settings(set.Spec.Strategy.RollingSync); step <= len(all) && all[step-1].approval == ApprovalNone {
			return refuse(NotNow, "%s asks for no approval", stepLabel(step, r.Steps[step-1].Name))
		}
		if a := r.Steps[step-1].Approval; a != nil && a.State == ApprovalApproved {
			return Edit{Note: fmt.Sprintf("%s is approved already%s", stepLabel(step, r.Steps[step-1].Name), signed(a.By))}, nil
		}
	} else if why := impossible(set, ask.Verb); why != "" {
		return refuse(NotNow, "%s", why)
	}
	key, value := ask.Verb.annotation(), carry(ask.Verb, r.ID, step)
	if before, there := set.Annotations[key]; there && before != value {
		return refuse(NotNow, "the controller has not taken in %s %q yet: ask again in a moment", strings.TrimPrefix(key, "argocd.argoproj.io/"), cut(before))
	}
	return Edit{Set: map[string]string{key: value}}, nil
}

// carry is the value of the annotation for a verb.
func carry(v Verb, rollout int64, step int) string {
	if v == VerbPromote {
		return fmt.Sprintf("%d/%d", rollout, step)
	}
	return strconv.FormatInt(rollout, 10)
}

func pauseEdit(ask Ask) (Edit, error) {
	reason := strings.TrimSpace(ask.Reason)
	if len([]rune(reason)) > maxReason || strings.ContainsFunc(reason, unicode.IsControl) {
		return Edit{}, &Refusal{Why: Misread, Text: fmt.Sprintf("reason: write at most %d characters in one line", maxReason)}
	}
	edit := Edit{Set: map[string]string{v1alpha1.AnnotationPauseRollout: "true"}}
	if reason == "" {
		edit.Remove = []string{v1alpha1.AnnotationPauseReason}
	} else {
		edit.Set[v1alpha1.AnnotationPauseReason] = reason
	}
	return edit, nil
}

// resumeEdit takes the annotation away; another pause may stand.
func resumeEdit(set *v1alpha1.ApplicationSet) Edit {
	edit := Edit{Remove: []string{v1alpha1.AnnotationPauseRollout, v1alpha1.AnnotationPauseReason}}
	if others := otherPauses(set); others != "" {
		edit.Note = "still " + others
	}
	return edit
}

// otherPauses says what else than the annotation pauses the rollout.
func otherPauses(set *v1alpha1.ApplicationSet) string {
	r := set.Status.Rollout
	switch {
	case set.Spec.Strategy.RollingSync.Paused:
		return "paused by spec.strategy.rollingSync.paused: set it to false in the manifest"
	case r != nil && r.Pause != nil && slices.Contains(r.Pause.Sources, "Window"):
		return "paused by a window of spec.strategy.rollingSync.windows, which opens by itself"
	}
	return ""
}

// promoted finds the step that a request names.
func promoted(r *v1alpha1.RolloutStatus, name string) (int, error) {
	for i := range r.Steps {
		s := &r.Steps[i]
		switch {
		case name == "" && s.Approval != nil && s.Approval.State == ApprovalAwaiting:
			return i + 1, nil
		case name == "":
		case s.Name == name || strconv.Itoa(i+1) == name:
			return i + 1, nil
		}
	}
	if name == "" {
		return 0, &Refusal{Why: NotNow, Text: fmt.Sprintf("no step of rollout %d waits for approval: name the step to approve it beforehand", r.ID)}
	}
	return 0, &Refusal{Why: Misread, Text: fmt.Sprintf("step %q does not exist: use the name or number of one of the %d steps", cut(name), len(r.Steps))}
}

// impossible says why a verb other than promote has nothing to act on; empty
// when it has.
func impossible(set *v1alpha1.ApplicationSet, v Verb) string {
	r := set.Status.Rollout
	if v == VerbResume {
		if pausedByHand(set) {
			return ""
		}
		if others := otherPauses(set); others != "" {
			return "the rollout is " + others
		}
		return "the rollout is not paused"
	}
	switch {
	case v == VerbPause:
		return ""
	case v == VerbRetry && (r.CompletedAt != nil || r.Halt == nil && failedMembers(r) == 0):
		return fmt.Sprintf("rollout %d has no failure to retry", r.ID)
	case v == VerbRetry && r.Halt != nil && r.Halt.Reason == HaltInvalidStrategy:
		return "the strategy is not valid: correct it, see the condition RolloutHalted"
	case v == VerbAbort && r.CompletedAt != nil:
		return fmt.Sprintf("rollout %d is complete: there is nothing to abort", r.ID)
	case v == VerbAbort && (r.Phase == PhaseAborted || r.Phase == PhaseRolledBack):
		return fmt.Sprintf("rollout %d is %s already", r.ID, r.Phase)
	case v == VerbRollback && (r.Phase == PhaseRollingBack || r.Phase == PhaseRolledBack):
		return fmt.Sprintf("rollout %d is %s already", r.ID, r.Phase)
	case v == VerbRollback && (r.Phase == PhaseIdle || r.Phase == PhaseDryRun):
		return fmt.Sprintf("rollout %d has synced nothing that could be returned", r.ID)
	}
	return ""
}

// pausedByHand says that the annotation pauses the rollout.
func pausedByHand(set *v1alpha1.ApplicationSet) bool {
	v, ok := set.Annotations[v1alpha1.AnnotationPauseRollout]
	return ok && !strings.EqualFold(v, "false")
}

func failedMembers(r *v1alpha1.RolloutStatus) int {
	n := 0
	for i := range r.Steps {
		n += int(r.Steps[i].Failed)
	}
	return n
}

// managerPrefix marks the field manager of an annotation as a user of the API.
const managerPrefix = "user:"

// maxManager is what the API server takes as the name of a field manager.
const maxManager = 128

// Manager is the field manager under which an Edit is written for a user of
// the API: so the one who approves is recorded with what he wrote, in one
// write. Whoever may write the ApplicationSet himself may claim any name.
func Manager(user string) string {
	out := []rune(managerPrefix)
	for _, r := range user {
		if !unicode.IsPrint(r) {
			r = '?'
		}
		if len(string(out))+len(string(r)) > maxManager {
			break
		}
		out = append(out, r)
	}
	return string(out)
}

// Actor is the person behind a field manager: the user of the API, or the
// manager itself (such as kubectl-annotate).
func Actor(manager string) string { return strings.TrimPrefix(manager, managerPrefix) }
