package syncopts

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/rig"
)

const config = `
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME}
data: {mode: v1}
`

func configs(names ...string) string {
	var out []string
	for _, n := range names {
		out = append(out, strings.Replace(config, "NAME", n, 1))
	}
	return strings.Join(out, "---")
}

func deployment(image string) string {
	return `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: "` + image + `"}]}}
`
}

// writing: how an object is written.
var writing = map[string]func(*run){
	"replace": func(r *run) {
		r.commit(configs("a"))
		r.create("CreateNamespace=true, Replace=true")
		r.wrote(r.succeeds(""), "patch namespaces/replace", "create configmaps/a")
		r.edit("v1", "ConfigMap", "a", `{"data":{"theirs":"x"}}`)
		r.wrote(r.succeeds(""), "update configmaps/a")
		if got := text(r.live("v1", "ConfigMap", "a"), "data"); got != `{"mode":"v1"}` {
			r.Errorf("data is %s after a replacement", got)
		}
		r.status(v1alpha1.SyncStatusSynced)
	},
	"replace-force": func(r *run) {
		r.commit(strings.Replace(configs("a"), "{name: a}", "{name: a, annotations: {argocd.argoproj.io/sync-options: 'Replace=true,Force=true'}}", 1))
		r.create("CreateNamespace=true")
		r.succeeds("")
		before := r.live("v1", "ConfigMap", "a").GetUID()
		r.wrote(r.succeeds(""), "delete configmaps/a", "create configmaps/a")
		if r.live("v1", "ConfigMap", "a").GetUID() == before {
			r.Error("the object was not recreated")
		}
	},
	"force": func(r *run) {
		r.commit(deployment("x:v1"))
		r.create("CreateNamespace=true")
		r.succeeds("")
		r.commit(strings.ReplaceAll(deployment("x:v1"), "{app: web}", "{app: other}"))
		r.fails("", "immutable")
		r.wrote(r.writes())
		r.wrote(r.succeeds("syncStrategy: {hook: {force: true}}"), "delete deployments/web", "create deployments/web")
	},
	"client-side": func(r *run) {
		unknown := strings.Replace(deployment("x:v1"), "replicas: 1", "replicas: 1\n  unheard: of", 1)
		r.commit(deployment("x:v1"))
		r.create("CreateNamespace=true, ServerSideApply=false")
		r.wrote(r.succeeds(""), "patch namespaces/client-side", "create deployments/web")
		r.status(v1alpha1.SyncStatusSynced)
		r.commit(strings.Replace(deployment("x:v2"), "replicas: 1", "minReadySeconds: 0", 1))
		r.wrote(r.succeeds(""), "patch deployments/web")
		if live := r.live("apps/v1", "Deployment", "web"); live.GetAnnotations()["kubectl.kubernetes.io/last-applied-configuration"] == "" {
			r.Error("no annotation of what was applied last")
		}
		r.status(v1alpha1.SyncStatusSynced)
		r.commit(unknown)
		r.fails("", "unheard")
		r.wrote(r.succeeds("syncOptions: [ServerSideApply=false, Validate=false]"), "patch deployments/web")
	},
	"schema-fallback": func(r *run) {
		r.commit(strings.Replace(deployment("x:v1"), `image: "x:v1"`, `image: "x:v1", env: [{name: A, value: "1"}, {name: A, value: "2"}]`, 1))
		r.create("CreateNamespace=true")
		r.wrote(r.succeeds(""), "patch namespaces/schema-fallback", "create deployments/web")
		r.until("an event that says so", func() error {
			var events corev1.EventList
			must(r.T, r.rig.Hub.List(r.Context(), &events, client.InNamespace(rig.Namespace)))
			for _, e := range events.Items {
				if e.InvolvedObject.Name == r.name && e.Type == "Warning" && strings.Contains(e.Message, "was applied client-side, for server-side apply refused it") {
					return nil
				}
			}
			return fmt.Errorf("none among %d events", len(events.Items))
		})
		r.status(v1alpha1.SyncStatusSynced)
	},
	"unchanged": func(r *run) {
		r.commit(configs("a", "b"))
		r.create("CreateNamespace=true")
		r.succeeds("")
		r.wrote(r.succeeds(""))
		r.commit(strings.Replace(configs("a", "b"), "name: b}\ndata: {mode: v1", "name: b}\ndata: {mode: v2", 1))
		r.wrote(r.succeeds(""), "patch configmaps/b")
	},
	"migrated": func(r *run) {
		r.commit(configs("a"))
		r.create("CreateNamespace=true")
		r.succeeds("")
		must(r.T, r.target.Delete(r.Context(), r.live("v1", "ConfigMap", "a")))
		applied := r.live("v1", "ConfigMap", "kube-root-ca.crt").DeepCopy()
		applied.Object = map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{
			"name": "a", "namespace": r.name, "annotations": map[string]any{"kubectl.kubernetes.io/last-applied-configuration": `{"data":{"mode":"v0","old":"1"}}`},
		}, "data": map[string]any{"mode": "v0", "old": "1"}}
		must(r.T, r.target.Create(r.Context(), applied, fieldOwner("kubectl-client-side-apply")))
		r.status(v1alpha1.SyncStatusOutOfSync)
		r.succeeds("")
		if got := text(r.live("v1", "ConfigMap", "a"), "data"); got != `{"mode":"v1"}` {
			r.Errorf("data is %s: a field that kubectl applied and Git does not have is still there", got)
		}
		r.status(v1alpha1.SyncStatusSynced)
	},
}
