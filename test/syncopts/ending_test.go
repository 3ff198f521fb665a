package syncopts

import (
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/rig"
)

func (r *run) gone() {
	r.Helper()
	r.until("the Application is gone", func() error {
		var app v1alpha1.Application
		err := r.rig.Hub.Get(r.Context(), client.ObjectKey{Namespace: rig.Namespace, Name: r.name}, &app)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("still there with %v, %+v (%w)", app.Finalizers, app.Status.Conditions, errors.Join(err))
	})
}

func (r *run) delete() {
	r.Helper()
	r.seen = len(r.lines())
	must(r.T, r.rig.Hub.Delete(r.Context(), r.app()))
}

// ending: termination, retries and deletion.
var ending = map[string]func(*run){
	"terminate": func(r *run) {
		r.commit(configs("a") + "---" + hook("Job", "endless", "x:never-ready", "hook: PostSync") + "---" + hook("Job", "alarm", "x:v1", "hook: SyncFail"))
		r.create("CreateNamespace=true")
		r.begin("")
		r.until("the hook runs", func() error {
			if r.live("batch/v1", "Job", "endless") == nil {
				return errors.New("no hook yet")
			}
			return nil
		})
		r.patch("status: {operationState: {phase: Terminating}}")
		if s := r.end(); s.Phase != v1alpha1.OperationFailed || s.Message != "Operation terminated" {
			r.Errorf("operation %s: %s", s.Phase, s.Message)
		}
		r.wrote(r.writes(), "patch namespaces/terminate", "patch configmaps/a", "create jobs/endless", "patch jobs/endless", "delete jobs/endless")
	},
	"retry": func(r *run) {
		r.commit(hook("Job", "bad", "x:fail", "hook: PreSync") + "---" + configs("a"))
		r.create("CreateNamespace=true")
		r.patch("operation: {sync: " + r.operation("") + ", retry: {limit: 1, backoff: {duration: 1s}}}")
		s := r.end()
		if s.Phase != v1alpha1.OperationFailed || s.RetryCount != 1 || !strings.HasSuffix(s.Message, "(retried 1 times).") {
			r.Errorf("operation %s after %d: %s", s.Phase, s.RetryCount, s.Message)
		}
		created := 0
		for _, w := range r.writes() {
			if w == "create jobs/bad" {
				created++
			}
		}
		if created != 2 {
			r.Errorf("the hook was created %d times, want once per attempt: %v", created, r.writes())
		}
		r.patch("operation: {sync: " + r.operation("") + ", retry: {limit: 1, backoff: {duration: soon}}}")
		if s := r.end(); s.Phase != v1alpha1.OperationError || !strings.Contains(s.Message, "failed to retry") {
			r.Errorf("a bad pause: operation %s: %s", s.Phase, s.Message)
		}
	},
	"delete": func(r *run) {
		r.commit(strings.Join([]string{
			annotated("one", `sync-wave: "1"`), annotated("two", `sync-wave: "2"`), annotated("stays", "sync-options: Delete=false"),
			hook("Job", "first", "x:v1", "hook: PreDelete"), hook("Job", "last", "x:v1", "hook: PostDelete", "hook-delete-policy: HookSucceeded"),
		}, "---"))
		r.create("CreateNamespace=true")
		r.patch("metadata: {finalizers: [resources-finalizer.argocd.argoproj.io]}")
		r.succeeds("")
		r.status(v1alpha1.SyncStatusSynced)
		r.delete()
		r.gone()
		got := r.writes()
		r.before(got, "create jobs/first", "delete configmaps/two", "delete configmaps/one", "create jobs/last", "delete jobs/last")
		if r.live("v1", "ConfigMap", "stays") == nil {
			r.Error("Delete=false did not keep the object")
		}
	},
	"delete-confirm": func(r *run) {
		r.commit(configs("a"))
		r.create("CreateNamespace=true, Delete=confirm")
		r.patch("metadata: {finalizers: [resources-finalizer.argocd.argoproj.io]}")
		r.succeeds("")
		r.delete()
		r.until("deletion waits for confirmation", func() error {
			if text := fmt.Sprint(r.app().Status.Conditions); !strings.Contains(text, "waiting for deletion confirmation of /ConfigMap/delete-confirm/a") {
				return errors.New(text)
			}
			return nil
		})
		r.wrote(r.writes())
		r.patch("metadata: {annotations: {argocd.argoproj.io/deletion-approved: '" + time.Now().UTC().Format(time.RFC3339) + "'}}")
		r.gone()
		r.wrote(r.writes(), "delete configmaps/a")
	},
}

