package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// Run executes a script in a new world; the error names the line.
func Run(script string) error { return New().Play(script) }

// Play executes a script in this world; the error names the line.
func (w *World) Play(script string) error {
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
	verbs := map[string]func([]string) error{}
	for _, group := range []map[string]func([]string) error{w.strategyVerbs(), w.fleetVerbs(), w.peopleVerbs(), w.faultVerbs(), w.deletionVerbs()} {
		for name, do := range group {
			verbs[name] = do
		}
	}
	do := verbs[verb]
	if do == nil {
		return fmt.Errorf("unknown verb")
	}
	if err := do(args); err != nil {
		return err
	}
	if w.Head != "" {
		w.Rest()
	}
	return nil
}

// each makes a verb of one that takes a name.
func (w *World) each(do func(name string)) func([]string) error {
	return func(args []string) error {
		for _, name := range args {
			if w.Desired[name] == nil && w.Apps[name] == nil {
				return fmt.Errorf("no Application %q", name)
			}
			do(name)
		}
		return nil
	}
}

// names reads c:wave=canary and a01..a20:wave=rest.
func names(word string) ([]string, map[string]string) {
	text, l, _ := strings.Cut(word, ":")
	from, to, many := strings.Cut(text, "..")
	if !many {
		return []string{text}, labels(l)
	}
	prefix := strings.TrimRight(from, "0123456789")
	first, _ := strconv.Atoi(from[len(prefix):])
	last, _ := strconv.Atoi(to[len(prefix):])
	var out []string
	for i := first; i <= last; i++ {
		out = append(out, fmt.Sprintf("%s%0*d", prefix, len(from)-len(prefix), i))
	}
	return out, labels(l)
}

