package customization_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/internal/domain/customization"
)

func TestParseFindsScriptsByKind(t *testing.T) {
	set, errs := customization.Parse(map[string]string{
		"resource.customizations.health.internal.myplatform.io_ServiceDeployment":      "split",
		"resource.customizations.health.ConfigMap":                                     "core",
		"resource.customizations.health._Secret":                                       "core with empty group",
		"resource.customizations.useOpenLibs.internal.myplatform.io_ServiceDeployment": "true",
		"resource.customizations.ignoreDifferences.all":                                "jsonPointers: [/a]",
		"resource.customizations": `
internal.myplatform.io/ServiceDeployment: {health.lua: combined, health.lua.useOpenLibs: false}
"*.myplatform.io/*": {health.lua: wild}
"*.internal.myplatform.io/*": {health.lua: longer}
other.io/*: {health.lua: kinds of other}
apps/Deployment: {health.lua: mine, health.lua.useOpenLibs: true}
`,
		"url": "https://x",
	})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for kind, want := range map[string]string{
		"internal.myplatform.io/ServiceDeployment": "split open",
		"internal.myplatform.io/Other":             "wild",
		"a.internal.myplatform.io/Other":           "longer",
		"/ConfigMap":                               "core",
		"/Secret":                                  "core with empty group",
		"other.io/X":                               "kinds of other",
		"apps/Deployment":                          "mine open",
		"apps/StatefulSet":                         "",
		"another.io/X":                             "",
	} {
		group, name, _ := strings.Cut(kind, "/")
		k, _ := set.Find(group, name, customization.Scripted)
		got := k.Health
		if k.OpenLibs {
			got += " open"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", kind, got, want)
		}
	}
}

func TestAllMeansEveryKind(t *testing.T) {
	set, errs := customization.Parse(map[string]string{"resource.customizations.health.all": "x", "resource.customizations.useOpenLibs.apps_Deployment": "true"})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, kind := range []string{"/Pod", "apps/Deployment", "a.b.c/D"} {
		group, name, _ := strings.Cut(kind, "/")
		if k, ok := set.Find(group, name, customization.Scripted); !ok || k.Health != "x" {
			t.Errorf("%s: %v %v", kind, k, ok)
		}
	}
}

func TestParseActions(t *testing.T) {
	set, errs := customization.Parse(map[string]string{
		"resource.customizations.actions.apps_Deployment": `
mergeBuiltinActions: true
discovery.lua: |
  return {}
definitions:
- name: a
  action.lua: return obj
`})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	k, ok := set.Find("apps", "Deployment", customization.Active)
	if !ok {
		t.Fatal("not found")
	}
	want := &customization.Actions{MergeBuiltin: true, Discovery: "return {}\n", Scripts: map[string]string{"a": "return obj"}}
	if diff := cmp.Diff(want, k.Actions); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestWrongKeysAreNamed and the good ones still hold.
func TestWrongKeysAreNamed(t *testing.T) {
	set, errs := customization.Parse(map[string]string{
		"resource.customizations":                         `{a/B: {health.lua: {}}, a/C: {health.lua: fine}}`,
		"resource.customizations.helth.apps_Deployment":   "x",
		"resource.customizations.health":                  "x",
		"resource.customizations.useOpenLibs.a_B":         "maybe",
		"resource.customizations.actions.a_B":             "definitions: 3",
		"resource.customizations.actions.a_C":             "definitions: [{name: x}, {name: b, action.lua: s3cret}, {name: b, action.lua: z}]",
		"resource.customizations.health.apps_StatefulSet": "good",
	})
	var got []string
	for _, err := range errs {
		got = append(got, err.Error())
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("a value is repeated: %v", err)
		}
	}
	want := []string{
		`ConfigMap/argocd-cm: key "resource.customizations[a/B]": want a map with health.lua (text), health.lua.useOpenLibs (true or false), actions (text)`,
		`ConfigMap/argocd-cm: key "resource.customizations.actions.a_B": want YAML with mergeBuiltinActions, discovery.lua and definitions (name, action.lua)`,
		`ConfigMap/argocd-cm: key "resource.customizations.actions.a_C": definitions[0] needs name and action.lua`,
		`ConfigMap/argocd-cm: key "resource.customizations.actions.a_C": definitions[2]: the name "b" is defined twice: the first one counts`,
		`ConfigMap/argocd-cm: key "resource.customizations.health": want resource.customizations.<type>.<group>_<Kind> with one of the types health, useOpenLibs, actions, ignoreDifferences, ignoreResourceUpdates, knownTypeFields`,
		`ConfigMap/argocd-cm: key "resource.customizations.helth.apps_Deployment": want resource.customizations.<type>.<group>_<Kind> with one of the types health, useOpenLibs, actions, ignoreDifferences, ignoreResourceUpdates, knownTypeFields`,
		`ConfigMap/argocd-cm: key "resource.customizations.useOpenLibs.a_B": is not a boolean: write "true" or "false"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if k, ok := set.Find("a", "C", customization.Scripted); !ok || k.Health != "fine" {
		t.Error("a good entry does not hold beside a wrong one")
	}
	if k, ok := set.Find("apps", "StatefulSet", customization.Scripted); !ok || k.Health != "good" {
		t.Error("a good key does not hold beside wrong ones")
	}
}

func TestACombinedKeyThatIsNoMap(t *testing.T) {
	_, errs := customization.Parse(map[string]string{"resource.customizations": "[a"})
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), `key "resource.customizations": is not a YAML map`) {
		t.Errorf("errors %v", errs)
	}
}

// FuzzParse: nothing in argocd-cm ends the process, and what is found by a
// kind can be looked up.
func FuzzParse(f *testing.F) {
	f.Add("health.apps_Deployment", "return {}", "\"*/*\": {health.lua: x}")
	f.Add("actions._", "definitions: [{}]", "{a/[: {health.lua: x}, '{': {}}")
	f.Add(".", "", "[]")
	f.Fuzz(func(t *testing.T, key, value, all string) {
		set, _ := customization.Parse(map[string]string{"resource.customizations." + key: value, "resource.customizations": all})
		for _, kind := range []string{"Pod", "", "*"} {
			set.Find("apps", kind, customization.Scripted)
			set.Find("", kind, customization.Active)
		}
	})
}
