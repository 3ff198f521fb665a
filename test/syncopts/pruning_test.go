package syncopts

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

func annotated(name, annotation string) string {
	return strings.Replace(configs(name), "{name: "+name+"}", "{name: "+name+", annotations: {argocd.argoproj.io/"+annotation+"}}", 1)
}

// policyOf reads which propagation policy a deletion asked for.
func (r *run) policyOf(name string) string {
	r.Helper()
	for _, a := range r.audit() {
		var o struct {
			PropagationPolicy string `json:"propagationPolicy"`
			Preconditions     struct {
				UID string `json:"uid"`
			} `json:"preconditions"`
		}
		if a.Verb == "delete" && a.ObjectRef.Name == name && json.Unmarshal(a.RequestObject, &o) == nil {
			if o.Preconditions.UID == "" {
				r.Errorf("%s was deleted without naming its UID", name)
			}
			return o.PropagationPolicy
		}
	}
	return "no deletion"
}

// pruning: what happens to objects that leave Git.
var pruning = map[string]func(*run){
	"prune": func(r *run) {
		r.commit(configs("kept", "gone") + "---" + annotated("never", "sync-options: Prune=false"))
		r.create("CreateNamespace=true")
		r.succeeds("")
		r.commit(configs("kept"))
		r.wrote(r.succeeds(""))
		r.status(v1alpha1.SyncStatusOutOfSync)
		r.wrote(r.succeeds("prune: true"), "delete configmaps/gone")
		if got := r.policyOf("gone"); got != "Foreground" {
			r.Errorf("propagation %s, want Foreground", got)
		}
	},
	"prune-policy": func(r *run) {
		r.commit(configs("kept", "gone"))
		r.create("CreateNamespace=true, PrunePropagationPolicy=background")
		r.succeeds("")
		r.commit(configs("kept"))
		r.succeeds("prune: true")
		if got := r.policyOf("gone"); got != "Background" {
			r.Errorf("propagation %s, want Background", got)
		}
		r.commit(configs("other"))
		r.succeeds("prune: true, syncOptions: [PrunePropagationPolicy=orphan]")
		if got := r.policyOf("kept"); got != "Orphan" {
			r.Errorf("propagation %s, want Orphan", got)
		}
	},
	"prune-last": func(r *run) {
		r.commit(configs("gone"))
		r.create("CreateNamespace=true")
		r.succeeds("")
		r.commit(annotated("late", `sync-wave: "3"`))
		r.wrote(r.succeeds("prune: true, syncOptions: [PruneLast=true]"), "patch configmaps/late", "delete configmaps/gone")
		r.commit(configs("next"))
		r.wrote(r.succeeds("prune: true"), "patch configmaps/next", "delete configmaps/late")
	},
	"prune-waves": func(r *run) {
		r.commit(strings.Join([]string{annotated("p1", `sync-wave: "1"`), annotated("p2", `sync-wave: "2"`), annotated("p3", `sync-wave: "3"`), configs("kept")}, "---"))
		r.create("CreateNamespace=true")
		r.succeeds("")
		r.commit(configs("kept"))
		r.wrote(r.succeeds("prune: true"), "delete configmaps/p3", "delete configmaps/p2", "delete configmaps/p1")
	},
	"prune-confirm": func(r *run) {
		r.commit(configs("kept", "gone"))
		r.create("CreateNamespace=true, Prune=confirm")
		r.succeeds("")
		r.commit(configs("kept"))
		r.begin("prune: true")
		r.until("the operation waits for confirmation", func() error {
			s := r.app().Status.OperationState
			if s == nil || s.Phase != v1alpha1.OperationRunning || s.Message != "waiting for pruning confirmation of /ConfigMap/gone" {
				return fmt.Errorf("%+v", s)
			}
			return nil
		})
		r.wrote(r.writes())
		r.patch("metadata: {annotations: {argocd.argoproj.io/deletion-approved: '" + time.Now().UTC().Format(time.RFC3339) + "'}}")
		if s := r.end(); s.Phase != v1alpha1.OperationSucceeded {
			r.Errorf("operation %s: %s", s.Phase, s.Message)
		}
		r.wrote(r.writes(), "delete configmaps/gone")
	},
}
