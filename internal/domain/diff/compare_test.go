package diff_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/jq"
	"github.com/sluice-cd/sluice/internal/domain/diff"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// fields writes what differs as "path: live -> desired".
func fields(r diff.Result) []string {
	var out []string
	for _, f := range r.Fields {
		out = append(out, fmt.Sprintf("%s: %v -> %v", f.Path, f.Live, f.Desired))
	}
	return out
}

func TestCompareNamesTheFields(t *testing.T) {
	for _, c := range []struct {
		name               string
		inPredicted, inLve []string
		options            diff.Options
		want               []string
	}{
		{name: "equal"},
		{name: "what never counts", inPredicted: []string{`resourceVersion: "7"`, `resourceVersion: "8"`}},
		{name: "status", inPredicted: []string{"status: {replicas: 2}", "status: {replicas: 1}"}},
		{
			name: "status that counts", inPredicted: []string{"status: {replicas: 2}", "status: {replicas: 1}"},
			options: diff.Options{Status: diff.StatusOfNone, Mutations: true}, want: []string{"status.replicas: 2 -> 1"},
		},
		{name: "a field of ours", inPredicted: []string{"replicas: 2\n  rev", "replicas: 3\n  rev"}, want: []string{"spec.replicas: 2 -> 3"}},
		{name: "a field in a list", inPredicted: []string{"web:1", "web:2"}, want: []string{"spec.template.spec.containers[name=web].image: web:1 -> web:2"}},
		{name: "a field of others", inPredicted: []string{"revisionHistoryLimit: 10", "revisionHistoryLimit: 11"}},
		{
			name: "a field of others that counts", inPredicted: []string{"revisionHistoryLimit: 10", "revisionHistoryLimit: 11"},
			options: diff.Options{Mutations: true}, want: []string{"spec.revisionHistoryLimit: 10 -> 11"},
		},
		{name: "a sidecar that a webhook adds", inLve: []string{"      containers:\n", "      containers:\n      - {name: sidecar, image: x}\n"}},
		{
			name: "a container gone from the cluster", inLve: []string{"      - {name: web, image: \"web:1\", imagePullPolicy: Always, resources: {limits: {cpu: \"1\"}}}\n", "      - {name: other}\n"},
			want: []string{`spec.template.spec.containers[name=web]: <nil> -> map[image:web:1 imagePullPolicy:Always name:web resources:map[limits:map[cpu:1]]]`},
		},
		{name: "a quantity in other words", inPredicted: []string{`cpu: "1"`, `cpu: 1000m`}},
		{
			name: "a label with a dot", inLve: []string{"labels: {app: web}", "labels: {app: other}"},
			want: []string{"metadata.labels.app: other -> web"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := diff.Compare(t.Context(), diff.Input{
				Desired: parse(t, desired), Live: parse(t, changed(t, live, c.inLve...)), Predicted: parse(t, changed(t, live, c.inPredicted...)), Options: c.options,
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, fields(r)); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
			if r.Modified != (len(c.want) > 0) || (r.Text() == "") == r.Modified {
				t.Errorf("modified %v, text %q", r.Modified, r.Text())
			}
		})
	}
}

func TestCompareWithOneSideOnly(t *testing.T) {
	d := parse(t, desired)
	created, err := diff.Compare(t.Context(), diff.Input{Desired: d})
	if err != nil || !created.Modified || created.Live != nil || created.Predicted == nil || !strings.Contains(created.Text(), "+  replicas: 2") {
		t.Errorf("to be created: %+v, %v", created, err)
	}
	pruned, err := diff.Compare(t.Context(), diff.Input{Live: d})
	if err != nil || pruned.Modified || pruned.Predicted != nil || !strings.Contains(pruned.Text(), "-  replicas: 2") {
		t.Errorf("to be pruned: %+v, %v", pruned, err)
	}
}

func TestText(t *testing.T) {
	r, err := diff.Compare(t.Context(), diff.Input{Desired: parse(t, desired), Live: parse(t, live), Predicted: parse(t, strings.Replace(live, "web:1", "web:2", 1))})
	if err != nil {
		t.Fatal(err)
	}
	want := `--- live/apps/Deployment/shop/web
+++ desired/apps/Deployment/shop/web
@@ -11,7 +11,7 @@
   template:
     spec:
       containers:
-      - image: web:1
+      - image: web:2
         imagePullPolicy: Always
         name: web
         resources:
`
	if diff := cmp.Diff(want, r.Text()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

func TestSecretsAreMasked(t *testing.T) {
	secret := func(data string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: s, annotations: {token: t0p, kubectl.kubernetes.io/last-applied-configuration: '{\"data\":{\"user\":\"cm9vdA==\"}}'}}\n" + data
	}
	l := parse(t, secret("data: {user: cm9vdA==, same: c2FtZQ==, gone: Z29uZQ==}\n"))
	d := parse(t, secret("data: {user: Ym90, same: c2FtZQ==}\n"))
	o := diff.Options{MaskAnnotations: []string{"token"}}
	r, err := diff.Compare(t.Context(), diff.Input{Desired: d, Live: l, Predicted: d, Options: o})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"data.gone: ++++++++ -> <nil>", "data.user: ++++++++++++ -> ++++++++"}, fields(r)); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	shown := fmt.Sprint(r.Text(), r.Live, r.Predicted, r.Fields)
	desiredMasked, liveMasked := diff.Masked(d, l, []string{"token"})
	shown += fmt.Sprint(desiredMasked, liveMasked)
	for _, secret := range []string{"cm9vdA", "Ym90", "c2FtZQ", "Z29uZQ", "t0p"} {
		if strings.Contains(shown, secret) {
			t.Errorf("%s is shown in %s", secret, shown)
		}
	}
	if inner := liveMasked.GetAnnotations()["kubectl.kubernetes.io/last-applied-configuration"]; !strings.Contains(inner, `"user":"++++++++++++"`) {
		t.Errorf("the value applied last has mask %s, want that of the live value", inner)
	}
	broken := l.DeepCopy()
	broken.SetAnnotations(map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "{c2VjcmV0"})
	if _, masked := diff.Masked(nil, broken, nil); strings.Contains(fmt.Sprint(masked), "c2VjcmV0") {
		t.Error("an unreadable last-applied annotation is shown")
	}
}

