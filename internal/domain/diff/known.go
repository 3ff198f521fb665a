package diff

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/internal/domain/object"
)

// KnownField is a field of a custom resource that has a built-in type, so
// that "1" and "1000m" are one amount of CPU in it (knownTypeFields,
// spec/diff-health.md §4).
type KnownField struct {
	Group, Kind string
	// Path of the field; lists on the way are passed through.
	Path []string
	typ  reflect.Type
}

// DefaultKnownFields are known without a setting.
func DefaultKnownFields() []KnownField {
	return []KnownField{{Group: "argoproj.io", Kind: "Rollout", Path: []string{"spec", "template", "spec"}, typ: reflect.TypeFor[corev1.PodSpec]()}}
}

// builtInTypes maps the names that settings use to types: every struct of the
// core API, reached from the objects it defines.
var builtInTypes = sync.OnceValue(func() map[string]reflect.Type {
	out := map[string]reflect.Type{"core/Quantity": reflect.TypeFor[resource.Quantity](), "meta/v1/Duration": reflect.TypeFor[metav1.Duration]()}
	for _, root := range []any{
		corev1.Pod{}, corev1.Service{}, corev1.Secret{}, corev1.ConfigMap{}, corev1.Namespace{}, corev1.Node{}, corev1.PersistentVolume{},
		corev1.PersistentVolumeClaim{}, corev1.ReplicationController{}, corev1.ResourceQuota{}, corev1.LimitRange{}, corev1.ServiceAccount{},
		corev1.Endpoints{}, corev1.Event{}, corev1.Binding{}, corev1.PodTemplate{}, corev1.ComponentStatus{}, //nolint:staticcheck // settings may name old types
	} {
		collect(reflect.TypeOf(root), out)
	}
	return out
})

func collect(t reflect.Type, into map[string]reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		collect(t.Elem(), into)
	case reflect.Struct:
		name := "core/v1/" + t.Name()
		if _, seen := into[name]; seen || t.PkgPath() != "k8s.io/api/core/v1" {
			return
		}
		into[name] = t
		for i := range t.NumField() {
			collect(t.Field(i).Type, into)
		}
	}
}

// normalize rewrites the field in o the way its type is written.
func (f KnownField) normalize(o *unstructured.Unstructured, k object.Key) {
	if f.Group == k.Group && f.Kind == k.Kind && len(f.Path) > 0 {
		f.walk(o.Object, f.Path)
	}
}

func (f KnownField) walk(v any, path []string) {
	switch t := v.(type) {
	case []any:
		for _, item := range t {
			f.walk(item, path)
		}
	case map[string]any:
		next, ok := t[path[0]]
		switch {
		case !ok || next == nil:
		case len(path) > 1:
			f.walk(next, path[1:])
		default:
			t[path[0]] = f.rewrite(next)
		}
	}
}

// rewrite sends a value through its type; one that does not fit stays.
func (f KnownField) rewrite(v any) any {
	if list, ok := v.([]any); ok {
		out := make([]any, len(list))
		for i := range list {
			out[i] = f.rewrite(list[i])
		}
		return out
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return v
	}
	typed := reflect.New(f.typ)
	strict := json.NewDecoder(bytes.NewReader(raw))
	strict.DisallowUnknownFields()
	if strict.Decode(typed.Interface()) != nil {
		return v
	}
	raw, err = json.Marshal(typed.Interface())
	if err != nil {
		return v
	}
	var out any
	if json.Unmarshal(raw, &out) != nil {
		return v
	}
	return withoutNew(out, v)
}

// withoutNew drops fields that only the rewriting brought in.
func withoutNew(v, original any) any {
	switch t := v.(type) {
	case map[string]any:
		before, _ := original.(map[string]any)
		for k := range t {
			if _, there := before[k]; there {
				t[k] = withoutNew(t[k], before[k])
			} else {
				delete(t, k)
			}
		}
		for k, old := range before { // an empty value that the type leaves out
			if _, there := t[k]; !there {
				t[k] = old
			}
		}
	case []any:
		before, _ := original.([]any)
		for i := range t {
			if i < len(before) {
				t[i] = withoutNew(t[i], before[i])
			}
		}
	}
	return v
}

func splitPath(dotted string) []string { return strings.Split(strings.TrimPrefix(dotted, "."), ".") }
