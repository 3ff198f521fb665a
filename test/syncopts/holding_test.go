package syncopts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

// valued is a ConfigMap with one value.
func valued(name, value string) string {
	return fmt.Sprintf("\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {value: %s}\n", name, value)
}

// commitBeside commits something that is none of the Application's.
func (r *run) commitBeside() string {
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
		r.refresh()
		r.shows("two")

		// A rollback stays, though syncs are automated.
		r.revision = first
		r.begin("syncStrategy: {apply: {}}")
		r.end()
		app := r.holding(first)
		if h := app.Status.Hold; h.Reason != v1alpha1.HoldManualOverride || h.Rejected[0] == first || h.RejectedDigest == "" {
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
		known := r.app().Status.Sync.Revision
		other := r.commitBeside()
		r.refresh()
		r.until("the commit is seen", func() error {
			if got := r.app().Status.Sync.Revision; got == known {
				return fmt.Errorf("revision %s still", got)
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

		// A person's sync to what the target is ends a hold, by whatever commit, and
		// a new target does.
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
		first := "" // whichever commit main was at when it synced
		r.create("CreateNamespace=true")
		r.patch("spec: {syncPolicy: {automated: {onFailure: Rollback, healthTimeout: 3s}}}")
		r.until("healthy", func() error {
			app := r.app()
			if h := app.Status.History; len(h) != 1 || h[0].Health != v1alpha1.HealthHealthy {
				return fmt.Errorf("history %+v, health %s", h, app.Status.Health.Status)
			}
			first = app.Status.History[0].Revision
			return nil
		})
		r.commit(deployment("x:never-ready"))
		r.refresh()
		app := r.holding(first)
		if h := app.Status.Hold; h.Reason != v1alpha1.HoldAutomaticRollback || h.Rejected[0] == first || h.RejectedDigest == "" {
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

// disturb writes to the Application fifty times a second, as people and webhooks
// do, until the returned function is called.
func (r *run) disturb() (stop func()) {
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			var app v1alpha1.Application
			app.Namespace, app.Name = rig.Namespace, r.name
			patch := fmt.Sprintf(`{"metadata":{"annotations":{"example.com/disturbed":"%d"}}}`, n)
			if err := r.rig.Hub.Patch(ctx, &app, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil && ctx.Err() == nil {
				r.Errorf("disturb: %v", err)
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}

const kinship = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: PLURAL.offspring.example.com}
spec:
  group: offspring.example.com
  scope: Namespaced
  names: {kind: KIND, plural: PLURAL}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`

// bears creates what an operator would make of an object.
func (r *run) bears(parent *unstructured.Unstructured, kind, name string) *unstructured.Unstructured {
	r.Helper()
	child := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "offspring.example.com/v1", "kind": kind, "metadata": map[string]any{
		"namespace": r.name, "name": name,
		"ownerReferences": []any{map[string]any{"apiVersion": parent.GetAPIVersion(), "kind": parent.GetKind(), "name": parent.GetName(), "uid": string(parent.GetUID())}},
	}}}
	r.until("a "+kind, func() error { return r.target.Create(r.Context(), child) })
	return child
}

// conflicting: others write to the Application in the middle of a sync.
var conflicting = map[string]func(*run){
	"prune-conflicts": func(r *run) {
		const waves = 8
		gone := []string{configs("kept")}
		for i := range waves {
			gone = append(gone, annotated(fmt.Sprintf("gone-%d", i), fmt.Sprintf(`sync-wave: "%d"`, i)))
		}
		r.commit(strings.Join(gone, "---"))
		r.create("CreateNamespace=true")
		r.succeeds("")
		r.commit(configs("kept"))
		stop := r.disturb()
		r.begin("prune: true")
		state := r.end()
		stop()
		if state.Phase != v1alpha1.OperationSucceeded {
			r.Fatalf("operation %s: %s", state.Phase, state.Message)
		}
		told := 0
		for _, res := range state.SyncResult.Resources {
			if res.Status == v1alpha1.ResultPruned && res.Message == "pruned" && res.HookPhase == v1alpha1.OperationSucceeded && res.Version == "v1" {
				told++
			}
		}
		if told != waves {
			r.Errorf("%d of %d pruned objects are told: %+v", told, waves, state.SyncResult.Resources)
		}
	},
	// What operators make of objects is found, whatever its kind, to the second
	// generation, and what nobody manages is not watched.
	"offspring": func(r *run) {
		for _, k := range []string{"Parent", "Child", "Grandchild", "Stranger"} {
			raw := strings.NewReplacer("KIND", k, "PLURAL", strings.ToLower(k)+"s").Replace(kinship)
			crd := &unstructured.Unstructured{}
			must(r.T, yaml.Unmarshal([]byte(raw), &crd.Object))
			must(r.T, r.target.Create(r.Context(), crd))
		}
		r.commit("apiVersion: offspring.example.com/v1\nkind: Parent\nmetadata: {name: p}\n")
		r.create("CreateNamespace=true")
		r.until("the sync succeeds", func() error { // the kind is served when it is
			if s := r.sync(""); s.Phase != v1alpha1.OperationSucceeded {
				return errors.New(s.Message)
			}
			return nil
		})
		parent := r.live("offspring.example.com/v1", "Parent", "p")
		r.bears(r.bears(parent, "Child", "c"), "Grandchild", "g")
		must(r.T, r.target.Create(r.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "offspring.example.com/v1", "kind": "Stranger", "metadata": map[string]any{"namespace": r.name, "name": "s"}}}))

		conn := r.comparer()
		_, err := conn.Observe(r.Context(), cluster.Want{Instance: r.name, Targets: []*unstructured.Unstructured{parent}})
		must(r.T, err)
		found, err := conn.Scan(r.Context())
		must(r.T, err)
		found = slices.DeleteFunc(found, func(k string) bool { return !strings.HasPrefix(k, "offspring.") })
		if want := []string{"offspring.example.com/v1, Kind=Child", "offspring.example.com/v1, Kind=Grandchild"}; !slices.Equal(found, want) {
			r.Errorf("found %q, want %q", found, want)
		}
		r.until("the whole family is seen", func() error {
			names := []string{}
			for _, n := range conn.Descendants([]types.UID{parent.GetUID()}) {
				names = append(names, n.Kind)
			}
			if !slices.Equal(names, []string{"Child", "Grandchild"}) {
				return fmt.Errorf("descendants %v", names)
			}
			return nil
		})
	},
}
