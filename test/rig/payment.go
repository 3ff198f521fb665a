package rig

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/fleet"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// PaymentClusters is a small production fleet: one canary, two primary and
// two secondary clusters.
const PaymentClusters = "us-east-1-canary:env=production;region=us-east-1-canary;wave=canary," +
	"us-east-1:env=production;region=us-east-1;wave=primary," +
	"us-west-2:env=production;region=us-west-2;wave=primary," +
	"eu-west-1:env=production;region=eu-west-1;wave=secondary," +
	"ap-southeast-1:env=production;region=ap-southeast-1;wave=secondary"

// Canary is the cluster of the first step.
const Canary = "us-east-1-canary"

// SetName is the ApplicationSet of the payment service.
const SetName = "payment-service"

const paymentProject = `apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: production}
spec:
  sourceRepos: ['*']
  destinations: [{server: '*', namespace: '*'}]
  clusterResourceWhitelist: [{group: '*', kind: '*'}]
`

const paymentSet = `apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: payment-service}
spec:
  generators:
  - clusters:
      selector: {matchLabels: {env: production}}
  strategy:
    type: RollingSync
    rollingSync:
      steps:
      - matchExpressions: [{key: region, operator: In, values: [us-east-1-canary]}]
        maxUpdate: 1
      - matchExpressions: [{key: region, operator: In, values: [us-east-1, us-west-2]}]
        maxUpdate: 2
      - matchExpressions: [{key: region, operator: NotIn, values: [us-east-1-canary, us-east-1, us-west-2]}]
        maxUpdate: 10
  template:
    metadata: {name: '{{name}}-payment-service'}
    spec:
      project: production
      source: {repoURL: %q, targetRevision: HEAD, path: apps/payment-service}
      destination: {server: '{{server}}', namespace: payments}
      syncPolicy:
        automated: {prune: true, selfHeal: true}
        syncOptions: [CreateNamespace=true]
`

// PaymentName is the Deployment of the payment service.
const PaymentName = "payment-service"

