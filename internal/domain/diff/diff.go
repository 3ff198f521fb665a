// Package diff compares desired with live objects. It answers in memory when
// it can; when it cannot be sure it says so, and the caller asks the API
// server for a prediction (a dry-run apply) and compares that.
package diff

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// Manager is the field manager under which objects are applied.
const Manager = "argocd-controller"

// InSync says that live has every field of desired, and that no field we own
// is gone from desired. False means "not sure", never "different".
func InSync(desired, live *unstructured.Unstructured) bool {
	want := desired.Object
	if isSecret(desired) {
		want = mergeStringData(desired)
	}
	owned, ok := ownedFields(live)
	return ok && covers(want, live.Object) && !stale(owned, want)
}

func isSecret(o *unstructured.Unstructured) bool {
	return o.GetKind() == "Secret" && o.GetAPIVersion() == "v1"
}

// mergeStringData moves stringData of a Secret into data, as the API does.
func mergeStringData(o *unstructured.Unstructured) map[string]any {
	plain, ok, err := unstructured.NestedStringMap(o.Object, "stringData")
	if !ok || err != nil {
		return o.Object
	}
	merged := o.DeepCopy()
	data, _, _ := unstructured.NestedMap(merged.Object, "data")
	if data == nil {
		data = map[string]any{}
	}
	for k, v := range plain {
		data[k] = base64.StdEncoding.EncodeToString([]byte(v))
	}
	merged.Object["data"] = data
	delete(merged.Object, "stringData")
	return merged.Object
}

// covers says that have holds everything that want does.
func covers(want, have any) bool {
	switch w := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok {
			return len(w) == 0 && have == nil
		}
		for k, v := range w {
			if !covers(v, h[k]) {
				return false
			}
		}
		return true
	case []any:
		h, ok := have.([]any)
		if !ok || len(h) != len(w) {
			return len(w) == 0 && have == nil
		}
		for i := range w {
			if !covers(w[i], h[i]) {
				return false
			}
		}
		return true
	case nil:
		return have == nil
	}
	return scalar(want, have)
}

func scalar(want, have any) bool {
	if reflect.DeepEqual(want, have) {
		return true
	}
	a, aText := want.(string)
	b, bText := have.(string)
	if aText && bText && looksLikeQuantity(a) && looksLikeQuantity(b) {
		qa, errA := resource.ParseQuantity(a)
		qb, errB := resource.ParseQuantity(b)
		return errA == nil && errB == nil && qa.Cmp(qb) == 0
	}
	return false
}

func looksLikeQuantity(s string) bool {
	return s != "" && len(s) < 24 && strings.ContainsAny(s[:1], "0123456789+-.")
}

// ownedFields reads what our manager applied; ok is false when we never did.
func ownedFields(live *unstructured.Unstructured) (*fieldpath.Set, bool) {
	for _, e := range live.GetManagedFields() {
		if e.Manager != Manager || e.Operation != metav1.ManagedFieldsOperationApply || e.Subresource != "" || e.FieldsV1 == nil {
			continue
		}
		set := &fieldpath.Set{}
		if err := set.FromJSON(bytes.NewReader(e.FieldsV1.GetRawBytes())); err != nil {
			return nil, false
		}
		return set, true
	}
	return nil, false
}

// stale says that we own a field that desired no longer has.
func stale(owned *fieldpath.Set, want map[string]any) bool {
	found := false
	owned.Leaves().Iterate(func(p fieldpath.Path) {
		if !found && !has(want, p) {
			found = true
		}
	})
	return found
}

// has says that desired holds the path; elements of lists are found by keys.
func has(v any, p fieldpath.Path) bool {
	for _, element := range p {
		switch {
		case element.FieldName != nil:
			m, ok := v.(map[string]any)
			if !ok {
				return false
			}
			next, ok := m[*element.FieldName]
			if !ok {
				return false
			}
			v = next
		case element.Key != nil:
			next, ok := byKey(v, *element.Key)
			if !ok {
				return false
			}
			v = next
		case element.Value != nil:
			return contains(v, *element.Value)
		default:
			return true
		}
	}
	return true
}

func byKey(v any, keys value.FieldList) (any, bool) {
	list, ok := v.([]any)
	if !ok {
		return nil, false
	}
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		same := true
		for _, k := range keys {
			got, present := m[k.Name]
			if !present {
				continue // a key that the API server fills in, such as protocol
			}
			same = same && value.Equals(value.NewValueInterface(got), k.Value)
		}
		if same {
			return item, true
		}
	}
	return nil, false
}

func contains(v any, want value.Value) bool {
	list, ok := v.([]any)
	if !ok {
		return false
	}
	for _, item := range list {
		if value.Equals(value.NewValueInterface(item), want) {
			return true
		}
	}
	return false
}

// volatile are fields that never count as a difference.
var volatile = [][]string{
	{"metadata", "managedFields"}, {"metadata", "resourceVersion"}, {"metadata", "generation"}, {"metadata", "uid"},
	{"metadata", "creationTimestamp"}, {"metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"}, {"status"},
}

// Same says that an API server's prediction equals the live object, apart
// from fields that never count and those the pointers ignore.
func Same(predicted, live *unstructured.Unstructured, pointers []string) bool {
	a, b := strip(predicted, pointers), strip(live, pointers)
	rawA, errA := json.Marshal(a)
	rawB, errB := json.Marshal(b)
	return errA == nil && errB == nil && bytes.Equal(rawA, rawB)
}

func strip(o *unstructured.Unstructured, pointers []string) map[string]any {
	c := o.DeepCopy()
	for _, path := range volatile {
		unstructured.RemoveNestedField(c.Object, path...)
	}
	if len(c.GetAnnotations()) == 0 {
		unstructured.RemoveNestedField(c.Object, "metadata", "annotations")
	}
	for _, p := range pointers {
		remove(c.Object, strings.Split(strings.TrimPrefix(p, "/"), "/"))
	}
	return c.Object
}

// remove deletes what a JSON pointer names; a missing path is fine.
func remove(v any, path []string) {
	name := strings.ReplaceAll(strings.ReplaceAll(path[0], "~1", "/"), "~0", "~")
	switch t := v.(type) {
	case map[string]any:
		if len(path) == 1 {
			delete(t, name)
			return
		}
		remove(t[name], path[1:])
	case []any:
		var i resource.Quantity
		if q, err := resource.ParseQuantity(name); err == nil {
			i = q
		}
		if n := i.Value(); len(path) > 1 && n >= 0 && int(n) < len(t) {
			remove(t[n], path[1:])
		}
	}
}
