package diff_test

import (
	"strings"
	"testing"

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
		{"another quantity", []string{`cpu: "1"`, `cpu: 1001m`}, nil, false},
		{"a field we own was removed in Git", []string{"labels: {app: web}", "labels: {}"}, nil, false},
		{"a field of others on the cluster", nil, []string{"labels: {app: web}", "labels: {app: web, theirs: x}"}, true},
		{"never applied by us", nil, []string{"argocd-controller", "kubectl"}, false},
		{"a container more on the cluster", nil, []string{"      containers:\n", "      containers:\n      - {name: sidecar}\n"}, false},
		{"an absent empty map", []string{"replicas: 2", "replicas: 2\n  selector: {}"}, nil, true},
		{"null means absent", []string{"replicas: 2", "replicas: 2\n  minReadySeconds: null"}, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := strings.NewReplacer(c.inDesired...).Replace(desired)
			l := strings.NewReplacer(c.inLive...).Replace(live)
			if (len(c.inDesired) > 0 && d == desired) || (len(c.inLive) > 0 && l == live) {
				t.Fatal("the case changes nothing")
			}
			if got := diff.InSync(parse(t, d), parse(t, l)); got != c.want {
				t.Errorf("InSync = %v, want %v", got, c.want)
			}
		})
	}
}

func TestInSyncReadsStringDataAsTheServerDoes(t *testing.T) {
	const managed = `
  managedFields:
  - {manager: argocd-controller, operation: Apply, apiVersion: v1, fieldsType: FieldsV1, fieldsV1: {"f:stringData": {"f:user": {}}}}`
	live := parse(t, "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s"+strings.Replace(managed, "f:stringData", "f:data", 1)+"\ndata: {user: Ym90}\n")
	same := parse(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {user: bot}\n")
	other := parse(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {user: root}\n")
	if !diff.InSync(same, live) || diff.InSync(other, live) {
		t.Errorf("stringData: equal %v, want true; different %v, want false", diff.InSync(same, live), diff.InSync(other, live))
	}
}

func TestSame(t *testing.T) {
	base := parse(t, live)
	for _, c := range []struct {
		name, old, new string
		pointers       []string
		want           bool
	}{
		{"equal", "", "", nil, true},
		{"fields that never count", `resourceVersion: "7"`, `resourceVersion: "8"`, nil, true},
		{"status", "status: {replicas: 2}", "status: {replicas: 1}", nil, true},
		{"a difference", "replicas: 2\n  rev", "replicas: 3\n  rev", nil, false},
		{"an ignored difference", "replicas: 2\n  rev", "replicas: 3\n  rev", []string{"/spec/replicas"}, true},
		{"ignoring another field", "replicas: 2\n  rev", "replicas: 3\n  rev", []string{"/spec/paused"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := diff.Same(parse(t, strings.Replace(live, c.old, c.new, 1)), base, c.pointers); got != c.want {
				t.Errorf("Same = %v, want %v", got, c.want)
			}
		})
	}
}

func BenchmarkInSync(b *testing.B) {
	d, l := parse(b, desired), parse(b, live)
	b.ReportAllocs()
	for b.Loop() {
		if !diff.InSync(d, l) {
			b.Fatal("not in sync")
		}
	}
}
