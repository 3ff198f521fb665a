package diff

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	jsonpatch "github.com/evanphx/json-patch/v5"
)

// ThreeWay predicts a client-side apply in memory (spec/diff-health.md §3.1):
// what was applied last and is no longer desired goes, what is desired comes,
// and everything else of live stays. lists is how the lists of a built-in kind
// merge; nil stands for a kind whose lists are replaced as a whole. Without a
// record of the last apply, or with one that cannot be read, desired stands for
// it: nothing goes then.
//
// Fields inside replaced lists that only live has and nobody applied are what
// the API server fills in: they stay, too.
func ThreeWay(desired, live *unstructured.Unstructured, lists strategicpatch.LookupPatchMeta) (*unstructured.Unstructured, error) {
	if desired.GetAPIVersion() != live.GetAPIVersion() {
		return nil, fmt.Errorf("live is known as %s, Git asks for %s: no prediction across versions", live.GetAPIVersion(), desired.GetAPIVersion())
	}
	want := plain(desired)
	original := lastAppliedTo(live)
	if original == nil {
		original = want
	}
	have := live.DeepCopy()
	have.SetManagedFields(nil)
	merged, err := mergeThree(original, want, have, lists)
	if err != nil { // what was applied last may be of a form that is no longer valid
		original = want
		if merged, err = mergeThree(original, want, have, lists); err != nil {
			return nil, err
		}
	}
	fill(merged, have.Object, original.Object)
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
func lastAppliedTo(live *unstructured.Unstructured) *unstructured.Unstructured {
	out := &unstructured.Unstructured{}
	text := live.GetAnnotations()[lastApplied]
	if text == "" || out.UnmarshalJSON([]byte(text)) != nil {
		return nil
	}
	return plain(out)
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

// fill gives elements of lists back what only live has in them. Outside of
// lists a patch leaves that alone by itself.
func fill(merged, live, original map[string]any) {
	for key, v := range merged {
		switch m := v.(type) {
		case map[string]any:
			l, _ := live[key].(map[string]any)
			o, _ := original[key].(map[string]any)
			fill(m, l, o)
		case []any:
			l, _ := live[key].([]any)
			o, _ := original[key].([]any)
			fillList(m, l, o)
		}
	}
}

// fillList matches elements by their places: lists of other lengths differ in
// any case.
func fillList(merged, live, original []any) {
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

// adopt takes what only live has and what was not applied, at any depth.
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
			fillList(v, ll, o)
		}
	}
}
