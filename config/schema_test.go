package config_test

import (
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/config"
)

// schema is what an API server makes of a definition.
func schema(t *testing.T, name string) *validate.SchemaValidator {
	t.Helper()
	crds, err := config.CRDs()
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range crds {
		if u.GetName() != name {
			continue
		}
		var v1 apiextensionsv1.CustomResourceDefinition
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &v1); err != nil {
			t.Fatal(err)
		}
		var of apiextensions.JSONSchemaProps
		if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v1.Spec.Versions[0].Schema.OpenAPIV3Schema, &of, nil); err != nil {
			t.Fatal(err)
		}
		shape, err := structural.NewStructural(&of)
		if err != nil {
			t.Fatal(err)
		}
		if errs := structural.ValidateStructural(nil, shape); len(errs) > 0 {
			t.Fatalf("%s: %v", name, errs.ToAggregate())
		}
		return validate.NewSchemaValidator(shape.ToKubeOpenAPI(), nil, "", strfmt.Default)
	}
	t.Fatalf("there is no definition %s", name)
	return nil
}

// TestStrategyFields: the definition refuses what no rollout can be carried
// out with in fields that are ours, and numbers that could not be read back;
// fields that others know are as wide as with them (spec/progressive-sync.md
// §8, schema rules).
func TestStrategyFields(t *testing.T) {
	t.Parallel()
	v := schema(t, "applicationsets.argoproj.io")
	const set = `
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: a, namespace: argocd}
spec:
  generators: []
  template: {metadata: {name: a}, spec: {project: default, destination: {}}}
  strategy: {type: RollingSync, rollingSync: `
	const metric = `{steps: [{analysis: {metrics: [{name: m, provider: {prometheus: {address: "http://p", query: up}}, `
	for _, c := range []struct{ strategy, refused string }{
		{`{failureGracePeriod: 1m, historyLimit: 0, defaults: {stepTimeout: 1h30m, applicationTimeout: 90s, bakeTime: "0", batchBakeTime: 0.5h, approvalTimeout: "", maxFailures: 20%}}`, ""},
		{`{steps: [{maxFailures: 2, bakeTime: 20m}], windows: [{kind: deny, schedule: "0 17 * * 5", duration: 63h}]}`, ""},
		{metric + `interval: 60s, initialDelay: 5s, count: 10, failureLimit: "2", inconclusiveLimit: 0}]}}]}`, ""},
		{`{steps: [{maxUpdate: -1}, {maxUpdate: abc}, {maxUpdate: 33.3%}, {matchExpressions: [{key: a, operator: Equals}]}, {}]}`, ""}, // RolloutHalted/InvalidStrategy
		{`{failureGracePeriod: soon}`, "rollingSync.failureGracePeriod"},
		{`{defaults: {stepTimeout: 1 h}}`, "defaults.stepTimeout"},
		{`{steps: [{stepTimeout: "30"}]}`, "steps[0].stepTimeout"},
		{`{steps: [{applicationTimeout: -5m}]}`, "steps[0].applicationTimeout"},
		{`{steps: [{bakeTime: 1d}]}`, "steps[0].bakeTime"},
		{`{steps: [{batchBakeTime: m}]}`, "steps[0].batchBakeTime"},
		{`{steps: [{approvalTimeout: 1H}]}`, "steps[0].approvalTimeout"},
		{`{steps: [{maxFailures: 20.5%}]}`, "steps[0].maxFailures"},
		{`{steps: [{maxFailures: -1}]}`, "steps[0].maxFailures"},
		{`{historyLimit: -1}`, "rollingSync.historyLimit"},
		{`{windows: [{kind: deny, schedule: "0 17 * * 5", duration: ""}]}`, "windows[0].duration"},
		{`{windows: [{kind: never, schedule: "0 17 * * 5", duration: 1h}]}`, "windows[0].kind"},
		{`{steps: [{onFailure: Panic}]}`, "steps[0].onFailure"},
		{metric + `interval: often}]}}]}`, "metrics[0].interval"},
		{metric + `count: many}]}}]}`, "metrics[0].count"},
		{metric + `failureLimit: -1}]}}]}`, "metrics[0].failureLimit"},
		{`{steps: [{maxUpdate: 3000000000}]}`, "steps[0].maxUpdate"}, // it does not fit: the list of all sets could not be read
		{`{historyLimit: 3000000000}`, "rollingSync.historyLimit"},
	} {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(set+c.strategy+"}"), &object); err != nil {
			t.Fatalf("%s: %v", c.strategy, err)
		}
		err := v.Validate(object).AsError()
		switch {
		case c.refused == "" && err != nil:
			t.Errorf("%s: %v", c.strategy, err)
		case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
			t.Errorf("%s: %v, want %s refused", c.strategy, err, c.refused)
		}
	}
}
