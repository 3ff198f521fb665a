package diff

import (
	"bytes"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// Manager is the field manager under which objects are applied.
const Manager = "argocd-controller"

// ClientSideManagers are managers of client-side tools: what they own by
// update becomes ours with the first server-side apply (spec/sync.md §7).
var ClientSideManagers = []string{"kubectl-client-side-apply", "kubectl", "helm", Manager}

// ClientSide says that a client-side tool owns fields of live by update, so
// that its ownership has to be migrated.
func ClientSide(live *unstructured.Unstructured, more ...string) bool {
	return slices.ContainsFunc(live.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool { return clientSide(e, more) })
}

// Adopted says that we have applied live and that no client-side tool owns
// fields of it: an apply of what it already has would change nothing.
func Adopted(live *unstructured.Unstructured) bool { return owned(live) != nil && !ClientSide(live) }

func clientSide(e metav1.ManagedFieldsEntry, more []string) bool {
	return e.Operation == metav1.ManagedFieldsOperationUpdate && e.Subresource == "" &&
		(slices.Contains(ClientSideManagers, e.Manager) || slices.Contains(more, e.Manager))
}

// setOf is the union of the entries that pick chooses; nil when it chooses none.
func setOf(o *unstructured.Unstructured, pick func(metav1.ManagedFieldsEntry) bool) *fieldpath.Set {
	var out *fieldpath.Set
	for _, e := range o.GetManagedFields() {
		if e.FieldsV1 == nil || !pick(e) {
			continue
		}
		set := &fieldpath.Set{}
		if err := set.FromJSON(bytes.NewReader(e.FieldsV1.GetRawBytes())); err != nil {
			continue
		}
		if out == nil {
			out = set
		} else {
			out = out.Union(set)
		}
	}
	return out
}

// owned is what our manager applied; nil when it never did.
func owned(o *unstructured.Unstructured) *fieldpath.Set { return setOf(o, ours) }

func ours(e metav1.ManagedFieldsEntry) bool {
	return e.Manager == Manager && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == ""
}

// has says that v holds the path; elements of lists are found by their keys.
func has(v any, p fieldpath.Path) bool {
	_, found := resolve(v, p)
	return found
}

// resolve turns a path of managed fields into a path of this value.
func resolve(v any, p fieldpath.Path) (Path, bool) {
	var out Path
	for _, element := range p {
		switch {
		case element.FieldName != nil:
			m, ok := v.(map[string]any)
			if !ok {
				return nil, false
			}
			if v, ok = m[*element.FieldName]; !ok {
				return nil, false
			}
			out = append(out, *element.FieldName)
		case element.Key != nil:
			i, ok := byKey(v, *element.Key)
			if !ok {
				return nil, false
			}
			out = append(out, i)
			v = v.([]any)[i]
		case element.Value != nil:
			i, ok := byValue(v, *element.Value)
			return append(out, i), ok
		default:
			return out, true
		}
	}
	return out, true
}

// byKey finds an element of a list by the values of its key fields. A key
// field that is absent is one that the API server fills in, such as protocol.
func byKey(v any, keys value.FieldList) (int, bool) {
	list, ok := v.([]any)
	if !ok {
		return 0, false
	}
	for i, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		same, present := true, false
		for _, k := range keys {
			got, here := m[k.Name]
			if here {
				present = true
				same = same && value.Equals(value.NewValueInterface(got), k.Value)
			}
		}
		if same && present {
			return i, true
		}
	}
	return 0, false
}

func byValue(v any, want value.Value) (int, bool) {
	list, ok := v.([]any)
	if !ok {
		return 0, false
	}
	for i, item := range list {
		if value.Equals(value.NewValueInterface(item), want) {
			return i, true
		}
	}
	return 0, false
}
