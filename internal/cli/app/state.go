package app

import (
	"cmp"
	"io"
	"slices"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

// key names an object of an Application.
type key struct{ group, kind, namespace, name string }

// state is a row about an object: what became of it in the last operation, and
// how it is now.
type state struct {
	key
	status, health, hook, message string
	// wave and phase in which the object is synced.
	wave  int64
	phase string
}

func keyOf(r *v1alpha1.ResourceStatus) key { return key{r.Group, r.Kind, r.Namespace, r.Name} }

// states are the rows of app get: first the objects of the last operation in
// its order, then the others sorted (spec/cli.md §2.1). Pick may be nil.
func states(app *v1alpha1.Application, pick func(key) bool) []state {
	live := map[key]*v1alpha1.ResourceStatus{}
	for i := range app.Status.Resources {
		live[keyOf(&app.Status.Resources[i])] = &app.Status.Resources[i]
	}
	var out []state
	if op := app.Status.OperationState; op != nil && op.SyncResult != nil {
		for _, r := range op.SyncResult.Resources {
			if r == nil {
				continue
			}
			s := state{key: key{r.Group, r.Kind, r.Namespace, r.Name}, hook: r.HookType, message: r.Message, phase: r.SyncPhase}
			if r.HookType != "" {
				s.status, s.health = string(r.HookPhase), string(r.Status)
			} else {
				s.status = string(r.Status)
			}
			if now, ok := live[s.key]; ok && r.HookType == "" {
				s.live(now)
				delete(live, s.key)
			}
			out = append(out, s)
		}
	}
	var rest []state
	for k, r := range live {
		s := state{key: k}
		s.live(r)
		rest = append(rest, s)
	}
	slices.SortFunc(rest, func(a, b state) int { return compareKeys(a.key, b.key) })
	out = append(out, rest...)
	if pick == nil {
		return out
	}
	return slices.DeleteFunc(out, func(s state) bool { return !pick(s.key) })
}

func (s *state) live(r *v1alpha1.ResourceStatus) {
	s.status, s.health, s.wave = string(r.Status), "", r.SyncWave
	if r.Health != nil {
		s.health = string(r.Health.Status)
		s.message = cmp.Or(s.message, r.Health.Message)
	}
	if r.RequiresPruning && s.message == "" {
		s.message = "ignored (requires pruning)"
	}
}

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.kind, b.kind), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
}

func printStates(w io.Writer, all []state) error {
	if len(all) == 0 {
		return nil
	}
	table := [][]string{{"GROUP", "KIND", "NAMESPACE", "NAME", "STATUS", "HEALTH", "HOOK", "MESSAGE"}}
	for _, s := range all {
		table = append(table, []string{s.group, s.kind, s.namespace, s.name, s.status, s.health, s.hook, s.message})
	}
	return output.Table(w, table)
}
