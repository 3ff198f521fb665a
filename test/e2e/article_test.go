package e2e

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/rig"
)

// tenClusters are one canary, three primary and six secondary ones.
const tenClusters = "c-1:env=production;wave=canary," +
	"p-1:env=production;wave=primary,p-2:env=production;wave=primary,p-3:env=production;wave=primary," +
	"s-1:env=production;wave=secondary,s-2:env=production;wave=secondary,s-3:env=production;wave=secondary," +
	"s-4:env=production;wave=secondary,s-5:env=production;wave=secondary,s-6:env=production;wave=secondary"

// tenSet limits the steps by number, by percentage and by percentage.
const tenSet = `apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: payment-service}
spec:
  generators:
  - clusters: {selector: {matchLabels: {env: production}}}
  strategy:
    type: RollingSync
    rollingSync:
      failureGracePeriod: 1s
      steps:
      - matchExpressions: [{key: wave, operator: In, values: [canary]}]
        maxUpdate: 1
      - matchExpressions: [{key: wave, operator: In, values: [primary]}]
        maxUpdate: "34%%"
      - matchExpressions: [{key: wave, operator: NotIn, values: [canary, primary]}]
        maxUpdate: "50%%"
  template:
    metadata: {name: '{{name}}-payment-service'}
    spec:
      project: default
      source: {repoURL: %q, targetRevision: HEAD, path: apps/payment-service}
      destination: {server: '{{server}}', namespace: payments}
      syncPolicy:
        automated: {prune: true, selfHeal: true}
        syncOptions: [CreateNamespace=true]
`

// tenGroups are the batches in which a version reaches the ten clusters.
var tenGroups = [][]string{{"c-1"}, {"p-1"}, {"p-2"}, {"p-3"}, {"s-1", "s-2", "s-3"}, {"s-4", "s-5", "s-6"}}

// servicesSet puts three services on the canary and the primary clusters, two
// Applications at a time.
const servicesSet = `apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: platform-services}
spec:
  goTemplate: true
  goTemplateOptions: [missingkey=error]
  generators:
  - matrix:
      generators:
      - clusters: {selector: {matchExpressions: [{key: wave, operator: In, values: [canary, primary]}]}}
      - list: {elements: [{service: auth}, {service: billing}, {service: search}]}
  strategy:
    type: RollingSync
    rollingSync:
      steps:
      - matchExpressions: [{key: wave, operator: In, values: [canary]}]
        maxUpdate: 2
      - matchExpressions: [{key: wave, operator: In, values: [primary]}]
  template:
    metadata: {name: '{{.name}}-{{.service}}'}
    spec:
      project: default
      source: {repoURL: %q, targetRevision: HEAD, path: 'services/{{.service}}'}
      destination: {server: '{{.server}}', namespace: services}
      syncPolicy: {automated: {}, syncOptions: [CreateNamespace=true]}
`

// TestArticle plays the first article on ten clusters; what happened is read
// from the clusters.
func TestArticle(t *testing.T) {
	r := start(t, tenClusters)
	v1, err := r.CommitPayment("v1")
	must(t, err)
	must(t, r.Launch())
	must(t, r.Apply(t.Context(), fmt.Sprintf(tenSet, r.Git.URL("gitops-fleet")), &v1alpha1.ApplicationSet{}))
	settle(t, r, v1, 2*time.Minute)
	ordered := func(tag string) {
		t.Helper()
		if err := r.InOrder(rig.PaymentName, "payment-service:"+tag, tenGroups...); err != nil {
			t.Error(err)
		}
	}
	ordered("v1")
	next := func(tag string) string {
		t.Helper()
		id, err := r.CommitPayment(tag)
		must(t, err)
		return id
	}
	t.Run("percentages and batches", func(t *testing.T) {
		settle(t, r, next("v2"), time.Minute)
		ordered("v2")
	})
	t.Run("a bad commit stops at the canary and is reverted", func(t *testing.T) {
		bad := next("crash-v3")
		must(t, rig.Until(t.Context(), 40*time.Second, "a halted rollout that names the canary", func(ctx context.Context) (bool, error) {
			_, set, err := r.Rows(ctx)
			if err != nil {
				return false, err
			}
			for _, c := range set.Status.Conditions {
				if c.Type == v1alpha1.AppSetRolloutHalted && c.Status == "True" && strings.Contains(c.Message, "c-1-payment-service") {
					return true, nil
				}
			}
			return false, fmt.Errorf("conditions %+v, records %+v", set.Status.Conditions, set.Status.ApplicationStatus)
		}))
		good, err := r.Repo.Revert(bad)
		must(t, err)
		settle(t, r, good, time.Minute)
		if got, err := r.Received("crash-v3"); err != nil || len(got) != 1 || got[0] != "c-1" {
			t.Errorf("the bad version was written to %v (%v), want the canary only", got, err)
		}
	})
	t.Run("pause in mid-step and resume", func(t *testing.T) { paused(t, r, next("v4")); ordered("v4") })
	t.Run("restart in mid-step", func(t *testing.T) {
		id := next("v5")
		half := moment{"s-1 is written to", "s-1", func(a auditLine, _ string) bool {
			return applied("deployments")(a, "") && mentions(a, "payment-service:v5")
		}}
		half.await(t, r, 0, id)
		r.Kill(syscall.SIGKILL)
		must(t, r.Launch())
		settle(t, r, id, time.Minute)
		ordered("v5")
	})
	t.Run("a matrix of services", func(t *testing.T) { services(t, r) })
}

