package generate

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
)

// Action is what becomes of one Application.
type Action string

// The actions. Keep leaves one alone that would otherwise change or go, Refuse
// is one that must not be written.
const (
	Create Action = "create"
	Update Action = "update"
	Delete Action = "delete"
	None   Action = "none"
	Keep   Action = "keep"
	Refuse Action = "refuse"
)

// Change is what an evaluation does to one Application.
type Change struct {
	Name   string
	Action Action
	// Reason of Keep and Refuse, in words for people.
	Reason string
	// Before is what exists, After what is to exist; nil is nothing. They share
	// parts with the cache: nobody may change them.
	Before, After *v1alpha1.Application
	// letsGo says that an update only gives automated sync back.
	letsGo bool
}

// decider decides on the Applications of one set; it is pure.
type decider struct {
	Writer
	policy string
}

func (v *Evaluator) decider(ctx context.Context, e *evaluated) decider {
	p, _ := e.rules.policy(e.set) // a policy that is none was reported before
	return decider{policy: p, Writer: Writer{
		Set: e.set, Gate: v.Gate, PreservedAnnotations: e.rules.PreservedAnnotations, PreservedLabels: e.rules.PreservedLabels, Find: finder(ctx, v.Queries),
	}}
}

func ownedBy(app *v1alpha1.Application, set *v1alpha1.ApplicationSet) bool {
	ref := metav1.GetControllerOf(app)
	return ref != nil && ref.Kind == v1alpha1.ApplicationSetKind && ref.Name == set.Name
}

// written decides on a rendered Application; invalid says why it must not be
// written. Before and After share what is alike with their arguments.
func (d decider) written(rendered, live *v1alpha1.Application, invalid string) Change {
	c := Change{Name: rendered.Name, Before: live}
	refuse := func(action Action, format string, args ...any) Change {
		c.Action, c.Reason = action, fmt.Sprintf(format, args...)
		return c
	}
	if invalid != "" {
		return refuse(Refuse, "%s", invalid)
	}
	if live != nil {
		ref := metav1.GetControllerOf(live)
		switch {
		case ref != nil && !ownedBy(live, d.Set):
			return refuse(Refuse, "is owned by %s %s: give it another name in spec.template.metadata.name", ref.Kind, ref.Name)
		case live.DeletionTimestamp != nil:
			return refuse(Keep, "is being deleted")
		case ref != nil && (d.policy == createOnly || d.policy == createDelete):
			return d.kept(live, rendered)
		}
	}
	after, err := d.Desired(rendered, live)
	switch {
	case err != nil:
		return refuse(Refuse, "%s", err)
	case live == nil:
		c.Action = Create
	case equal(after, live):
		c.Action = None
	default:
		c.Action = Update
	}
	c.After = after
	return c
}

// kept is an Application that the policy leaves alone: then nobody may hold it.
func (d decider) kept(live, rendered *v1alpha1.Application) Change {
	c := Change{Name: live.Name, Action: Keep, Reason: "the policy is " + d.policy, Before: live, After: live}
	if free, held := appset.LetGo(d.Set, live, rendered); held {
		c.Action, c.After, c.letsGo = Update, free, true
	}
	return c
}

// surplus are the Applications that the set owns and no longer generates, in
// name order, and how many it owns.
func (d decider) surplus(r *appset.Rendered, live map[string]*v1alpha1.Application) (names []string, owned int) {
	wanted := make(map[string]bool, len(r.Applications))
	for i := range r.Applications {
		wanted[r.Applications[i].Name] = true
	}
	for name, app := range live {
		if !ownedBy(app, d.Set) {
			continue
		}
		owned++
		if !wanted[name] && app.DeletionTimestamp == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, owned
}

// keepsSurplus says that the policy deletes nothing.
func (d decider) keepsSurplus() bool { return d.policy == createOnly || d.policy == createUpdate }