// Workload is a Deployment of two replicas with its Service.
func Workload(name, tag string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: 2
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      containers:
      - name: %[1]s
        image: registry.example.com/%[1]s:%[2]s
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec:
  selector: {app: %[1]s}
  ports: [{port: 80, targetPort: 8080}]
`, name, tag)
}

// CommitPayment commits a version of the payment service and returns the id.
func (r *Rig) CommitPayment(tag string) (string, error) {
	return r.Repo.Commit("payment-service "+tag, gitserver.Files{"apps/payment-service/manifests.yaml": Workload(PaymentName, tag)})
}

// ApplyPayment creates project and ApplicationSet.
func (r *Rig) ApplyPayment(ctx context.Context) error {
	if err := r.Apply(ctx, paymentProject, &v1alpha1.AppProject{}); err != nil {
		return err
	}
	return r.Apply(ctx, fmt.Sprintf(paymentSet, r.Git.URL("gitops-fleet")), &v1alpha1.ApplicationSet{})
}

// ApplyPaymentLimited is ApplyPayment with another limit for the primary step.
func (r *Rig) ApplyPaymentLimited(ctx context.Context, primary int) error {
	if err := r.Apply(ctx, paymentProject, &v1alpha1.AppProject{}); err != nil {
		return err
	}
	manifest := strings.Replace(fmt.Sprintf(paymentSet, r.Git.URL("gitops-fleet")), "maxUpdate: 2", fmt.Sprintf("maxUpdate: %d", primary), 1)
	return r.Apply(ctx, manifest, &v1alpha1.ApplicationSet{})
}

// Pause sets or removes the pause of the payment service's rollout.
func (r *Rig) Pause(ctx context.Context, on bool) error {
	var set v1alpha1.ApplicationSet
	if err := r.Hub.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: SetName}, &set); err != nil {
		return err
	}
	next := set.DeepCopy()
	if next.Annotations == nil {
		next.Annotations = map[string]string{}
	}
	delete(next.Annotations, v1alpha1.AnnotationPauseRollout)
	if on {
		next.Annotations[v1alpha1.AnnotationPauseRollout] = "true"
	}
	return r.Hub.Patch(ctx, next, client.MergeFrom(&set))
}

// FirstWriteAfter is when sluice first wrote anything, on the hub or a target
// cluster, after an instant; the instant itself when it never did.
func (r *Rig) FirstWriteAfter(after time.Time) (time.Time, error) {
	first := time.Time{}
	for _, c := range r.Fleet.Clusters() {
		lines, err := c.AuditLines()
		if err != nil {
			return first, err
		}
		for _, a := range lines {
			ours := strings.HasPrefix(a.UserAgent, agent) || strings.HasPrefix(a.UserAgent, "sluice/")
			if ours && a.Write() && a.Received.After(after) && (first.IsZero() || a.Received.Before(first)) {
				first = a.Received
			}
		}
	}
	if first.IsZero() {
		return after, nil
	}
	return first, nil
}

// InOrder checks, on the clusters, that a version of a Deployment reached them
// group by group: each group was first written to after every Deployment of
// the groups before had become ready with the version.
func (r *Rig) InOrder(name, text string, groups ...[]string) error {
	var ready time.Time
	for i, group := range groups {
		next := ready
		for _, cluster := range group {
			c, err := r.Fleet.Cluster(cluster)
			if err != nil {
				return err
			}
			written, available, err := Delivered(c, name, text)
			if err != nil {
				return err
			}
			if written.Before(ready) {
				return fmt.Errorf("%s was written to %s at %s, before group %d was ready at %s", text, cluster, written.Format(time.StampMilli), i, ready.Format(time.StampMilli))
			}
			if available.IsZero() {
				return fmt.Errorf("%s never became ready on %s", text, cluster)
			}
			if available.After(next) {
				next = available
			}
		}
		ready = next
	}
	return nil
}

// Delivered is when a cluster accepted our first write of a Deployment that
// mentions text, and when two updated replicas of it were first available
// after that; zero when they never were.
func Delivered(c fleet.Cluster, name, text string) (written, available time.Time, err error) {
	writes, err := Applies(c, text)
	if err != nil {
		return written, available, err
	}
	if len(writes) == 0 {
		return written, available, fmt.Errorf("%s was never written to %s", text, c.Name)
	}
	lines, err := c.AuditLines()
	if err != nil {
		return written, available, err
	}
	for _, a := range lines {
		ready := a.ObjectRef.Resource == "deployments" && a.ObjectRef.Subresource == "status" && a.ObjectRef.Name == name &&
			bytes.Contains(a.RequestObject, []byte(`"availableReplicas":2`)) && bytes.Contains(a.RequestObject, []byte(`"updatedReplicas":2`))
		if ready && a.Received.After(writes[0]) {
			return writes[0], a.Received, nil
		}
	}
	return writes[0], available, nil
}

// Row is what a person wants to know of one cluster.
type Row struct {
	Step, Cluster, Sync, Health, Revision, Status, Reason string
}

// Rows reads the state of the payment service from the hub, by step.
func (r *Rig) Rows(ctx context.Context) ([]Row, *v1alpha1.ApplicationSet, error) {
	var set v1alpha1.ApplicationSet
	if err := r.Hub.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: SetName}, &set); err != nil {
		return nil, nil, err
	}
	var apps v1alpha1.ApplicationList
	if err := r.Hub.List(ctx, &apps, client.InNamespace(Namespace), client.MatchingLabels{v1alpha1.LabelApplicationSetName: SetName}); err != nil {
		return nil, nil, err
	}
	records := map[string]v1alpha1.ApplicationSetAppStatus{}
	for _, s := range set.Status.ApplicationStatus {
		records[s.Application] = s
	}
	var out []Row
	for _, a := range apps.Items {
		rec := records[a.Name]
		out = append(out, Row{
			Step: rec.Step, Cluster: strings.TrimSuffix(a.Name, "-payment-service"), Sync: string(a.Status.Sync.Status),
			Health: string(a.Status.Health.Status), Revision: a.Status.Sync.Revision, Status: rec.Status, Reason: rec.Reason,
		})
	}
	slices.SortFunc(out, func(a, b Row) int { return strings.Compare(a.Step+a.Cluster, b.Step+b.Cluster) })
	return out, &set, nil
}

// Settled says that the rollout is complete and every cluster runs revision.
func (r *Rig) Settled(ctx context.Context, revision string) (bool, error) {
	rows, set, err := r.Rows(ctx)
	if err != nil || len(rows) == 0 || set.Status.Rollout == nil {
		return false, err
	}
	for _, row := range rows {
		if row.Revision != revision || row.Sync != "Synced" || row.Health != "Healthy" || row.Status != "Healthy" {
			return false, fmt.Errorf("%s is %s, %s, %s at %.7s", row.Cluster, row.Status, row.Sync, row.Health, row.Revision)
		}
	}
	return set.Status.Rollout.CurrentStep == 0 && len(rows) == len(r.Fleet.Clusters())-1, nil
}

// Received lists the clusters on which a write that mentions text was
// accepted, read from the clusters' own audit logs.
func (r *Rig) Received(text string) ([]string, error) {
	var out []string
	for _, c := range r.Fleet.Clusters() {
		if c.Name == r.HubPart.Name {
			continue
		}
		lines, err := c.AuditLines()
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(lines, func(a fleet.Audit) bool { return a.Write() && bytes.Contains(a.RequestObject, []byte(text)) }) {
			out = append(out, c.Name)
		}
	}
	return out, nil
}

// agent is the user agent of our writes to target clusters.
const agent = "argocd-application-controller"

// Applies lists when a cluster accepted our writes that mention text.
func Applies(c fleet.Cluster, text string) ([]time.Time, error) {
	lines, err := c.AuditLines()
	if err != nil {
		return nil, err
	}
	var out []time.Time
	for _, a := range lines {
		if a.Write() && strings.HasPrefix(a.UserAgent, agent) && bytes.Contains(a.RequestObject, []byte(text)) {
			out = append(out, a.Received)
		}
	}
	return out, nil
}

// Latency is the time from the last health event of the canary to the first
// write to a cluster of the next step, for the version with this tag.
func (r *Rig) Latency(tag string) (time.Duration, error) {
	canary, err := r.Fleet.Cluster(Canary)
	if err != nil {
		return 0, err
	}
	var first time.Time
	for _, name := range []string{"us-east-1", "us-west-2"} {
		c, err := r.Fleet.Cluster(name)
		if err != nil {
			return 0, err
		}
		times, err := Applies(c, "payment-service:"+tag)
		if err != nil {
			return 0, err
		}
		if len(times) > 0 && (first.IsZero() || times[0].Before(first)) {
			first = times[0]
		}
	}
	lines, err := canary.AuditLines()
	if err != nil {
		return 0, err
	}
	var last time.Time
	for _, a := range lines {
		if a.ObjectRef.Resource == "deployments" && a.ObjectRef.Subresource == "status" && a.Done.Before(first) {
			last = a.Done
		}
	}
	if first.IsZero() || last.IsZero() {
		return 0, fmt.Errorf("version %s did not pass from the canary to the next step", tag)
	}
	return first.Sub(last), nil
}
