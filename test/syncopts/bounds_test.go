package syncopts

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/rig"
)

// asked lists the dry runs of sluice for this case since the last sync began.
func (r *run) asked() []string {
	r.Helper()
	all := r.lines()
	var out []string
	for _, a := range all[min(r.seen, len(all)):] {
		if strings.HasPrefix(a.UserAgent, "argocd-application-controller") && strings.Contains(a.URI, "dryRun=") && r.mine(a) {
			out = append(out, a.Verb+" "+a.ObjectRef.Resource+"/"+a.ObjectRef.Name)
		}
	}
	return out
}

const permissions = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: deployer, namespace: impersonation}
rules: [{apiGroups: [""], resources: [configmaps], verbs: ["*"]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: deployer, namespace: impersonation}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: deployer}
subjects: [{kind: ServiceAccount, name: deployer, namespace: robots}]
`

// bounds: who may write what, for how long, and with how many questions.
var bounds = map[string]func(*run){
	"sync-timeout": func(r *run) {
		r.commit(configs("a") + "---" + hook("Job", "endless", "x:never-ready", "hook: PostSync"))
		r.create("CreateNamespace=true")
		r.patch("spec: {syncPolicy: {syncTimeout: 3s}}")
		if s := r.sync(""); s.Phase != v1alpha1.OperationFailed || s.Message != "Operation terminated, triggered by controller sync timeout" {
			r.Errorf("operation %s: %s", s.Phase, s.Message)
		}
		r.wrote(r.writes(), "patch namespaces/sync-timeout", "patch configmaps/a", "create jobs/endless", "patch jobs/endless", "delete jobs/endless")
		r.patch("spec: {syncPolicy: {syncTimeout: soon}}")
		r.fails("", `spec.syncPolicy.syncTimeout: "soon" is not a duration`)
	},
	"impersonation": func(r *run) {
		var cm corev1.ConfigMap
		cm.Name, cm.Namespace = "argocd-cm", rig.Namespace
		settings := `{"data":{"application.sync.impersonation.enabled":"true","application.sync.impersonation.enforced":"false"}}`
		must(r.T, r.rig.Hub.Patch(r.Context(), &cm, client.RawPatch(types.MergePatchType, []byte(settings))))
		must(r.T, r.rig.Apply(r.Context(), `{apiVersion: argoproj.io/v1alpha1, kind: AppProject, metadata: {name: robots}, spec: {
			sourceRepos: ['*'], destinations: [{server: '*', namespace: '*'}], clusterResourceWhitelist: [{group: '*', kind: '*'}],
			destinationServiceAccounts: [{server: '*', namespace: impersonation, defaultServiceAccount: 'robots:deployer'}]}}`, &v1alpha1.AppProject{}))
		must(r.T, r.target.Create(r.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: r.name}}))
		for _, text := range strings.Split(permissions, "---") {
			u := &unstructured.Unstructured{}
			must(r.T, yaml.Unmarshal([]byte(text), &u.Object))
			must(r.T, r.target.Create(r.Context(), u))
		}
		r.commit(configs("a") + "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: not-mine}\n")
		r.create("")
		r.patch("spec: {project: robots}")
		r.fails("", `User "system:serviceaccount:robots:deployer" cannot patch resource "serviceaccounts"`)
		r.wrote(r.writes())
		r.commit(configs("a"))
		r.wrote(r.succeeds(""), "patch configmaps/a")
		for _, a := range r.audit() {
			if a.Impersonated.Username != "system:serviceaccount:robots:deployer" {
				r.Errorf("%s %s was written by %q", a.Verb, a.ObjectRef.Name, a.Impersonated.Username)
			}
		}
	},
	"structured": func(r *run) {
		r.commit(configs("a") + "---" + deployment("x:v1"))
		r.create("CreateNamespace=true")
		r.patch("metadata: {annotations: {argocd.argoproj.io/compare-options: ServerSideDiff=false}}")
		r.succeeds("")
		r.status(v1alpha1.SyncStatusSynced)
		r.seen = len(r.lines())
		r.edit("apps/v1", "Deployment", "web", `{"spec":{"replicas":3}}`)
		app := r.status(v1alpha1.SyncStatusOutOfSync)
		for _, res := range app.Status.Resources {
			if (res.Status == v1alpha1.SyncStatusOutOfSync) != (res.Name == "web") {
				r.Errorf("%s/%s is %s", res.Kind, res.Name, res.Status)
			}
		}
		r.wrote(r.asked())
		r.wrote(r.succeeds(""), "patch deployments/web")
	},
	"three-way": func(r *run) {
		const secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {a: one, b: two}\n"
		r.commit(configs("a") + "---" + deployment("x:v1") + secret)
		r.create("CreateNamespace=true, ServerSideApply=false")
		r.patch("metadata: {annotations: {argocd.argoproj.io/compare-options: ServerSideDiff=false}}")
		r.succeeds("")
		r.status(v1alpha1.SyncStatusSynced)
		r.seen = len(r.lines())
		r.edit("apps/v1", "Deployment", "web", `{"spec":{"progressDeadlineSeconds":77}}`) // nobody applied it
		r.edit("v1", "Secret", "keys", `{"data":{"b":"dGhyZWU="}}`)
		app := r.status(v1alpha1.SyncStatusOutOfSync)
		for _, res := range app.Status.Resources {
			if (res.Status == v1alpha1.SyncStatusOutOfSync) != (res.Name == "keys") {
				r.Errorf("%s/%s is %s", res.Kind, res.Name, res.Status)
			}
		}
		r.wrote(r.asked())
		r.commit(configs("a") + "---" + deployment("x:v1") + strings.Replace(secret, ", b: two", "", 1))
		r.wrote(r.succeeds(""), "patch secrets/keys") // a key that was applied and is gone from Git is drift, and goes
		if keys := r.live("v1", "Secret", "keys"); text(keys, "data") != `{"a":"b25l"}` {
			r.Errorf("the Secret has %s", text(keys, "data"))
		}
		r.status(v1alpha1.SyncStatusSynced)
	},
	"secret-texts": func(r *run) {
		const secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {a: one, b: two}\n"
		r.commit(secret)
		r.create("CreateNamespace=true")
		r.succeeds("")
		r.edit("v1", "Secret", "keys", `{"data":{"b":"dGhyZWU="}}`)
		r.status(v1alpha1.SyncStatusOutOfSync)
		r.wrote(r.succeeds(""), "patch secrets/keys")
		r.commit(strings.Replace(secret, ", b: two", "", 1))
		r.wrote(r.succeeds(""), "patch secrets/keys")
		if keys := r.live("v1", "Secret", "keys"); text(keys, "data") != `{"a":"b25l"}` {
			r.Errorf("the Secret has %s", text(keys, "data"))
		}
		r.status(v1alpha1.SyncStatusSynced)
	},
	"retry-refresh": func(r *run) {
		r.commit(hook("Job", "check", "x:fail", "hook: PreSync") + "---" + configs("a"))
		r.create("CreateNamespace=true")
		bad := r.revision
		r.patch("operation: {sync: " + r.operation("") + ", retry: {limit: -1, refresh: true, backoff: {duration: 1h, maxDuration: 1h}}}")
		r.until("the operation waits for its repetition", func() error {
			if s := r.app().Status.OperationState; s == nil || s.RetryCount == 0 {
				return fmt.Errorf("operation %+v", s)
			}
			return nil
		})
		r.commit(hook("Job", "check", "x:v1", "hook: PreSync") + "---" + configs("a"))
		// other cases commit to the same branch: each of their commits ends a pause, too
		if s := r.end(); s.Phase != v1alpha1.OperationSucceeded || s.SyncResult.Revision == bad {
			r.Errorf("operation %s at %s: %s", s.Phase, s.SyncResult.Revision, s.Message)
		}
	},
	"few-questions": func(r *run) {
		r.commit(configs("a", "b") + "---" + deployment("x:v1"))
		r.create("CreateNamespace=true")
		r.wroteBeside(r.succeeds(""), "patch namespaces/few-questions", "patch configmaps/a", "patch configmaps/b", "patch deployments/web")
		r.wrote(r.asked()) // what is missing is checked in memory
		r.commit(configs("a", "b") + "---" + deployment("x:v2"))
		r.wrote(r.succeeds(""), "patch deployments/web")
		r.wrote(r.asked(), "patch deployments/web") // by the comparison, and not again by the sync
	},
	"adopts": func(r *run) {
		must(r.T, r.target.Create(r.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: r.name}}))
		for name, mode := range map[string]string{"a": "v1", "b": "by-hand"} {
			must(r.T, r.target.Create(r.Context(), &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: r.name, Labels: map[string]string{"theirs": "stays"}}, Data: map[string]string{"mode": mode},
			}))
		}
		r.commit(configs("a", "b"))
		r.create("")
		r.wroteBeside(r.succeeds(""), "patch configmaps/a", "patch configmaps/b")
		if cm := r.live("v1", "ConfigMap", "b"); text(cm, "data") != `{"mode":"v1"}` || cm.GetLabels()["theirs"] != "stays" {
			r.Errorf("adopted as %v", cm.Object)
		}
		r.status(v1alpha1.SyncStatusSynced)
	},
	"invalid": func(r *run) {
		for problem, wrong := range map[string]string{
			".spec.selector: is required":  strings.Replace(deployment("x:v1"), "  selector: {matchLabels: {app: web}}\n", "", 1),
			".spec.replicas: expected num": strings.Replace(deployment("x:v1"), "replicas: 1", "replicas: many", 1),
			`"Sometimes" is not one of`:    strings.Replace(deployment("x:v1"), `image: "x:v1"`, `image: "x:v1", imagePullPolicy: Sometimes`, 1),
		} {
			r.commit(configs("a") + "---" + wrong)
			if r.seen == 0 {
				r.create("CreateNamespace=true")
			}
			r.fails("", problem)
			r.wrote(r.namespaced())
		}
	},
}

// namespaced lists what was written beside the namespace of the case.
func (r *run) namespaced() []string {
	r.Helper()
	var out []string
	for _, w := range r.writes() {
		if w != fmt.Sprintf("patch namespaces/%s", r.name) {
			out = append(out, w)
		}
	}
	return out
}
