package diff_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/domain/diff"
)

func parsed(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return u
}

const lastAppliedAnnotation = "kubectl.kubernetes.io/last-applied-configuration"

func kindOf(t *testing.T, o *unstructured.Unstructured) diff.Kind {
	t.Helper()
	typed, err := scheme.Scheme.New(o.GroupVersionKind())
	if err != nil {
		return diff.Kind{}
	}
	meta, err := strategicpatch.NewPatchMetaFromStruct(typed)
	if err != nil {
		t.Fatal(err)
	}
	return diff.Kind{Lists: meta, New: func() any { return reflect.New(reflect.TypeOf(typed).Elem()).Interface() }}
}

const (
	threeDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, annotations: {}}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {creationTimestamp: null}
    spec:
      containers:
      - {name: web, image: "web:1", env: [{name: A, value: "1"}, {name: B, value: "2"}], resources: {limits: {cpu: 1000m}}}
`
	threePolicy = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p}
spec: {podSelector: {}, ingress: [{ports: [{port: 80}]}]}
`
	threeSet = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 1
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]
`
	threeCustom = `
apiVersion: example.com/v1
kind: Widget
metadata: {name: w}
spec: {size: 1, parts: [{name: a}, {name: b, color: red}]}
`
	threeSecret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: x, b: why}\ntype: Opaque\n"
)

// TestThreeWay: live is what applied gave, with replacements; Git asks for the
// same with others. Without applied there is no record of it.
func TestThreeWay(t *testing.T) {
	const decided = `{name: web, image: "web:1", imagePullPolicy: IfNotPresent, `
	for name, c := range map[string]struct {
		object        string
		live, desired []string
		record        string
		want          []string
	}{
		"what it applied": {object: threeDeployment, live: []string{`{name: web, image: "web:1", `, decided, "1000m", `"1"`, "selector:", "replicas: 3\n  progressDeadlineSeconds: 600\n  selector:"}},
		"another value":   {object: threeDeployment, desired: []string{"web:1", "web:2"}, want: []string{"spec.template.spec.containers[name=web].image: web:1 -> web:2"}},
		"changed by hand": {object: threeDeployment, live: []string{"web:1", "web:9"}, want: []string{"spec.template.spec.containers[name=web].image: web:9 -> web:1"}},
		"a sidecar of others, and a variable": {object: threeDeployment,
			live: []string{"      - {name: web", "      - {name: sidecar, image: x}\n      - {name: web", `env: [{name: A, value: "1"}`, `env: [{name: A, value: "1"}, {name: THEIRS, value: "3"}`}},
		"a variable that goes": {object: threeDeployment, desired: []string{`, {name: B, value: "2"}`, ""},
			want: []string{"spec.template.spec.containers[name=web].env[name=B]: map[name:B value:2] -> <nil>"}},
		"a variable that goes and was never recorded": {object: threeDeployment, record: "none", desired: []string{`, {name: B, value: "2"}`, ""}},
		"a record that is no JSON":                    {object: threeDeployment, record: "{", desired: []string{`, {name: B, value: "2"}`, ""}},
		"a record that no longer fits":                {object: threeDeployment, record: `{"apiVersion":"apps/v1","kind":"Deployment","spec":{"template":{"spec":{"containers":"x"}}}}`, desired: []string{"web:1", "web:2"}, want: []string{"spec.template.spec.containers[name=web].image: web:1 -> web:2"}},
		"null says nothing":                           {object: threeDeployment, live: []string{"selector:", "replicas: 3\n  selector:"}, desired: []string{"selector:", "replicas: null\n  selector:"}},
		"defaults in a list that is replaced":         {object: threePolicy, live: []string{"{port: 80}", "{port: 80, protocol: TCP}", "podSelector: {}", "podSelector: {}, policyTypes: [Ingress]"}},
		"a change in a list that is replaced":         {object: threePolicy, live: []string{"{port: 80}", "{port: 80, protocol: TCP}"}, desired: []string{"80", "81"}, want: []string{"spec.ingress[0].ports[port=81]: <nil> -> map[port:81 protocol:TCP]", "spec.ingress[0].ports[port=80]: map[port:80 protocol:TCP] -> <nil>"}},
		"a field that goes from such a list": {object: strings.Replace(threePolicy, "{port: 80}", "{port: 80, endPort: 90}", 1), live: []string{"{port: 80", "{protocol: TCP, port: 80"}, desired: []string{", endPort: 90", ""},
			want: []string{"spec.ingress[0].ports[port=80].endPort: 90 -> <nil>"}},
		"values in other words": {object: strings.Replace(threeDeployment, "limits: {cpu: 1000m}", "limits: {cpu: 1000m, memory: 0.5Gi}, requests: {cpu: 0.1}", 1),
			live: []string{"limits: {cpu: 1000m, memory: 0.5Gi}, requests: {cpu: 0.1}", `limits: {cpu: "1", memory: 512Mi}, requests: {cpu: 100m}`}},
		"empty values": {object: strings.Replace(threeDeployment, `value: "2"}]`, `value: ""}], args: [], volumeMounts: [], ports: [{containerPort: 80, hostPort: 0}]`, 1),
			live: []string{`value: ""}], args: [], volumeMounts: [], ports: [{containerPort: 80, hostPort: 0}]`, `}], ports: [{containerPort: 80, protocol: TCP}]`}},
		"an empty value that somebody fills": {object: strings.Replace(threeDeployment, "selector:", "minReadySeconds: 0\n  selector:", 1), live: []string{"minReadySeconds: 0", "minReadySeconds: 7"},
			want: []string{"spec.minReadySeconds: 7 -> 0"}},
		"a union of which Git says nothing": {object: strings.Replace(threeDeployment, "selector:", "strategy: {}\n  selector:", 1),
			live: []string{"strategy: {}", "strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%}}"}},
		"another form of a union": {object: threeDeployment, live: []string{"selector:", "strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%}}\n  selector:"}, desired: []string{"selector:", "strategy: {type: Recreate}\n  selector:"},
			want: []string{"spec.strategy.type: RollingUpdate -> Recreate"}},
		"a field that the type does not know": {object: strings.Replace(threeDeployment, "selector:", "unheard: of\n  selector:", 1), live: []string{"unheard: of\n  ", ""}, want: []string{"spec.unheard: <nil> -> of"}},
		"claims of a set": {object: threeSet,
			live: []string{"{metadata: {name: data}, spec: {", "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data}, status: {phase: Pending}, spec: {volumeMode: Filesystem, "}},
		"a custom resource":                 {object: threeCustom, live: []string{"size: 1", "size: 1, theirs: 2", "{name: a}", "{name: a, filled: in}"}},
		"a longer list of one":              {object: threeCustom, live: []string{"{name: a}", "{name: a}, {name: theirs}"}, want: []string{"spec.parts[0]"}},
		"a field of one that goes":          {object: threeCustom, desired: []string{"size: 1, ", ""}, want: []string{"spec.size: 1 -> <nil>"}},
		"a field of one that goes in lists": {object: threeCustom, desired: []string{", color: red", ""}, want: []string{"spec.parts[name=b].color: red -> <nil>"}},
		"a Secret":                          {object: threeSecret, live: []string{"stringData: {a: x, b: why}", "data: {a: eA==, b: d2h5, theirs: eg==}"}},
		"a key of a Secret that goes":       {object: threeSecret, live: []string{"stringData: {a: x, b: why}", "data: {a: eA==, b: d2h5}"}, desired: []string{", b: why", ""}, want: []string{"data.b: ++++++++ -> <nil>"}},
		"a key of a Secret that changes":    {object: threeSecret, live: []string{"stringData: {a: x, b: why}", "data: {a: eA==, b: eg==}"}, want: []string{"data.b: ++++++++++++ -> ++++++++"}},
	} {
		t.Run(name, func(t *testing.T) {
			applied := parsed(t, c.object)
			live := parsed(t, strings.NewReplacer(c.live...).Replace(c.object))
			desired := parsed(t, strings.NewReplacer(c.desired...).Replace(c.object))
			raw, err := json.Marshal(applied)
			if err != nil {
				t.Fatal(err)
			}
			switch c.record {
			case "":
				live.SetAnnotations(map[string]string{lastAppliedAnnotation: string(raw)})
			case "none":
			default:
				live.SetAnnotations(map[string]string{lastAppliedAnnotation: c.record})
			}
			got := threeWay(t, desired, live)
			if len(c.want) == 1 && !strings.Contains(c.want[0], " -> ") {
				if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, strings.TrimSuffix(c.want[0], "[0]")) }) {
					t.Errorf("found %v, want something below %s", got, c.want[0])
				}
				return
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// threeWay lists what differs.
func threeWay(t *testing.T, desired, live *unstructured.Unstructured) []string {
	t.Helper()
	before := live.DeepCopy()
	predicted, err := diff.ThreeWay(desired, live, kindOf(t, live))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, live); d != "" {
		t.Errorf("live was changed:\n%s", d)
	}
	r, err := diff.Compare(t.Context(), diff.Input{Desired: desired, Live: live, Predicted: predicted})
	if err != nil {
		t.Fatal(err)
	}
	return fields(r)
}

func TestThreeWayRefuses(t *testing.T) {
	live := parsed(t, threeDeployment)
	_, err := diff.ThreeWay(parsed(t, strings.Replace(threeDeployment, "apps/v1", "apps/v1beta1", 1)), live, diff.Kind{})
	if err == nil || !strings.Contains(err.Error(), "no prediction across versions") {
		t.Errorf("other versions: %v", err)
	}
}

// TestPrepareGivesASecretOneField: what stringData says is data, unless the API
// server would refuse it.
func TestPrepareGivesASecretOneField(t *testing.T) {
	for text, want := range map[string]string{
		"stringData: {a: x}\ndata: {a: eQ==, b: eg==}": `{"apiVersion":"v1","data":{"a":"eA==","b":"eg=="},"kind":"Secret","metadata":{"name":"s"}}`,
		"stringData: {}":                     `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"}}`,
		"stringData: {a: 8080}":              `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"stringData":{"a":8080}}`,
		"stringData: {a: null}":              `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"stringData":{"a":null}}`,
		"stringData: x":                      `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"stringData":"x"}`,
		"data: {a: eA==}\nimmutable: true\n": `{"apiVersion":"v1","data":{"a":"eA=="},"immutable":true,"kind":"Secret","metadata":{"name":"s"}}`,
	} {
		in := parsed(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"+text)
		before := in.DeepCopy()
		raw, err := json.Marshal(diff.Prepare(in))
		if err != nil || string(raw) != want {
			t.Errorf("%s: %s, %v", text, raw, err)
		}
		if d := cmp.Diff(before, in); d != "" {
			t.Errorf("the object was changed:\n%s", d)
		}
	}
}
