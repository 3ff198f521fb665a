package diff_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/domain/diff"
)

func parse(t testing.TB, text string) *unstructured.Unstructured {
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

const desired = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  replicas: 2
  template:
    spec:
      containers:
      - {name: web, image: "web:1", resources: {limits: {cpu: "1"}}}
`

// live is what an API server keeps of desired: defaults, owners of fields.
const live = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  labels: {app: web}
  resourceVersion: "7"
  managedFields:
  - manager: argocd-controller
    operation: Apply
    apiVersion: apps/v1
    fieldsType: FieldsV1
    fieldsV1:
      f:metadata: {f:labels: {f:app: {}}}
      f:spec:
        f:replicas: {}
        f:template: {f:spec: {f:containers: {'k:{"name":"web"}': {.: {}, f:name: {}, f:image: {}, f:resources: {f:limits: {f:cpu: {}}}}}}}
spec:
  replicas: 2
  revisionHistoryLimit: 10
  template:
    spec:
      restartPolicy: Always
      containers:
      - {name: web, image: "web:1", imagePullPolicy: Always, resources: {limits: {cpu: "1"}}}
status: {replicas: 2}
`

// changed replaces texts, and fails when that changes nothing.
func changed(t testing.TB, text string, pairs ...string) string {
	t.Helper()
	out := strings.NewReplacer(pairs...).Replace(text)
	if len(pairs) > 0 && out == text {
		t.Fatalf("the case changes nothing: %v", pairs)
	}
	return out
}

func TestInSync(t *testing.T) {
	for _, c := range []struct {
		name              string
		inDesired, inLive []string // old, new, old, new ...
		want              bool
	}{
		{"equal but for defaults and status", nil, nil, true},
		{"image changed in Git", []string{"web:1", "web:2"}, nil, false},
		{"image changed on the cluster", nil, []string{`image: "web:1"`, `image: "web:9"`}, false},
		{"the same quantity in other words", []string{`cpu: "1"`, `cpu: 1000m`}, nil, true},
		{"the same quantity as a number", []string{`cpu: "1"`, `cpu: 1`}, nil, true},
		{"another quantity", []string{`cpu: "1"`, `cpu: 1001m`}, nil, false},
		{"text that only looks like a quantity", []string{"labels: {app: web}", `labels: {app: "1"}`}, []string{"labels: {app: web}", `labels: {app: "1000m"}`}, false},
		{"a field we own was removed in Git", []string{"labels: {app: web}", "labels: {}"}, nil, false},
		{"a field of others on the cluster", nil, []string{"labels: {app: web}", "labels: {app: web, theirs: x}"}, true},
		{"never applied by us", nil, []string{"argocd-controller", "kubectl"}, false},
		{"not yet migrated", nil, []string{"  managedFields:\n", "  managedFields:\n  - {manager: helm, operation: Update, fieldsType: FieldsV1, fieldsV1: {\"f:x\": {}}}\n"}, false},
		{"a container more on the cluster", nil, []string{"      containers:\n", "      containers:\n      - {name: sidecar}\n"}, false},
		{"an absent empty map is not sure", []string{"replicas: 2", "replicas: 2\n  selector: {}"}, nil, false},
		{"null means absent", []string{"replicas: 2", "replicas: 2\n  minReadySeconds: null"}, nil, true},
		{"a number as a fraction", []string{"replicas: 2", "replicas: 2.0"}, nil, true},
		{"no time of creation in Git", []string{"name: web,", "name: web, creationTimestamp: null,"}, nil, true},
		{"status in Git", []string{"kind: Deployment\n", "kind: Deployment\nstatus: {replicas: 7}\n"}, nil, true},
		{"int or string is not sure", []string{"replicas: 2", `replicas: "2"`}, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, l := parse(t, changed(t, desired, c.inDesired...)), parse(t, changed(t, live, c.inLive...))
			before := [2]any{d.DeepCopy().Object, l.DeepCopy().Object}
			if got := diff.InSync(t.Context(), d, l, diff.Ignore{}, diff.Options{}); got != c.want {
				t.Errorf("InSync = %v, want %v", got, c.want)
			}
			if diff := cmp.Diff(before, [2]any{d.Object, l.Object}); diff != "" {
				t.Errorf("the objects were changed:\n%s", diff)
			}
		})
	}
}

func TestInSyncReadsStringDataAsTheServerDoes(t *testing.T) {
	live := parse(t, `
apiVersion: v1
kind: Secret
metadata:
  name: s
  managedFields:
  - {manager: argocd-controller, operation: Apply, apiVersion: v1, fieldsType: FieldsV1, fieldsV1: {"f:stringData": {"f:user": {}}, "f:data": {"f:user": {}}}}
data: {user: Ym90}
`)
	for text, want := range map[string]bool{
		"stringData: {user: bot}":                             true,
		"stringData: {user: root}":                            false,
		"stringData: {user: bot}\ndata: {user: c29tZXRoaW5n}": true,
		"data: {user: Ym90}":                                  true,
	} {
		d := parse(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"+text+"\n")
		if got := diff.InSync(t.Context(), d, live, diff.Ignore{}, diff.Options{}); got != want {
			t.Errorf("%s: InSync %v, want %v", text, got, want)
		}
	}
}

func BenchmarkInSync(b *testing.B) {
	d, l := parse(b, desired), parse(b, live)
	b.ReportAllocs()
	for b.Loop() {
		if !diff.InSync(b.Context(), d, l, diff.Ignore{}, diff.Options{}) {
			b.Fatal("not in sync")
		}
	}
}

func BenchmarkCompare(b *testing.B) {
	d, l := parse(b, desired), parse(b, live)
	predicted := parse(b, strings.Replace(live, "web:1", "web:2", 1))
	b.ReportAllocs()
	for b.Loop() {
		r, err := diff.Compare(b.Context(), diff.Input{Desired: d, Live: l, Predicted: predicted})
		if err != nil || len(r.Fields) != 1 {
			b.Fatal(r.Fields, err)
		}
	}
}

func BenchmarkText(b *testing.B) {
	d, l := parse(b, desired), parse(b, live)
	r, err := diff.Compare(b.Context(), diff.Input{Desired: d, Live: l, Predicted: parse(b, strings.Replace(live, "web:1", "web:2", 1))})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if r.Text() == "" {
			b.Fatal("no text")
		}
	}
}
