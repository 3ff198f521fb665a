package syncopts

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// running waits until an operation that was begun shows a message.
func (r *run) running(message string) {
	r.Helper()
	r.until("an operation with "+message, func() error {
		s := r.app().Status.OperationState
		if s == nil || s.Phase != v1alpha1.OperationRunning || !strings.Contains(s.Message, message) {
			return fmt.Errorf("operation %+v", s)
		}
		return nil
	})
}

// rows of the tables of options that the other groups do not have.
var rows = map[string]func(*run){
	"undeclared": func(r *run) { // a field that the schema does not declare
		r.commit(strings.Replace(deployment("x:v1"), "replicas: 1", "replicas: 1\n  unheard: of", 1))
		r.create("CreateNamespace=true")
		r.wrote(r.succeeds(""), "patch namespaces/undeclared", "create deployments/web")
		r.status(v1alpha1.SyncStatusSynced)
	},
	"object-client-side": func(r *run) { // an object may leave what the Application asks for
		r.commit(strings.Join([]string{annotated("mine", "sync-options: ServerSideApply=false"), configs("other"), annotated("kept", "sync-options: Replace=false")}, "---"))
		r.create("CreateNamespace=true")
		got := r.succeeds("")
		r.before(got, "patch namespaces/object-client-side", "create configmaps/mine")
		r.before(got, "patch configmaps/other")
		r.edit("v1", "ConfigMap", "kept", `{"data":{"theirs":"x"}}`)
		r.edit("v1", "ConfigMap", "other", `{"data":{"theirs":"x"}}`)
		r.succeeds("syncOptions: [Replace=true]")
		if got := text(r.live("v1", "ConfigMap", "kept"), "data", "theirs"); got != `"x"` {
			r.Errorf("Replace=false of the object did not keep what others added: %s", got)
		}
		if got := text(r.live("v1", "ConfigMap", "other"), "data"); got != `{"mode":"v1"}` {
			r.Errorf("data is %s after a replacement", got)
		}
	},
	"migration-off": func(r *run) {
		r.commit(configs("a", "b"))
		r.create("CreateNamespace=true, ClientSideApplyMigration=false")
		r.succeeds("")
		previous(r, "a", "kubectl-client-side-apply")
		r.succeeds("")
		if got := text(r.live("v1", "ConfigMap", "a"), "data", "old"); got != `"1"` {
			r.Errorf("a field of the earlier manager was removed without migration: %s", got)
		}
	},
	"migration-manager": func(r *run) {
		r.commit(configs("a"))
		r.create("CreateNamespace=true")
		r.patch("metadata: {annotations: {argocd.argoproj.io/client-side-apply-migration-manager: our-pipeline}}")
		r.succeeds("")
		previous(r, "a", "our-pipeline")
		r.succeeds("")
		if got := text(r.live("v1", "ConfigMap", "a"), "data"); got != `{"mode":"v1"}` {
			r.Errorf("data is %s: what the named manager applied is still there", got)
		}
		r.status(v1alpha1.SyncStatusSynced)
	},
	"role-ref": func(r *run) {
		binding := func(role string) string {
			return "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: b}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: " + role + "}\nsubjects: [{kind: Group, name: ops, apiGroup: rbac.authorization.k8s.io}]\n"
		}
		for _, options := range []string{"", "syncOptions: [ServerSideApply=false]"} {
			r.commit(binding("view"))
			if options == "" {
				r.create("CreateNamespace=true")
			}
			r.succeeds(options)
			r.commit(binding("edit"))
			r.status(v1alpha1.SyncStatusOutOfSync)
			verb := "patch"
			if options != "" {
				verb = "create"
			}
			r.wrote(r.succeeds(options), "delete rolebindings/b", verb+" rolebindings/b")
			r.status(v1alpha1.SyncStatusSynced)
		}
	},
	"missing-kind-option": func(r *run) {
		r.commit(configs("a") + "---\napiVersion: rows.example.com/v1\nkind: Unheard\nmetadata: {name: w}\n")
		r.create("CreateNamespace=true, SkipDryRunOnMissingResource=true")
		r.fails("", `Make sure the "Unheard" CRD is installed`)
		r.wrote(r.writes(), "patch namespaces/missing-kind-option", "patch configmaps/a")
	},
	"out-of-sync-hooks": func(r *run) { // hooks run and history is kept though nothing is applied
		r.commit(configs("a") + "---" + hook("Job", "before", "x:v1", "hook: PreSync"))
		r.create("CreateNamespace=true, ApplyOutOfSyncOnly=true")
		r.succeeds("")
		history := len(r.app().Status.History)
		r.before(r.succeeds(""), "delete jobs/before", "create jobs/before")
		if n := len(r.app().Status.History); n != history+1 {
			r.Errorf("%d entries of history, want %d", n, history+1)
		}
	},
	"prune-false-app": func(r *run) { // an object overrides the Application
		r.commit(strings.Join([]string{configs("kept", "gone"), annotated("given", "sync-options: Prune=true")}, "---"))
		r.create("CreateNamespace=true, Prune=false")
		r.succeeds("")
		r.commit(configs("kept"))
		r.wrote(r.succeeds("prune: true"), "delete configmaps/given")
	},
	"prune-last-object": func(r *run) {
		r.commit(strings.Join([]string{configs("kept"), annotated("gone", "sync-options: PruneLast=true")}, "---"))
		r.create("CreateNamespace=true")
		r.succeeds("")
		r.commit(strings.Join([]string{configs("kept"), annotated("late", `sync-wave: "2"`)}, "---"))
		r.wrote(r.succeeds("prune: true"), "patch configmaps/late", "delete configmaps/gone")
	},
}

