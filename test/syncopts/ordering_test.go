package syncopts

import (
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

const kinds = `
apiVersion: syncopts.example.com/v1
kind: Gadget
metadata: {name: custom, annotations: {argocd.argoproj.io/sync-wave: "-5"}}
spec: {size: 1}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.syncopts.example.com, annotations: {for: kind-order}}
spec:
  group: syncopts.example.com
  names: {kind: Gadget, plural: gadgets}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: o}
spec: {defaultBackend: {service: {name: o, port: {number: 80}}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: o}
spec: {schedule: "0 0 1 1 *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}}}}
---
apiVersion: v1
kind: Service
metadata: {name: o}
spec: {ports: [{port: 80}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: o}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: o}
subjects: [{kind: ServiceAccount, name: o, namespace: kind-order}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: o}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: o}
---
apiVersion: v1
kind: Secret
metadata: {name: o}
stringData: {a: b}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: o}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: o}
spec: {minAvailable: 1, selector: {matchLabels: {app: o}}}
---
apiVersion: v1
kind: LimitRange
metadata: {name: o}
spec: {limits: [{type: Container, max: {cpu: "8"}}]}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: o}
spec: {hard: {pods: "50"}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: o}
spec: {podSelector: {}}
---
apiVersion: v1
kind: Namespace
metadata: {name: kind-order, annotations: {argocd.argoproj.io/sync-wave: "5"}}
`

// ordering: phases, waves, kinds and hooks.
var ordering = map[string]func(*run){
	"kind-order": func(r *run) {
		r.commit(kinds)
		r.create("")
		s := r.sync("")
		if s.Phase != v1alpha1.OperationSucceeded {
			r.Fatalf("operation %s: %s", s.Phase, s.Message)
		}
		var got []string
		for _, a := range r.lines()[r.seen:] {
			ours := strings.HasPrefix(a.UserAgent, "argocd-application-controller") && a.Write() && a.Verb == "patch"
			if ours && (a.ObjectRef.Namespace == r.name || a.ObjectRef.Name == "gadgets.syncopts.example.com") {
				got = append(got, a.ObjectRef.Resource)
			}
		}
		r.wrote(got, "namespaces", "customresourcedefinitions", "gadgets", "networkpolicies", "resourcequotas", "limitranges", "poddisruptionbudgets",
			"serviceaccounts", "secrets", "configmaps", "roles", "rolebindings", "services", "cronjobs", "ingresses")
		r.status(v1alpha1.SyncStatusSynced)
	},
	"hooks": func(r *run) {
		r.commit(strings.Join([]string{
			hook("Job", "before", "x:v1", "hook: PreSync"), hook("Job", "first", "x:v1", "hook: PreSync", `sync-wave: "-1"`, "hook-delete-policy: HookSucceeded"),
			hook("Job", "during", "x:v1", "hook: Sync", `sync-wave: "1"`), hook("Job", "after", "x:v1", "hook: PostSync"),
			hook("Job", "twice", "x:v1", "hook: 'PreSync, PostSync'", `sync-wave: "2"`), hook("ConfigMap", "skipped", "", "hook: Skip"),
			hook("ConfigMap", "misspelt", "", "hook: PreSinc"), hook("Job", "alarm", "x:v1", "hook: SyncFail"),
			hook("Job", "helm-pre", "x:v1", "helm.sh/hook: pre-upgrade", `helm.sh/hook-weight: "3"`, "helm.sh/hook-delete-policy: hook-succeeded"),
			hook("Job", "helm-test", "x:v1", "helm.sh/hook: test"), hook("Job", "leaving", "x:v1", "hook: PostDelete"), configs("plain"),
		}, "---"))
		r.create("CreateNamespace=true")
		got := r.succeeds("")
		creates := slices.DeleteFunc(slices.Clone(got), func(w string) bool { return !strings.HasPrefix(w, "create") && !strings.Contains(w, "configmaps") })
		r.wrote(creates, "create jobs/first", "create jobs/before", "create jobs/twice", "create jobs/helm-pre", "patch configmaps/plain",
			"create jobs/during", "create jobs/after", "create jobs/twice")
		for name, kept := range map[string]bool{"before": true, "during": true, "after": true, "first": false, "helm-pre": false, "alarm": false} {
			if live := r.live("batch/v1", "Job", name); (live != nil && live.GetDeletionTimestamp() == nil) != kept {
				r.Errorf("job %s is there: %v, want %v", name, live != nil, kept)
			}
		}
		r.before(got, "create jobs/twice", "delete jobs/twice")
		r.before(got, "create jobs/after", "delete jobs/first")
		r.status(v1alpha1.SyncStatusSynced)
	},
	"sync-fail": func(r *run) {
		r.commit(strings.Join([]string{
			configs("a"), hook("Job", "good", "x:v1", "hook: PreSync", "hook-delete-policy: HookFailed"), hook("Job", "bad", "x:fail", "hook: PostSync", "hook-delete-policy: HookSucceeded"),
			hook("Job", "alarm", "x:v1", "hook: SyncFail"),
		}, "---"))
		r.create("CreateNamespace=true")
		r.fails("", "completed unsuccessfully")
		got := r.writes()
		r.before(got, "create jobs/good", "patch configmaps/a", "create jobs/bad", "create jobs/alarm", "delete jobs/good")
		if r.live("batch/v1", "Job", "bad") == nil {
			r.Error("a failed hook with policy HookSucceeded was deleted")
		}
	},
	"waves": func(r *run) {
		slow := strings.Replace(deployment("x:slow"), "{name: web}", "{name: web, annotations: {argocd.argoproj.io/sync-wave: '-1'}}", 1)
		r.commit(configs("a") + "---" + slow)
		r.create("CreateNamespace=true")
		got := r.succeeds("")
		r.wrote(got, "patch namespaces/waves", "patch deployments/web", "patch configmaps/a")
		if live := r.live("apps/v1", "Deployment", "web"); text(live, "status", "availableReplicas") != "1" {
			r.Errorf("the next wave was written while the Deployment had status %s", text(live, "status"))
		}
	},
}
