package backup

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Options change what is restored, and how.
type Options struct {
	// Prune deletes what the backup does not hold; settings always stay.
	Prune bool
	// IgnoreTracking leaves labels and annotations by which objects are tracked.
	IgnoreTracking bool
	// StopOperation ends operations that run on what exists.
	StopOperation bool
	// SkipLabel, KEY=VALUE, leaves objects with that label alone.
	SkipLabel string
}

// Action is what becomes of an object.
type Action string

// The actions. Stays is an object that the backup does not hold and that is left.
const (
	Create    Action = "created"
	Update    Action = "updated"
	Unchanged Action = "unchanged"
	Prune     Action = "pruned"
	Stays     Action = "needs pruning"
)

// Step is what becomes of one object.
type Step struct {
	Action Action
	ID     ID
	// Want is what the backup says; nil when it does not hold the object.
	Want *unstructured.Unstructured
	// Live is what exists; nil is nothing.
	Live *unstructured.Unstructured
}

// Next decides what makes a hub hold a backup: first what is created and updated,
// in the order of the backup, then what is pruned, ApplicationSets first, for they
// would make their Applications anew. Objects of the backup in namespaces that the
// scope does not hold are an error.
func Next(wanted []*unstructured.Unstructured, live []unstructured.Unstructured, s Scope, how Options) ([]Step, error) {
	there := map[ID]*unstructured.Unstructured{}
	for i := range live {
		there[IDOf(&live[i], s.ControlPlane)] = &live[i]
	}
	var steps []Step
	for _, o := range wanted {
		id := IDOf(o, s.ControlPlane)
		now := there[id]
		delete(there, id)
		if how.skips(o) || now != nil && how.skips(now) {
			continue
		}
		if !s.Holds(id.Kind, id.Namespace) && !(id.Kind == Secret || id.Kind == ConfigMap) {
			return nil, fmt.Errorf("%s is in a namespace that is not restored: add --application-namespaces or --applicationset-namespaces", id)
		}
		want := o.DeepCopy()
		want.SetNamespace(id.Namespace)
		step := Step{Action: Create, ID: id, Want: want, Live: now}
		if now != nil {
			step.Action = Update
			if reflect.DeepEqual(now.Object, Merged(want, now, how).Object) {
				step.Action = Unchanged
			}
		}
		steps = append(steps, step)
	}
	return append(steps, surplus(there, how)...), nil
}

// surplus is what becomes of objects that the backup does not hold.
func surplus(there map[ID]*unstructured.Unstructured, how Options) []Step {
	left := slices.SortedFunc(maps.Keys(there), func(a, b ID) int {
		if c := slices.Index(Order, b.Kind) - slices.Index(Order, a.Kind); c != 0 {
			return c
		}
		return strings.Compare(a.String(), b.String())
	})
	var steps []Step
	for _, id := range left {
		o := there[id]
		if how.skips(o) || !expendable(o) {
			continue
		}
		action := Stays
		if how.Prune {
			action = Prune
		}
		steps = append(steps, Step{Action: action, ID: id, Live: o})
	}
	return steps
}

func (how Options) skips(o *unstructured.Unstructured) bool {
	k, value, ok := strings.Cut(how.SkipLabel, "=")
	return ok && o.GetLabels()[k] == value
}

// Namespaces are those that steps write to, in order, the control plane's left out.
func Namespaces(steps []Step, controlPlane string) []string {
	all := map[string]bool{}
	for _, s := range steps {
		if s.Action == Create && s.ID.Namespace != controlPlane {
			all[s.ID.Namespace] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}
