package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	rules "github.com/sluice-cd/sluice/health"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/adapter/lua"
	"github.com/sluice-cd/sluice/internal/controller/perform"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/test/rig"
)

const actionObjects = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: "x:v1"}]}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: default}
spec:
  schedule: "0 3 1 1 *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "x:v1"}]}}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: stuck, namespace: default}
spec: {template: {spec: {restartPolicy: Never, nodeSelector: {no: such}, containers: [{name: c, image: "x:v1"}]}}}
---
apiVersion: internal.myplatform.io/v1
kind: ServiceDeployment
metadata: {name: pay, namespace: default}
spec: {image: a}
`

const payActions = `
internal.myplatform.io/ServiceDeployment:
  actions: |
    discovery.lua: return {approve = {}}
    definitions:
    - name: approve
      action.lua: |
        obj.spec.image = "b"
        obj.status = {phase = "Approved"}
        return obj
`

// actor runs actions of the product on a real cluster.
type actor struct {
	service *perform.Service
	conn    *cluster.Connection
	where   destination.Cluster
}

func newActor(t *testing.T, r *rig.Rig) *actor {
	t.Helper()
	one, err := r.Fleet.Cluster("one")
	must(t, err)
	cfg, err := one.Config()
	must(t, err)
	log := slog.New(slog.DiscardHandler)
	where := destination.Cluster{Name: destination.InClusterName, Server: destination.InClusterServer}
	fleet := cluster.NewFleet(t.Context(), cluster.Options{Log: log, Registerer: prometheus.NewRegistry(), Clock: clock.RealClock{}, Hub: cfg})
	fleet.Replace(destination.Clusters{where})
	conn, err := fleet.Connection(where.Server)
	must(t, err)
	must(t, rig.Until(t.Context(), 20*time.Second, "a connection to one", func(context.Context) (bool, error) {
		return conn.State().Status == cluster.StatusSuccessful, nil
	}))
	shipped, err := lua.NewShipped(rules.Files)
	must(t, err)
	pool, err := lua.NewPool(lua.PoolOptions{Command: []string{filepath.Join(binaries(t), "sluice"), lua.WorkerCommand}, Clock: clock.RealClock{}, Log: log})
	must(t, err)
	t.Cleanup(pool.Close)
	s := perform.New(perform.Options{Shipped: shipped, Runner: pool, Recorder: record.NewFakeRecorder(100), Clock: clock.RealClock{}, Log: log})
	s.Reload(map[string]string{"resource.customizations": payActions})
	return &actor{s, conn, where}
}

// run runs an action on the newest version of an object of namespace default.
func (a *actor) run(t *testing.T, gvk schema.GroupVersionKind, name, action string, params map[string]string) {
	t.Helper()
	key := object.Key{Group: gvk.Group, Kind: gvk.Kind, Namespace: "default", Name: name}
	target := &unstructured.Unstructured{}
	target.SetGroupVersionKind(gvk)
	target.SetNamespace(key.Namespace)
	target.SetName(key.Name)
	var live *unstructured.Unstructured
	must(t, rig.Until(t.Context(), 20*time.Second, key.String()+" is seen", func(ctx context.Context) (bool, error) {
		seen, err := a.conn.Observe(ctx, cluster.Want{Instance: "actions", Targets: []*unstructured.Unstructured{target}})
		if err != nil {
			return false, err
		}
		live = seen.Live[key]
		return live != nil, nil
	}))
	project := &v1alpha1.AppProject{}
	project.Name = "default"
	project.Spec.Destinations = []v1alpha1.ApplicationDestination{{Server: "*", Namespace: "default"}}
	err := a.service.Run(t.Context(), perform.Request{
		App: &v1alpha1.Application{}, Project: project, Destination: a.where, Cluster: a.conn, Live: live, Action: action, Params: params,
	})
	if err != nil {
		t.Fatalf("%s of %s: %v", action, key, err)
	}
}

// actions runs actions and reads on the cluster what they did.
func actions(t *testing.T, r *rig.Rig) {
	file := filepath.Join(t.TempDir(), "objects.yaml")
	must(t, os.WriteFile(file, []byte(actionObjects), 0o600))
	if out, err := kubectl(t, r, "one", "apply", "-f", file); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	a := newActor(t, r)
	kind := func(group, kind string) schema.GroupVersionKind {
		return schema.GroupVersionKind{Group: group, Version: "v1", Kind: kind}
	}
	shows := func(want, path, resource, name string) {
		t.Helper()
		prints(t, r, "one", want, "get", resource, name, "-n", "default", "-o", "jsonpath={"+path+"}")
	}
	a.run(t, kind("apps", "Deployment"), "web", "scale", map[string]string{"replicas": "2"})
	shows("2", ".spec.replicas", "deployment", "web")
	a.run(t, kind("apps", "Deployment"), "web", "restart", nil)
	shows("2", ".metadata.annotations.deployment\\.kubernetes\\.io/revision", "deployment", "web")
	a.run(t, kind("batch", "CronJob"), "nightly", "create-job", nil)
	must(t, rig.Until(t.Context(), 20*time.Second, "a Job of the CronJob", func(context.Context) (bool, error) {
		out, err := kubectl(t, r, "one", "get", "jobs", "-n", "default", "-o", `jsonpath={range .items[*]}{.metadata.ownerReferences[0].name}={.metadata.annotations.cronjob\.kubernetes\.io/instantiate} {end}`)
		if out != "nightly=manual =" && out != "= nightly=manual" {
			return false, fmt.Errorf("printed %q (%v)", out, err)
		}
		return true, nil
	}))
	a.run(t, kind("batch", "CronJob"), "nightly", "suspend", nil)
	shows("true", ".spec.suspend", "cronjob", "nightly")
	a.run(t, kind("batch", "Job"), "stuck", "terminate", nil)
	shows("True", `.status.conditions[?(@.type=="Failed")].status`, "job", "stuck")
	a.run(t, kind("internal.myplatform.io", "ServiceDeployment"), "pay", "approve", nil)
	shows("b Approved", ".spec.image} {.status.phase", "servicedeployment", "pay")
}