func compileRules(rules ...diff.Rule) diff.Rules { return diff.Compile(rules, jq.Compiler{}.Compile) }

var webKey = object.Key{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"}

func TestRules(t *testing.T) {
	hpa := strings.Replace(live, "  managedFields:\n", `  managedFields:
  - {manager: kube-controller-manager, operation: Update, subresource: scale, fieldsType: FieldsV1, fieldsV1: {"f:spec": {"f:replicas": {}}}}
`, 1)
	for _, c := range []struct {
		name string
		rule diff.Rule
		want bool // that replicas do not count
	}{
		{"pointer", diff.Rule{Group: "apps", Kind: "Deployment", Pointers: []string{"/spec/replicas"}}, true},
		{"pointer elsewhere", diff.Rule{Group: "apps", Kind: "Deployment", Pointers: []string{"/spec/paused"}}, false},
		{"globs", diff.Rule{Group: "*", Kind: "Deploy*", Pointers: []string{"/spec/replicas"}}, true},
		{"empty group is core", diff.Rule{Kind: "Deployment", Pointers: []string{"/spec/replicas"}}, false},
		{"name", diff.Rule{Group: "apps", Kind: "Deployment", Name: "web", Namespace: "shop", Pointers: []string{"/spec/replicas"}}, true},
		{"another name", diff.Rule{Group: "apps", Kind: "Deployment", Name: "db", Pointers: []string{"/spec/replicas"}}, false},
		{"another namespace", diff.Rule{Group: "apps", Kind: "Deployment", Namespace: "x", Pointers: []string{"/spec/replicas"}}, false},
		{"expression", diff.Rule{Group: "apps", Kind: "Deployment", Expressions: []string{".spec.replicas"}}, true},
		{"expression that does not fit", diff.Rule{Group: "apps", Kind: "Deployment", Expressions: []string{".spec.replicas.x"}}, false},
		{"manager", diff.Rule{Group: "apps", Kind: "Deployment", Managers: []string{"kube-controller-manager"}}, true},
		{"another manager", diff.Rule{Group: "apps", Kind: "Deployment", Managers: []string{"someone"}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ignore := compileRules(c.rule).For(webKey)
			scaled := parse(t, strings.Replace(hpa, "spec:\n  replicas: 2", "spec:\n  replicas: 5", 1))
			r, err := diff.Compare(t.Context(), diff.Input{Desired: parse(t, desired), Live: scaled, Predicted: parse(t, hpa), Ignore: ignore})
			if err != nil {
				t.Fatal(err)
			}
			if r.Modified == c.want {
				t.Errorf("modified %v: %v", r.Modified, fields(r))
			}
			if got := diff.InSync(t.Context(), parse(t, desired), scaled, ignore, diff.Options{}); got != c.want {
				t.Errorf("in memory %v, want %v", got, c.want)
			}
			other := parse(t, strings.NewReplacer("spec:\n  replicas: 2", "spec:\n  replicas: 5", `image: "web:1"`, "image: evil").Replace(hpa))
			if diff.InSync(t.Context(), parse(t, desired), other, ignore, diff.Options{}) {
				t.Error("a rule for replicas hides another image")
			}
		})
	}
}

func TestBrokenRulesAreNamedAndDecideNothing(t *testing.T) {
	rules := diff.Compile(append(diff.OfApplication([]v1alpha1.ResourceIgnoreDifferences{
		{Group: "apps", Kind: "Deployment", JSONPointers: []string{"/spec/paused", "spec.replicas"}},
		{Group: "apps", Kind: "Deployment", JQPathExpressions: []string{".spec["}},
		{Kind: "ConfigMap", JSONPointers: []string{"x"}},
		{Group: "apps", JSONPointers: []string{"/spec/replicas"}},
	}), diff.Rule{Origin: "ConfigMap/argocd-cm", Group: "[", Kind: "*"}), jq.Compiler{}.Compile)
	ignore := rules.For(webKey)
	text := fmt.Sprint(ignore.Broken())
	for _, want := range []string{"spec.ignoreDifferences[0].jsonPointers[1]", "spec.ignoreDifferences[1].jqPathExpressions[0]", "spec.ignoreDifferences[3].kind", "ConfigMap/argocd-cm.group"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not named in %s", want, text)
		}
	}
	if strings.Contains(text, "[2]") {
		t.Errorf("a rule for ConfigMaps is held against a Deployment: %s", text)
	}
	if diff.InSync(t.Context(), parse(t, desired), parse(t, live), ignore, diff.Options{}) {
		t.Error("in sync in spite of a broken rule")
	}
	if _, err := diff.Compare(t.Context(), diff.Input{Desired: parse(t, desired), Live: parse(t, live), Predicted: parse(t, live), Ignore: ignore}); err == nil {
		t.Error("compared in spite of a broken rule")
	}
}