// seedFleet is the fleet of the article: its clusters and steps.
func (w *World) seedFleet() error {
	for _, a := range []string{"c:region=us-east-1-canary", "e:region=us-east-1", "w:region=us-west-2", "eu:region=eu-west-1", "ap:region=ap-southeast-1"} {
		n, l := names(a)
		w.Add(n[0], l)
	}
	for _, s := range []string{"region=us-east-1-canary max 1", "region=us-east-1,us-west-2 max 2", "region!=us-east-1-canary,us-east-1,us-west-2 max 10"} {
		if err := w.addStep(strings.Fields(s), len(w.rolling().Steps)); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) fleetVerbs() map[string]func([]string) error {
	add := func(args []string) error {
		if len(args) == 1 && args[0] == "P5" {
			return w.seedFleet()
		}
		for _, a := range args {
			list, l := names(a)
			for _, name := range list {
				w.Add(name, l)
				if w.Head != "" {
					w.Compare(name)
				}
			}
		}
		return nil
	}
	return map[string]func([]string) error{
		"fleet": add, "add": add,
		"start":     func(args []string) error { w.startAt(args[0]); return nil },
		"create":    func(args []string) error { w.head(args[0]); return nil },
		"push":      func(args []string) error { return w.push(args, true) },
		"pushquiet": func(args []string) error { return w.push(args, false) },
		"notice":    w.each(w.Compare),
		"finish": func(args []string) error {
			for _, name := range args[:len(args)-1] {
				if err := w.Finish(name, v1alpha1.HealthStatusCode(args[len(args)-1])); err != nil {
					return err
				}
			}
			return nil
		},
		// finishing leaves the comparison to a later notice.
		"finishing": func(args []string) error { return w.end(args[0], v1alpha1.OperationSucceeded) },
		"leaves":    func(args []string) error { return w.leaves(args[0], v1alpha1.HealthStatusCode(args[1])) },
		"fail": func(args []string) error {
			for _, name := range args {
				if err := w.end(name, v1alpha1.OperationFailed); err != nil {
					return err
				}
				w.Compare(name)
			}
			return nil
		},
		"health": func(args []string) error {
			for _, name := range args[:len(args)-1] {
				w.Apps[name].Status.Health.Status = v1alpha1.HealthStatusCode(args[len(args)-1])
				w.touch(w.Apps[name])
			}
			return nil
		},
		"drift": w.each(func(name string) {
			w.deployed[name], w.ledger.drifted[name] = "drifted", true
			w.Compare(name)
		}),
		"remove": w.each(func(name string) {
			delete(w.Apps, name)
			delete(w.Desired, name)
			w.names = nil
		}),
		"label": func(args []string) error {
			w.Desired[args[0]].Labels, w.Apps[args[0]].Labels = labels(args[1]), labels(args[1])
			return nil
		},
		"template": func([]string) error { w.spec += "+"; return nil },
		"parameter": w.each(func(name string) {
			w.Desired[name].Annotations["test/parameter"] += "+"
			w.Desired[name].Spec.Source.Path += "+"
			w.Apps[name].Spec.Source.Path += "+"
		}),
		"manual": w.each(func(name string) {
			w.Desired[name].Spec.SyncPolicy.Automated, w.Apps[name].Spec.SyncPolicy.Automated = nil, nil
		}),
		"noheal": w.each(func(name string) { w.Desired[name].Spec.SyncPolicy.Automated.SelfHeal = false }),
	}
}

// leaves ends an operation that brought everything but left differences.
func (w *World) leaves(name string, health v1alpha1.HealthStatusCode) error {
	if err := w.Finish(name, health); err != nil {
		return err
	}
	w.Apps[name].Status.Sync.Status = v1alpha1.SyncStatusOutOfSync
	return nil
}

func (w *World) peopleVerbs() map[string]func([]string) error {
	annotate := func(key string) func([]string) error {
		return func(args []string) error { w.Set.Annotations[key] = args[0]; return nil }
	}
	return map[string]func([]string) error{
		"pause": func(args []string) error {
			w.Set.Annotations[v1alpha1.AnnotationPauseRollout] = strings.Trim(append(args, "true")[0], "'")
			return nil
		},
		"resume":   func([]string) error { delete(w.Set.Annotations, v1alpha1.AnnotationPauseRollout); return nil },
		"promote":  annotate(v1alpha1.AnnotationPromoteRollout),
		"retry":    annotate(v1alpha1.AnnotationRetryRollout),
		"abort":    annotate(v1alpha1.AnnotationAbortRollout),
		"rollback": annotate(v1alpha1.AnnotationRollbackRollout),
		"skip":     w.each(func(name string) { w.Apps[name].Annotations[v1alpha1.AnnotationRolloutSkip] = "true" }),
		"unskip":   w.each(func(name string) { delete(w.Apps[name].Annotations, v1alpha1.AnnotationRolloutSkip) }),
		"sync": func(args []string) error {
			w.Manual(args[0], append(args[1:], w.Head)[0])
			return nil
		},
		"dryrun": w.each(func(name string) {
			w.Manual(name, w.Head)
			w.Apps[name].Operation.Sync.DryRun = true
		}),
		"partial": w.each(func(name string) {
			w.Manual(name, w.Head)
			w.Apps[name].Operation.Sync.Resources = []v1alpha1.SyncOperationResource{{Kind: "ConfigMap", Name: "one"}}
		}),
		"window": func(args []string) error { return w.window(args) },
		"wait": func(args []string) error {
			d, err := time.ParseDuration(args[0])
			if err == nil {
				w.Wait(d)
			}
			return err
		},
	}
}

// window reads: window STEP closed 63h | window STEP open | window project
// NAME closed|open.
func (w *World) window(args []string) error {
	if args[0] == "project" {
		w.closed[args[1]] = args[2] == "closed"
		return nil
	}
	step, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	if args[1] == "open" {
		delete(w.windows, step)
		return nil
	}
	d, err := time.ParseDuration(args[2])
	w.windows[step] = w.Now.Add(d)
	return err
}

func (w *World) faultVerbs() map[string]func([]string) error {
	return map[string]func([]string) error{
		"restart": func([]string) error { w.forget(); w.stopped = false; return nil },
		"stop":    func([]string) error { w.stopped = true; return nil },
		"crash":   func(args []string) error { w.crash = args[0]; return nil },
		"down": func(args []string) error {
			d, err := time.ParseDuration(args[0])
			w.Now = w.Now.Add(d)
			w.forget()
			return err
		},
		"clock": func(args []string) error {
			d, err := time.ParseDuration(args[0])
			w.Now = w.Now.Add(d)
			return err
		},
		"stale":   w.each(func(name string) { w.stale[name] = w.Apps[name].DeepCopy() }),
		"catchup": func([]string) error { clear(w.stale); return nil },
		"invalid": w.each(func(name string) { w.invalid[name] = "its project does not exist" }),
		"valid":   w.each(func(name string) { delete(w.invalid, name) }),
		"broken": func(args []string) error { // broken REVISION NAME: it cannot be rendered
			w.broken[args[1]] = args[0]
			return nil
		},
		"silent":     w.each(func(name string) { w.silent[name] = true; w.Compare(name) }),
		"answers":    w.each(func(name string) { delete(w.silent, name) }),
		"unresolved": func([]string) error { w.unknown = true; return nil },
		"resolved":   func([]string) error { w.unknown = false; return nil },
		// ask sets the refresh annotation, which the next notice takes away.
		"ask": w.each(func(name string) { w.Apps[name].Annotations[v1alpha1.AnnotationRefresh] = "normal" }),
		"refuse": w.each(func(name string) {
			w.refuse[name] = 1
		}),
		"terminating": w.each(func(name string) {
			now := metav1.NewTime(w.Now)
			w.Apps[name].DeletionTimestamp = &now
		}),
		"delete":   w.each(func(name string) { delete(w.Apps, name); w.deployed[name] = "" }),
		"recreate": w.each(func(name string) { w.create(name); w.Compare(name) }),
		"edit": func(args []string) error { // somebody writes the public status
			for i := range w.Set.Status.ApplicationStatus {
				if w.Set.Status.ApplicationStatus[i].Application == args[0] {
					w.Set.Status.ApplicationStatus[i].Status = args[1]
				}
			}
			return nil
		},
		"freeze": func([]string) error { w.freeze(); return nil },
		"thaw":   func([]string) error { w.thaw(); return nil },
		"metric": func(args []string) error { w.outcomes[args[0]] = rollout.Outcome(args[1]); return nil },
	}
}

// freeze lets a second controller see the world of now and stop.
func (w *World) freeze() {
	w.frozen = &frozen{set: w.Set.DeepCopy(), apps: map[string]*v1alpha1.Application{}}
	for name, app := range w.Apps {
		w.frozen.apps[name] = app.DeepCopy()
	}
}

// thaw wakes it: its status write conflicts unless nobody wrote meanwhile, and
// its operations fail their precondition where the Application has changed.
func (w *World) thaw() {
	old := w.frozen
	w.frozen = nil
	stale := w.stale
	w.stale = old.apps
	d := rollout.Next(w.input(old.set))
	for _, op := range d.Operations {
		w.issue(op, old.apps[op.Application])
	}
	w.stale = stale
}

// startAt puts everything in order at a revision.
func (w *World) startAt(revision string) {
	w.head(revision)
	for name, app := range w.Apps {
		w.deployed[name] = w.contentOf(revision, name)
		app.Status.Health.Status = v1alpha1.HealthHealthy
		app.Status.History = []v1alpha1.RevisionHistory{{ID: 0, Revision: revision, Source: *app.Spec.Source}}
		w.Compare(name)
	}
}

func (w *World) head(revision string) {
	w.Head = revision
	if w.content[revision] == nil {
		w.content[revision] = map[string]string{"": revision}
	}
}

// push moves the head: push R3 [like R1] [only e w]. Applications notice at
// once, or with pushquiet only when told.
func (w *World) push(args []string, noticed bool) error {
	revision, before := args[0], w.Head
	switch {
	case len(args) >= 3 && args[1] == "like":
		w.content[revision] = w.content[args[2]]
	case len(args) >= 2 && args[1] == "only":
		c := map[string]string{}
		for name := range w.Desired {
			c[name] = w.contentOf(before, name)
		}
		for _, name := range args[2:] {
			c[name] = revision
		}
		w.content[revision] = c
	}
	w.head(revision)
	if noticed {
		for _, name := range w.sorted() {
			w.Compare(name)
		}
	}
	return nil
}

func spread(words []string) []string {
	var out []string
	for _, word := range words {
		list, _ := names(word)
		out = append(out, list...)
	}
	slices.Sort(out)
	return out
}
