//go:build soak

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

// childHealth makes waves wait for the health of child Applications.
const childHealth = `hs = {}
hs.status = "Progressing"
hs.message = ""
if obj.status ~= nil and obj.status.health ~= nil then
  hs.status = obj.status.health.status
  hs.message = obj.status.health.message
end
return hs
`

// nested writes Applications that deploy Applications.
type nested struct {
	*testing.T
	rig *rig.Rig
}

// child is the manifest of an Application; where is its destination.
func (n nested) child(name, wave, where string) string {
	return fmt.Sprintf(`---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: %[1]s, namespace: argocd, annotations: {argocd.argoproj.io/sync-wave: %[2]q}}
spec:
  project: default
  source: {repoURL: %[3]q, targetRevision: main, path: nested/%[1]s}
  destination: {%[4]s}
  syncPolicy: {automated: {prune: true}, syncOptions: [CreateNamespace=true]}
`, name, wave, n.rig.Git.URL("gitops-fleet"), where)
}

const (
	onHub = "server: 'https://kubernetes.default.svc', namespace: argocd"
	onOne = "name: one, namespace: nested"
)

func (n nested) create(name, where string) {
	n.Helper()
	must(n.T, n.rig.Apply(n.Context(), strings.TrimPrefix(n.child(name, "0", where), "---\n"), &v1alpha1.Application{}))
}

// says waits for a condition of an Application, or for its absence when text
// is empty.
func (n nested) says(name, kind, text string) {
	n.Helper()
	(&stack{T: n.T, rig: n.rig}).until(name, name+" says "+text, func(app *v1alpha1.Application) bool {
		i := slices.IndexFunc(app.Status.Conditions, func(c v1alpha1.ApplicationCondition) bool { return c.Type == kind })
		if text == "" {
			return i < 0
		}
		return i >= 0 && app.Status.Conditions[i].Message == text
	})
}

func (n nested) refresh(name string) {
	(&stack{T: n.T, rig: n.rig}).patch(name, `{"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}}`)
}

// first is when we first wrote an Application of the hub.
func (n nested) first(name string) time.Time {
	n.Helper()
	lines, err := n.rig.HubPart.AuditLines()
	must(n.T, err)
	for _, a := range lines {
		if ours(a) && a.Write() && a.ObjectRef.Resource == "applications" && a.ObjectRef.Name == name {
			return a.Received
		}
	}
	n.Fatalf("Application %s was never written", name)
	return time.Time{}
}

// available is when a Deployment of cluster one first was.
func (n nested) available(name string) time.Time {
	n.Helper()
	one, err := n.rig.Fleet.Cluster("one")
	must(n.T, err)
	lines, err := one.AuditLines()
	must(n.T, err)
	for _, a := range lines {
		if a.ObjectRef.Resource == "deployments" && a.ObjectRef.Subresource == "status" && a.ObjectRef.Name == name && bytes.Contains(a.RequestObject, []byte(`"availableReplicas":2`)) {
			return a.Received
		}
	}
	n.Fatalf("Deployment %s was never available", name)
	return time.Time{}
}