// previous makes an object that another client-side tool applied.
func previous(r *run, name, manager string) {
	r.Helper()
	must(r.T, r.target.Delete(r.Context(), r.live("v1", "ConfigMap", name)))
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{
		"name": name, "namespace": r.name, "annotations": map[string]any{"kubectl.kubernetes.io/last-applied-configuration": `{"data":{"mode":"v0","old":"1"}}`},
	}, "data": map[string]any{"mode": "v0", "old": "1"}}}
	must(r.T, r.target.Create(r.Context(), u, fieldOwner(manager)))
	r.status(v1alpha1.SyncStatusOutOfSync)
}

// hookRows: names, finalizers, policies and completion of hooks.
var hookRows = map[string]func(*run){
	"hook-names": func(r *run) {
		generated := strings.Replace(hook("Job", "g", "x:v1", "hook: PreSync"), "{name: g,", "{generateName: load-,", 1)
		r.commit(generated + "---" + configs("a"))
		r.create("CreateNamespace=true")
		first := r.succeeds("")
		second := r.succeeds("")
		name := func(list []string) string {
			i := slices.IndexFunc(list, func(w string) bool { return strings.HasPrefix(w, "create jobs/load-"+r.revision[:7]+"-presync-") })
			if i < 0 {
				r.Fatalf("no hook with a generated name in %v", list)
			}
			return list[i]
		}
		if a, b := name(first), name(second); a == b {
			r.Errorf("two operations used the same name %s", a)
		}
	},
	"hook-policies": func(r *run) {
		r.commit(strings.Join([]string{
			hook("Job", "success", "x:v1", "hook: PreSync", "hook-delete-policy: HookSucceeded"), hook("Job", "failure", "x:v1", "hook: PreSync", "hook-delete-policy: HookFailed"),
			hook("Job", "fresh", "x:v1", "hook: PreSync"), hook("ConfigMap", "instant", "", "hook: PreSync", `sync-wave: "1"`), configs("a"), hook("Job", "last", "x:v1", "hook: PostSync"),
		}, "---"))
		r.create("CreateNamespace=true")
		r.before(r.succeeds(""), "create jobs/success", "create configmaps/instant", "patch configmaps/a", "create jobs/last", "delete jobs/success")
		uid := r.live("batch/v1", "Job", "failure").GetUID()
		got := r.succeeds("")
		r.before(got, "delete jobs/fresh", "create jobs/fresh")
		if slices.Contains(got, "delete jobs/failure") || r.live("batch/v1", "Job", "failure").GetUID() != uid {
			r.Errorf("a hook without BeforeHookCreation was recreated: %v", got)
		}
		for _, name := range []string{"failure", "fresh", "last"} {
			if f := r.live("batch/v1", "Job", name).GetFinalizers(); len(f) != 0 {
				r.Errorf("hook %s keeps finalizers %v", name, f)
			}
		}
	},
	"hook-failed": func(r *run) {
		r.commit(strings.Join([]string{hook("Job", "good", "x:v1", "hook: PreSync", "hook-delete-policy: HookFailed"), hook("Job", "bad", "x:fail", "hook: PreSync", `sync-wave: "1"`, "hook-delete-policy: HookFailed"), configs("a")}, "---"))
		r.create("CreateNamespace=true")
		r.fails("", "one or more synchronization tasks completed unsuccessfully")
		got := r.writes()
		r.before(got, "create jobs/good", "create jobs/bad", "delete jobs/good")
		r.before(got, "create jobs/bad", "delete jobs/bad")
		if slices.Contains(got, "patch configmaps/a") {
			r.Errorf("the Sync phase began after a failed hook: %v", got)
		}
	},
	"hook-suspended": func(r *run) {
		suspended := strings.Replace(hook("Job", "held", "x:v1", "hook: PreSync"), "spec: {backoffLimit", "spec: {suspend: true, backoffLimit", 1)
		r.commit(suspended + "---" + configs("a"))
		r.create("CreateNamespace=true")
		r.begin("")
		r.running("waiting for completion of hook batch/Job/held")
		r.edit("batch/v1", "Job", "held", `{"spec":{"suspend":false}}`)
		if s := r.end(); s.Phase != v1alpha1.OperationSucceeded {
			r.Errorf("operation %s: %s", s.Phase, s.Message)
		}
	},
	"hook-kept": func(r *run) { // somebody deletes a hook before its result is read
		r.commit(hook("Job", "kept", "x:never-ready", "hook: PreSync") + "---" + configs("a"))
		r.create("CreateNamespace=true")
		r.begin("")
		r.running("waiting for completion of hook batch/Job/kept")
		job := r.live("batch/v1", "Job", "kept")
		if !slices.Contains(job.GetFinalizers(), "argocd.argoproj.io/hook-finalizer") {
			r.Fatalf("the hook has finalizers %v", job.GetFinalizers())
		}
		must(r.T, r.target.Delete(r.Context(), job, client.PropagationPolicy("Background")))
		if r.live("batch/v1", "Job", "kept") == nil {
			r.Fatal("the hook is gone although its result was not read")
		}
		r.patch("status: {operationState: {phase: Terminating}}")
		if s := r.end(); s.Message != "Operation terminated" {
			r.Errorf("operation %s: %s", s.Phase, s.Message)
		}
		r.until("the hook is gone", func() error {
			if r.live("batch/v1", "Job", "kept") != nil {
				return errors.New("still there")
			}
			return nil
		})
	},
}

