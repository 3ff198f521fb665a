package syncplan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/internal/domain/object"
)

// Pair is one object of the Application: what should be and what is.
type Pair struct {
	Key object.Key
	// Target is nil for an object that is no longer wanted.
	Target *unstructured.Unstructured
	Live   *unstructured.Unstructured
	// InSync says that target and live are known to be equal in all that
	// counts, Identical that they are in everything.
	InSync, Identical bool
}

// Request is the operation in the terms of this package.
type Request struct {
	// Pairs are the ordinary objects, hooks excluded.
	Pairs []Pair
	// Hooks are the desired hook objects with the live object of the same name.
	Hooks []Pair
	// WithHooks is false for strategy "apply".
	WithHooks bool
	// Selected restricts the operation to these objects; hooks do not run then.
	Selected func(object.Key) bool
	Prune    bool
	// Options are the Application's sync options.
	Options []string
	// OutOfSyncOnly leaves objects alone that are in sync and that this
	// operation has not touched (Attempted).
	OutOfSyncOnly bool
	Attempted     func(TaskID) bool
	// Force is that of the operation's strategy.
	Force bool
	// Approved says that prunes which ask for confirmation have it.
	Approved bool
	// Namespace is the destination namespace when the operation has to provide
	// it (option CreateNamespace); nil when Git names it or it is not wanted.
	Namespace *Pair
	// Managers are client-side tools beside the usual ones whose fields become
	// ours.
	Managers []string
	// Revision and StartedAt name hooks that have only a generateName.
	Revision  string
	StartedAt time.Time
}

// option looks for an exact option of the Application.
func (r Request) option(want string) bool { return slices.Contains(r.Options, want) }

// Tasks lists what the operation has to do, in order.
func Tasks(r Request) []Task {
	var tasks []Task
	for _, p := range r.Pairs {
		if r.Selected != nil && !r.Selected(p.Key) {
			continue
		}
		if t, ok := plain(r, p); ok {
			tasks = append(tasks, t)
		}
	}
	if r.WithHooks && r.Selected == nil {
		for _, p := range r.Hooks {
			tasks = append(tasks, hooks(r, p)...)
		}
	}
	if n := r.Namespace; n != nil {
		tasks = append(tasks, Task{
			Phase: PreSync, Key: n.Key, Target: n.Target, Live: n.Live, Created: true,
			Manner: Manner{Mode: ServerSide, Validate: true},
		})
	}
	invertPruneWaves(tasks)
	pruneLast(r, tasks)
	return order(tasks)
}

func plain(r Request, p Pair) (Task, bool) {
	t := Task{Phase: Sync, Key: p.Key, Target: p.Target, Live: p.Live}
	if p.Target == nil {
		t.Wave = Wave(p.Live)
		t.PruneRefused = pruneRefused(r, p.Live)
		t.Unconfirmed = t.PruneRefused == "" && !r.Approved && AsksConfirmation("Prune", p.Live, r.Options)
		return t, true
	}
	if Skipped(p.Target) || (r.OutOfSyncOnly && p.InSync && (r.Attempted == nil || !r.Attempted(t.ID()))) {
		return t, false
	}
	t.Wave = Wave(p.Target)
	t.Manner = r.manner(p)
	t.Identical = p.Identical && t.Manner.Mode == ServerSide
	return t, true
}

func (r Request) manner(p Pair) Manner {
	m := MannerOf(p.Target, p.Live, r.Options, r.Force)
	m.Managers = r.Managers
	return m
}

// AsksConfirmation says that deleting live needs somebody's approval: option
// Prune=confirm or Delete=confirm, of the object before the Application's
// (spec/sync.md §8.1). verb is Prune or Delete.
func AsksConfirmation(verb string, live *unstructured.Unstructured, options []string) bool {
	for _, value := range []string{"true", "false"} {
		if Option(live, verb+"="+value) {
			return false
		}
	}
	return Option(live, verb+"=confirm") || slices.Contains(options, verb+"=confirm")
}

// Kept says that live stays when its Application is deleted: option
// Delete=false, of the object before the Application's.
func Kept(live *unstructured.Unstructured, options []string) bool {
	if Option(live, "Delete=true") || Option(live, "Delete=confirm") {
		return false
	}
	return Option(live, "Delete=false") || slices.Contains(options, "Delete=false")
}

func pruneRefused(r Request, live *unstructured.Unstructured) string {
	overridden := Option(live, "Prune=true") || Option(live, "Prune=confirm")
	switch {
	case !r.Prune:
		return "ignored (requires pruning)"
	case Option(live, "Prune=false"), !overridden && r.option("Prune=false"):
		return "ignored (no prune)"
	}
	return ""
}

func hooks(r Request, p Pair) []Task {
	phases, _ := HookPhases(p.Target)
	var out []Task
	for _, phase := range phases {
		if phase == PreDelete || phase == PostDelete {
			continue
		}
		out = append(out, Task{
			Phase: phase, Wave: Wave(p.Target), Key: p.Key, Target: p.Target, Live: p.Live,
			Hook: true, DeletePolicies: deletePolicies(p.Target), Manner: r.manner(p),
		})
	}
	return out
}

// NameHook gives a hook that has only a generateName the name it has in this
// operation: stable over its steps, different in the next one.
func NameHook(hook *unstructured.Unstructured, revision string, startedAt time.Time) *unstructured.Unstructured {
	if hook.GetName() != "" || hook.GetGenerateName() == "" {
		return hook
	}
	short := revision
	if len(short) >= 8 {
		short = short[:7]
	}
	phase := ""
	if phases, _ := HookPhases(hook); len(phases) > 0 {
		phase = string(phases[0])
	}
	named := hook.DeepCopy()
	suffix := fmt.Sprintf("%s-%s-%d", short, phase, startedAt.Unix())
	named.SetName(hook.GetGenerateName() + strings.ToLower(suffix))
	return named
}

// pruneLast moves prunes that ask for it behind the last wave of phase Sync.
func pruneLast(r Request, tasks []Task) {
	last := func(t Task) bool {
		return t.Prune() && (r.option("PruneLast=true") || Option(t.Live, "PruneLast=true"))
	}
	highest := 0
	for _, t := range tasks {
		if t.Phase == Sync && !last(t) {
			highest = max(highest, t.Wave)
		}
	}
	for i, t := range tasks {
		if last(t) {
			tasks[i].Wave = highest + 1
		}
	}
}
