package appset_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// steps are those of the payment service: canary, then two regions, then the
// rest.
const steps = `
strategy:
  type: RollingSync
  rollingSync:
    steps:
    - {matchExpressions: [{key: region, operator: In, values: [us-east-1-canary]}], maxUpdate: 1}
    - {matchExpressions: [{key: region, operator: In, values: [us-east-1, us-west-2]}], maxUpdate: 2}
    - {matchExpressions: [{key: region, operator: NotIn, values: [us-east-1-canary, us-east-1, us-west-2]}], maxUpdate: 10}
`

const template = `
template:
  metadata: {name: "payment-{{name}}"}
  spec: {project: default, source: {repoURL: "https://git/shop", path: app}, destination: {server: "{{server}}", namespace: payment}}
`

const clustersOnly = "generators: [{clusters: {selector: {matchLabels: {env: prod}}}}]\n"

// fleet is the fleet of five clusters.
func fleet() destination.Clusters {
	var out destination.Clusters
	for _, c := range [][2]string{{"c", "us-east-1-canary"}, {"e", "us-east-1"}, {"w", "us-west-2"}, {"eu", "eu-west-1"}, {"ap", "ap-southeast-1"}} {
		out = append(out, destination.Cluster{Name: c[0], Server: "https://" + c[0], SecretName: c[0], Labels: map[string]string{
			"argocd.argoproj.io/secret-type": "cluster", "env": "prod", "region": c[1], "wave": "w-" + c[0],
		}})
	}
	return out
}

type outcome struct {
	labels map[string]map[string]string
	step   map[string]int
	notes  []string
}

func evaluate(t *testing.T, name, spec string, world appset.World) outcome {
	t.Helper()
	set := &v1alpha1.ApplicationSet{}
	if err := yaml.UnmarshalStrict([]byte(spec), &set.Spec); err != nil {
		t.Fatal(err)
	}
	set.Name = name
	result, err := appset.Evaluate(set, world)
	if err != nil || len(result.Errors) > 0 {
		t.Fatal(err, result)
	}
	out := outcome{labels: map[string]map[string]string{}, step: map[string]int{}, notes: result.Notes}
	for i := range result.Applications {
		app := &result.Applications[i]
		out.labels[app.Name] = app.Labels
		if set.Spec.Strategy != nil {
			out.step[app.Name] = rollout.StepOf(set.Spec.Strategy.RollingSync.Steps, app.Labels)
		}
	}
	return out
}

