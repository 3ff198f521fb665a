package syncopts

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

func fieldOwner(name string) client.FieldOwner { return client.FieldOwner(name) }

func hook(kind, name, image string, annotations ...string) string {
	marks := []string{}
	for _, a := range annotations {
		if !strings.Contains(a, "/") {
			a = "argocd.argoproj.io/" + a
		}
		marks = append(marks, a)
	}
	spec := fmt.Sprintf(`spec: {backoffLimit: 0, template: {spec: {restartPolicy: Never, containers: [{name: c, image: "%s"}]}}}`, image)
	if kind == "ConfigMap" {
		return fmt.Sprintf("\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, annotations: {%s}}\n", name, strings.Join(marks, ", "))
	}
	return fmt.Sprintf("\napiVersion: batch/v1\nkind: Job\nmetadata: {name: %s, annotations: {%s}}\n%s\n", name, strings.Join(marks, ", "), spec)
}

// choosing: which objects an operation touches.
var choosing = map[string]func(*run){
	"dry-run": func(r *run) {
		r.commit(configs("a"))
		r.create("CreateNamespace=true")
		r.wrote(r.succeeds("dryRun: true"))
		state := r.app().Status.OperationState
		if len(state.SyncResult.Resources) != 2 || len(r.app().Status.History) != 0 {
			r.Errorf("%d results and %d entries of history, want 2 and none", len(state.SyncResult.Resources), len(r.app().Status.History))
		}
	},
	"selective": func(r *run) {
		r.commit(configs("a", "b") + "---" + hook("Job", "before", "x:v1", "hook: PreSync"))
		r.create("CreateNamespace=true")
		r.wrote(r.succeeds("resources: [{kind: ConfigMap, name: b}]"), "patch namespaces/selective", "patch configmaps/b")
		if h := r.app().Status.History; len(h) != 0 {
			r.Errorf("a selective sync is in the history: %+v", h)
		}
		got := r.succeeds("syncStrategy: {apply: {}}")
		r.wrote(got, "patch configmaps/a")
	},
	"out-of-sync-only": func(r *run) {
		r.commit(configs("a", "b"))
		r.create("CreateNamespace=true, ApplyOutOfSyncOnly=true")
		r.succeeds("")
		r.edit("v1", "ConfigMap", "b", `{"data":{"mode":"edited"}}`)
		r.status(v1alpha1.SyncStatusOutOfSync)
		r.wrote(r.succeeds(""), "patch configmaps/b")
		if got := r.app().Status.OperationState.SyncResult.Resources; len(got) != 1 || got[0].Name != "b" {
			r.Errorf("results %+v, want only that of b", got)
		}
	},
	"missing-kind": func(r *run) {
		widget := "\napiVersion: syncopts.example.com/v1\nkind: Unheard\nmetadata: {name: w}\n"
		r.commit(configs("a") + "---" + widget)
		r.create("CreateNamespace=true")
		r.fails("", `Make sure the "Unheard" CRD is installed`)
		r.wrote(r.writes())
		r.commit(configs("a") + "---" + strings.Replace(widget, "{name: w}", "{name: w, annotations: {argocd.argoproj.io/sync-options: SkipDryRunOnMissingResource=true}}", 1))
		r.fails("", "one or more objects failed to apply")
		r.wrote(r.writes(), "patch namespaces/missing-kind", "patch configmaps/a")
	},
	"shared": func(r *run) {
		shared := strings.Replace(configs("shared-map"), "{name: shared-map}", "{name: shared-map, annotations: {argocd.argoproj.io/tracking-id: 'someone:/ConfigMap:shared/shared-map'}}", 1)
		r.commit(configs("first"))
		r.create("CreateNamespace=true, FailOnSharedResource=true")
		r.succeeds("")
		owned := r.live("v1", "ConfigMap", "first").DeepCopy()
		owned.Object = map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "shared-map", "namespace": r.name,
			"annotations": map[string]any{"argocd.argoproj.io/tracking-id": "someone:/ConfigMap:shared/shared-map"}}}
		must(r.T, r.target.Create(r.Context(), owned))
		r.commit(configs("first") + "---" + shared)
		r.fails("", "Shared resource found: ConfigMap/shared-map is part of applications")
		r.wrote(r.writes())
	},
	"respect": func(r *run) {
		r.commit(deployment("x:v1"))
		r.create("CreateNamespace=true, RespectIgnoreDifferences=true", "ignoreDifferences: [{group: apps, kind: Deployment, jqPathExpressions: [.spec.replicas]}]")
		r.succeeds("")
		r.edit("apps/v1", "Deployment", "web", `{"spec":{"replicas":3}}`)
		r.status(v1alpha1.SyncStatusSynced)
		r.commit(deployment("x:v2"))
		r.succeeds("")
		if got := text(r.live("apps/v1", "Deployment", "web"), "spec", "replicas"); got != "3" {
			r.Errorf("%s replicas, want the 3 that are ignored", got)
		}
		r.succeeds("syncOptions: [CreateNamespace=true]")
		if got := text(r.live("apps/v1", "Deployment", "web"), "spec", "replicas"); got != "1" {
			r.Errorf("%s replicas, want the 1 of Git: rules do not bind a sync without the option", got)
		}
	},
	"namespace": func(r *run) {
		r.commit(configs("a"))
		r.create("CreateNamespace=true")
		r.patch("spec: {syncPolicy: {managedNamespaceMetadata: {labels: {team: blue}, annotations: {note: hello}}}}")
		r.wrote(r.succeeds(""), "patch namespaces/namespace", "patch configmaps/a")
		ns := r.live("v1", "Namespace", r.name)
		if ns.GetLabels()["team"] != "blue" || ns.GetAnnotations()["note"] != "hello" || ns.GetAnnotations()["argocd.argoproj.io/tracking-id"] != "" {
			r.Errorf("namespace has labels %v and annotations %v", ns.GetLabels(), ns.GetAnnotations())
		}
		r.edit("v1", "Namespace", r.name, `{"metadata":{"labels":{"theirs":"x"}}}`)
		r.patch("spec: {syncPolicy: {managedNamespaceMetadata: {labels: {team: red}}}}")
		r.status(v1alpha1.SyncStatusOutOfSync)
		r.wrote(r.succeeds(""), "patch namespaces/namespace")
		ns = r.live("v1", "Namespace", r.name)
		if ns.GetLabels()["team"] != "red" || ns.GetLabels()["theirs"] != "x" {
			r.Errorf("namespace has labels %v, want ours new and theirs kept", ns.GetLabels())
		}
		r.status(v1alpha1.SyncStatusSynced)
	},
}

// before says that one write came before another.
func (r *run) before(got []string, order ...string) {
	r.Helper()
	last := -1
	for _, w := range order {
		at := slices.Index(got, w)
		if at <= last {
			r.Errorf("%q is not after the one before it in\n  %s", w, strings.Join(got, "\n  "))
		}
		last = at
	}
}
