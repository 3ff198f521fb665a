package lua

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/internal/domain/action"
	"github.com/sluice-cd/sluice/internal/domain/customization"
)

// Actions offers and runs resource actions: those of the settings before the
// shipped ones (spec/diff-health.md §11).
type Actions struct {
	// Set are the settings, nil for none; Runner runs their scripts.
	Set     *customization.Set
	Runner  Runner
	Shipped *Shipped
}

// discovering is the value of actionName while a shipped script is asked what
// it offers.
const discovering = "?"

func (a *Actions) custom(o *unstructured.Unstructured) *customization.Actions {
	if a.Set == nil {
		return nil
	}
	k, ok := a.Set.Find(o.GroupVersionKind().Group, o.GetKind(), customization.Active)
	if !ok {
		return nil
	}
	return k.Actions
}

func name(what string, o *unstructured.Unstructured) string {
	gvk := o.GroupVersionKind()
	return what + " of " + strings.TrimPrefix(gvk.Group+"/"+gvk.Kind, "/")
}

// Discover lists the actions of an object, sorted by name.
func (a *Actions) Discover(ctx context.Context, o *unstructured.Unstructured, now time.Time) ([]action.Action, error) {
	custom := a.custom(o)
	var own []action.Action
	if custom != nil && custom.Discovery != "" {
		out, err := a.Runner.Run(ctx, Task{Name: name("discovery.lua", o), Source: custom.Discovery, Object: o.Object, Now: now})
		if err != nil {
			return nil, err
		}
		if own, err = action.Offered(out); err != nil {
			return nil, fmt.Errorf("%s: %w", name("discovery.lua", o), err)
		}
	}
	if custom != nil && !custom.MergeBuiltin {
		return own, nil
	}
	shipped, err := a.offered(ctx, o, now)
	return action.Merge(own, shipped), err
}

func (a *Actions) offered(ctx context.Context, o *unstructured.Unstructured, now time.Time) ([]action.Action, error) {
	t, ok := a.Shipped.actions.find(o.GroupVersionKind().Group, o.GetKind())
	if !ok {
		return nil, nil
	}
	t.Object, t.Now, t.Action = o.Object, now, discovering
	out, err := a.Shipped.vm.Run(ctx, t)
	if err != nil {
		return nil, err
	}
	return action.Offered(out)
}

// Request is one run of an action.
type Request struct {
	Object *unstructured.Unstructured
	Action string
	Params map[string]string
	Now    time.Time
}

// Run asks an action what it wants changed; nothing is written. A definition
// of the settings comes before the shipped one, whatever was discovered.
func (a *Actions) Run(ctx context.Context, r Request) ([]action.Change, error) {
	t := Task{Name: name("action "+r.Action, r.Object), Object: r.Object.Object, Params: r.Params, Now: r.Now}
	runner := a.Runner
	if custom := a.custom(r.Object); custom != nil && custom.Scripts[r.Action] != "" {
		t.Source = custom.Scripts[r.Action]
	} else {
		offered, err := a.offered(ctx, r.Object, r.Now)
		if err != nil {
			return nil, err
		}
		shipped, _ := a.Shipped.actions.find(r.Object.GroupVersionKind().Group, r.Object.GetKind())
		if !named(offered, r.Action) {
			return nil, fmt.Errorf("%s/%s has no action %q: list its actions to see which it has", r.Object.GetKind(), r.Object.GetName(), r.Action)
		}
		t.Source, t.Prelude, t.Action, runner = shipped.Source, shipped.Prelude, r.Action, a.Shipped.vm
	}
	out, err := runner.Run(ctx, t)
	if err != nil {
		return nil, err
	}
	changes, err := action.Wanted(out, r.Object)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	return changes, nil
}

func named(offered []action.Action, name string) bool {
	for _, a := range offered {
		if a.Name == name {
			return true
		}
	}
	return false
}