func want(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

type set = map[string]string

// TestB1 to TestB16 are the scenarios of labels and step assignment.
func TestB1LabelsOfSecrets(t *testing.T) {
	got := evaluate(t, "payment-service", clustersOnly+steps+template, appset.World{Clusters: fleet()})
	want(t, "labels", set{"applicationset-name": "payment-service", "env": "prod", "region": "eu-west-1", "wave": "w-eu"}, got.labels["payment-eu"])
	want(t, "steps", map[string]int{"payment-c": 1, "payment-e": 2, "payment-w": 2, "payment-eu": 3, "payment-ap": 3}, got.step)
}

func TestB2InstanceLabelStays(t *testing.T) {
	clusters := fleet()
	clusters[3].Labels["app.kubernetes.io/instance"] = "infra"
	clusters[3].Labels["acme.io/owned-by"] = "infra"
	got := evaluate(t, "p", clustersOnly+steps+template, appset.World{Clusters: clusters, TrackingLabel: "acme.io/owned-by"})
	want(t, "labels", set{"applicationset-name": "p", "env": "prod", "region": "eu-west-1", "wave": "w-eu"}, got.labels["payment-eu"])
	got = evaluate(t, "p", clustersOnly+steps+template, appset.World{Clusters: clusters})
	if got.labels["payment-eu"]["acme.io/owned-by"] != "infra" {
		t.Error("a label that is not the tracking label is left out")
	}
}

func TestB3TemplateWins(t *testing.T) {
	spec := strings.Replace(clustersOnly+steps+template, `name: "payment-{{name}}"`, `name: "payment-{{name}}", labels: {region: fixed, applicationset-name: mine}`, 1)
	got := evaluate(t, "p", spec, appset.World{Clusters: fleet()})
	for name, labels := range got.labels {
		if labels["region"] != "fixed" || labels["applicationset-name"] != "mine" || got.step[name] != 3 {
			t.Errorf("%s: %v, step %d", name, labels, got.step[name])
		}
	}
	patched := clustersOnly + steps + template + "templatePatch: |\n  metadata: {labels: {region: us-west-2}}\n"
	for name, step := range evaluate(t, "p", patched, appset.World{Clusters: fleet()}).step {
		if step != 2 {
			t.Errorf("%s: step %d after a templatePatch", name, step)
		}
	}
}

func TestB4Matrix(t *testing.T) {
	spec := `
generators:
- matrix:
    generators:
    - clusters: {selector: {matchLabels: {env: prod}}}
    - list: {elements: [{service: a, port: "1", region: other}, {service: b, port: "2"}, {service: c, port: "3"}]}
` + steps + strings.Replace(template, "payment-{{name}}", "{{service}}-{{name}}", 1)
	got := evaluate(t, "platform", spec, appset.World{Clusters: fleet()[:3]})
	if len(got.labels) != 9 {
		t.Fatalf("%d Applications", len(got.labels))
	}
	want(t, "labels", set{"applicationset-name": "platform", "env": "prod", "region": "us-east-1", "wave": "w-e", "service": "b", "port": "2"}, got.labels["b-e"])
	want(t, "the first child wins", "us-east-1", got.labels["a-e"]["region"])
}

func TestB5InvalidLabelsAreLeftOut(t *testing.T) {
	spec := `
generators: [{list: {elements: [{name: x, server: "https://1.2.3.4", branch: release/v2.5, tier: gold, "bad key": v}]}}]
` + steps + template
	got := evaluate(t, "p", spec, appset.World{})
	want(t, "labels", set{"applicationset-name": "p", "name": "x", "tier": "gold"}, got.labels["payment-x"])
	want(t, "notes", 3, len(got.notes))
}

func TestB6NoStrategy(t *testing.T) {
	got := evaluate(t, "p", clustersOnly+template, appset.World{Clusters: fleet()})
	want(t, "labels", set{"applicationset-name": "p"}, got.labels["payment-eu"])
	got = evaluate(t, "p", clustersOnly+template+"generatorLabels: {propagation: Always, exclude: [wave]}\n", appset.World{Clusters: fleet()})
	want(t, "always, without one", set{"applicationset-name": "p", "env": "prod", "region": "eu-west-1"}, got.labels["payment-eu"])
}

func TestB7Never(t *testing.T) {
	got := evaluate(t, "p", clustersOnly+steps+template+"generatorLabels: {propagation: Never}\n", appset.World{Clusters: fleet()})
	for name, step := range got.step {
		if step != 3 || len(got.labels[name]) != 1 {
			t.Errorf("%s: step %d, labels %v", name, step, got.labels[name])
		}
	}
}

func TestB8LongName(t *testing.T) {
	for length, wanted := range map[int]string{
		63: strings.Repeat("a", 63),
		64: strings.Repeat("a", 54) + "-ffe054fe", // SHA-256 of the name
		70: strings.Repeat("a", 54) + "-6bd5e503",
	} {
		got := evaluate(t, strings.Repeat("a", length), clustersOnly+template, appset.World{Clusters: fleet()})
		want(t, fmt.Sprint(length), wanted, got.labels["payment-eu"]["applicationset-name"])
	}
}

func TestB14StepWithoutExpressions(t *testing.T) {
	spec := clustersOnly + strings.Replace(steps, "    steps:\n", "    steps:\n    - {maxUpdate: 1}\n", 1) + template
	for name, step := range evaluate(t, "p", spec, appset.World{Clusters: fleet()}).step {
		if step != 1 {
			t.Errorf("%s is in step %d", name, step)
		}
	}
}

func TestB16RelabelledSecret(t *testing.T) {
	clusters := fleet()
	clusters[1].Labels["region"] = "us-east-1-canary"
	want(t, "steps", map[string]int{"payment-c": 1, "payment-e": 1, "payment-w": 2, "payment-eu": 3, "payment-ap": 3},
		evaluate(t, "p", clustersOnly+steps+template, appset.World{Clusters: clusters}).step)
}

// TestSourcesOfLabels says which generator offers what.
func TestSourcesOfLabels(t *testing.T) {
	repository := files{
		"apps/a/config.json": `{"name": "a", "server": "https://a", "tier": "gold", "labels": {"team": "x", "beta": true, "size": 3, "ratio": 0.5, "deep": {"no": "1"}}}`,
		"apps/b/config.yaml": "name: b\nserver: https://b\nlabels: [no, map]\n",
	}
	always := "generatorLabels: {propagation: Always}\n"
	for _, c := range []struct {
		name, generators, app string
		want                  set
	}{
		{"list", `[{list: {elementsYaml: "[{name: a, server: s, num: 1, big: 12345678, f: 1.5, t: true, nothing: null, m: {x: y}}]"}}]`, "payment-a",
			set{"name": "a", "server": "s", "num": "1", "big": "12345678", "t": "true"}},
		{"git files", `[{git: {repoURL: r, revision: HEAD, files: [{path: apps/*.json}]}}]`, "payment-a", set{"team": "x", "beta": "true", "size": "3"}},
		{"git files without an object", `[{git: {repoURL: r, revision: HEAD, files: [{path: apps/*.yaml}]}}]`, "payment-b", set{}},
		{"git folders", `[{matrix: {generators: [{git: {repoURL: r, revision: HEAD, directories: [{path: "apps/a"}]}}, {list: {elementsYaml: "[{name: a, server: s}]"}}]}}]`,
			"payment-a", set{"name": "a", "server": "s"}},
		{"flat list", `[{matrix: {generators: [{clusters: {flatList: true}}, {list: {elements: [{name: a, server: s}]}}]}}]`, "payment-a", set{"name": "a", "server": "s"}},
		{"merge", `[{merge: {mergeKeys: [name], generators: [{clusters: {selector: {matchLabels: {env: prod}}}}, {list: {elements: [{name: eu, region: over}]}}]}}]`,
			"payment-eu", set{"env": "prod", "wave": "w-eu", "region": "over", "name": "eu"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want["applicationset-name"] = "p"
			got := evaluate(t, "p", "generators: "+c.generators+"\n"+always+template, appset.World{Clusters: fleet(), Tree: repository.open})
			want(t, "labels", c.want, got.labels[c.app])
		})
	}
}

func TestAtMost64(t *testing.T) {
	clusters := fleet()[:1]
	for i := range 100 {
		clusters[0].Labels[fmt.Sprintf("l%03d", i)] = "x"
	}
	clusters[0].Labels["zzz"] = "x"
	got := evaluate(t, "p", clustersOnly+steps+template, appset.World{Clusters: clusters})
	labels := got.labels["payment-c"]
	if len(labels) != 65 || labels["env"] == "" || labels["l062"] == "" || labels["l063"] != "" || labels["region"] != "" {
		t.Errorf("%d labels: %v", len(labels), labels)
	}
	if !strings.Contains(strings.Join(got.notes, "\n"), `label "zzz" is not propagated: 64 labels`) {
		t.Errorf("notes %v", got.notes)
	}
}

func TestReservedKeys(t *testing.T) {
	clusters := fleet()[:1]
	clusters[0].Labels = set{
		"env": "prod", "argocd.argoproj.io/kubernetes-version": "1.36", "argocd.argoproj.io/auto-label-cluster-info": "true",
		"kubectl.kubernetes.io/x": "1", "helm.sh/chart": "x", "app.kubernetes.io/name": "kept", "applicationset-name": "evil", "empty": "", "long": strings.Repeat("x", 64),
	}
	got := evaluate(t, "p", clustersOnly+template+"generatorLabels: {propagation: Always}\n", appset.World{Clusters: clusters})
	want(t, "labels", set{"applicationset-name": "p", "env": "prod", "argocd.argoproj.io/kubernetes-version": "1.36", "app.kubernetes.io/name": "kept", "empty": ""},
		got.labels["payment-c"])
}
