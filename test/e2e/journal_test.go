package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

const oneWaveApp = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: plain}
spec:
  project: default
  source: {repoURL: %q, targetRevision: main, path: apps/plain}
  destination: {name: one, namespace: default}
  syncPolicy: {automated: {}}
`

// oneWaveFiles are applied in one wave, the Deployment last; it never becomes
// ready with the image x:never-ready.
func oneWaveFiles(mode, image string) gitserver.Files {
	return gitserver.Files{"apps/plain/all.yaml": fmt.Sprintf(`apiVersion: v1
kind: ConfigMap
metadata: {name: plain}
data: {mode: %s}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: plain}
spec:
  selector: {matchLabels: {app: plain}}
  template: {metadata: {labels: {app: plain}}, spec: {containers: [{name: c, image: %q}]}}
`, mode, image)}
}

// TestKilledBeforeASyncIsShown kills the process with SIGKILL when all objects
// of a plain automated sync are applied and its Application does not show it
// yet. The sync is ended after the restart under the id that the journal had,
// and nothing of it is lost or told twice.
func TestKilledBeforeASyncIsShown(t *testing.T) {
	r := start(t, "one:env=test")
	v1, err := r.Repo.Commit("plain", oneWaveFiles("first", "x:v1"))
	must(t, err)
	must(t, r.Launch())
	must(t, r.Apply(t.Context(), fmt.Sprintf(oneWaveApp, r.Git.URL("gitops-fleet")), &v1alpha1.Application{}))
	first := good(t, r, "plain", v1)
	skip, noted := lines(t, r, "one"), lines(t, r, "hub")
	v2, err := r.Repo.Commit("plain, again", oneWaveFiles("second", "x:never-ready"))
	must(t, err)
	moment{"the Deployment is applied", "one", applied("deployments")}.await(t, r, skip, v2)
	r.Kill(syscall.SIGKILL)
	app, err := get(t.Context(), r, "plain")
	must(t, err)
	if app.Operation != nil || app.Status.OperationState.ID != first.Status.OperationState.ID || len(app.Status.History) != 1 {
		t.Fatalf("the Application shows the sync already: operation %v, id %s", app.Operation, app.Status.OperationState.ID)
	}
	hub, err := r.Fleet.Cluster("hub")
	must(t, err)
	written, err := hub.AuditLines()
	must(t, err)
	must(t, r.Launch())
	must(t, rig.Until(t.Context(), 40*time.Second, "the sync is shown", func(ctx context.Context) (bool, error) {
		app, err = get(ctx, r, "plain")
		if err != nil {
			return false, err
		}
		if s := app.Status.OperationState; app.Operation != nil || !s.Phase.Completed() || s.SyncResult.Revision != v2 {
			return false, errors.New("at " + s.SyncResult.Revision)
		}
		return true, nil
	}))
	state := app.Status.OperationState
	if state.Phase != "Succeeded" || len(state.SyncResult.Resources) != 2 || app.Status.Sync.Status != "Synced" || app.Status.Health.Status != "Progressing" {
		t.Errorf("operation %+v, %s, %s", state, app.Status.Sync.Status, app.Status.Health.Status)
	}
	if !slices.ContainsFunc(written[noted:], func(a auditLine) bool {
		return a.Write() && a.ObjectRef.Resource == "configmaps" && a.ObjectRef.Name == v1alpha1.JournalName && mentions(a, state.ID) && mentions(a, v2)
	}) {
		t.Errorf("no write of the journal has operation %s at %s", state.ID, v2)
	}
	var revisions []string
	for _, h := range app.Status.History {
		revisions = append(revisions, h.Revision)
	}
	if got, want := strings.Join(revisions, " "), v1+" "+v2; got != want {
		t.Errorf("history of %s, want %s", got, want)
	}
}

// TestWrittenBeforeASyncIsShown asks for another sync, and then edits the
// sources, when all objects of a plain automated sync are applied and its
// Application does not show it yet. The end of the first is in the history all
// the same, and what was asked for is done after it.
func TestWrittenBeforeASyncIsShown(t *testing.T) {
	r := start(t, "one:env=test")
	want, err := r.Repo.Commit("plain", oneWaveFiles("v0", "x:v1"))
	must(t, err)
	must(t, r.Launch())
	must(t, r.Apply(t.Context(), fmt.Sprintf(oneWaveApp, r.Git.URL("gitops-fleet")), &v1alpha1.Application{}))
	app := good(t, r, "plain", want)
	for i, c := range []struct {
		name, patch string
		again       int // how often the commit is deployed in all
		by          string
		wanted      string
	}{
		{"a person asks for a sync", `{"operation":{"initiatedBy":{"username":"ada"},"sync":{}}}`, 2, "ada", "main"},
		{"the sources are edited", `{"spec":{"source":{"targetRevision":"refs/heads/main"}}}`, 1, "", "refs/heads/main"},
	} {
		skip := lines(t, r, "one")
		id, err := r.Repo.Commit(c.name, oneWaveFiles(fmt.Sprintf("v%d", i+1), "x:never-ready"))
		must(t, err)
		want += strings.Repeat(" "+id, c.again)
		moment{"the Deployment is applied", "one", applied("deployments")}.await(t, r, skip, id)
		must(t, r.Hub.Patch(t.Context(), app, client.RawPatch(types.MergePatchType, []byte(c.patch))))
		must(t, rig.Until(t.Context(), 40*time.Second, c.name+": all is shown", func(ctx context.Context) (bool, error) {
			if app, err = get(ctx, r, "plain"); err != nil {
				return false, err
			}
			var history []string
			for _, h := range app.Status.History {
				history = append(history, h.Revision)
			}
			if got := strings.Join(history, " "); got != want || app.Operation != nil || app.Status.OperationState.Operation.InitiatedBy.Username != c.by ||
				app.Status.Sync.Status != "Synced" || app.Status.Sync.ComparedTo.Source.TargetRevision != c.wanted {
				return false, fmt.Errorf("history of %s, want %s; operation %+v", got, want, app.Status.OperationState)
			}
			return true, nil
		}))
	}
}
