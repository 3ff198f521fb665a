package diff_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/internal/domain/diff"
)

func TestParseSettings(t *testing.T) {
	s := diff.ParseSettings(map[string]string{
		"resource.customizations.ignoreDifferences.all":             "jsonPointers: [/a]",
		"resource.customizations.ignoreDifferences.apps_Deployment": "jqPathExpressions: [.spec.replicas]",
		"resource.customizations.ignoreDifferences.ConfigMap":       "managedFieldsManagers: [m]",
		"resource.customizations.ignoreDifferences._Secret":         "managedFieldsManagers: [m]",
		"resource.customizations.ignoreDifferences.batch_Job":       "jsonPointer: [/typo]",
		"resource.customizations.health.apps_Deployment":            "return {}",
		"resource.customizations.helth.apps_Deployment":             "return {}",
		"resource.customizations": `
"*.crossplane.io/*": {ignoreDifferences: "jsonPointers: [/spec/x]"}
apps/Deployment: {ignoreDifferences: "jsonPointers: [/loses]"}
x.io/Thing: {knownTypeFields: [{field: spec.pod, type: core/v1/PodSpec}, {field: spec.y, type: core/v1/Nothing}]}
`,
		"resource.compareoptions":             "ignoreAggregatedRoles: true\nignoreResourceStatusField: crd\n",
		"resource.sensitive.mask.annotations": "token, other",
	})
	var got []string
	for _, r := range s.Rules {
		got = append(got, fmt.Sprint(r.Group, "/", r.Kind, r.Pointers, r.Expressions, r.Managers, r.Problem != ""))
	}
	want := []string{
		"*.crossplane.io/*[/spec/x] [] [] false", "*/*[/a] [] [] false", "/ConfigMap[] [] [m] false", "/Secret[] [] [m] false",
		"apps/Deployment[] [.spec.replicas] [] false", "batch/Job[] [] [] true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	problems := fmt.Sprint(s.Problems)
	if len(s.Problems) != 2 || !strings.Contains(problems, "core/v1/Nothing") || !strings.Contains(problems, "helth") {
		t.Errorf("problems %s", problems)
	}
	if o := s.Compare; !o.IgnoreAggregatedRoles || o.Status != diff.StatusOfDefinitions || len(o.Known) != 2 || len(o.MaskAnnotations) != 2 {
		t.Errorf("options %+v", o)
	}
}

func TestStatusFieldSetting(t *testing.T) {
	for text, want := range map[string]string{"all": "", "crd": "crd", "none": "none", "off": "none", "false": "none", `"false"`: "none", "whatever": ""} {
		s := diff.ParseSettings(map[string]string{"resource.compareoptions": "ignoreResourceStatusField: " + text})
		if s.Compare.Status != want {
			t.Errorf("%s: %q, want %q", text, s.Compare.Status, want)
		}
	}
}

func TestUnreadableSettingsBecomeBrokenRules(t *testing.T) {
	s := diff.ParseSettings(map[string]string{"resource.customizations": "{", "resource.compareoptions": "["})
	if len(s.Rules) != 1 || s.Rules[0].Problem == "" || s.Rules[0].Kind != "*" || len(s.Problems) != 1 {
		t.Errorf("rules %+v, problems %v", s.Rules, s.Problems)
	}
}
