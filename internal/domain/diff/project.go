package diff

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// Types gives objects their schema.
type Types interface {
	ObjectToTyped(o runtime.Object, options ...typed.ValidationOptions) (*typed.TypedValue, error)
}

// Project predicts a server-side apply in memory: desired merged over live
// by the cluster's schema, without the fields that we own and no longer want.
// It knows nothing of defaults, webhooks and admission. An error says that no
// prediction is possible: the schema is unknown, or desired does not fit it.
func Project(desired, live *unstructured.Unstructured, types Types) (*unstructured.Unstructured, error) {
	if desired.GetAPIVersion() != live.GetAPIVersion() {
		return nil, fmt.Errorf("live is known as %s, Git asks for %s: no prediction across versions", live.GetAPIVersion(), desired.GetAPIVersion())
	}
	want, err := types.ObjectToTyped(withoutNulls(Prepare(desired)))
	if err != nil {
		return nil, fmt.Errorf("desired object: %w", err)
	}
	bare := live.DeepCopy()
	bare.SetManagedFields(nil)
	have, err := types.ObjectToTyped(bare)
	if err != nil {
		return nil, fmt.Errorf("live object: %w", err)
	}
	merged, err := have.Merge(want)
	if err != nil {
		return nil, fmt.Errorf("merge: %w", err)
	}
	if mine := owned(live); mine != nil {
		wanted, err := want.ToFieldSet()
		if err != nil {
			return nil, fmt.Errorf("desired object: %w", err)
		}
		gone := mine.Leaves().Difference(wanted)
		if others := setOf(live, func(e entry) bool { return !ours(e) && e.Subresource == "" }); others != nil {
			gone = gone.Difference(others)
		}
		merged = merged.RemoveItems(gone)
	}
	out, ok := merged.AsValue().Unstructured().(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the merge is no object")
	}
	u := (&unstructured.Unstructured{Object: out}).DeepCopy()
	if isSecret(u) {
		mergeStringData(u)
	}
	return u, nil
}

// withoutNulls drops fields that say null: to an apply they say nothing.
func withoutNulls(o *unstructured.Unstructured) *unstructured.Unstructured {
	out := o.DeepCopy()
	dropNulls(out.Object)
	return out
}

func dropNulls(v any) {
	switch t := v.(type) {
	case map[string]any:
		for k, item := range t {
			if item == nil {
				delete(t, k)
			} else {
				dropNulls(item)
			}
		}
	case []any:
		for _, item := range t {
			dropNulls(item)
		}
	}
}

// Abandon takes out of a prediction the fields that a client-side tool
// applied, that Git no longer has and that nobody else owns: the first
// server-side apply takes their ownership over and thereby removes them, which
// a dry run without that cannot show. The prediction given is not changed.
func Abandon(predicted, desired, live *unstructured.Unstructured, more ...string) *unstructured.Unstructured {
	var applied map[string]any
	text := live.GetAnnotations()[lastApplied]
	if text == "" || json.Unmarshal([]byte(text), &applied) != nil {
		return predicted
	}
	theirs := setOf(live, func(e entry) bool { return clientSide(e, more) })
	if theirs == nil {
		return predicted
	}
	others := setOf(live, func(e metav1.ManagedFieldsEntry) bool { return !clientSide(e, more) && !ours(e) && e.Subresource == "" })
	var gone []Path
	theirs.Leaves().Iterate(func(p fieldpath.Path) {
		if others != nil && others.Has(p) || has(desired.Object, p) || !has(applied, p) {
			return
		}
		if path, ok := resolve(predicted.Object, p); ok {
			gone = append(gone, path)
		}
	})
	if len(gone) == 0 {
		return predicted
	}
	out := predicted.DeepCopy()
	remove(out.Object, gone)
	return out
}