// comparing: what counts as a difference.
var comparing = map[string]func(*run){
	"no-false-drift": func(r *run) {
		r.commit(drifting)
		r.create("CreateNamespace=true")
		r.succeeds("")
		r.status(v1alpha1.SyncStatusSynced)
		r.edit("apps/v1", "StatefulSet", "db", `{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":77}}}}`)
		r.status(v1alpha1.SyncStatusOutOfSync)
		r.wrote(r.succeeds(""), "patch statefulsets/db")
		r.edit("v1", "ConfigMap", "texts", `{"data":{"number":"1000m"}}`)
		app := r.status(v1alpha1.SyncStatusOutOfSync)
		for _, res := range app.Status.Resources {
			if (res.Status == v1alpha1.SyncStatusOutOfSync) != (res.Name == "texts") {
				r.Errorf("%s/%s is %s", res.Kind, res.Name, res.Status)
			}
		}
	},
	"broken-rule": func(r *run) {
		r.commit(configs("a"))
		r.create("CreateNamespace=true")
		r.succeeds("")
		r.patch("spec: {ignoreDifferences: [{kind: ConfigMap, jqPathExpressions: ['.data[']}]}")
		app := r.status(v1alpha1.SyncStatusUnknown)
		if text := fmt.Sprint(app.Status.Conditions); !strings.Contains(text, "spec.ignoreDifferences[0].jqPathExpressions[0]") {
			r.Errorf("conditions %s do not name the rule", text)
		}
		r.fails("", "spec.ignoreDifferences[0].jqPathExpressions[0]")
		r.wrote(r.writes())
	},
	"no-dry-run": func(r *run) {
		r.commit(configs("a", "b"))
		r.create("CreateNamespace=true")
		r.succeeds("")
		for _, o := range refusal(r.name) {
			must(r.T, r.target.Create(r.Context(), o))
		}
		probe := client.RawPatch(types.MergePatchType, []byte(`{"data":{"probe":"1"}}`))
		r.until("dry runs are refused", func() error {
			if err := r.target.Patch(r.Context(), r.live("v1", "ConfigMap", "b"), probe, client.DryRunAll); !apierrors.IsForbidden(err) {
				return fmt.Errorf("answer %w", errors.Join(err))
			}
			return nil
		})
		r.edit("v1", "ConfigMap", "a", `{"data":{"mode":"edited"}}`)
		app := r.status(v1alpha1.SyncStatusOutOfSync)
		if text := fmt.Sprint(app.Status.Conditions); !strings.Contains(text, "ComparisonWarning compared in memory") || strings.Contains(text, "ComparisonError") {
			r.Errorf("conditions %s", text)
		}
		r.wrote(r.succeeds(""), "patch configmaps/a")
		if app := r.status(v1alpha1.SyncStatusSynced); len(app.Status.Conditions) != 0 {
			r.Errorf("conditions %+v", app.Status.Conditions)
		}
	},
}

// refusal makes a cluster that refuses dry runs in a namespace.
func refusal(namespace string) []*unstructured.Unstructured {
	name := "refuse-" + namespace
	made := func(kind string, spec map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": map[string]any{"name": name}, "spec": spec,
		}}
	}
	where := map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": namespace}}
	return []*unstructured.Unstructured{
		made("ValidatingAdmissionPolicy", map[string]any{
			"matchConstraints": map[string]any{"namespaceSelector": where, "resourceRules": []any{
				map[string]any{"apiGroups": []any{""}, "apiVersions": []any{"v1"}, "operations": []any{"CREATE", "UPDATE"}, "resources": []any{"configmaps"}},
			}},
			"validations": []any{map[string]any{"expression": "!request.dryRun", "reason": "Forbidden", "message": "no dry runs here"}},
		}),
		made("ValidatingAdmissionPolicyBinding", map[string]any{"policyName": name, "validationActions": []any{"Deny"}}),
	}
}

const drifting = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, creationTimestamp: null, annotations: {}}
spec:
  replicas: 1
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}, creationTimestamp: null}
    spec:
      terminationGracePeriodSeconds: 30
      containers:
      - name: c
        image: x:v1
        command: []
        resources: {limits: {cpu: 1000m, memory: 0.5Gi}, requests: {cpu: 0.1}}
        ports: [{containerPort: 80}, {containerPort: 80, protocol: UDP}]
        env: [{name: B, value: ""}, {name: A}]
        livenessProbe: {httpGet: {path: /, port: 80}}
        volumeMounts: []
        securityContext: {}
      volumes: [{name: scratch, emptyDir: {}}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1024Mi}}}
status: {replicas: 0}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: texts}
data: {number: "1", empty: "", long: "a\nb\n"}
---
apiVersion: v1
kind: Secret
metadata: {name: secret}
stringData: {user: bot}
data: {user: c29tZW9uZQ==, blob: AAEC}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {selector: {app: db}, ports: [{port: 80, targetPort: http, name: b}, {port: 53, protocol: UDP, name: a}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: no-false-drift-aggregated}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}}]}
rules: []
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {}, ingress: [], policyTypes: [Ingress]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: db}
spec:
  minReplicas: 1
  maxReplicas: 2
  scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: db}
  metrics: [{type: Resource, resource: {name: cpu, target: {type: AverageValue, averageValue: 1.0}}}]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: drifts.no-false-drift.example.com}
spec:
  group: no-false-drift.example.com
  names: {kind: Drift, plural: drifts}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            x-kubernetes-preserve-unknown-fields: true
            properties:
              size: {type: integer, default: 3}
              port: {x-kubernetes-int-or-string: true}
              items: {type: array, items: {type: object, properties: {id: {type: string}, mode: {type: string, default: rw}}, required: [id]}, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [id]}
---
apiVersion: no-false-drift.example.com/v1
kind: Drift
metadata: {name: d}
spec: {port: http, items: [{id: b}, {id: a}], anything: {x: 1.0, y: {}, z: []}, cpu: 1000m}
`