// paused pauses when the first primary has been written to, and resumes when
// nothing is in flight any more.
func paused(t *testing.T, r *rig.Rig, id string) {
	t.Helper()
	applied := moment{"p-1 is written to", "p-1", func(a auditLine, _ string) bool {
		return applied("deployments")(a, "") && mentions(a, "payment-service:v4")
	}}
	applied.await(t, r, 0, id)
	must(t, r.Pause(t.Context(), true))
	must(t, rig.Until(t.Context(), 40*time.Second, "a paused rollout with nothing in flight", func(ctx context.Context) (bool, error) {
		rows, set, err := r.Rows(ctx)
		if err != nil || set.Status.Rollout == nil {
			return false, err
		}
		for _, row := range rows {
			if row.Status != "Healthy" && row.Status != "Waiting" || row.Revision != id {
				return false, fmt.Errorf("%s is %s", row.Cluster, row.Status)
			}
		}
		return set.Status.Rollout.Phase == "Paused", nil
	}))
	got, err := r.Received("payment-service:v4")
	must(t, err)
	if s := strings.Join(got, " "); s != "c-1 p-1" && s != "c-1 p-1 p-2" { // the pause may come a moment after p-2 was let in
		t.Errorf("while paused the version is on %v, want the canary and the first primaries", got)
	}
	must(t, r.Pause(t.Context(), false))
	settle(t, r, id, time.Minute)
}

// services rolls three services out: at most two at a time on the canary, and
// none on the primaries before all three are well there.
func services(t *testing.T, r *rig.Rig) {
	names := []string{"auth", "billing", "search"}
	push := func(tag string) {
		t.Helper()
		files := map[string]string{}
		for _, name := range names {
			files["services/"+name+"/web.yaml"] = rig.Workload(name, tag)
		}
		_, err := r.Repo.Commit("services "+tag, files)
		must(t, err)
	}
	push("v1")
	must(t, r.Apply(t.Context(), fmt.Sprintf(servicesSet, r.Git.URL("gitops-fleet")), &v1alpha1.ApplicationSet{}))
	everywhere := func(tag string) {
		t.Helper()
		for _, cluster := range []string{"c-1", "p-1", "p-2", "p-3"} {
			for _, name := range names {
				prints(t, r, cluster, "2 registry.example.com/"+name+":"+tag, "get", "deployment", name, "-n", "services",
					"-o", "jsonpath={.status.availableReplicas} {.spec.template.spec.containers[0].image}")
			}
		}
	}
	everywhere("v1")
	push("v2")
	everywhere("v2")
	c1, err := r.Fleet.Cluster("c-1")
	must(t, err)
	ready := map[string]time.Time{}
	written := map[string]time.Time{}
	for _, name := range names {
		written[name], ready[name], err = rig.Delivered(c1, name, name+":v2")
		must(t, err)
	}
	last := time.Time{}
	for _, name := range names {
		inFlight := 0
		for _, other := range names {
			if !written[other].After(written[name]) && ready[other].After(written[name]) {
				inFlight++
			}
		}
		if inFlight > 2 {
			t.Errorf("when %s began %d services were in flight on the canary, want at most 2: written %v, ready %v", name, inFlight, written, ready)
		}
		if ready[name].After(last) {
			last = ready[name]
		}
	}
	for _, primary := range []string{"p-1", "p-2", "p-3"} {
		c, err := r.Fleet.Cluster(primary)
		must(t, err)
		for _, name := range names {
			at, _, err := rig.Delivered(c, name, name+":v2")
			must(t, err)
			if at.Before(last) {
				t.Errorf("%s reached %s at %s, before the canary was ready at %s", name, primary, at, last)
			}
		}
	}
}
