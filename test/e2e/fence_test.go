package e2e

import (
	"fmt"
	"net"
	"slices"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

const fenceSet = `apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: outside-set, namespace: team-x}
spec:
  generators: [{list: {elements: [{name: generated}]}}]
  template:
    metadata: {name: '{{name}}'}
    spec:
      project: default
      source: {repoURL: %[1]q, targetRevision: main, path: apps/outside}
      destination: {name: one, namespace: outside-set}
      syncPolicy: {automated: {}, syncOptions: [CreateNamespace=true]}
`

// fenced is a rig with an Application and a set in a namespace that nobody
// admitted.
type fenced struct {
	*testing.T
	r    *rig.Rig
	step int
}

// TestNamespaceFence is T-22736 for as long as controllers do not share
// clusters: an Application and a set outside of the namespaces that are admitted
// are neither written to nor synced, by one process for everything and by each
// component on its own.
func TestNamespaceFence(t *testing.T) {
	f := &fenced{T: t, r: start(t, "one:env=test")}
	ctx := t.Context()
	must(t, f.r.Hub.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-x"}}))
	url := f.r.Git.URL("gitops-fleet")
	f.commit()
	app, set := &v1alpha1.Application{}, &v1alpha1.ApplicationSet{}
	must(t, yaml.Unmarshal(fmt.Appendf(nil, formApp, "outside", url), app))
	must(t, yaml.Unmarshal(fmt.Appendf(nil, fenceSet, url), set))
	app.Namespace, app.Spec.Destination.Name = "team-x", "one"
	app.Annotations = map[string]string{v1alpha1.AnnotationRefresh: string(v1alpha1.RefreshHard)}
	app.Operation = &v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{}}
	must(t, f.r.Hub.Create(ctx, app))
	must(t, f.r.Hub.Create(ctx, set))
	inside := &v1alpha1.Application{}
	must(t, yaml.Unmarshal(fmt.Appendf(nil, formApp, "inside", url), inside))
	inside.Namespace, inside.Spec.Destination.Name = rig.Namespace, "one"
	must(t, f.r.Hub.Create(ctx, inside))

	must(t, f.r.Launch())
	f.untouched("one process")
	f.r.Kill(syscall.SIGTERM)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	renders := l.Addr().String()
	must(t, l.Close())
	for _, part := range [][]string{
		{"repo-server", "--address", renders}, {"application-controller", "--repo-server", renders, "--internal-address", "127.0.0.1:0"},
		{"applicationset-controller", "--repo-server", renders, "--internal-address", "127.0.0.1:0"},
	} {
		_, err := f.r.LaunchComponent(part[0], part[1:]...)
		must(t, err)
	}
	f.untouched("components apart")
}

// commit gives both Applications something new to sync.
func (f *fenced) commit() string {
	f.Helper()
	f.step++
	text := config(fmt.Sprint(f.step))
	id, err := f.r.Repo.Commit(fmt.Sprint("step ", f.step), gitserver.Files{"apps/inside/all.yaml": text, "apps/outside/all.yaml": text})
	must(f.T, err)
	return id
}

// untouched waits until the Application inside has followed two commits, and
// finds nothing done outside.
func (f *fenced) untouched(by string) {
	f.Helper()
	for range 2 {
		good(f.T, f.r, "inside", f.commit())
	}
	lines, err := f.r.HubPart.AuditLines()
	must(f.T, err)
	var writes []string
	for _, a := range lines {
		if a.Write() && a.ObjectRef.Namespace == "team-x" && slices.Contains([]string{"applications", "applicationsets", "appprojects", "events", "secrets"}, a.ObjectRef.Resource) {
			writes = append(writes, a.Verb+" "+a.ObjectRef.Resource)
		}
	}
	if !slices.Equal(writes, []string{"create applications", "create applicationsets"}) {
		f.Errorf("%s: outside of the admitted namespaces was written: %v", by, writes)
	}
	var apps v1alpha1.ApplicationList
	must(f.T, f.r.Hub.List(f.Context(), &apps))
	var names []string
	for _, a := range apps.Items {
		names = append(names, a.Namespace+"/"+a.Name)
		if a.Name == "outside" && (a.Status.Sync.Status != "" || a.Operation == nil || a.Annotations[v1alpha1.AnnotationRefresh] == "") {
			f.Errorf("%s: the Application outside was worked on: %+v", by, a.Status)
		}
	}
	if slices.Sort(names); !slices.Equal(names, []string{rig.Namespace + "/inside", "team-x/outside"}) {
		f.Errorf("%s: the hub has %v", by, names)
	}
	one, err := f.r.Fleet.Cluster("one")
	must(f.T, err)
	lines, err = one.AuditLines()
	must(f.T, err)
	seen := 0
	for _, a := range lines {
		if a.Write() && ours(a) {
			seen++
			if ns := a.ObjectRef.Namespace; ns == "outside" || ns == "outside-set" || a.ObjectRef.Name == "outside" || a.ObjectRef.Name == "outside-set" {
				f.Errorf("%s: the target was written: %s", by, event(a))
			}
		}
	}
	if seen == 0 {
		f.Errorf("%s: the target shows no write of ours at all", by)
	}
	var sets v1alpha1.ApplicationSetList
	must(f.T, f.r.Hub.List(f.Context(), &sets, client.InNamespace("team-x")))
	if len(sets.Items) != 1 || len(sets.Items[0].Status.Conditions) > 0 {
		f.Errorf("%s: the set outside was worked on: %+v", by, sets.Items)
	}
}
