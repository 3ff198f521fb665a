package appset_test

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
)

// TestProjectChoice: nothing but a literal project keeps a set within it.
func TestProjectChoice(t *testing.T) {
	for text, want := range map[string]string{
		"generators: [{list: {elements: []}}]":                                                           "",
		"generators: [{list: {elements: [], template: {spec: {project: team}}}}]":                        "",
		"generators: [{list: {elements: [], template: {metadata: {name: x}}}}]":                          "",
		"generators: [{clusters: {}}, {list: {elements: [], template: {spec: {project: admin}}}}]":       `spec.generators[1].list.template.spec.project is "admin"`,
		"generators: [{plugin: {configMapRef: {name: x}, template: {spec: {project: '{{p}}'}}}}]":        `spec.generators[0].plugin.template.spec.project is "{{p}}"`,
		"generators: [{matrix: {generators: [], template: {spec: {project: admin}}}}]":                   `spec.generators[0].matrix.template.spec.project`,
		"generators: [{merge: {mergeKeys: [], generators: [], template: {spec: {project: [admin]}}}}]":   "cannot be read",
		"generators: [{git: {repoURL: x, revision: y, template: {spec: {project: admin}}}}]":             "spec.generators[0].git",
		"generators: [{scmProvider: {template: {spec: {project: admin}}}}]":                              "spec.generators[0].scmProvider",
		"generators: [{pullRequest: {template: {spec: {project: admin}}}}]":                              "spec.generators[0].pullRequest",
		"generators: [{clusterDecisionResource: {configMapRef: x, template: {spec: {project: admin}}}}]": "spec.generators[0].clusterDecisionResource",
		"generators: [{clusters: {template: {spec: {project: admin}}}}]":                                 "spec.generators[0].clusters",
	} {
		set := &v1alpha1.ApplicationSet{}
		if err := yaml.UnmarshalStrict([]byte(text+"\ntemplate: {metadata: {}, spec: {project: team, destination: {}}}"), &set.Spec); err != nil {
			t.Fatal(err)
		}
		if got := appset.ProjectChoice(set); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	set := &v1alpha1.ApplicationSet{}
	if set.Spec.Template.Spec.Project = "{{p}}"; appset.ProjectChoice(set) != `spec.template.spec.project is "{{p}}"` {
		t.Error(appset.ProjectChoice(set))
	}
}
