package appset

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Params is one parameter set: nested in Go-template mode, flat with string
// values in plain mode. Labels are what its generators offer as labels.
type Params struct {
	Values map[string]any
	Labels map[string]string
}

var notNormal = regexp.MustCompile(`[^-a-z0-9.]`)

// Normalize makes a name usable as a DNS name: lower case, other characters
// replaced by dashes, at most 253 long.
func Normalize(s string) string {
	n := notNormal.ReplaceAllString(strings.ToLower(s), "-")
	if len(n) > 253 {
		n = n[:253]
	}
	return strings.Trim(n, "-.")
}

// text prints a scalar; whole numbers never get an exponent.
func text(v any) string {
	switch t := v.(type) {
	case nil:
		return ""
	case string:
		return t
	case float64:
		if t == math.Trunc(t) && math.Abs(t) < 1<<63 {
			return strconv.FormatFloat(t, 'f', -1, 64)
		}
		return strconv.FormatFloat(t, 'g', -1, 64)
	}
	return fmt.Sprint(v)
}

// flatten joins the paths of nested values with dots.
func flatten(prefix string, v any, out map[string]any) {
	switch t := v.(type) {
	case map[string]any:
		for k, x := range t {
			flatten(join(prefix, k), x, out)
		}
	case []any:
		for i, x := range t {
			flatten(join(prefix, strconv.Itoa(i)), x, out)
		}
	default:
		out[prefix] = text(v)
	}
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "." + b
}

// selects applies a post selector to a parameter set.
func selects(selector *metav1.LabelSelector, p Params) (bool, error) {
	if selector == nil {
		return true, nil
	}
	flat := map[string]any{}
	flatten("", p.Values, flat)
	for _, key := range slices.Sorted(maps.Keys(selector.MatchLabels)) {
		want := selector.MatchLabels[key]
		if err := labelKey(key); err != nil {
			return false, err
		}
		if flat[key] != want {
			return false, nil
		}
	}
	for _, e := range selector.MatchExpressions {
		if err := labelKey(e.Key); err != nil {
			return false, err
		}
		if listed := e.Operator == metav1.LabelSelectorOpIn || e.Operator == metav1.LabelSelectorOpNotIn; listed && len(e.Values) == 0 {
			return false, fmt.Errorf("selector for %q: %s needs values", e.Key, e.Operator)
		}
		value, present := flat[e.Key]
		hit := present && slices.Contains(e.Values, text(value))
		ok := false
		switch e.Operator {
		case metav1.LabelSelectorOpIn:
			ok = hit
		case metav1.LabelSelectorOpNotIn:
			ok = !hit
		case metav1.LabelSelectorOpExists:
			ok = present
		case metav1.LabelSelectorOpDoesNotExist:
			ok = !present
		default:
			return false, fmt.Errorf("selector operator %q is not one of In, NotIn, Exists, DoesNotExist", e.Operator)
		}
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

func labelKey(key string) error {
	if len(validation.IsQualifiedName(key)) > 0 {
		return fmt.Errorf("selector key %q is not a valid label key", key)
	}
	return nil
}

// combine unites two parameter sets of a matrix. In plain mode the same key
// with different values is an error; in Go mode maps merge and the first wins.
func combine(a, b Params, goMode bool) (Params, error) {
	out := Params{Values: maps.Clone(b.Values), Labels: maps.Clone(b.Labels)}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	maps.Copy(out.Labels, a.Labels)
	if goMode {
		out.Values = deepMerge(a.Values, b.Values)
		return out, nil
	}
	for _, k := range slices.Sorted(maps.Keys(a.Values)) {
		v := a.Values[k]
		if old, clash := b.Values[k]; clash && !reflect.DeepEqual(old, v) {
			return out, fmt.Errorf("both children yield parameter %q with different values: rename one, for example with pathParamPrefix", k)
		}
		out.Values[k] = v
	}
	return out, nil
}

// deepMerge merges maps; values of a win.
func deepMerge(a, b map[string]any) map[string]any {
	out := maps.Clone(b)
	for k, v := range a {
		inner, okA := v.(map[string]any)
		old, okB := out[k].(map[string]any)
		if okA && okB {
			out[k] = deepMerge(inner, old)
			continue
		}
		out[k] = v
	}
	return out
}

// describe shows a parameter set in an error, shortened.
func describe(p Params) string {
	raw, err := json.Marshal(p.Values)
	if err != nil {
		return "?"
	}
	if len(raw) > 300 {
		return string(raw[:300]) + "..."
	}
	return string(raw)
}

// cloned copies maps and lists.
func cloned(v any) any {
	switch t := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(t))
		for k, x := range t {
			out[k] = cloned(x)
		}
		return out
	case []any:
		out := make([]any, len(t))
		for i, x := range t {
			out[i] = cloned(x)
		}
		return out
	}
	return v
}
