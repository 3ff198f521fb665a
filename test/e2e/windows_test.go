package e2e

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/rig"
)

// syncWindow: a closed window holds automated and manual syncs, says so, and
// lets them go when it is taken away.
func (g gates) syncWindow() {
	must(g.t, g.Apply(g.t.Context(), frozenProject, &v1alpha1.AppProject{}))
	manifest := fmt.Sprintf(plainApp, "frozen-app", "frozen", g.Git.URL("gitops-fleet"), "apps/side", "name: one")
	must(g.t, g.Apply(g.t.Context(), manifest, &v1alpha1.Application{}))
	g.until("the automated sync is held", func(ctx context.Context) (bool, error) {
		app, err := get(ctx, g.Rig, "frozen-app")
		if err != nil {
			return false, err
		}
		for _, c := range app.Status.Conditions {
			if c.Type == v1alpha1.ConditionSyncWindowClosed && strings.Contains(c.Message, "change freeze") {
				return app.Status.Sync.Status == v1alpha1.SyncStatusOutOfSync && app.Operation == nil && app.Status.OperationState == nil, nil
			}
		}
		return false, nil
	})
	g.patch(&v1alpha1.Application{}, "frozen-app", `{"operation": {"initiatedBy": {"username": "alice"}, "sync": {}}}`)
	g.until("the manual sync is held", func(ctx context.Context) (bool, error) {
		app, err := get(ctx, g.Rig, "frozen-app")
		state := app.Status.OperationState
		return err == nil && state != nil && state.Phase == v1alpha1.OperationRunning &&
			strings.HasPrefix(state.Message, "Sync operation blocked by sync window: "), err
	})
	one, err := g.Fleet.Cluster("one")
	must(g.t, err)
	writes, err := rig.Applies(one, `"name":"side"`)
	must(g.t, err)
	if len(writes) > 0 {
		g.t.Errorf("%d writes to the cluster inside the window", len(writes))
	}
	g.patch(&v1alpha1.AppProject{}, "frozen", `{"spec": {"syncWindows": null}}`)
	g.until("synced after the window", func(ctx context.Context) (bool, error) {
		app, err := get(ctx, g.Rig, "frozen-app")
		return err == nil && app.Status.Sync.Status == v1alpha1.SyncStatusSynced && app.Status.OperationState != nil &&
			app.Status.OperationState.Phase == v1alpha1.OperationSucceeded && len(app.Status.Conditions) == 0, err
	})
	g.windowOpens()
	g.windowInherited()
}

// windowInherited: the window of a global project holds those that it selects,
// and lets go of them when it does not any more.
func (g gates) windowInherited() {
	corporate := `{apiVersion: argoproj.io/v1alpha1, kind: AppProject, metadata: {name: corporate}, spec: {syncWindows: [{kind: deny, schedule: "* * * * *", duration: 1h, applications: ["*"]}]}}`
	must(g.t, g.Apply(g.t.Context(), corporate, &v1alpha1.AppProject{}))
	g.patch(&v1alpha1.AppProject{}, "frozen", `{"metadata": {"labels": {"tier": "prod"}}, "spec": {"syncWindows": null}}`)
	g.patch(&corev1.ConfigMap{}, "argocd-cm", `{"data": {"globalProjects": "- {projectName: corporate, labelSelector: {matchLabels: {tier: prod}}}"}}`)
	g.until("the window of the global project holds a sync", func(ctx context.Context) (bool, error) {
		app, err := get(ctx, g.Rig, "frozen-app")
		if state := app.Status.OperationState; err == nil && app.Operation != nil && strings.HasPrefix(state.Message, "Sync operation blocked by sync window: ") {
			return true, nil
		}
		if err == nil && app.Operation == nil { // again: it may have come before the rule was known
			g.patch(&v1alpha1.Application{}, "frozen-app", `{"operation": {"initiatedBy": {"username": "alice"}, "sync": {}}}`)
		}
		return false, err
	})
	g.patch(&v1alpha1.AppProject{}, "frozen", `{"metadata": {"labels": {"tier": "test"}}}`)
	g.until("done once the project is not selected any more", func(ctx context.Context) (bool, error) {
		app, err := get(ctx, g.Rig, "frozen-app")
		return err == nil && app.Operation == nil && app.Status.OperationState.Phase == v1alpha1.OperationSucceeded, err
	})
	g.patch(&corev1.ConfigMap{}, "argocd-cm", `{"data": {"globalProjects": null}}`)
}

// windowOpens: at the boundary the operation goes on without any other event.
func (g gates) windowOpens() {
	now := time.Now().UTC()
	begin := now.Truncate(time.Minute)
	ends := now.Add(6 * time.Second)
	schedule := fmt.Sprintf("%d %d * * *", begin.Minute(), begin.Hour())
	g.patch(&v1alpha1.AppProject{}, "frozen", fmt.Sprintf(`{"spec": {"syncWindows": [{"kind": "deny", "schedule": %q, "duration": %q, "applications": ["*"]}]}}`, schedule, ends.Sub(begin)))
	g.patch(&v1alpha1.Application{}, "frozen-app", `{"operation": {"initiatedBy": {"username": "alice"}, "sync": {}}}`)
	var started time.Time
	g.until("held until the window opens", func(ctx context.Context) (bool, error) {
		app, err := get(ctx, g.Rig, "frozen-app")
		state := app.Status.OperationState
		ok := err == nil && state != nil && strings.Contains(state.Message, "opens at "+ends.Format(time.RFC3339))
		if ok {
			started = state.StartedAt.Time
		}
		return ok, err
	})
	g.until("done after the window", func(ctx context.Context) (bool, error) {
		app, err := get(ctx, g.Rig, "frozen-app")
		state := app.Status.OperationState
		if err != nil || state == nil || state.Phase != v1alpha1.OperationSucceeded || !state.StartedAt.Time.Equal(started) {
			return false, err
		}
		if late := state.FinishedAt.Sub(ends); late < -time.Second || late > 10*time.Second {
			g.t.Errorf("finished %s after the window", late)
		}
		return true, nil
	})
}
