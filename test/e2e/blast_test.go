//go:build soak

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/gitserver"
)

const rolloutKinds = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rollouts.argoproj.io}
spec:
  group: argoproj.io
  names: {kind: Rollout, plural: rollouts}
  scope: Namespaced
  versions:
  - name: v1alpha1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: analysisruns.argoproj.io}
spec:
  group: argoproj.io
  names: {kind: AnalysisRun, plural: analysisruns}
  scope: Namespaced
  versions:
  - {name: v1alpha1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`

const rolloutManifest = `apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: payment-service}
spec:
  replicas: 2
  selector: {matchLabels: {app: payment-service}}
  template:
    metadata: {labels: {app: payment-service}}
    spec: {containers: [{name: c, image: "registry.example.com/payment-service:%s"}]}
  strategy: {canary: {steps: [{setWeight: 10}, {analysis: {templates: [{templateName: error-rate-check}]}}]}}
`

var (
	rolloutResource  = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "rollouts"}
	analysisResource = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "analysisruns"}
)

// TestTwoLevelBlastRadius: inside the canary an Argo Rollouts Rollout aborts
// because its AnalysisRun fails; that holds the whole fleet. When it recovers,
// the fleet goes on. The statuses are written as its controller writes them.
func TestTwoLevelBlastRadius(t *testing.T) {
	p := startPayments(t)
	file := filepath.Join(t.TempDir(), "kinds.yaml")
	must(t, os.WriteFile(file, []byte(rolloutKinds), 0o600))
	var failing atomic.Bool
	for name, cluster := range short {
		if out, err := kubectl(t, p.r, cluster, "apply", "-f", file); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		c, err := p.r.Fleet.Cluster(cluster)
		must(t, err)
		cfg, err := c.Config()
		must(t, err)
		client, err := dynamic.NewForConfig(cfg)
		must(t, err)
		go playRollouts(t.Context(), client, func() bool { return name == "c" && failing.Load() })
	}
	push := func() string {
		p.n++
		id, err := p.r.Repo.Commit(p.tag(), gitserver.Files{"blast/rollout.yaml": fmt.Sprintf(rolloutManifest, p.tag())})
		must(t, err)
		return id
	}
	first := push()
	p.configure(func(s *v1alpha1.ApplicationSet) { s.Spec.Template.Spec.Source.Path = "blast" })
	settle(t, p.r, first, time.Minute)

	failing.Store(true)
	id := push()
	p.halted("ApplicationDegraded", 1)
	p.reached(p.tag(), "c")
	app, err := get(t.Context(), p.r, short["c"]+"-payment-service")
	must(t, err)
	if app.Status.Health.Status != v1alpha1.HealthDegraded {
		t.Errorf("the canary is %s, want Degraded", app.Status.Health.Status)
	}
	failing.Store(false)
	settle(t, p.r, id, time.Minute)
	p.reached(p.tag(), "ap", "c", "e", "eu", "w")
}

// playRollouts writes the status of Rollouts; while failing it says what the
// controller says after a failed analysis, and leaves a failed AnalysisRun.
func playRollouts(ctx context.Context, client dynamic.Interface, failing func() bool) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		list, err := client.Resource(rolloutResource).List(ctx, metav1.ListOptions{})
		if err != nil {
			continue
		}
		for i := range list.Items {
			phase, message := "Healthy", ""
			if failing() {
				phase, message = "Degraded", `RolloutAborted: Rollout aborted update: Metric "error-rate" assessed Failed due to failed (4) > failureLimit (3)`
				run := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "status": map[string]any{"phase": "Failed"}}}
				run.SetName(list.Items[i].GetName() + "-" + strconv.FormatInt(list.Items[i].GetGeneration(), 10))
				run.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Name: list.Items[i].GetName(), UID: list.Items[i].GetUID()}})
				_, _ = client.Resource(analysisResource).Namespace(list.Items[i].GetNamespace()).Create(ctx, run, metav1.CreateOptions{})
			}
			patch := fmt.Appendf(nil, `{"status":{"observedGeneration":"%d","phase":%q,"message":%q}}`, list.Items[i].GetGeneration(), phase, message)
			_, _ = client.Resource(rolloutResource).Namespace(list.Items[i].GetNamespace()).Patch(ctx, list.Items[i].GetName(), types.MergePatchType, patch, metav1.PatchOptions{}, "status")
		}
	}
}
