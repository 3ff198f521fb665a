package diff_test

import (
	"context"
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/internal/domain/diff"
)

func noQueries(string) (diff.Query, error) { return nil, errors.New("no expressions here") }

// TestUpdatesThatMatter follows spec/diff-health.md §7.
func TestUpdatesThatMatter(t *testing.T) {
	base := func() *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apps/v1", "kind": "Deployment",
			"metadata": map[string]any{
				"name": "web", "namespace": "shop", "uid": "u1", "resourceVersion": "1", "generation": int64(1),
				"annotations": map[string]any{"beat": "1", "owner": "a"},
			},
			"spec": map[string]any{"replicas": int64(2)},
			"status": map[string]any{
				"observedGeneration": int64(1), "replicas": int64(2), "updatedReplicas": int64(2), "availableReplicas": int64(2),
			},
		}}
	}
	set := func(value any, path ...string) func(*unstructured.Unstructured) {
		return func(u *unstructured.Unstructured) {
			if err := unstructured.SetNestedField(u.Object, value, path...); err != nil {
				t.Fatal(err)
			}
		}
	}
	rule := diff.Rule{Group: "apps", Kind: "*", Pointers: []string{"/metadata/annotations/beat"}}
	broken := diff.Rule{Group: "apps", Kind: "Deployment", Problem: "is not YAML"}
	for name, c := range map[string]struct {
		change   func(*unstructured.Unstructured)
		rules    []diff.Rule
		status   string
		off      bool
		scripted bool
		want     bool
	}{
		"nothing":                         {change: set("2", "metadata", "resourceVersion")},
		"switched off":                    {change: set("2", "metadata", "resourceVersion"), off: true, want: true},
		"owners of fields":                {change: set([]any{map[string]any{"manager": "x"}}, "metadata", "managedFields")},
		"another object":                  {change: set("u2", "metadata", "uid"), want: true},
		"spec":                            {change: set(int64(3), "spec", "replicas"), want: true},
		"deletion":                        {change: set("2026-01-01T00:00:00Z", "metadata", "deletionTimestamp"), want: true},
		"annotation":                      {change: set("2", "metadata", "annotations", "beat"), want: true},
		"annotation that is ignored":      {change: set("2", "metadata", "annotations", "beat"), rules: []diff.Rule{rule}},
		"another beside an ignored one":   {change: set("b", "metadata", "annotations", "owner"), rules: []diff.Rule{rule}, want: true},
		"a rule that cannot be read":      {change: set("2", "metadata", "resourceVersion"), rules: []diff.Rule{broken}, want: true},
		"status that says the same":       {change: set(int64(7), "status", "collisionCount")},
		"status that is worse":            {change: set(int64(1), "status", "availableReplicas"), want: true},
		"a generation that is observed":   {change: set(int64(2), "status", "observedGeneration"), want: true},
		"status that a script reads":      {change: set(int64(7), "status", "collisionCount"), scripted: true, want: true},
		"status that is compared as well": {change: set(int64(7), "status", "collisionCount"), status: diff.StatusOfNone, want: true},
	} {
		u := diff.Updates{Off: c.off, Rules: diff.Compile(c.rules, noQueries), Options: diff.Options{Status: c.status}}
		before, after := base(), base()
		c.change(after)
		if got := u.Matter(context.Background(), before, after, c.scripted); got != c.want {
			t.Errorf("%s: matters %v, want %v", name, got, c.want)
		}
	}
}

func TestSettingsOfUpdates(t *testing.T) {
	s := diff.ParseSettings(map[string]string{
		"resource.customizations.ignoreDifferences.apps_Deployment":  "jsonPointers: [/spec/replicas]",
		"resource.customizations.ignoreResourceUpdates.all":          "jsonPointers: [/status]",
		"resource.customizations":                                    "'batch/*': {ignoreResourceUpdates: 'jsonPointers: [/metadata/labels/x]'}",
		"resource.ignoreResourceUpdatesEnabled":                      "true",
		"resource.customizations.ignoreResourceUpdates.apps_Foo_Bar": "jsonPointers: [/x]",
	})
	if len(s.Rules) != 1 || len(s.Updates) != 4 || s.AllUpdates || len(s.Problems) > 0 {
		t.Errorf("%d rules, %d for updates, all %v, problems %v", len(s.Rules), len(s.Updates), s.AllUpdates, s.Problems)
	}
	s = diff.ParseSettings(map[string]string{
		"resource.customizations.ignoreDifferences.apps_Deployment": "jsonPointers: [/spec/replicas]",
		"resource.compareoptions":                                   "ignoreDifferencesOnResourceUpdates: false",
		"resource.ignoreResourceUpdatesEnabled":                     "false",
	})
	if len(s.Rules) != 1 || len(s.Updates) != 0 || !s.AllUpdates {
		t.Errorf("%d rules, %d for updates, all %v", len(s.Rules), len(s.Updates), s.AllUpdates)
	}
}
