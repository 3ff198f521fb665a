package backup_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/cli/admin/backup"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = json.Unmarshal(raw, &o.Object)
	}
	if err != nil {
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
  ownerReferences: [{apiVersion: argoproj.io/v1alpha1, kind: ApplicationSet, name: s, uid: s, controller: true}]
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: '{}'
spec: {project: default}
operation: {sync: {}}
status: {history: [{id: 1}], operationState: {phase: Running}}
`

// TestWritten says that a file holds what another hub needs, and nothing that
// would harm there: no owner, no uid, no operation that was under way.
func TestWritten(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	other := object(t, strings.NewReplacer("namespace: argocd", "namespace: team", "Running", "Succeeded").Replace(live))
	if err := backup.Write(&out, []unstructured.Unstructured{*object(t, live), *other}, "argocd"); err != nil {
		t.Fatal(err)
	}
	const head = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  finalizers:
  - resources-finalizer.argocd.argoproj.io
  labels:
    a: b
  name: web
%sspec:
  project: default
status:
  history:
  - id: 1
`
	want := fmt.Sprintf(head, "") + "---\n" + fmt.Sprintf(head, "  namespace: team\n") + "  operationState:\n    phase: Succeeded\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	back, err := backup.Read(&out, "argocd")
	if err != nil || len(back) != 2 || back[1].GetNamespace() != "team" {
		t.Errorf("read again: %v, %v", back, err)
	}
}

func TestReadErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":        "holds no object",
		"kind: [": "document 1",
		"apiVersion: v1\nkind: Pod\nmetadata: {name: a}":                                          "which no backup holds",
		"apiVersion: v1\nkind: Secret\nmetadata: {name: other}":                                   "is no part of a hub",
		"apiVersion: v1\nkind: Secret\nmetadata: {name: argocd-redis}":                            "is no part of a hub",
		"apiVersion: v1\nkind: ConfigMap":                                                         "without metadata.name",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kube-root-ca.crt}":                     "is no part of a hub",
		strings.Repeat("---\napiVersion: v1\nkind: Secret\nmetadata: {name: argocd-secret}\n", 2): "is in document 1 already",
		"- a": "document 1",
	} {
		if _, err := backup.Read(strings.NewReader(text), "argocd"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	all, err := backup.Read(strings.NewReader("apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: s}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: argocd-cm}\n"), "argocd")
	if err != nil || all[0].GetKind() != "ConfigMap" {
		t.Errorf("settings come first: %v, %v", all, err)
	}
}

// TestNamedBySets says that credentials of generators are part of a hub.
func TestNamedBySets(t *testing.T) {
	t.Parallel()
	const set = `
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: s, namespace: team}
spec:
  generators:
  - matrix:
      generators:
      - scmProvider: {github: {organization: o, tokenRef: {secretName: token, key: t}, appSecretName: app}}
      - plugin: {configMapRef: {name: plugin}}
`
	want := []string{"ConfigMap team/plugin", "Secret team/app", "Secret team/token"}
	var got []string
	for _, id := range backup.References(object(t, set), "argocd") {
		got = append(got, id.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	plugin := object(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plugin, namespace: team}\ndata: {token: '$plugin-token:t', baseUrl: https://x.example.com}")
	if ids := backup.Tokens(plugin, "argocd"); len(ids) != 1 || ids[0].String() != "Secret team/plugin-token" {
		t.Errorf("tokens of a plugin: %v", ids)
	}
	file := set + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: plugin, namespace: team}\ndata: {token: '$plugin-token:t'}\n" +
		"---\napiVersion: v1\nkind: Secret\nmetadata: {name: plugin-token, namespace: team}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: token, namespace: team}\n"
	if _, err := backup.Read(strings.NewReader(file), "argocd"); err != nil {
		t.Errorf("a file with what a set names: %v", err)
	}
	if _, err := backup.Read(strings.NewReader(strings.ReplaceAll(file, "name: token, namespace: team}", "name: token, namespace: other}")), "argocd"); err == nil {
		t.Error("a Secret of the same name in another namespace was taken")
	}
}

func TestMerged(t *testing.T) {
	t.Parallel()
	was := object(t, strings.Replace(live, "Running", "Succeeded", 1))
	if diff := cmp.Diff(was.Object, backup.Merged(backup.Bare(was, "argocd"), was, backup.Options{}).Object); diff != "" {
		t.Errorf("what is equal is written: %s", diff)
	}
	want := backup.Bare(was, "argocd")
	want.SetLabels(map[string]string{"a": "c", "app.kubernetes.io/instance": "old"})
	was = object(t, live)
	was.SetLabels(map[string]string{"app.kubernetes.io/instance": "new"})
	next := backup.Merged(want, was, backup.Options{IgnoreTracking: true, StopOperation: true})
	if diff := cmp.Diff(map[string]string{"a": "c", "app.kubernetes.io/instance": "new"}, next.GetLabels()); diff != "" {
		t.Error(diff)
	}
	phase, _, _ := unstructured.NestedString(next.Object, "status", "operationState", "phase")
	if _, running := next.Object["operation"]; !running || phase != "Terminating" || next.GetResourceVersion() != "7" || len(next.GetOwnerReferences()) != 1 {
		t.Errorf("an operation that runs is not told to end, or the live object forgot itself: %v", next.Object)
	}
	asked := object(t, strings.Replace(live, "Running", "Succeeded", 1))
	if _, still := backup.Merged(want, asked, backup.Options{StopOperation: true}).Object["operation"]; still {
		t.Error("an operation that has not begun is still asked for")
	}
	secret := object(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: argocd-secret}\ndata: {a: YQ==}\nstringData: {b: b}")
	empty := object(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: argocd-secret}\ntype: Opaque")
	if got := backup.Merged(empty, secret, backup.Options{}); got.Object["data"] != nil || got.Object["stringData"] != nil {
		t.Errorf("data that the backup does not hold stays: %v", got.Object)
	}
}

// TestTheLaterStatusWins says that a hub that went on since the backup was made
// forgets neither deployments nor rollouts.
func TestTheLaterStatusWins(t *testing.T) {
	t.Parallel()
	app := func(history string) *unstructured.Unstructured {
		return object(t, "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: a}\nspec: {}\nstatus: {history: ["+history+"]}")
	}
	set := func(id string) *unstructured.Unstructured {
		return object(t, "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: a}\nspec: {}\nstatus: {rollout: {id: "+id+"}}")
	}
	none := object(t, "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: a}\nspec: {}\nstatus: {conditions: []}")
	for name, c := range map[string]struct {
		backup, live *unstructured.Unstructured
		takes        bool
	}{
		"a later deployment":    {app("{id: 3}, {id: 4}"), app("{id: 3}"), true},
		"the same deployment":   {app("{id: 3}"), app("{id: 2}, {id: 3}"), false},
		"an earlier deployment": {app("{id: 3}"), app("{id: 5}"), false},
		"the first deployment":  {app("{id: 0}"), app(""), true},
		"a later rollout":       {set("7"), set("6"), true},
		"an earlier rollout":    {set("5"), set("6"), false},
		"the only rollout":      {set("1"), none, true},
		"no rollout":            {none, set("1"), false},
	} {
		want := c.live
		if c.takes {
			want = c.backup
		}
		if diff := cmp.Diff(want.Object["status"], backup.Merged(c.backup, c.live, backup.Options{}).Object["status"]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func scope(t *testing.T, apps, sets []string, params map[string]string) backup.Scope {
	t.Helper()
	s, err := backup.NewScope("argocd", apps, sets, params)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestScope(t *testing.T) {
	t.Parallel()
	named := scope(t, []string{"team-*"}, nil, map[string]string{"application.namespaces": "other"})
	params := scope(t, nil, nil, map[string]string{"application.namespaces": "team-*, /x[0-9]+/", "applicationsetcontroller.namespaces": "sets"})
	for _, c := range []struct {
		scope           backup.Scope
		kind, namespace string
		want            bool
	}{
		{named, "Application", "argocd", true}, {named, "Application", "team-a", true}, {named, "Application", "other", false},
		{named, "ApplicationSet", "team-a", false}, {named, "AppProject", "team-a", false},
		{params, "Application", "team-a", true}, {params, "Application", "x12", true}, {params, "Application", "ax12", false},
		{params, "ApplicationSet", "sets", true}, {params, "Application", "sets", false},
	} {
		if got := c.scope.Holds(backup.Application.GroupVersion().WithKind(c.kind), c.namespace); got != c.want {
			t.Errorf("%s in %s: %t", c.kind, c.namespace, got)
		}
	}
	for _, bad := range []string{"[", "/(/"} {
		if _, err := backup.NewScope("argocd", []string{bad}, nil, nil); err == nil || !strings.Contains(err.Error(), "--application-namespaces") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestNext says what is done, in which order, and that settings are never pruned.
func TestNext(t *testing.T) {
	t.Parallel()
	named := func(kind, name, more string) *unstructured.Unstructured {
		version := "v1"
		if kind == "Application" || kind == "ApplicationSet" || kind == "AppProject" {
			version = "argoproj.io/v1alpha1"
		}
		return object(t, "apiVersion: "+version+"\nkind: "+kind+"\nmetadata: {name: "+name+", namespace: argocd"+more+"}")
	}
	var hub []unstructured.Unstructured
	for _, o := range []*unstructured.Unstructured{
		named("ConfigMap", "argocd-cm", ""), named("ConfigMap", "argocd-gpg-keys-cm", ""), named("Secret", "argocd-secret", ""),
		named("Secret", "part", ", labels: {app.kubernetes.io/part-of: argocd}"), named("Secret", "old", ", labels: {argocd.argoproj.io/secret-type: cluster}"),
		named("AppProject", "default", ""), named("AppProject", "old", ""), named("Application", "same", ""), named("Application", "changed", ""),
		named("Application", "old", ""), named("Application", "kept", ", labels: {keep: 'yes'}"), named("ApplicationSet", "old", ""),
	} {
		hub = append(hub, *o)
	}
	wanted := []*unstructured.Unstructured{
		named("ConfigMap", "argocd-cm", ", labels: {a: b}"), named("AppProject", "new", ""), named("Application", "same", ""),
		named("Application", "changed", ", labels: {a: b}"), named("Application", "new", ""), named("Application", "left", ", labels: {keep: 'yes'}"),
	}
	for i, o := range wanted {
		wanted[i] = backup.Bare(o, "argocd")
	}
	all := scope(t, nil, nil, nil)
	lines := func(how backup.Options) []string {
		how.SkipLabel = "keep=yes"
		steps, err := backup.Next(wanted, hub, all, how)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, s := range steps {
			out = append(out, s.ID.String()+" "+string(s.Action))
		}
		return out
	}
	want := []string{
		"ConfigMap argocd/argocd-cm updated", "AppProject argocd/new created", "Application argocd/same unchanged", "Application argocd/changed updated",
		"Application argocd/new created", "ApplicationSet argocd/old pruned", "Application argocd/old pruned", "AppProject argocd/old pruned", "Secret argocd/old pruned",
	}
	if diff := cmp.Diff(want, lines(backup.Options{Prune: true})); diff != "" {
		t.Error(diff)
	}
	for i := range want {
		want[i] = strings.Replace(want[i], "pruned", "needs pruning", 1)
	}
	if diff := cmp.Diff(want, lines(backup.Options{})); diff != "" {
		t.Error(diff)
	}
	away := named("Application", "away", "")
	away.SetNamespace("team")
	if _, err := backup.Next([]*unstructured.Unstructured{away}, nil, all, backup.Options{}); err == nil || !strings.Contains(err.Error(), "--application-namespaces") {
		t.Errorf("an Application elsewhere: %v", err)
	}
	steps, err := backup.Next([]*unstructured.Unstructured{away}, nil, scope(t, []string{"team"}, nil, nil), backup.Options{})
	if err != nil || cmp.Diff([]string{"team"}, backup.Namespaces(steps, "argocd")) != "" {
		t.Errorf("namespaces that are written to: %v, %v", backup.Namespaces(steps, "argocd"), err)
	}
}