// waveRows: what a wave waits for, and what ends it.
var waveRows = map[string]func(*run){
	"degraded-wave": func(r *run) {
		r.commit(strings.Replace(deployment("x:crash-1"), "{name: web}", "{name: web, annotations: {argocd.argoproj.io/sync-wave: '-1'}}", 1) + "---" + configs("a"))
		r.create("CreateNamespace=true")
		r.fails("", "CrashLoopBackOff")
		r.wrote(r.writes(), "patch namespaces/degraded-wave", "patch deployments/web")
	},
	"suspended-wave": func(r *run) {
		paused := strings.Replace(deployment("x:v1"), "{name: web}", "{name: web, annotations: {argocd.argoproj.io/sync-wave: '-1'}}", 1)
		r.commit(strings.Replace(paused, "replicas: 1", "replicas: 1\n  paused: true", 1) + "---" + configs("a"))
		r.create("CreateNamespace=true")
		r.begin("")
		r.running("waiting for healthy state of apps/Deployment/web")
		r.wrote(r.writes(), "patch namespaces/suspended-wave", "patch deployments/web")
		r.edit("apps/v1", "Deployment", "web", `{"spec":{"paused":false}}`)
		if s := r.end(); s.Phase != v1alpha1.OperationSucceeded {
			r.Errorf("operation %s: %s", s.Phase, s.Message)
		}
	},
	"vanished": func(r *run) { // somebody deletes what the wave waits for
		r.commit(strings.Replace(deployment("x:never-ready"), "{name: web}", "{name: web, annotations: {argocd.argoproj.io/sync-wave: '-1'}}", 1) + "---" + configs("a"))
		r.create("CreateNamespace=true")
		r.begin("")
		r.running("waiting for healthy state of apps/Deployment/web")
		must(r.T, r.target.Delete(r.Context(), r.live("apps/v1", "Deployment", "web")))
		if s := r.end(); s.Phase == v1alpha1.OperationSucceeded || !strings.Contains(s.Message, "is missing, it might have been deleted") {
			r.Errorf("operation %s: %s", s.Phase, s.Message)
		}
	},
	"last-wave": func(r *run) { // the last wave is not waited for
		r.commit(configs("a") + "---" + strings.Replace(deployment("x:never-ready"), "{name: web}", "{name: web, annotations: {argocd.argoproj.io/sync-wave: '1'}}", 1))
		r.create("CreateNamespace=true")
		r.wrote(r.succeeds(""), "patch namespaces/last-wave", "patch configmaps/a", "patch deployments/web")
		if got := r.app().Status.Health.Status; got != v1alpha1.HealthProgressing {
			r.Errorf("health %s, want Progressing", got)
		}
	},
	"wave-failure": func(r *run) { // a refusal does not stop the later kinds of a wave, but the next one
		r.commit(strings.Join([]string{configs("a", "bad"), annotated("next", `sync-wave: "1"`), "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n"}, "---\n"))
		r.create("CreateNamespace=true")
		must(r.T, client.IgnoreAlreadyExists(r.target.Create(r.Context(), &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": r.name}}})))
		for _, o := range refusal(r.name) {
			if o.GetKind() == "ValidatingAdmissionPolicy" {
				must(r.T, unstructured.SetNestedSlice(o.Object, []any{map[string]any{"expression": "request.dryRun || object.metadata.name != 'bad'", "reason": "Forbidden", "message": "not this one"}}, "spec", "validations"))
			}
			must(r.T, r.target.Create(r.Context(), o))
		}
		probe := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "bad", "namespace": r.name}}}
		r.until("the policy holds", func() error {
			err := r.target.Create(r.Context(), probe.DeepCopy())
			if apierrors.IsForbidden(err) {
				return nil
			}
			if err == nil {
				err = r.target.Delete(r.Context(), probe.DeepCopy())
			}
			return fmt.Errorf("answer %w", errors.Join(err, errors.New("created")))
		})
		r.fails("", "not this one")
		got := r.writes()
		if !slices.Contains(got, "patch configmaps/a") || !slices.Contains(got, "patch services/s") || slices.Contains(got, "patch configmaps/next") {
			r.Errorf("written were %v, want the rest of the wave and not the next", got)
		}
	},
	"skip-with-others": func(r *run) {
		r.commit(hook("Job", "both", "x:v1", "hook: 'Skip, PreSync'") + "---" + configs("a"))
		r.create("CreateNamespace=true")
		r.before(r.succeeds(""), "create jobs/both", "patch configmaps/a")
	},
	"status-kept": func(r *run) { // what is ignored comes from live, status never does
		r.commit(deployment("x:v1"))
		r.create("CreateNamespace=true, RespectIgnoreDifferences=true", "ignoreDifferences: [{group: '*', kind: '*', jsonPointers: [/spec/replicas, /status]}]")
		r.succeeds("")
		must(r.T, r.target.Patch(r.Context(), r.live("apps/v1", "Deployment", "web"), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":2}}`)), fieldOwner("scaler")))
		r.commit(deployment("x:v2"))
		r.succeeds("")
		for _, a := range r.audit() {
			if strings.Contains(string(a.RequestObject), `"status":{`) {
				r.Errorf("a status was written: %s", a.RequestObject)
			}
		}
		if got := text(r.live("apps/v1", "Deployment", "web"), "spec", "replicas"); got != "2" {
			r.Errorf("%s replicas, want the 2 that are ignored", got)
		}
	},
}