func TestRespect(t *testing.T) {
	scaled := parse(t, strings.NewReplacer("spec:\n  replicas: 2", "spec:\n  replicas: 5", `image: "web:1"`, `image: "web:9"`, "status:", "status:").Replace(live))
	for _, c := range []struct {
		name string
		rule diff.Rule
		want string
	}{
		{"pointer", diff.Rule{Pointers: []string{"/spec/replicas"}}, "5 web:1"},
		{"expression", diff.Rule{Expressions: []string{`.spec.template.spec.containers[] | select(.name == "web") | .image`}}, "2 web:9"},
		{"status is never copied", diff.Rule{Pointers: []string{"/status"}}, "2 web:1"},
		{"a place neither has", diff.Rule{Pointers: []string{"/spec/paused"}}, "2 web:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.rule.Group, c.rule.Kind = "apps", "Deployment"
			d := parse(t, desired)
			got, err := compileRules(c.rule).For(webKey).Respect(t.Context(), d, scaled)
			if err != nil {
				t.Fatal(err)
			}
			spec := got.Object["spec"].(map[string]any)
			container := spec["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
			if text := fmt.Sprintf("%v %v", spec["replicas"], container["image"]); text != c.want || got.Object["status"] != nil || spec["revisionHistoryLimit"] != nil {
				t.Errorf("%s, %v, want %s", text, got.Object, c.want)
			}
			if diff := cmp.Diff(parse(t, desired).Object, d.Object); diff != "" {
				t.Errorf("desired was changed:\n%s", diff)
			}
		})
	}
	gone := parse(t, strings.Replace(live, "spec:\n  replicas: 2\n", "spec:\n", 1))
	got, err := compileRules(diff.Rule{Group: "apps", Kind: "Deployment", Pointers: []string{"/spec/replicas"}}).For(webKey).Respect(t.Context(), parse(t, desired), gone)
	if err != nil || got.Object["spec"].(map[string]any)["replicas"] != nil {
		t.Errorf("an ignored field that live lacks is sent: %v, %v", got, err)
	}
}

