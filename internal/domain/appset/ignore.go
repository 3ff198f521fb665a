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

// Ignore gives desired the live values of the fields that the rules of the
// set leave alone, so that an update neither sees nor changes them. The error
// names the rule that cannot be followed; then nothing is to be written.
func Ignore(set *v1alpha1.ApplicationSet, desired, live *v1alpha1.Application) (*v1alpha1.Application, error) {
	var pointers []string
	for i, rule := range set.Spec.IgnoreApplicationDifferences {
		at := fmt.Sprintf("spec.ignoreApplicationDifferences[%d]", i)
		if len(rule.JQPathExpressions) > 0 {
			return nil, fmt.Errorf("%s.jqPathExpressions is not available yet: write jsonPointers", at)
		}
		for j, p := range rule.JSONPointers {
			if p != "/spec" && !slices.ContainsFunc(pointable, func(root string) bool { return strings.HasPrefix(p, root) }) {
				return nil, fmt.Errorf("%s.jsonPointers[%d]: %q is not a pointer below /spec, /metadata/labels or /metadata/annotations", at, j, p)
			}
			if rule.Name == "" || rule.Name == desired.Name {
				pointers = append(pointers, p)
			}
		}
	}
	if len(pointers) == 0 || live == nil {
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
	raw, err := json.Marshal(into)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	var out v1alpha1.Application
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("spec.ignoreApplicationDifferences: the live value does not fit: %w", err)
	}
	return &out, nil
}

func generic(app *v1alpha1.Application) (map[string]any, error) {
	raw, err := json.Marshal(app)
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
