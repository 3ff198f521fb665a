package backup

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// References are the Secrets and config maps that an ApplicationSet names: tokens
// of its generators and of its analysis, settings of its plugins. They are in its
// own namespace.
func References(set *unstructured.Unstructured, controlPlane string) []ID {
	if set.GroupVersionKind() != ApplicationSet {
		return nil
	}
	found := map[ID]bool{}
	namespace := IDOf(set, controlPlane).Namespace
	walk(set.Object["spec"], func(fields map[string]any) {
		text := func(key string) string {
			s, _ := fields[key].(string)
			return s
		}
		if name := text("secretName"); name != "" && text("key") != "" {
			found[ID{Secret, namespace, name}] = true
		}
		if name := text("appSecretName"); name != "" {
			found[ID{Secret, namespace, name}] = true
		}
		if ref, ok := fields["configMapRef"].(map[string]any); ok {
			if name, _ := ref["name"].(string); name != "" {
				found[ID{ConfigMap, namespace, name}] = true
			}
		}
	})
	return sorted(found)
}

// Tokens are the Secrets that the config map of a plugin refers to, in the form
// $secret:key (spec/applicationset.md, plugin generator).
func Tokens(config *unstructured.Unstructured, controlPlane string) []ID {
	found := map[ID]bool{}
	data, _, _ := unstructured.NestedStringMap(config.Object, "data")
	for _, value := range data {
		ref, isRef := strings.CutPrefix(strings.TrimSpace(value), "$")
		if name, _, named := strings.Cut(ref, ":"); isRef && named && name != "" {
			found[ID{Secret, IDOf(config, controlPlane).Namespace, name}] = true
		}
	}
	return sorted(found)
}

func sorted(found map[ID]bool) []ID {
	return slices.SortedFunc(maps.Keys(found), func(a, b ID) int { return strings.Compare(a.String(), b.String()) })
}

// walk visits every map within a value.
func walk(v any, visit func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		visit(v)
		for _, inner := range v {
			walk(inner, visit)
		}
	case []any:
		for _, inner := range v {
			walk(inner, visit)
		}
	}
}
