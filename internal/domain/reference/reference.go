// Package reference resolves values of settings that point at Secrets
// (spec/config.md §3, "$ references").
package reference

import "strings"

// Lookup gives the value of a key of a Secret; the empty name is argocd-secret.
// Other Secrets count only with the label app.kubernetes.io/part-of: argocd.
type Lookup func(secret, key string) (string, bool)

// Resolve gives what a value means: a value that begins with $ names a key of
// argocd-secret, or of another Secret as $secret:key; what is found is trimmed.
// missing names a reference that leads nowhere; the value stays literal then.
func Resolve(value string, find Lookup) (resolved, missing string) {
	ref, ok := strings.CutPrefix(value, "$")
	if !ok || ref == "" {
		return value, ""
	}
	secret, key, named := strings.Cut(ref, ":")
	if !named {
		secret, key = "", ref
	}
	found, ok := find(secret, key)
	if !ok {
		return value, value
	}
	return strings.TrimSpace(found), ""
}

// ResolveAll resolves every string inside maps and lists, as YAML and JSON
// decode them, and gives a copy and the references that lead nowhere.
func ResolveAll(value any, find Lookup) (resolved any, missing []string) {
	switch v := value.(type) {
	case string:
		s, gone := Resolve(v, find)
		if gone != "" {
			missing = append(missing, gone)
		}
		return s, missing
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, inner := range v {
			r, m := ResolveAll(inner, find)
			out[key], missing = r, append(missing, m...)
		}
		return out, missing
	case []any:
		out := make([]any, len(v))
		for i, inner := range v {
			r, m := ResolveAll(inner, find)
			out[i], missing = r, append(missing, m...)
		}
		return out, missing
	}
	return value, nil
}
