package diff

import (
	"encoding/json"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Masked gives copies of a desired and a live object that hold no secret: the
// values of a core Secret, and of the annotations named, are replaced, equal
// ones by equal masks (spec/diff-health.md §8). Other kinds are returned as
// they are. Either object may be nil.
func Masked(desired, live *unstructured.Unstructured, annotations []string) (*unstructured.Unstructured, *unstructured.Unstructured) {
	if (desired == nil || !isSecret(desired)) && (live == nil || !isSecret(live)) {
		return desired, live
	}
	m := masker{annotations: annotations, masks: map[string]map[string]string{}}
	var out [2]*unstructured.Unstructured
	for i, o := range []*unstructured.Unstructured{desired, live} {
		if o == nil {
			continue
		}
		out[i] = o.DeepCopy()
		mergeStringData(out[i])
		m.object(out[i].Object)
	}
	for _, o := range out {
		if o != nil {
			m.applied(o)
		}
	}
	return out[0], out[1]
}

// masker remembers which mask stands for which value of a key.
type masker struct {
	annotations []string
	masks       map[string]map[string]string
}

func (m *masker) mask(key, text string) string {
	if m.masks[key] == nil {
		m.masks[key] = map[string]string{}
	}
	if _, known := m.masks[key][text]; !known {
		m.masks[key][text] = strings.Repeat("+", 8+4*len(m.masks[key]))
	}
	return m.masks[key][text]
}

func (m *masker) object(o map[string]any) {
	if data, ok := o["data"].(map[string]any); ok {
		for k, v := range data {
			text, isText := v.(string)
			if !isText {
				raw, _ := json.Marshal(v)
				text = string(raw)
			}
			data[k] = m.mask("data/"+k, text)
		}
	}
	meta, _ := o["metadata"].(map[string]any)
	values, _ := meta["annotations"].(map[string]any)
	for _, name := range m.annotations {
		if text, ok := values[name].(string); ok {
			values[name] = m.mask("annotation/"+name, text)
		}
	}
}

// applied masks inside the annotation in which kubectl keeps what it applied;
// one that cannot be read is masked as a whole.
func (m *masker) applied(o *unstructured.Unstructured) {
	annotations := o.GetAnnotations()
	text, ok := annotations[lastApplied]
	if !ok {
		return
	}
	inner := &unstructured.Unstructured{}
	if json.Unmarshal([]byte(text), &inner.Object) != nil || inner.Object == nil {
		annotations[lastApplied] = m.mask("last applied", text)
		o.SetAnnotations(annotations)
		return
	}
	mergeStringData(inner)
	m.object(inner.Object)
	raw, err := json.Marshal(inner.Object)
	if err != nil {
		raw = []byte(m.mask("last applied", text))
	}
	annotations[lastApplied] = string(raw)
	o.SetAnnotations(annotations)
}
