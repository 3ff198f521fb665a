package action

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Action is what may be done with an object.
type Action struct {
	Name        string `json:"name"`
	DisplayName string `json:"displayName,omitempty"`
	IconClass   string `json:"iconClass,omitempty"`
	// Disabled is advice for people; it does not prevent a run.
	Disabled bool    `json:"disabled,omitempty"`
	Params   []Param `json:"params,omitempty"`
}

// Param is a parameter that an action asks for.
type Param struct {
	Name string `json:"name"`
}

// Operation is what is done with the object of a Change.
type Operation string

// The operations of a Change.
const (
	Create Operation = "create"
	Patch  Operation = "patch"
)

// Change is one write that an action wants.
type Change struct {
	Operation Operation
	Object    *unstructured.Unstructured
}

// Offered reads the answer of a discovery script, a map from names to what is
// said about them, sorted by name.
func Offered(answer any) ([]Action, error) {
	if list, ok := answer.([]any); answer == nil || ok && len(list) == 0 {
		return nil, nil
	}
	table, ok := answer.(map[string]any)
	if !ok {
		return nil, errors.New("discovery.lua returned a list: return a table from action names to {} or {disabled, displayName, iconClass, params}")
	}
	var out []Action
	for _, name := range slices.Sorted(maps.Keys(table)) {
		raw, err := json.Marshal(table[name])
		if err != nil {
			return nil, fmt.Errorf("action %q: %w", name, err)
		}
		a := Action{}
		if list, empty := table[name].([]any); !empty || len(list) > 0 {
			if params, ok := table[name].(map[string]any); ok {
				if m, ok := params["params"].(map[string]any); ok && len(m) == 0 {
					delete(params, "params") // an empty table is no list
					raw, _ = json.Marshal(params)
				}
			}
			if err := json.Unmarshal(raw, &a); err != nil {
				return nil, fmt.Errorf("action %q of discovery.lua: want {} or {disabled=true or false, displayName, iconClass, params={{name=...}}}", name)
			}
		}
		a.Name = name
		out = append(out, a)
	}
	return out, nil
}

// Merge adds the actions of second that first does not name.
func Merge(first, second []Action) []Action {
	out := slices.Clone(first)
	for _, a := range second {
		if !slices.ContainsFunc(first, func(b Action) bool { return a.Name == b.Name }) {
			out = append(out, a)
		}
	}
	slices.SortStableFunc(out, func(a, b Action) int {
		switch {
		case a.Name < b.Name:
			return -1
		case a.Name > b.Name:
			return 1
		}
		return 0
	})
	return out
}

// maxChanges bounds the writes of one action.
const maxChanges = 100

// Wanted reads the answer of an action script: one object that replaces the
// source, or a list of operations. Tables without entries become what the
// source has at their place, else maps.
func Wanted(answer any, source *unstructured.Unstructured) ([]Change, error) {
	switch x := answer.(type) {
	case map[string]any:
		if len(x) == 0 {
			return nil, nil
		}
		o, err := target(x, source)
		if err != nil {
			return nil, err
		}
		if !same(o, source) {
			return nil, fmt.Errorf("the action returned %s %s/%s instead of the object it ran on: return a list with operation \"create\" to make another", o.GetKind(), o.GetNamespace(), o.GetName())
		}
		return []Change{{Patch, o}}, nil
	case []any:
		if len(x) > maxChanges {
			return nil, fmt.Errorf("the action wants %d writes, at most %d", len(x), maxChanges)
		}
		var out []Change
		for i, item := range x {
			c, err := change(item, source)
			if err != nil {
				return nil, fmt.Errorf("result %d: %w", i+1, err)
			}
			out = append(out, c)
		}
		return out, nil
	}
	return nil, nil
}

func change(item any, source *unstructured.Unstructured) (Change, error) {
	entry, _ := item.(map[string]any)
	operation, _ := entry["operation"].(string)
	resource, ok := entry["resource"].(map[string]any)
	if !ok {
		return Change{}, errors.New("want {operation=\"create\" or \"patch\", resource=...}")
	}
	if operation != string(Create) && operation != string(Patch) {
		return Change{}, fmt.Errorf("unsupported operation: %q", operation)
	}
	o, err := target(resource, source)
	if err == nil && operation == string(Patch) && !same(o, source) {
		err = fmt.Errorf("a patch of %s %s/%s, which is not the object the action ran on", o.GetKind(), o.GetNamespace(), o.GetName())
	}
	return Change{Operation(operation), o}, err
}

func target(fields map[string]any, source *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	restored, _ := restore(fields, source.Object).(map[string]any)
	o := &unstructured.Unstructured{Object: restored}
	if o.GetAPIVersion() == "" || o.GetKind() == "" || o.GetName() == "" && o.GetGenerateName() == "" {
		return nil, errors.New("the object an action returned needs apiVersion, kind and metadata.name")
	}
	if o.GetNamespace() == "" {
		o.SetNamespace(source.GetNamespace())
	}
	return o, nil
}

// same says that both name one object.
func same(a, b *unstructured.Unstructured) bool {
	return a.GroupVersionKind() == b.GroupVersionKind() && a.GetNamespace() == b.GetNamespace() && a.GetName() == b.GetName()
}

// restore gives tables without entries, which are the same in Lua whether
// list or map, the form they had; and numbers that a script cannot have
// changed knowingly their digits.
func restore(v, before any) any {
	switch x := v.(type) {
	case map[string]any:
		if list, ok := before.([]any); ok && len(x) == 0 {
			return list[:0:0]
		}
		old, _ := before.(map[string]any)
		out := make(map[string]any, len(x))
		for key, item := range x {
			out[key] = restore(item, old[key])
		}
		return out
	case []any:
		old, _ := before.([]any)
		out := make([]any, len(x))
		for i, item := range x {
			var was any
			if i < len(old) {
				was = old[i]
			}
			out[i] = restore(item, was)
		}
		return out
	case int64:
		if n, ok := before.(int64); ok && float64(n) == float64(x) {
			return n
		}
	}
	return v
}

// Patches are the JSON merge patches that turn source into result: of the
// object, and of its status subresource; nil when nothing changes there. Null
// in the source counts as absent, since a script cannot see it.
func Patches(source, result *unstructured.Unstructured) (main, status []byte, err error) {
	before, after := withoutNull(source.Object), withoutNull(result.Object)
	split := func(o map[string]any) (map[string]any, map[string]any) {
		rest := maps.Clone(o)
		delete(rest, "status")
		return rest, map[string]any{"status": o["status"]}
	}
	mainBefore, statusBefore := split(before)
	mainAfter, statusAfter := split(after)
	if main, err = difference(mainBefore, mainAfter); err != nil {
		return nil, nil, err
	}
	status, err = difference(statusBefore, statusAfter)
	return main, status, err
}

func difference(before, after map[string]any) ([]byte, error) {
	if reflect.DeepEqual(before, after) {
		return nil, nil
	}
	a, err := json.Marshal(before)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(after)
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.CreateMergePatch(a, b)
	if err != nil || string(patch) == "{}" {
		return nil, err
	}
	return patch, nil
}

func withoutNull(o map[string]any) map[string]any {
	out := make(map[string]any, len(o))
	for key, v := range o {
		switch x := v.(type) {
		case nil:
		case map[string]any:
			out[key] = withoutNull(x)
		default:
			out[key] = v
		}
	}
	return out
}
