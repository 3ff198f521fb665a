package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/fleet"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

const shopApp = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: shop, finalizers: [resources-finalizer.argocd.argoproj.io]}
spec:
  project: default
  source: {repoURL: %q, targetRevision: main, path: apps/shop}
  destination: {name: one, namespace: shop}
  syncPolicy:
    automated: {prune: true, selfHeal: true}
    syncOptions: [CreateNamespace=true]
`

// shopFiles carry waves and hooks in an order that file names do not give.
var shopFiles = gitserver.Files{
	"apps/shop/a-smoke.yaml": `apiVersion: batch/v1
kind: Job
metadata: {name: smoke, annotations: {argocd.argoproj.io/hook: PostSync, argocd.argoproj.io/hook-delete-policy: HookSucceeded}}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "x:v1"}]}}}
`,
	"apps/shop/b-hpa.yaml": `apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, annotations: {argocd.argoproj.io/sync-wave: "1"}}
spec: {minReplicas: 2, maxReplicas: 4, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
`,
	"apps/shop/c-web.yaml": `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {serviceAccountName: web, containers: [{name: c, image: "x:v1"}]}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
`,
	"apps/shop/d-config.yaml": `apiVersion: v1
kind: ConfigMap
metadata: {name: config, annotations: {argocd.argoproj.io/sync-wave: "-1"}}
data: {mode: production}
`,
	"apps/shop/e-account.yaml": `apiVersion: v1
kind: ServiceAccount
metadata: {name: web, annotations: {argocd.argoproj.io/sync-wave: "-2"}}
`,
	"apps/shop/f-migrate.yaml": `apiVersion: batch/v1
kind: Job
metadata: {name: migrate, annotations: {argocd.argoproj.io/hook: PreSync}}
spec: {backoffLimit: 0, template: {spec: {restartPolicy: Never, containers: [{name: c, image: "x:v1"}]}}}
`,
}

// firstWrites lists, in order, the objects of a namespace that sluice wrote,
// each where it was written first, read from the cluster's audit log.
func firstWrites(t *testing.T, c fleet.Cluster, namespace string) []string {
	t.Helper()
	lines, err := c.AuditLines()
	must(t, err)
	slices.SortStableFunc(lines, func(a, b fleet.Audit) int { return a.Received.Compare(b.Received) })
	var out []string
	for _, a := range lines {
		name := a.ObjectRef.Resource + "/" + a.ObjectRef.Name
		ours := strings.HasPrefix(a.UserAgent, "argocd-application-controller") && (a.Verb == "patch" || a.Verb == "create")
		if ours && a.Write() && a.ObjectRef.Namespace == namespace && a.ObjectRef.Subresource == "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// kubectl runs it against a cluster of the rig and gives its trimmed output.
func kubectl(t *testing.T, r *rig.Rig, cluster string, args ...string) (string, error) {
	t.Helper()
	c, err := r.Fleet.Cluster(cluster)
	must(t, err)
	full := slices.Concat([]string{"--dir", filepath.Dir(filepath.Dir(c.Kubeconfig)), "kubectl", cluster, "--"}, args)
	out, err := exec.CommandContext(t.Context(), filepath.Join(binaries(t), "fleet"), full...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// prints waits until kubectl prints exactly this.
func prints(t *testing.T, r *rig.Rig, cluster, want string, args ...string) {
	t.Helper()
	must(t, rig.Until(t.Context(), 30*time.Second, fmt.Sprintf("kubectl %s prints %q", strings.Join(args, " "), want), func(context.Context) (bool, error) {
		out, err := kubectl(t, r, cluster, args...)
		if out != want {
			return false, fmt.Errorf("printed %q (%v)", out, err)
		}
		return true, nil
	}))
}

// good waits until an Application is Synced and Healthy at a revision.
func good(t *testing.T, r *rig.Rig, name, revision string) *v1alpha1.Application {
	t.Helper()
	var last *v1alpha1.Application
	must(t, rig.Until(t.Context(), 40*time.Second, name+" in sync and healthy at "+revision, func(ctx context.Context) (bool, error) {
		app, err := get(ctx, r, name)
		if err != nil {
			return false, err
		}
		last = app
		idle := app.Operation == nil && (app.Status.OperationState == nil || app.Status.OperationState.Phase.Completed())
		if s := app.Status; s.Sync.Status != "Synced" || s.Health.Status != "Healthy" || s.Sync.Revision != revision || !idle {
			return false, fmt.Errorf("%s, %s at %s, %+v", s.Sync.Status, s.Health.Status, s.Sync.Revision, s.Conditions)
		}
		return true, nil
	}))
	return last
}

// TestLifeOfAnApplication follows one Application from its first sync to its
// deletion and reads on the cluster what happened.
func TestLifeOfAnApplication(t *testing.T) {
	r := start(t, "one:env=test")
	one, err := r.Fleet.Cluster("one")
	must(t, err)
	v1, err := r.Repo.Commit("shop", shopFiles)
	must(t, err)
	must(t, r.Launch())
	must(t, r.Apply(t.Context(), fmt.Sprintf(shopApp, r.Git.URL("gitops-fleet")), &v1alpha1.Application{}))

	app := good(t, r, "shop", v1)
	want := []string{"namespaces/shop", "jobs/migrate", "serviceaccounts/web", "configmaps/config", "services/web", "deployments/web", "horizontalpodautoscalers/web", "jobs/smoke"}
	if got := firstWrites(t, one, "shop"); !slices.Equal(got, want) {
		t.Errorf("objects were written in the order %v, want %v", got, want)
	}
	state := app.Status.OperationState
	if state.Phase != "Succeeded" || state.SyncResult.Revision != v1 || len(state.SyncResult.Resources) != len(want) {
		t.Errorf("operation %s at %s with %d results, want Succeeded at %s with %d", state.Phase, state.SyncResult.Revision, len(state.SyncResult.Resources), v1, len(want))
	}
	if h := app.Status.History; len(h) != 1 || h[0].Revision != v1 || h[0].ID != 0 {
		t.Errorf("history %+v, want one entry of %s", h, v1)
	}
	prints(t, r, "one", "", "get", "job", "smoke", "-n", "shop", "--ignore-not-found", "-o", "name")
	prints(t, r, "one", "job.batch/migrate", "get", "job", "migrate", "-n", "shop", "-o", "name")

	t.Run("drift is healed", func(t *testing.T) {
		if out, err := kubectl(t, r, "one", "patch", "configmap", "config", "-n", "shop", "--type", "merge", "-p", `{"data":{"mode":"debug"}}`); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		prints(t, r, "one", "production", "get", "configmap", "config", "-n", "shop", "-o", "jsonpath={.data.mode}")
		if out, err := kubectl(t, r, "one", "delete", "service", "web", "-n", "shop"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		prints(t, r, "one", "service/web", "get", "service", "web", "-n", "shop", "-o", "name")
	})
	t.Run("what leaves Git is pruned", func(t *testing.T) {
		v2, err := r.Repo.Apply(gitserver.Change{Message: "no autoscaler", Remove: []string{"apps/shop/b-hpa.yaml"}})
		must(t, err)
		app := good(t, r, "shop", v2)
		prints(t, r, "one", "", "get", "hpa", "-n", "shop", "-o", "name", "--ignore-not-found")
		if h := app.Status.History; h[len(h)-1].Revision != v2 {
			t.Errorf("last history entry is of %s, want %s", h[len(h)-1].Revision, v2)
		}
	})
	t.Run("a failing hook fails the sync and says why", func(t *testing.T) { failingHook(t, r) })
	t.Run("a hook that hangs does not hold up deletion", func(t *testing.T) {
		_, err := r.Repo.Commit("endless migration", gitserver.Files{
			"apps/shop/f-migrate.yaml": strings.Replace(shopFiles["apps/shop/f-migrate.yaml"], "x:v1", "x:never-ready", 1),
			"apps/shop/d-config.yaml":  strings.Replace(shopFiles["apps/shop/d-config.yaml"], "production", "endless", 1),
		})
		must(t, err)
		prints(t, r, "one", "1", "get", "job", "migrate", "-n", "shop", "-o", "jsonpath={.status.active}")
	})
	t.Run("deletion takes the objects along", func(t *testing.T) {
		app, err := get(t.Context(), r, "shop")
		must(t, err)
		must(t, r.Hub.Delete(t.Context(), app))
		must(t, rig.Until(t.Context(), 40*time.Second, "the Application is gone", func(ctx context.Context) (bool, error) {
			_, err := get(ctx, r, "shop")
			return apierrors.IsNotFound(err), nil
		}))
		prints(t, r, "one", "", "get", "deployment,service,serviceaccount,configmap", "-n", "shop", "-l", "!kubernetes.io/none", "-o", "name", "--field-selector", "metadata.name!=kube-root-ca.crt,metadata.name!=default")
	})
}

// failingHook commits a migration that fails, then one that does not.
func failingHook(t *testing.T, r *rig.Rig) {
	t.Helper()
	next := func(image, mode string) gitserver.Files { // a hook alone is no difference
		return gitserver.Files{
			"apps/shop/f-migrate.yaml": strings.Replace(shopFiles["apps/shop/f-migrate.yaml"], "x:v1", image, 1),
			"apps/shop/d-config.yaml":  strings.Replace(shopFiles["apps/shop/d-config.yaml"], "production", mode, 1),
		}
	}
	_, err := r.Repo.Commit("bad migration", next("x:fail", "bad"))
	must(t, err)
	must(t, rig.Until(t.Context(), 40*time.Second, "a failed operation that names the hook", func(ctx context.Context) (bool, error) {
		app, err := get(ctx, r, "shop")
		if err != nil {
			return false, err
		}
		s := app.Status.OperationState
		if s.Phase == "Failed" || s.RetryCount > 0 {
			return true, nil
		}
		return false, fmt.Errorf("operation %s: %s", s.Phase, s.Message)
	}))
	if app, err := get(t.Context(), r, "shop"); err != nil || !strings.Contains(app.Status.OperationState.Message, "migrate") && !strings.Contains(app.Status.OperationState.Message, "Job") {
		t.Errorf("the message does not tell what failed: %q (%v)", app.Status.OperationState.Message, err)
	}
	prints(t, r, "one", "production", "get", "configmap", "config", "-n", "shop", "-o", "jsonpath={.data.mode}")
	fixed, err := r.Repo.Commit("good migration", next("x:v1", "good"))
	must(t, err)
	good(t, r, "shop", fixed)
}
