package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

func (w *World) expect(args []string) error {
	what, words := args[0], args[1:]
	switch what {
	case "syncing":
		want := spread(words)
		if got := w.Syncing(); !slices.Equal(got, want) {
			return fmt.Errorf("syncing %v", got)
		}
		return nil
	case "waiting", "healthy", "progressing", "pending":
		for _, n := range spread(words) {
			if got := w.Status(n); !strings.EqualFold(got.Status, what) {
				return fmt.Errorf("%s is %s %s", n, got.Status, got.Reason)
			}
		}
		return nil
	case "complete":
		if r := w.Set.Status.Rollout; r.CurrentStep != 0 || r.CompletedAt == nil || len(w.Syncing()) > 0 {
			return fmt.Errorf("step %d, phase %s, syncing %v", r.CurrentStep, r.Phase, w.Syncing())
		}
		return nil
	case "says": // the words of a condition
		if text, want := w.words(words[0]), strings.Join(words[1:], " "); !strings.Contains(text, want) {
			return fmt.Errorf("it says %q", text)
		}
		return nil
	case "quiet": // nothing is written although the planner is called
		before := w.Writes
		for range 100 {
			w.Rest()
		}
		if w.Writes != before {
			return fmt.Errorf("%d writes", w.Writes-before)
		}
		return nil
	}
	if got, known := w.inhabitants(what); known {
		if !slices.Equal(got, spread(words)) {
			return fmt.Errorf("%s are %v", what, got)
		}
		return nil
	}
	if got, known := w.fact(what, words); known {
		if want := words[len(words)-1]; got != want {
			return fmt.Errorf("it is %q", got)
		}
		return nil
	}
	return w.expectCondition(what, words)
}

// fact is a value of the world that a script compares with its last word.
func (w *World) fact(what string, words []string) (string, bool) {
	r := w.Set.Status.Rollout
	word := words
	if len(word) == 0 {
		word = []string{""}
	}
	switch what {
	case "step":
		return fmt.Sprint(r.CurrentStep), true
	case "rollout":
		return fmt.Sprint(r.ID), true
	case "phase":
		return r.Phase, true
	case "trigger":
		return r.Trigger, true
	case "target":
		return r.Target.Sources[0].Revision, true
	case "queued":
		return r.Queued.Sources[0].Revision, true
	case "operations":
		return fmt.Sprint(len(w.Issued)), true
	case "records":
		return fmt.Sprint(len(w.Set.Status.ApplicationStatus)), true
	case "erased":
		return w.erased(), true
	case "reason":
		return w.Status(word[0]).Reason, true
	case "no-reason":
		return w.Status(word[0]).Reason + word[0], true
	case "instep":
		return w.Status(word[0]).Step, true
	case "attempt":
		return fmt.Sprint(w.Status(word[0]).Attempt), true
	case "message":
		return strings.ReplaceAll(w.Status(word[0]).Message, " ", "_"), true
	case "event":
		n := 0
		for _, e := range w.Events {
			if e.Reason == word[0] {
				n++
			}
		}
		return fmt.Sprint(n), true
	case "history":
		for _, h := range r.History {
			if fmt.Sprint(h.ID) == word[0] {
				return h.Result, true
			}
		}
		return "", true
	case "until": // how long a pause lasts
		if r.Pause == nil || r.Pause.Until == nil {
			return "", true
		}
		return r.Pause.Until.Sub(w.Now).String(), true
	case "rejected":
		return fmt.Sprint(len(r.RejectedTargets)), true
	case "approver":
		n, _ := strconv.Atoi(word[0])
		if a := r.Steps[n-1].Approval; a != nil {
			return a.By, true
		}
		return "", true
	case "annotation":
		_, ok := w.Set.Annotations["argocd.argoproj.io/"+word[0]]
		return strconv.FormatBool(ok), true
	}
	if got, known := w.operationFact(what, word); known {
		return got, true
	}
	return w.stepFact(what, word)
}

// operationFact is about the last operation that the rollout issued.
func (w *World) operationFact(what string, word []string) (string, bool) {
	last := rollout.Operation{}
	for _, op := range w.Issued {
		if op.Application == word[0] {
			last = op
		}
	}
	switch what {
	case "revision":
		return strings.Join(last.Revisions, ","), true
	case "kind":
		return string(last.Kind), true
	case "prune":
		return strconv.FormatBool(last.Prune), true
	case "path":
		if len(last.Sources) == 0 {
			return "", true
		}
		return last.Sources[0].Path, true
	case "runs": // what is deployed
		return w.deployed[word[0]], true
	}
	return "", false
}

func (w *World) stepFact(what string, word []string) (string, bool) {
	n, err := strconv.Atoi(word[0])
	if err != nil || n < 1 || n > len(w.Set.Status.Rollout.Steps) {
		return "", false
	}
	s := w.Set.Status.Rollout.Steps[n-1]
	switch what {
	case "step-phase":
		return s.Phase, true
	case "limit":
		return fmt.Sprint(s.Limit), true
	case "total":
		return fmt.Sprint(s.Total), true
	case "failed":
		return fmt.Sprint(s.Failed), true
	case "blocked":
		return fmt.Sprint(s.Blocked), true
	case "batch":
		return fmt.Sprint(s.Batch), true
	case "paused-for":
		return fmt.Sprint(s.PausedSeconds), true
	case "baked":
		return fmt.Sprint(s.BakedSeconds), true
	case "measured":
		return fmt.Sprintf("%d/%d/%d/%d", s.Analysis[0].Successful, s.Analysis[0].Failed, s.Analysis[0].Inconclusive, s.Analysis[0].Errors), true
	}
	return "", false
}

var conditionWords = map[string]string{
	"halted": v1alpha1.AppSetRolloutHalted, "paused": v1alpha1.AppSetRolloutPaused, "unmatched": v1alpha1.AppSetUnmatchedApplications,
	"overlap": v1alpha1.AppSetStepSelectorOverlap, "awaiting": v1alpha1.AppSetRolloutAwaiting, "manual": v1alpha1.AppSetManualSync,
	"progressing-condition": v1alpha1.AppSetRolloutProgressing, "ignored": v1alpha1.AppSetStrategyIgnored,
}

// words are those of a condition that is True; empty when it is not.
func (w *World) words(name string) string {
	for _, c := range w.Set.Status.Conditions {
		if c.Type == conditionWords[name] && c.Status == "True" {
			return c.Message
		}
	}
	return ""
}

// expectCondition reads CONDITION [REASON] and not-CONDITION.
func (w *World) expectCondition(what string, words []string) error {
	name, negated := strings.CutPrefix(what, "not-")
	kind, known := conditionWords[name]
	if !known {
		return fmt.Errorf("unknown expectation")
	}
	got := w.Condition(kind)
	switch {
	case negated && got != "":
		return fmt.Errorf("condition %s is true: %s", kind, got)
	case !negated && got == "":
		return fmt.Errorf("condition %s is not true", kind)
	case !negated && len(words) > 0 && words[0] != got:
		return fmt.Errorf("condition %s has reason %s", kind, got)
	}
	return nil
}
