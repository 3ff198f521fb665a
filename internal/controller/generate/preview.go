package generate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
)

// Preview is what applying a set would do.
type Preview struct {
	// Applications are all rendered ones in name order, as the template gives
	// them: what POST applicationsets/generate answers (spec/applicationset.md
	// §11).
	Applications []v1alpha1.Application
	// Changes are what would be done, in name order: also what is kept and
	// refused, with the reason.
	Changes []Change
	// Errors are parameter sets that cannot be rendered, Incomplete what
	// generators lack; while there is either, nothing is deleted. Doubts are why
	// an answer looks like a mistake.
	Errors, Incomplete, Doubts []string
	// Guarded is the message of the deletion guard when it would hold the
	// deletions back.
	Guarded string
}

// Preview evaluates a set, stored or not, as the controller would at this
// moment, by the same code, and writes nothing. A set without a namespace is one
// of the control plane's. Secrets are read in strict mode, and no credentials of
// this process are used, whatever the controller may do: the caller sees what
// comes back.
//
// The error is one of a generator, of a template that cannot be read, or of the
// hub. Who may call it for this set and project is for the caller to decide; see
// TemplatedProject.
func (v *Evaluator) Preview(ctx context.Context, set *v1alpha1.ApplicationSet) (*Preview, error) {
	set = set.DeepCopy()
	if set.Namespace == "" {
		set.Namespace = v.Namespace
	}
	if rules := v.rules(); !rules.Watches(set.Namespace, v.Namespace) {
		return nil, fmt.Errorf("metadata.namespace: no ApplicationSet of namespace %s is looked at: add it to --applicationset-namespaces", set.Namespace)
	}
	e, err := v.evaluate(ctx, set, mode{strict: true, fresh: true})
	if err != nil {
		return nil, err
	}
	live, err := v.live(ctx, set.Namespace)
	if err != nil {
		return nil, err
	}
	return v.preview(ctx, e, live), nil
}

func (v *Evaluator) preview(ctx context.Context, e *evaluated, live map[string]*v1alpha1.Application) *Preview {
	out := &Preview{Applications: e.rendered.Applications, Incomplete: e.rendered.Incomplete, Doubts: e.rendered.Doubts}
	for _, err := range e.rendered.Errors {
		out.Errors = append(out.Errors, err.Error())
	}
	d := v.decider(ctx, e)
	for i := range e.rendered.Applications {
		app := &e.rendered.Applications[i]
		out.Changes = append(out.Changes, d.written(app, live[app.Name], e.rendered.Invalid[app.Name]))
	}
	surplus, owned := d.surplus(e.rendered, live)
	reason := ""
	switch {
	case d.keepsSurplus():
		reason = "the policy is " + d.policy
	case len(out.Errors)+len(out.Incomplete) > 0:
		reason = "nothing is deleted while an error stands"
	case len(surplus) > 0:
		ruling := appset.Rule(v.newDrop(e, surplus, owned))
		if !ruling.Delete {
			reason, out.Guarded = "the deletion guard holds it", ruling.Guarded
		}
	}
	for _, name := range surplus {
		c := Change{Name: name, Action: Delete, Before: live[name]}
		if reason != "" {
			c.Action, c.Reason, c.After = Keep, reason, live[name]
		}
		out.Changes = append(out.Changes, c)
	}
	slices.SortStableFunc(out.Changes, func(a, b Change) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// newDrop is a drop of which nothing is known yet.
func (v *Evaluator) newDrop(e *evaluated, surplus []string, owned int) appset.Drop {
	return appset.Drop{
		Set: e.set, Off: strings.EqualFold(v.Settings.Snapshot().Params[guardSetting], "off"), Doubts: e.rendered.Doubts,
		Owned: owned, Surplus: surplus, Now: v.Clock.Now(),
	}
}