func TestProject(t *testing.T) {
	types := applyconfigurations.NewTypeConverter(scheme.Scheme)
	full := strings.Replace(desired, "  template:\n", "  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n", 1)
	for _, c := range []struct {
		name string
		in   []string
		want []string
	}{
		{"equal", nil, nil},
		{"image", []string{"web:1", "web:2"}, []string{"spec.template.spec.containers[name=web].image: web:1 -> web:2"}},
		{"quantity in other words", []string{`cpu: "1"`, "cpu: 1000m"}, nil},
		{"a label removed", []string{"labels: {app: web}}\nspec", "labels: {}}\nspec"}, []string{"metadata.labels: map[app:web] -> <nil>"}},
		{"null says nothing", []string{"replicas: 2", "replicas: 2\n  paused: null"}, nil},
		{"a container added", []string{"      containers:\n", "      containers:\n      - {name: side, image: s}\n"}, []string{"spec.template.spec.containers[name=side]: <nil> -> map[image:s name:side]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := parse(t, changed(t, full, c.in...))
			l := parse(t, strings.Replace(live, "  template:\n", "  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n", 1))
			predicted, err := diff.Project(d, l, types)
			if err != nil {
				t.Fatal(err)
			}
			r, err := diff.Compare(t.Context(), diff.Input{Desired: d, Live: l, Predicted: predicted})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, fields(r)); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
		})
	}
	unknown := parse(t, "apiVersion: x.io/v1\nkind: Unknown\nmetadata: {name: a}\n")
	if _, err := diff.Project(unknown, unknown, types); err == nil {
		t.Error("predicted without a schema")
	}
	if _, err := diff.Project(parse(t, changed(t, full, "replicas: 2", "replicaz: 2")), parse(t, live), types); err == nil || !strings.Contains(err.Error(), "replicaz") {
		t.Errorf("an undeclared field: %v", err)
	}
}

func TestAbandon(t *testing.T) {
	l := parse(t, `
apiVersion: v1
kind: ConfigMap
metadata:
  name: c
  annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"data":{"old":"1","kept":"2","shared":"3"}}'}
  managedFields:
  - {manager: kubectl-client-side-apply, operation: Update, apiVersion: v1, fieldsType: FieldsV1, fieldsV1: {"f:data": {".": {}, "f:old": {}, "f:kept": {}, "f:shared": {}, "f:defaulted": {}}}}
  - {manager: someone, operation: Update, apiVersion: v1, fieldsType: FieldsV1, fieldsV1: {"f:data": {"f:shared": {}}}}
data: {old: "1", kept: "2", shared: "3", defaulted: "4"}
`)
	d := parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {kept: \"2\"}\n")
	r, err := diff.Compare(t.Context(), diff.Input{Desired: d, Live: l, Predicted: diff.Abandon(l, d, l)})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"data.old: 1 -> <nil>"}, fields(r)); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestNormalForms(t *testing.T) {
	role := func(rules string) string {
		return "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: r}\naggregationRule: {clusterRoleSelectors: []}\n" + rules
	}
	rollout := func(cpu string) string {
		return "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: r}\nspec: {template: {spec: {containers: [{name: c, resources: {limits: {cpu: " + cpu + "}}}]}}}\n"
	}
	for _, c := range []struct {
		name, a, b string
		options    diff.Options
		want       bool // that they are equal
	}{
		{name: "aggregated rules count", a: role("rules: [{verbs: [get]}]"), b: role("rules: []")},
		{name: "aggregated rules are ignored", a: role("rules: [{verbs: [get]}]"), b: role("rules: []"), options: diff.Options{IgnoreAggregatedRoles: true}, want: true},
		{name: "no rules and empty rules", a: role("rules: []"), b: role("rules: null"), want: true},
		{name: "empty annotations", a: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {}}\n", b: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n", want: true},
		{name: "quantities of unknown kinds", a: strings.Replace(rollout("1"), "Rollout", "Other", 1), b: strings.Replace(rollout("1000m"), "Rollout", "Other", 1)},
		{name: "quantities of known fields", a: rollout("1"), b: rollout("1000m"), options: diff.Options{Known: diff.DefaultKnownFields()}, want: true},
		{name: "known fields still differ", a: rollout("1"), b: rollout("1001m"), options: diff.Options{Known: diff.DefaultKnownFields()}},
		{name: "a known field that does not fit its type", a: strings.Replace(rollout("1"), "name: c", "unheard: c", 1), b: rollout("1"), options: diff.Options{Known: diff.DefaultKnownFields()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := parse(t, c.a), parse(t, c.b)
			r, err := diff.Compare(t.Context(), diff.Input{Desired: a, Live: b, Predicted: a, Options: c.options})
			if err != nil || r.Modified == c.want {
				t.Errorf("modified %v (%v, %v), want equal %v", r.Modified, fields(r), err, c.want)
			}
		})
	}
	if _, has := diff.Prepare(parse(t, role("rules: []"))).Object["rules"]; has {
		t.Error("empty rules of an aggregated role are sent and fight the controller that fills them")
	}
}
