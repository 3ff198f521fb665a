package rbac

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// ConfigMapName is the config map that holds policies.
const ConfigMapName = "argocd-rbac-cm"

// Settings are the meaning of argocd-rbac-cm.
type Settings struct {
	Policy      *Policy
	DefaultRole string
	// Scopes name the claims whose values are groups.
	Scopes []string
}

// ParseSettings reads argocd-rbac-cm (spec/rbac.md §2); nil data is a missing
// config map: built-in policy only. The error names the key and line; whoever
// has settings already keeps them then. builtin is false only where an operator
// asks without the built-in policy.
func ParseSettings(data map[string]string, builtin bool) (Settings, error) {
	var texts []Text
	if builtin {
		texts = append(texts, Builtin())
	}
	for _, key := range policyKeys(data) {
		t, err := Parse(key, data[key])
		if err != nil {
			return Settings{}, fmt.Errorf("ConfigMap/%s: %w", ConfigMapName, err)
		}
		texts = append(texts, t)
	}
	scopes, err := parseScopes(data["scopes"])
	if err != nil {
		return Settings{}, err
	}
	return Settings{
		Policy:      Compile(ParseMode(strings.TrimSpace(data["policy.matchMode"])), texts...),
		DefaultRole: strings.TrimSpace(data["policy.default"]),
		Scopes:      scopes,
	}, nil
}

// policyKeys are policy.csv and then policy.*.csv in alphabetical order.
func policyKeys(data map[string]string) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if strings.HasPrefix(key, "policy.") && strings.HasSuffix(key, ".csv") && len(key) > len("policy..csv") {
			out = append(out, key)
		}
	}
	if _, ok := data["policy.csv"]; ok {
		out = slices.Insert(out, 0, "policy.csv")
	}
	return out
}

// parseScopes reads a YAML list or a plain string.
func parseScopes(raw string) ([]string, error) {
	raw = strings.TrimSpace(raw)
	if raw == "" {
		return []string{"groups"}, nil
	}
	var list []string
	if err := yaml.Unmarshal([]byte(raw), &list); err == nil {
		return list, nil
	}
	var one string
	if err := yaml.Unmarshal([]byte(raw), &one); err != nil || one == "" {
		return nil, fmt.Errorf("ConfigMap/%s: key scopes: %q is neither a list like [groups, email] nor the name of a claim", ConfigMapName, shorten(raw))
	}
	return []string{one}, nil
}

// Groups are the values of the claims that scopes name, each claim a string or
// a list of strings; anything else is no group.
func Groups(claims map[string]any, scopes []string) []string {
	var out []string
	for _, scope := range scopes {
		switch v := claims[scope].(type) {
		case string:
			out = append(out, v)
		case []string:
			out = append(out, v...)
		case []any:
			for _, item := range v {
				if s, ok := item.(string); ok {
					out = append(out, s)
				}
			}
		}
	}
	return out
}
