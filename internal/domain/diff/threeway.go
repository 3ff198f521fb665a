package diff

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	jsonpatch "github.com/evanphx/json-patch/v5"
)

// Kind is what is known of a built-in kind; of others nothing is, and the zero
// value stands for them.
type Kind struct {
	// Lists says how lists merge; nil means that they are replaced as a whole.
	Lists strategicpatch.LookupPatchMeta
	// New makes an empty object of the Go type; nil when there is none.
	New func() any
}

// ThreeWay predicts a client-side apply in memory (spec/diff-health.md §3.1):
// what was applied last and is no longer desired goes, what is desired comes,
// and everything else of live stays. Without a
// record of the last apply, or with one that cannot be read, desired stands for
// it: nothing goes then.
//
// Fields inside replaced lists and unions that only live has and nobody applied
// are what the API server fills in: they stay, too.
func ThreeWay(desired, live *unstructured.Unstructured, kind Kind) (*unstructured.Unstructured, error) {
	if desired.GetAPIVersion() != live.GetAPIVersion() {
		return nil, fmt.Errorf("live is known as %s, Git asks for %s: no prediction across versions", live.GetAPIVersion(), desired.GetAPIVersion())
	}
	want := kind.rewrite(plain(desired))
	original := kind.lastAppliedTo(live)
	if original == nil {
		original = want
	}
	have := live.DeepCopy()
	have.SetManagedFields(nil)
	merged, err := mergeThree(original, want, have, kind.Lists)
	if err != nil { // what was applied last may be of a form that is no longer valid
		original = want
		if merged, err = mergeThree(original, want, have, kind.Lists); err != nil {
			return nil, err
		}
	}
	adopt(merged, have.Object, original.Object)
	kind.shed(merged, have.Object)
	return &unstructured.Unstructured{Object: merged}, nil
}

// plain is what was or is to be applied, without nulls, which say nothing, and
// without what never takes part in a three-way comparison.
func plain(o *unstructured.Unstructured) *unstructured.Unstructured {
	out := withoutNulls(Prepare(o))
	unstructured.RemoveNestedField(out.Object, "metadata", "annotations", lastApplied)
	unstructured.RemoveNestedField(out.Object, "metadata", "namespace")
	if annotations, ok, err := unstructured.NestedMap(out.Object, "metadata", "annotations"); ok && err == nil && len(annotations) == 0 {
		unstructured.RemoveNestedField(out.Object, "metadata", "annotations")
	}
	return out
}

// lastAppliedTo reads the record of the last client-side apply, nil when there
// is none that can be read.
func (k Kind) lastAppliedTo(live *unstructured.Unstructured) *unstructured.Unstructured {
	out := &unstructured.Unstructured{}
	text := live.GetAnnotations()[lastApplied]
	if text == "" || out.UnmarshalJSON([]byte(text)) != nil {
		return nil
	}
	return k.rewrite(plain(out))
}

// typed sends an object through its Go type, as the API server does; false when
// it does not fit, or the type is not known.
func (k Kind) typed(o map[string]any) (map[string]any, bool) {
	if k.New == nil {
		return nil, false
	}
	typed := k.New()
	if runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o, typed, true) != nil {
		return nil, false
	}
	out, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	return out, err == nil
}

// rewrite gives values the form in which the API server writes them, such as
// quantities (spec/diff-health.md §4). What does not fit the type stays.
func (k Kind) rewrite(o *unstructured.Unstructured) *unstructured.Unstructured {
	out, ok := k.typed(o.Object)
	if !ok {
		return o
	}
	out, _ = withoutNew(out, o.Object).(map[string]any)
	return &unstructured.Unstructured{Object: out}
}

// shed drops from merged what is empty, so that the API server leaves it out,
// unless live has something there.
func (k Kind) shed(merged, live map[string]any) {
	if written, ok := k.typed(merged); ok {
		shed(merged, written, live)
	}
}

func shed(merged, written, live any) {
	switch m := merged.(type) {
	case map[string]any:
		w, _ := written.(map[string]any)
		l, _ := live.(map[string]any)
		for key, v := range m {
			kept, stays := w[key]
			if _, there := l[key]; !stays && !there {
				delete(m, key)
			} else if stays {
				shed(v, kept, l[key])
			}
		}
	case []any:
		w, _ := written.([]any)
		l, _ := live.([]any)
		for i := range min(len(m), len(w)) {
			var beside any
			if i < len(l) {
				beside = l[i]
			}
			shed(m[i], w[i], beside)
		}
	}
}

// mergeThree applies to live the patch that a client-side apply would send.
func mergeThree(original, want, live *unstructured.Unstructured, lists strategicpatch.LookupPatchMeta) (map[string]any, error) {
	var raw [3][]byte
	for i, o := range []*unstructured.Unstructured{original, want, live} {
		var err error
		if raw[i], err = json.Marshal(o.Object); err != nil {
			return nil, fmt.Errorf("three-way comparison: %w", err)
		}
	}
	var patch, merged []byte
	var err error
	if lists != nil {
		if patch, err = strategicpatch.CreateThreeWayMergePatch(raw[0], raw[1], raw[2], lists, true); err == nil {
			merged, err = strategicpatch.StrategicMergePatchUsingLookupPatchMeta(raw[2], patch, lists)
		}
	} else if patch, err = jsonmergepatch.CreateThreeWayJSONMergePatch(raw[0], raw[1], raw[2]); err == nil {
		merged, err = jsonpatch.MergePatch(raw[2], patch)
	}
	if err != nil {
		return nil, fmt.Errorf("three-way comparison: %w", err)
	}
	out := &unstructured.Unstructured{}
	if err := out.UnmarshalJSON(merged); err != nil {
		return nil, fmt.Errorf("three-way comparison: %w", err)
	}
	return out.Object, nil
}

// adopt takes what only live has and what was not applied, at any depth: that
// is filled in again where the patch replaces a list or a union as a whole.
func adopt(merged, live, original map[string]any) {
	for key, l := range live {
		m, there := merged[key]
		if _, applied := original[key]; !there && !applied {
			merged[key] = l
			continue
		}
		switch v := m.(type) {
		case map[string]any:
			lm, _ := l.(map[string]any)
			o, _ := original[key].(map[string]any)
			adopt(v, lm, o)
		case []any:
			ll, _ := l.([]any)
			o, _ := original[key].([]any)
			adoptList(v, ll, o)
		}
	}
}

// adoptList matches elements by their places: lists of other lengths differ in
// any case.
func adoptList(merged, live, original []any) {
	if len(merged) != len(live) {
		return
	}
	for i := range merged {
		m, okM := merged[i].(map[string]any)
		l, okL := live[i].(map[string]any)
		if !okM || !okL {
			continue
		}
		var o map[string]any
		if i < len(original) {
			o, _ = original[i].(map[string]any)
		}
		adopt(m, l, o)
	}
}
