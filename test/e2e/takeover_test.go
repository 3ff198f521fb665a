package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

// exported is a backup in the form of Argo CD: the same objects, with what Argo CD
// writes into them.
const exported = `apiVersion: v1
data:
  admin.enabled: "true"
  timeout.reconciliation: 180s
kind: ConfigMap
metadata:
  labels:
    app.kubernetes.io/name: argocd-cm
    app.kubernetes.io/part-of: argocd
  name: argocd-cm
---
apiVersion: v1
kind: ConfigMap
metadata:
  labels:
    app.kubernetes.io/name: argocd-ssh-known-hosts-cm
    app.kubernetes.io/part-of: argocd
  name: argocd-ssh-known-hosts-cm
---
apiVersion: v1
data:
  server.secretkey: c2VjcmV0
kind: Secret
metadata:
  labels:
    app.kubernetes.io/name: argocd-secret
    app.kubernetes.io/part-of: argocd
  name: argocd-secret
type: Opaque
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata:
  name: legacy
spec:
  destinations:
  - namespace: legacy
    server: '*'
  sourceRepos:
  - '*'
status: {}
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  annotations:
    argocd.argoproj.io/refresh: normal
  finalizers:
  - resources-finalizer.argocd.argoproj.io
  name: legacy
spec:
  destination:
    name: one
    namespace: legacy
  project: legacy
  source:
    path: apps/legacy
    repoURL: %[1]q
    targetRevision: main
  syncPolicy:
    automated:
      prune: true
      selfHeal: true
status:
  controllerNamespace: argocd
  health:
    lastTransitionTime: "2026-01-01T00:00:00Z"
    status: Healthy
  history:
  - deployStartedAt: "2026-01-01T00:00:00Z"
    deployedAt: "2026-01-01T00:00:01Z"
    id: 41
    initiatedBy:
      automated: true
    revision: %[2]s
    source:
      path: apps/legacy
      repoURL: %[1]q
      targetRevision: main
  operationState:
    finishedAt: "2026-01-01T00:00:01Z"
    message: successfully synced (all tasks run)
    operation:
      initiatedBy:
        automated: true
      retry:
        limit: 5
      sync:
        prune: true
        revision: %[2]s
    phase: Succeeded
    startedAt: "2026-01-01T00:00:00Z"
    syncResult:
      resources:
      - group: ""
        hookPhase: Running
        kind: ConfigMap
        message: configmap/settings created
        name: settings
        namespace: legacy
        status: Synced
        syncPhase: Sync
        version: v1
      revision: %[2]s
      source:
        path: apps/legacy
        repoURL: %[1]q
        targetRevision: main
  reconciledAt: "2026-01-01T00:00:02Z"
  resources:
  - kind: ConfigMap
    name: settings
    namespace: legacy
    status: Synced
    version: v1
  resourceHealthSource: appTree
  sourceHydrator: {}
  sourceType: Directory
  summary: {}
  sync:
    comparedTo:
      destination:
        name: one
        namespace: legacy
      source:
        path: apps/legacy
        repoURL: %[1]q
        targetRevision: main
    revision: %[2]s
    status: Synced
`

// foreign takes an Application over from Argo CD, with the objects that it made.
func (c *recovery) foreign() {
	const settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {mode: production}\n"
	revision, err := c.r.Repo.Commit("legacy", gitserver.Files{"apps/legacy/settings.yaml": settings})
	must(c.T, err)
	made := filepath.Join(c.dir, "made.yaml")
	must(c.T, os.WriteFile(made, []byte(strings.Replace(settings, "{name: settings}", "{name: settings, namespace: legacy, annotations: {argocd.argoproj.io/tracking-id: \"legacy:/ConfigMap:legacy/settings\"}}", 1)), 0o600))
	for _, args := range [][]string{{"create", "namespace", "legacy"}, {"apply", "--field-manager=argocd-controller", "-f", made}} {
		if out, err := kubectl(c.T, c.r, "one", args...); err != nil {
			c.Fatalf("kubectl %v: %v: %s", args, err, out)
		}
	}
	file := filepath.Join(c.dir, "argocd.yaml")
	must(c.T, os.WriteFile(file, fmt.Appendf(nil, exported, c.r.Git.URL("gitops-fleet"), revision), 0o600))
	c.mark()
	out := c.admin("import", file)
	if !strings.Contains(out, "argoproj.io/Application legacy in namespace argocd created") || !strings.Contains(out, "argoproj.io/Application shop in namespace argocd needs pruning") {
		c.Errorf("the import says:\n%s", out)
	}
	var app *v1alpha1.Application
	must(c.T, rig.Until(c.Context(), time.Minute, "the Application of Argo CD is managed", func(ctx context.Context) (bool, error) {
		var err error
		if app, err = get(ctx, c.r, "legacy"); err != nil || app.Annotations[v1alpha1.AnnotationRefresh] != "" {
			return false, err
		}
		return true, well(revision)(app)
	}))
	if h := app.Status.History; len(h) != 1 || h[0].ID != 41 {
		c.Errorf("history %+v", h)
	}
	c.untouched("taken over from Argo CD", "one")
	next, err := c.r.Repo.Commit("legacy goes on", gitserver.Files{"apps/legacy/settings.yaml": strings.Replace(settings, "production", "next", 1)})
	must(c.T, err)
	if h := good(c.T, c.r, "legacy", next).Status.History; len(h) != 2 || h[1].ID != 42 {
		c.Errorf("the history does not go on: %+v", h)
	}
	prints(c.T, c.r, "one", "next", "get", "configmap", "settings", "-n", "legacy", "-o", "jsonpath={.data.mode}")
}
