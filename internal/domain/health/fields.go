package health

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Readers of fields that may be absent or, in hostile objects, of another
// type: both read as the zero value.

func at(o map[string]any, path ...string) any {
	v, ok, err := unstructured.NestedFieldNoCopy(o, path...)
	if !ok || err != nil {
		return nil
	}
	return v
}

func number(v any, missing int64) int64 {
	switch n := v.(type) {
	case int64:
		return n
	case float64:
		return int64(n)
	}
	return missing
}

func num(o *unstructured.Unstructured, missing int64, path ...string) int64 {
	return number(at(o.Object, path...), missing)
}

func text(o *unstructured.Unstructured, path ...string) string {
	s, _ := at(o.Object, path...).(string)
	return s
}

func truth(o *unstructured.Unstructured, path ...string) bool {
	b, _ := at(o.Object, path...).(bool)
	return b
}

func list(o *unstructured.Unstructured, path ...string) []any {
	l, _ := at(o.Object, path...).([]any)
	return l
}

func inner(m map[string]any, path ...string) string {
	s, _ := at(m, path...).(string)
	return s
}

// cond is one entry of status.conditions.
type cond struct{ kind, status, reason, message string }

func conditions(o *unstructured.Unstructured) []cond {
	var out []cond
	for _, item := range list(o, "status", "conditions") {
		if m, ok := item.(map[string]any); ok {
			out = append(out, cond{inner(m, "type"), inner(m, "status"), inner(m, "reason"), inner(m, "message")})
		}
	}
	return out
}

// condition finds status.conditions[type]; the zero value when absent.
func condition(o *unstructured.Unstructured, name string) cond {
	for _, c := range conditions(o) {
		if c.kind == name {
			return c
		}
	}
	return cond{}
}

// said is the message of a condition, or else its reason.
func (c cond) said() string {
	if c.message != "" {
		return c.message
	}
	return c.reason
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func joined(texts []string) string { return strings.Join(texts, ", ") }

func lagging(o *unstructured.Unstructured) bool {
	return num(o, 0, "status", "observedGeneration") < o.GetGeneration()
}
