package appset

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// pointable are the parts of an Application that a set writes, and that rules
// may therefore leave alone.
var pointable = []string{"/spec/", "/metadata/labels/", "/metadata/annotations/"}

// Finder names the places in an object that a jq expression means, each as
// fields and indexes.
type Finder func(expression string, object map[string]any) ([][]any, error)

// Ignore gives desired the live values of the fields that the rules of the
// set leave alone, so that an update neither sees nor changes them. The error
// names the rule that cannot be followed; then nothing is to be written. Status
// and operation are not looked at.
func Ignore(set *v1alpha1.ApplicationSet, desired, live *v1alpha1.Application, find Finder) (*v1alpha1.Application, error) {
	pointers, expressions, err := ignored(set, desired.Name)
	if err != nil {
		return nil, err
	}
	if len(pointers)+len(expressions) == 0 || live == nil {
		return desired, nil
	}
	into, err := generic(desired)
	if err != nil {
		return nil, err
	}
	from, err := generic(live)
	if err != nil {
		return nil, err
	}
	for _, p := range pointers {
		copyValue(into, from, strings.Split(p[1:], "/"))
	}
	for _, e := range expressions {
		if err := e.copy(into, from, find); err != nil {
			return nil, err
		}
	}
	raw, err := json.Marshal(into)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	var out v1alpha1.Application
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("spec.ignoreApplicationDifferences: the live value does not fit: %w", err)
	}
	out.Status, out.Operation = desired.Status, desired.Operation
	return &out, nil
}

// ignored are the rules for one Application.
func ignored(set *v1alpha1.ApplicationSet, name string) (pointers []string, expressions []jqRule, err error) {
	for i, rule := range set.Spec.IgnoreApplicationDifferences {
		at := fmt.Sprintf("spec.ignoreApplicationDifferences[%d]", i)
		applies := rule.Name == "" || rule.Name == name
		for j, p := range rule.JSONPointers {
			if !below(p) {
				return nil, nil, fmt.Errorf("%s.jsonPointers[%d]: %q is not a pointer below /spec, /metadata/labels or /metadata/annotations", at, j, p)
			}
			if applies {
				pointers = append(pointers, p)
			}
		}
		for j, e := range rule.JQPathExpressions {
			if applies {
				expressions = append(expressions, jqRule{at: fmt.Sprintf("%s.jqPathExpressions[%d]", at, j), text: e})
			}
		}
	}
	return pointers, expressions, nil
}

// below says that a set writes what the pointer names.
func below(pointer string) bool {
	return pointer == "/spec" || slices.ContainsFunc(pointable, func(root string) bool { return strings.HasPrefix(pointer, root) })
}

// jqRule is one expression of a rule.
type jqRule struct{ at, text string }

// copy gives into the values that from has in the places that the expression
// names in it. When both have as many places they belong together in order, so
// that a member of a list that has moved is found; otherwise only places
// outside of lists are copied.
func (r jqRule) copy(into, from map[string]any, find Finder) error {
	ours, err := r.pointers(into, find)
	if err != nil {
		return err
	}
	theirs, err := r.pointers(from, find)
	if err != nil {
		return err
	}
	if len(ours) == len(theirs) {
		for i := range ours {
			move(into, from, ours[i], theirs[i])
		}
		return nil
	}
	for _, p := range slices.Concat(ours, theirs) {
		if !slices.ContainsFunc(p, func(step any) bool { _, index := step.(int); return index }) {
			copyValue(into, from, steps(p))
		}
	}
	return nil
}

func (r jqRule) pointers(object map[string]any, find Finder) ([][]any, error) {
	paths, err := find(r.text, object)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.at, err)
	}
	for _, p := range paths {
		if at := "/" + strings.Join(steps(p), "/"); !below(at) {
			return nil, fmt.Errorf("%s: %q names %s, which is not below /spec, /metadata/labels or /metadata/annotations", r.at, r.text, at)
		}
	}
	return paths, nil
}

var escape = strings.NewReplacer("~", "~0", "/", "~1")

func steps(path []any) []string {
	out := make([]string, len(path))
	for i, step := range path {
		out[i] = escape.Replace(fmt.Sprint(step))
	}
	return out
}

// move copies the value at there in from to here in into.
func move(into, from any, here, there []any) {
	if len(here) != len(there) {
		return
	}
	for i, step := range here {
		last := i == len(here)-1
		switch target := into.(type) {
		case map[string]any:
			source, _ := from.(map[string]any)
			key, isField := step.(string)
			other, sameKind := there[i].(string)
			if !isField || !sameKind {
				return
			}
			value, present := source[other]
			if last && present {
				target[key] = value
			} else if last {
				delete(target, key)
			}
			if target[key] == nil && !last && value != nil {
				target[key] = map[string]any{}
			}
			into, from = target[key], value
		case []any:
			source, _ := from.([]any)
			at, isIndex := step.(int)
			other, sameKind := there[i].(int)
			if !isIndex || !sameKind || at < 0 || at >= len(target) || other < 0 || other >= len(source) {
				return
			}
			if last {
				target[at] = source[other]
			}
			into, from = target[at], source[other]
		default:
			return
		}
	}
}

func generic(app *v1alpha1.Application) (map[string]any, error) {
	raw, err := json.Marshal(v1alpha1.Application{TypeMeta: app.TypeMeta, ObjectMeta: app.ObjectMeta, Spec: app.Spec})
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return out, nil
}

var unescape = strings.NewReplacer("~1", "/", "~0", "~")

// copyValue makes the value at path the same in into as it is in from, absent
// included. Places that only one side can have stay as they are.
func copyValue(into, from any, path []string) {
	key := unescape.Replace(path[0])
	switch target := into.(type) {
	case map[string]any:
		source, _ := from.(map[string]any)
		value, present := source[key]
		switch {
		case len(path) > 1 && target[key] == nil && holds(value, path[1:]):
			target[key] = map[string]any{}
			copyValue(target[key], value, path[1:])
		case len(path) > 1:
			copyValue(target[key], value, path[1:])
		case present:
			target[key] = value
		default:
			delete(target, key)
		}
	case []any:
		source, _ := from.([]any)
		i, err := strconv.Atoi(key)
		if err != nil || i < 0 || i >= len(target) || i >= len(source) {
			return
		}
		if len(path) > 1 {
			copyValue(target[i], source[i], path[1:])
			return
		}
		target[i] = source[i]
	}
}

// holds says that v has a value at path, through maps only.
func holds(v any, path []string) bool {
	m, ok := v.(map[string]any)
	if !ok {
		return false
	}
	value, present := m[unescape.Replace(path[0])]
	return present && (len(path) == 1 || holds(value, path[1:]))
}

// LetGo gives automation back to an Application that the set holds: to what is
// rendered for it, or, when nothing is, to what the format means by silence.
// It returns false when the set does not hold it.
func LetGo(set *v1alpha1.ApplicationSet, live, rendered *v1alpha1.Application) (*v1alpha1.Application, bool) {
	if live.Annotations[v1alpha1.AnnotationRolloutHeldBy] != set.Name {
		return live, false
	}
	out := live.DeepCopy()
	out.Annotations = maps.Clone(live.Annotations)
	delete(out.Annotations, v1alpha1.AnnotationRolloutHeldBy)
	if p := out.Spec.SyncPolicy; p != nil && p.Automated != nil {
		p.Automated.Enabled = nil
		if rendered != nil && rendered.Spec.SyncPolicy != nil && rendered.Spec.SyncPolicy.Automated != nil {
			p.Automated.Enabled = rendered.Spec.SyncPolicy.Automated.Enabled
		}
	}
	return out, true
}
