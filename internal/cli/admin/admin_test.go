package admin

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

const live = `
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: web
  namespace: argocd
  uid: u
  resourceVersion: "7"
  generation: 3
  labels: {a: b}
  finalizers: [resources-finalizer.argocd.argoproj.io]
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: '{}'
spec: {project: default}
operation: {sync: {}}
status: {history: [{id: 1}], operationState: {phase: Running}}
`

func TestExported(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	other := object(t, strings.Replace(live, "namespace: argocd", "namespace: team", 1))
	if err := write(&out, []unstructured.Unstructured{*object(t, live), *other}, "argocd"); err != nil {
		t.Fatal(err)
	}
	const one = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  finalizers:
  - resources-finalizer.argocd.argoproj.io
  labels:
    a: b
  name: web
operation:
  sync: {}
spec:
  project: default
status:
  history:
  - id: 1
  operationState:
    phase: Running
`
	want := one + "---\n" + strings.Replace(one, "  name: web\n", "  name: web\n  namespace: team\n", 1)
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	back, err := backup(out.Bytes())
	if err != nil || len(back) != 2 || back[1].GetNamespace() != "team" {
		t.Errorf("read again: %v, %v", back, err)
	}
}

func TestMerged(t *testing.T) {
	t.Parallel()
	was := object(t, live)
	want := object(t, live)
	want.SetResourceVersion("")
	want.SetUID("")
	if diff := cmp.Diff(was.Object, merged(bare(want, "argocd"), was, &restoreFlags{}).Object); diff != "" {
		t.Errorf("what is equal is written: %s", diff)
	}
	backup := bare(was, "argocd")
	backup.SetLabels(map[string]string{"a": "c", "app.kubernetes.io/instance": "old"})
	was.SetLabels(map[string]string{"app.kubernetes.io/instance": "new"})
	next := merged(backup, was, &restoreFlags{ignoreTracking: true, stopOperation: true})
	if diff := cmp.Diff(map[string]string{"a": "c", "app.kubernetes.io/instance": "new"}, next.GetLabels()); diff != "" {
		t.Error(diff)
	}
	phase, _, _ := unstructured.NestedString(next.Object, "status", "operationState", "phase")
	if _, running := next.Object["operation"]; running || phase != "Terminating" || next.GetResourceVersion() != "7" {
		t.Errorf("got %v", next.Object)
	}
}

func TestBackupErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":        "holds no object",
		"kind: [": "document 1",
		"apiVersion: v1\nkind: Pod\nmetadata: {name: a}":        "which no export holds",
		"apiVersion: v1\nkind: Secret\nmetadata: {name: other}": "does not belong to the control plane",
		"apiVersion: v1\nkind: ConfigMap":                       "without metadata.name",
	} {
		if _, err := backup([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	all, err := backup([]byte("apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: s}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: argocd-cm}\n"))
	if err != nil || all[0].GetKind() != "ConfigMap" {
		t.Errorf("settings come first: %v, %v", all, err)
	}
}

func TestScope(t *testing.T) {
	t.Parallel()
	s := scope{apps: []string{"team-*"}}
	for _, c := range []struct {
		kind      string
		namespace string
		want      bool
	}{{"Application", "argocd", true}, {"Application", "team-a", true}, {"Application", "other", false}, {"ApplicationSet", "team-a", false}, {"AppProject", "team-a", false}} {
		if got := s.matches(apps.GroupVersion().WithKind(c.kind), c.namespace, "argocd"); got != c.want {
			t.Errorf("%s in %s: %t", c.kind, c.namespace, got)
		}
	}
}

func TestNamespaceOfContext(t *testing.T) {
	t.Parallel()
	raw := &api.Config{CurrentContext: "a", Contexts: map[string]*api.Context{"a": {Namespace: "cd"}, "b": {}}}
	for name, want := range map[string]string{"": "cd", "a": "cd", "b": "argocd", "c": "argocd"} {
		if got := contextNamespace(raw, name); got != want {
			t.Errorf("context %q: %s, want %s", name, got, want)
		}
	}
}
