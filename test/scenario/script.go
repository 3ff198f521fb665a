package scenario

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// Run executes a script; the error names the line.
func Run(script string) error {
	w := New()
	for i, line := range strings.Split(script, "\n") {
		text, _, _ := strings.Cut(line, "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		if err := w.line(words); err != nil {
			return fmt.Errorf("line %d: %s: %w", i+1, strings.TrimSpace(text), err)
		}
		if len(w.Problems) > 0 {
			return fmt.Errorf("line %d: %s: %s", i+1, strings.TrimSpace(text), strings.Join(w.Problems, "; "))
		}
	}
	return nil
}

func (w *World) line(words []string) error {
	verb, args := words[0], words[1:]
	if verb == "expect" {
		return w.expect(args)
	}
	if err := w.event(verb, args); err != nil {
		return err
	}
	if len(w.Set.Spec.Strategy.RollingSync.Steps) > 0 && w.Head != "" {
		w.Rest()
	}
	return nil
}

func (w *World) event(verb string, args []string) error {
	switch verb {
	case "fleet", "add":
		for _, a := range args {
			name, l, _ := strings.Cut(a, ":")
			w.Add(name, labels(l))
			w.Compare(name)
		}
	case "step":
		return w.stepLine(args)
	case "batching":
		w.Set.Spec.Strategy.RollingSync.Batching = args[0]
	case "start":
		w.startAt(args[0])
	case "push", "pushquiet":
		return w.push(args, verb == "push")
	case "notice":
		for _, name := range args {
			w.Compare(name)
		}
	case "finish":
		return w.Finish(args[0], v1alpha1.HealthStatusCode(args[1]))
	case "health":
		w.Apps[args[0]].Status.Health.Status = v1alpha1.HealthStatusCode(args[1])
	case "drift":
		w.deployed[args[0]] = "drifted"
		w.Compare(args[0])
	case "sync":
		w.Manual(args[0])
	case "remove":
		delete(w.Apps, args[0])
		delete(w.Desired, args[0])
	case "label":
		w.Desired[args[0]].Labels = labels(args[1])
		w.Apps[args[0]].Labels = labels(args[1])
	case "pause":
		w.Set.Annotations[v1alpha1.AnnotationPauseRollout] = "true"
	case "resume":
		delete(w.Set.Annotations, v1alpha1.AnnotationPauseRollout)
	case "restart":
		w.Set = w.Set.DeepCopy() // the planner keeps nothing: the record is all there is
	default:
		return fmt.Errorf("unknown verb")
	}
	return nil
}

// stepLine reads: step KEY=VALUE|all [max N].
func (w *World) stepLine(args []string) error {
	limit := ""
	if len(args) == 3 && args[1] == "max" {
		limit = args[2]
	} else if len(args) != 1 {
		return fmt.Errorf("want: step KEY=VALUE|all [max N]")
	}
	key, value, _ := strings.Cut(args[0], "=")
	if args[0] == "all" {
		key = ""
	}
	w.AddStep(key, value, limit)
	return nil
}

// startAt puts everything in order at a revision.
func (w *World) startAt(revision string) {
	w.Head, w.Content[revision] = revision, revision
	for name, app := range w.Apps {
		w.deployed[name] = revision
		app.Status.Health.Status = v1alpha1.HealthHealthy
		w.Compare(name)
	}
}

// push moves the head: push R3 [like R1]. Applications notice at once, or with
// pushquiet only when told.
func (w *World) push(args []string, noticed bool) error {
	w.Head, w.Content[args[0]] = args[0], args[0]
	if len(args) == 3 && args[1] == "like" {
		w.Content[args[0]] = w.Content[args[2]]
	}
	if noticed {
		for name := range w.Apps {
			w.Compare(name)
		}
	}
	return nil
}

func (w *World) expect(args []string) error {
	what, names := args[0], slices.Clone(args[1:])
	slices.Sort(names)
	switch what {
	case "syncing":
		if got := w.Syncing(); !slices.Equal(got, names) {
			return fmt.Errorf("syncing %v", got)
		}
	case "waiting", "healthy", "progressing", "pending":
		for _, n := range names {
			if got := w.Status(n); !strings.EqualFold(got, what) {
				return fmt.Errorf("%s is %s", n, got)
			}
		}
	case "step":
		if got := fmt.Sprint(w.Set.Status.Rollout.CurrentStep); got != args[1] {
			return fmt.Errorf("step %s", got)
		}
	case "rollout":
		if got := fmt.Sprint(w.Set.Status.Rollout.ID); got != args[1] {
			return fmt.Errorf("rollout %s", got)
		}
	case "operations":
		if got := fmt.Sprint(len(w.Issued)); got != args[1] {
			return fmt.Errorf("%s operations: %v", got, w.Issued)
		}
	case "complete":
		if got := w.Set.Status.Rollout.CurrentStep; got != 0 || len(w.Syncing()) > 0 {
			return fmt.Errorf("step %d, syncing %v", got, w.Syncing())
		}
	default:
		return w.expectCondition(what)
	}
	return nil
}

var conditionWords = map[string]string{
	"halted": v1alpha1.AppSetRolloutHalted, "paused": v1alpha1.AppSetRolloutPaused, "unmatched": v1alpha1.AppSetUnmatchedApplications, "overlap": v1alpha1.AppSetStepSelectorOverlap,
}

func (w *World) expectCondition(what string) error {
	name, negated := strings.CutPrefix(what, "not-")
	kind, known := conditionWords[name]
	if !known {
		return fmt.Errorf("unknown expectation")
	}
	if w.Condition(kind) == negated {
		return fmt.Errorf("condition %s is %v", kind, !negated)
	}
	return nil
}
