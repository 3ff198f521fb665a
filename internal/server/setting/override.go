package setting

import (
	"strings"

	"sigs.k8s.io/yaml"
)

const customizations = "resource.customizations"

// overrides gathers what argocd-cm says about single kinds, by group/Kind. Split
// keys win over the combined one (spec/config.md §2.3).
func overrides(cm map[string]string) map[string]Override {
	out := map[string]Override{}
	var combined map[string]struct {
		HealthLua         string `json:"health.lua"`
		UseOpenLibs       bool   `json:"health.lua.useOpenLibs"`
		Actions           string `json:"actions"`
		IgnoreDifferences string `json:"ignoreDifferences"`
	}
	if yaml.Unmarshal([]byte(cm[customizations]), &combined) == nil {
		for key, o := range combined {
			out[key] = Override{HealthLua: o.HealthLua, UseOpenLibs: o.UseOpenLibs, Actions: o.Actions, IgnoreDifferences: o.IgnoreDifferences}
		}
	}
	for key, value := range cm {
		rest, ok := strings.CutPrefix(key, customizations+".")
		if !ok {
			continue
		}
		what, kind, ok := strings.Cut(rest, ".")
		if !ok {
			continue
		}
		if at := strings.LastIndex(kind, "_"); at >= 0 {
			kind = kind[:at] + "/" + kind[at+1:]
		}
		o := out[kind]
		switch what {
		case "health":
			o.HealthLua = value
		case "useOpenLibs":
			o.UseOpenLibs = value == "true"
		case "actions":
			o.Actions = value
		case "ignoreDifferences":
			o.IgnoreDifferences = value
		case "ignoreResourceUpdates":
			o.IgnoreResourceUpdates = value
		case "knownTypeFields":
			o.KnownTypeFields = value
		default:
			continue
		}
		out[kind] = o
	}
	return out
}
