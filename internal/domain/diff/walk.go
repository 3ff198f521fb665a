package diff

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

type entry = metav1.ManagedFieldsEntry

// walk compares two values side by side. With a set only what is in it
// counts; without one everything does. Each step returns the live value with
// the differences that count put in.
type walk struct {
	quantities bool
	fields     []Field
}

// absent stands for a field that is not there.
var absent = &struct{ byte }{}

func shown(v any) any {
	if v == absent {
		return nil
	}
	return v
}

func (w *walk) differ(path string, predicted, live any) any {
	w.fields = append(w.fields, Field{Path: strings.TrimPrefix(path, "."), Live: shown(live), Desired: shown(predicted)})
	return predicted
}

// value compares two values of which both may be absent.
func (w *walk) value(path string, predicted, live any, set *fieldpath.Set) any {
	switch p := predicted.(type) {
	case map[string]any:
		if l, ok := live.(map[string]any); ok {
			return w.maps(path, p, l, set)
		}
	case []any:
		if l, ok := live.([]any); ok {
			return w.lists(path, p, l, set)
		}
	default:
		if equalScalars(predicted, live) || w.quantities && inQuantities(path) && sameQuantity(predicted, live) {
			return live
		}
	}
	return w.differ(path, predicted, live)
}

// inQuantities says that the path ends in a quantity of a built-in kind.
func inQuantities(path string) bool {
	parts := strings.Split(path, ".")
	return len(parts) > 1 && (quantityMaps[parts[len(parts)-1]] || quantityMaps[parts[len(parts)-2]])
}

func (w *walk) maps(path string, predicted, live map[string]any, set *fieldpath.Set) any {
	out := make(map[string]any, len(live))
	for _, k := range sortedKeys(predicted, live) {
		p, l := lookup(predicted, k), lookup(live, k)
		below, counts := within(set, fieldpath.PathElement{FieldName: &k})
		v := l
		if counts {
			v = w.value(join(path, k), p, l, below)
		}
		if v != absent {
			out[k] = v
		}
	}
	return out
}

func lookup(m map[string]any, k string) any {
	if v, ok := m[k]; ok {
		return v
	}
	return absent
}

// within gives the part of the set below an element, and whether the element
// counts at all; a nil set means that everything does.
func within(set *fieldpath.Set, element fieldpath.PathElement) (*fieldpath.Set, bool) {
	if set == nil {
		return nil, true
	}
	if below, ok := set.Children.Get(element); ok && !below.Empty() {
		return below, true
	}
	return nil, set.Members.Has(element)
}

// join adds a field to a path, so that dots in its name are no steps.
func join(path, name string) string {
	if strings.ContainsAny(name, ".[]\"") {
		return fmt.Sprintf("%s[%q]", path, name)
	}
	return path + "." + name
}

func (w *walk) lists(path string, predicted, live []any, set *fieldpath.Set) any {
	if set != nil {
		return w.associative(path, predicted, live, set)
	}
	if reflect.DeepEqual(predicted, live) {
		return live
	}
	if k := keyOf(predicted, live); k != "" && sameOrder(predicted, live, k) {
		return w.keyed(path, predicted, live, k)
	}
	if len(predicted) != len(live) {
		return w.differ(path, predicted, live)
	}
	out := make([]any, len(live))
	for i := range live {
		out[i] = w.value(fmt.Sprintf("%s[%d]", path, i), predicted[i], live[i], nil)
	}
	return out
}

// sameOrder says that what both lists have is in the same order in both.
func sameOrder(a, b []any, key string) bool {
	return slices.Equal(common(a, b, key), common(b, a, key))
}

func common(a, b []any, key string) []any {
	var out []any
	for _, item := range a {
		id := item.(map[string]any)[key]
		if slices.ContainsFunc(b, func(o any) bool { return o.(map[string]any)[key] == id }) {
			out = append(out, id)
		}
	}
	return out
}

// keyed compares the elements of two lists that a field tells apart.
func (w *walk) keyed(path string, predicted, live []any, key string) any {
	find := func(list []any, id any) any {
		for _, item := range list {
			if item.(map[string]any)[key] == id {
				return item
			}
		}
		return absent
	}
	var out []any
	for _, item := range predicted {
		id := item.(map[string]any)[key]
		out = append(out, w.value(fmt.Sprintf("%s[%s=%v]", path, key, id), item, find(live, id), nil))
	}
	for _, item := range live {
		id := item.(map[string]any)[key]
		if find(predicted, id) == absent {
			w.differ(fmt.Sprintf("%s[%s=%v]", path, key, id), absent, item)
		}
	}
	return out
}

// associative compares those elements of two lists that are in the set; the
// others belong to somebody else and stay as they are.
func (w *walk) associative(path string, predicted, live []any, set *fieldpath.Set) any {
	out := slices.Clone(live)
	var removed []int
	var order, liveOrder []int
	for _, element := range elements(set) {
		i, label := position(live, element)
		j, _ := position(predicted, element)
		below, _ := within(set, element)
		switch {
		case i < 0 && j < 0:
		case i < 0:
			out = append(out, w.differ(path+label, predicted[j], absent))
		case j < 0:
			w.differ(path+label, absent, live[i])
			removed = append(removed, i)
		default:
			out[i] = w.value(path+label, predicted[j], live[i], below)
			liveOrder, order = append(liveOrder, i), append(order, j)
		}
	}
	if len(removed) == 0 && len(out) == len(live) && !sameRanks(order, liveOrder) {
		return w.differ(path, predicted, live)
	}
	slices.Sort(removed)
	for _, i := range slices.Backward(removed) {
		out = slices.Delete(out, i, i+1)
	}
	return out
}

// sameRanks says that sorting by either list gives the same order.
func sameRanks(a, b []int) bool {
	for i := range a {
		for j := range i {
			if (a[i] < a[j]) != (b[i] < b[j]) {
				return false
			}
		}
	}
	return true
}

// elements lists the elements of a list that are in the set, in their order.
func elements(set *fieldpath.Set) []fieldpath.PathElement {
	var out []fieldpath.PathElement
	add := func(e fieldpath.PathElement) {
		if e.FieldName == nil && !slices.ContainsFunc(out, func(o fieldpath.PathElement) bool { return o.Equals(e) }) {
			out = append(out, e)
		}
	}
	set.Members.Iterate(add)
	set.Children.Iterate(add)
	return out
}

// position finds an element of a list; -1 when it is not there.
func position(list []any, e fieldpath.PathElement) (int, string) {
	switch {
	case e.Key != nil:
		if i, ok := byKey(list, *e.Key); ok {
			return i, label(*e.Key)
		}
		return -1, label(*e.Key)
	case e.Value != nil:
		if i, ok := byValue(list, *e.Value); ok {
			return i, "[" + value.ToString(*e.Value) + "]"
		}
		return -1, "[" + value.ToString(*e.Value) + "]"
	case e.Index != nil && *e.Index < len(list):
		return *e.Index, fmt.Sprintf("[%d]", *e.Index)
	}
	return -1, ""
}

func label(keys value.FieldList) string {
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = k.Name + "=" + strings.Trim(value.ToString(k.Value), `"`)
	}
	return "[" + strings.Join(parts, ",") + "]"
}
