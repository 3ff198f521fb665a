package syncopts

import (
	"fmt"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// valued is a ConfigMap with one value.
func valued(name, value string) string {
	return fmt.Sprintf("\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {value: %s}\n", name, value)
}

// beside commits something that is none of the Application's.
func (r *run) beside() string {
	r.Helper()
	r.git.Lock()
	defer r.git.Unlock()
	id, err := r.rig.Repo.Commit("beside "+r.name, gitserver.Files{"beside/" + r.name: "x"})
	must(r.T, err)
	return id
}

// shows waits until the live value is this one.
func (r *run) shows(value string) {
	r.Helper()
	r.until("value "+value, func() error {
		if got := text(r.live("v1", "ConfigMap", "a"), "data", "value"); got != `"`+value+`"` {
			return fmt.Errorf("value %s; hold %+v, %+v", got, r.app().Status.Hold, r.app().Status.Conditions)
		}
		return nil
	})
}

// holding waits until a revision is held, or none when it is empty.
func (r *run) holding(revision string) *v1alpha1.Application {
	r.Helper()
	var app *v1alpha1.Application
	r.until("hold of ["+revision+"]", func() error {
		app = r.app()
		got := ""
		if h := app.Status.Hold; h != nil {
			got = h.Revisions[0]
		}
		said := strings.Contains(fmt.Sprint(app.Status.Conditions), "{OperatorHold ")
		if got != revision || said != (revision != "") || app.Operation != nil {
			return fmt.Errorf("hold %+v, %+v, operation %+v", app.Status.Hold, app.Status.Conditions, app.Operation)
		}
		return nil
	})
	return app
}

func (r *run) refresh() {
	r.Helper()
	r.patch("metadata: {annotations: {argocd.argoproj.io/refresh: normal}}")
}

// holding: what stays against the target.
var holding = map[string]func(*run){
	"hold": func(r *run) {
		r.commit(valued("a", "one"))
		first := r.revision
		r.create("CreateNamespace=true")
		r.patch("spec: {syncPolicy: {automated: {selfHeal: true, prune: true}}}")
		r.shows("one")
		r.commit(valued("a", "two"))
		second := r.revision
		r.refresh()
		r.shows("two")

		// A rollback stays, though syncs are automated.
		r.revision = first
		r.begin("syncStrategy: {apply: {}}")
		r.end()
		app := r.holding(first)
		if h := app.Status.Hold; h.Reason != v1alpha1.HoldManualOverride || h.Rejected[0] != second {
			r.Errorf("hold %+v", h)
		}
		r.shows("one")
		r.status(v1alpha1.SyncStatusOutOfSync)

		// Drift goes back to what is held, and only that.
		r.seen = len(r.lines())
		r.edit("v1", "ConfigMap", "a", `{"data":{"value":"drift"}}`)
		r.shows("one")
		r.wrote(r.writes(), "patch configmaps/a")

		// A commit that changes nothing of it does not end the hold.
		other := r.beside()
		r.refresh()
		r.until("the commit is seen", func() error {
			if got := r.app().Status.Sync.Revision; got != other {
				return fmt.Errorf("revision %s, want %s", got, other)
			}
			return nil
		})
		r.holding(first)
		r.shows("one")

		// Released, the target comes back.
		r.patch("metadata: {annotations: {argocd.argoproj.io/release-hold: ann}}")
		r.shows("two")
		if app := r.holding(""); app.Annotations[v1alpha1.AnnotationReleaseHold] != "" {
			r.Errorf("annotations %v", app.Annotations)
		}
		r.status(v1alpha1.SyncStatusSynced)

		// A person's sync to the target ends a hold, and a new target does.
		r.revision = first
		r.begin("")
		r.end()
		r.holding(first)
		r.revision = other
		r.begin("")
		r.end()
		r.holding("")
		r.shows("two")
		r.revision = first
		r.begin("")
		r.end()
		r.holding(first)
		r.commit(valued("a", "three"))
		r.refresh()
		r.shows("three")
		r.holding("")
	},
	"hold-rollback": func(r *run) {
		r.commit(deployment("x:v1"))
		first := r.revision
		r.create("CreateNamespace=true")
		r.patch("spec: {syncPolicy: {automated: {onFailure: Rollback, healthTimeout: 3s}}}")
		r.until("healthy", func() error {
			app := r.app()
			if h := app.Status.History; len(h) != 1 || h[0].Health != v1alpha1.HealthHealthy {
				return fmt.Errorf("history %+v, health %s", h, app.Status.Health.Status)
			}
			return nil
		})
		r.commit(deployment("x:never-ready"))
		bad := r.revision
		r.refresh()
		app := r.holding(first)
		if h := app.Status.Hold; h.Reason != v1alpha1.HoldAutomaticRollback || h.Rejected[0] != bad {
			r.Errorf("hold %+v", h)
		}
		if got := text(r.live("apps/v1", "Deployment", "web"), "spec", "template", "spec", "containers"); !strings.Contains(got, "x:v1") {
			r.Errorf("containers %s", got)
		}
		r.commit(deployment("x:v2"))
		r.refresh()
		r.until("the next target", func() error {
			if got := text(r.live("apps/v1", "Deployment", "web"), "spec", "template", "spec", "containers"); !strings.Contains(got, "x:v2") {
				return fmt.Errorf("containers %s", got)
			}
			return nil
		})
		r.holding("")
	},
}
