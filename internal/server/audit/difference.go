package audit

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Change is a field that differs; nil is absent.
type Change struct {
	Field  string `json:"field"`
	Before any    `json:"before,omitempty"`
	After  any    `json:"after,omitempty"`
}

// Bounds of a difference.
const (
	maxChanges = 100
	// maxValue is the longest text that is shown of a value, in bytes.
	maxValue = 256
)

// ignored are fields that the API server changes by itself.
var ignored = map[string]bool{
	".metadata.managedFields": true, ".metadata.resourceVersion": true, ".metadata.generation": true, ".metadata.uid": true,
	".metadata.creationTimestamp": true, ".status": true, ".kind": true, ".apiVersion": true,
}

// hidden are fields whose values may be secrets: they are only said to differ.
var hidden = regexp.MustCompile(`(?i)(\.helm\.(values|valuesObject|parameters|fileParameters)\b|\.plugin\.(env|parameters)\b|\.jsonnet\.(extVars|tlas)\b|\.manifests\b|last-applied-configuration|^\.(data|stringData)\b|password|secret|token\b|\.elements\b|\.values\b)`)

const mask = "***"

// Difference lists the fields in which two states differ, at most 100 of them;
// whole is false when there are more.
func Difference(before, after client.Object) (changes []Change, whole bool) {
	d := &differ{}
	d.walk("", fields(before), fields(after))
	if len(d.changes) > maxChanges {
		return d.changes[:maxChanges], false
	}
	return d.changes, true
}

func fields(o client.Object) any {
	if o == nil || reflect.ValueOf(o).IsNil() {
		return nil
	}
	raw, err := json.Marshal(o)
	if err != nil {
		return nil
	}
	var out map[string]any
	if json.Unmarshal(raw, &out) != nil {
		return nil
	}
	return out
}

type differ struct{ changes []Change }

func (d *differ) walk(path string, a, b any) {
	if ignored[path] || len(d.changes) > maxChanges || reflect.DeepEqual(a, b) {
		return
	}
	if hidden.MatchString(path) {
		d.changes = append(d.changes, Change{path, masked(a), masked(b)})
		return
	}
	left, isMap := a.(map[string]any)
	right, isMapToo := b.(map[string]any)
	if (isMap || a == nil) && (isMapToo || b == nil) && (isMap || isMapToo) {
		keys := maps.Clone(left)
		if keys == nil {
			keys = map[string]any{}
		}
		maps.Copy(keys, right)
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			d.walk(path+"."+key, left[key], right[key])
		}
		return
	}
	one, isList := a.([]any)
	two, isListToo := b.([]any)
	if isList && isListToo {
		for i := range max(len(one), len(two)) {
			d.walk(path+"["+strconv.Itoa(i)+"]", at(one, i), at(two, i))
		}
		return
	}
	d.changes = append(d.changes, Change{path, shown(path, a), shown(path, b)})
}

func at(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

func masked(v any) any {
	if v == nil {
		return nil
	}
	return mask
}

// shown bounds a value; inside a whole object that came or went, what may be a
// secret is masked.
func shown(path string, v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		if len(v) > maxValue {
			return fmt.Sprintf("%s... (%d bytes)", cut(v), len(v))
		}
		return v
	case map[string]any, []any:
		clean := sanitize(path, v)
		raw, err := json.Marshal(clean)
		if err != nil || len(raw) > maxValue {
			return fmt.Sprintf("... (%d bytes)", len(raw))
		}
		return clean
	}
	return v
}

func sanitize(path string, v any) any {
	if hidden.MatchString(path) {
		return masked(v)
	}
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, inner := range v {
			out[key] = sanitize(path+"."+key, inner)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, inner := range v {
			out[i] = sanitize(path+"["+strconv.Itoa(i)+"]", inner)
		}
		return out
	}
	return v
}