// TestNestedApplications plays Applications of Applications: waves that wait
// for the health of children, chains that are too long, circles, and objects
// that belong to others or to nobody.
func TestNestedApplications(t *testing.T) {
	r := start(t, "one:env=test")
	n := nested{t, r}
	objects := func(name string) string { return strings.Replace(config("1"), "{name: side}", "{name: "+name+"}", 1) }
	_, err := r.Repo.Commit("nested", gitserver.Files{
		"nested/root/all.yaml":   n.child("mid-b", "1", onHub) + n.child("mid-a", "0", onHub),
		"nested/mid-a/all.yaml":  n.child("leaf-2", "1", onHub) + n.child("leaf-1", "0", onOne),
		"nested/mid-b/all.yaml":  n.child("leaf-3", "0", onOne),
		"nested/leaf-1/all.yaml": rig.Workload("first", "slow"),
		"nested/leaf-2/all.yaml": n.child("deep", "0", onOne),
		"nested/leaf-3/all.yaml": objects("third"),
		"nested/deep/all.yaml":   rig.Workload("deep", "v1"),
		"nested/ring-a/all.yaml": n.child("ring-b", "0", onHub),
		"nested/ring-b/all.yaml": n.child("ring-a", "0", onHub),
		"nested/self/all.yaml":   n.child("self", "0", onHub),
		"nested/owner/all.yaml":  objects("both"), "nested/second/all.yaml": objects("both"),
	})
	must(t, err)
	must(t, r.Launch())
	setting(t, r, "resource.customizations.health.argoproj.io_Application", childHealth)
	head, err := r.Repo.Git("rev-parse", "HEAD")
	must(t, err)
	revision := strings.TrimSpace(head)

	t.Run("waves wait for children", func(t *testing.T) {
		n := nested{t, r}
		n.create("root", onHub)
		for _, name := range []string{"root", "mid-a", "mid-b", "leaf-1", "leaf-2", "leaf-3", "deep"} {
			good(t, r, name, revision)
		}
		order := []time.Time{n.first("leaf-1"), n.available("first"), n.first("leaf-2"), n.available("deep"), n.first("mid-b"), n.first("leaf-3")}
		if !slices.IsSortedFunc(order, time.Time.Compare) {
			t.Errorf("the waves did not wait: %v", order)
		}
	})
	t.Run("a chain that is too long", func(t *testing.T) {
		n := nested{t, r}
		n.says("deep", v1alpha1.ConditionNestingWarning, "4 levels of Applications, more than 3 are hard to follow: root > mid-a > leaf-2 > deep")
		n.says("leaf-2", v1alpha1.ConditionNestingWarning, "")
	})
	t.Run("circles", func(t *testing.T) {
		n := nested{t, r}
		n.create("ring-a", onHub)
		n.create("self", onHub)
		n.says("ring-a", v1alpha1.ConditionDependencyLoopWarning, "Applications deploy each other in a circle: ring-a > ring-b > ring-a: remove one of them from the sources of the one before")
		n.says("ring-b", v1alpha1.ConditionDependencyLoopWarning, "Applications deploy each other in a circle: ring-b > ring-a > ring-b: remove one of them from the sources of the one before")
		n.says("self", v1alpha1.ConditionSelfManagedWarning, "Application self deploys itself: a bad commit can take away what would repair it")
		good(t, r, "self", revision)
	})
	t.Run("shared objects", func(t *testing.T) {
		n := nested{t, r}
		n.create("owner", onOne)
		good(t, r, "owner", revision)
		n.create("second", onOne)
		n.says("owner", v1alpha1.ConditionSharedResourceWarning, "ConfigMap/both is part of applications argocd/owner and second")
	})
	t.Run("orphaned objects", func(t *testing.T) { orphaned(t, r) })
}

const watchedProject = `apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: watched}
spec:
  sourceRepos: ['*']
  destinations: [{server: '*', namespace: '*'}]
  clusterResourceWhitelist: [{group: '*', kind: '*'}]
  namespaceResourceBlacklist: [{group: '', kind: Secret}]
  orphanedResources: {warn: true, ignore: [{kind: ConfigMap, name: 'ignored-*'}, {group: batch, kind: CronJob}]}
`

// orphaned puts objects beside those of an Application.
func orphaned(t *testing.T, r *rig.Rig) {
	n := nested{t, r}
	must(t, r.Apply(t.Context(), watchedProject, &v1alpha1.AppProject{}))
	_, err := r.Repo.Commit("watched", gitserver.Files{"nested/watched/all.yaml": rig.Workload("web", "v1")})
	must(t, err)
	manifest := strings.NewReplacer("project: default", "project: watched", "namespace: nested", "namespace: watched").Replace(n.child("watched", "0", onOne))
	must(t, r.Apply(t.Context(), strings.TrimPrefix(manifest, "---\n"), &v1alpha1.Application{}))
	head, err := r.Repo.Git("rev-parse", "HEAD")
	must(t, err)
	good(t, r, "watched", strings.TrimSpace(head))
	n.says("watched", v1alpha1.ConditionOrphanedResourceWarning, "") // nothing but what every namespace has
	for _, args := range [][]string{
		{"create", "configmap", "stray"}, {"create", "configmap", "ignored-1"}, {"create", "secret", "generic", "forbidden"},
		{"create", "serviceaccount", "stray"}, {"create", "cronjob", "ignored", "--image=x", "--schedule=0 0 1 1 *"},
	} {
		if out, err := kubectl(t, r, "one", append(args, "-n", "watched")...); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	says := func(text string) {
		t.Helper()
		must(t, rig.Until(t.Context(), 40*time.Second, text, func(ctx context.Context) (bool, error) {
			n.refresh("watched") // no event tells of kinds that nobody deploys
			app, err := get(ctx, r, "watched")
			if err != nil {
				return false, err
			}
			found := ""
			for _, c := range app.Status.Conditions {
				found += c.Type + " " + c.Message
			}
			if found == text {
				return true, nil
			}
			return false, fmt.Errorf("conditions %q", found)
		}))
	}
	says("OrphanedResourceWarning Application has 2 orphaned resources: ConfigMap/stray, ServiceAccount/stray")
	for _, kind := range []string{"configmap", "serviceaccount"} {
		if out, err := kubectl(t, r, "one", "delete", kind, "stray", "-n", "watched"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	says("")
}
