//go:build soak

package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

// short names of the five clusters, as the scenarios use them.
var short = map[string]string{
	"c": rig.Canary, "e": "us-east-1", "w": "us-west-2", "eu": "eu-west-1", "ap": "ap-southeast-1",
}

// scenarioSet gives each cluster a folder of its own, so that a commit can be
// good for one and bad for another.
const scenarioSet = `apiVersion: argoproj.io/v1alpha1
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
      - {name: canary, matchExpressions: [{key: region, operator: In, values: [us-east-1-canary]}], maxUpdate: 1}
      - {name: primary, matchExpressions: [{key: region, operator: In, values: [us-east-1, us-west-2]}], maxUpdate: 2}
      - {name: rest, matchExpressions: [{key: region, operator: NotIn, values: [us-east-1-canary, us-east-1, us-west-2]}], maxUpdate: 10}
  template:
    metadata: {name: '{{name}}-payment-service'}
    spec:
      project: default
      source: {repoURL: %q, targetRevision: HEAD, path: 'clusters/{{name}}'}
      destination: {server: '{{server}}', namespace: payments}
      syncPolicy:
        automated: {prune: true, selfHeal: true}
        syncOptions: [CreateNamespace=true]
        retry: {limit: 0}
`

// payments plays scenarios on the five clusters of the first article.
type payments struct {
	*testing.T
	r    *rig.Rig
	spec v1alpha1.ApplicationSetSpec
	n    int
}

func startPayments(t *testing.T) *payments {
	t.Helper()
	p := &payments{T: t, r: start(t, rig.PaymentClusters)}
	must(t, p.r.Launch())
	id := p.push()
	var set v1alpha1.ApplicationSet
	must(t, p.r.Apply(t.Context(), fmt.Sprintf(scenarioSet, p.r.Git.URL("gitops-fleet")), &set))
	p.spec = set.Spec
	settle(t, p.r, id, 90*time.Second)
	return p
}

// scenario runs one scenario from and back to everything settled.
func (p *payments) scenario(id string, play func(p *payments)) {
	p.Run(id, func(t *testing.T) {
		q := *p
		q.T = t
		play(&q)
		p.n = q.n
		q.reset()
		p.n = q.n
	})
}

// reset brings back the usual set and a good version everywhere.
func (p *payments) reset() {
	p.Helper()
	p.configure(func(*v1alpha1.ApplicationSet) {})
	settle(p.T, p.r, p.push(), 90*time.Second)
}

// configure replaces the spec by the usual one with a change, and drops all
// annotations.
func (p *payments) configure(change func(*v1alpha1.ApplicationSet)) {
	p.Helper()
	must(p.T, rig.Until(p.Context(), 10*time.Second, "the set is written", func(ctx context.Context) (bool, error) {
		set, err := p.set(ctx)
		if err != nil {
			return false, err
		}
		set.Spec, set.Annotations = *p.spec.DeepCopy(), nil
		change(set)
		return true, p.r.Hub.Update(ctx, set)
	}))
}

func (p *payments) rolling(change func(*v1alpha1.RollingSync)) {
	p.Helper()
	p.configure(func(s *v1alpha1.ApplicationSet) { change(s.Spec.Strategy.RollingSync) })
}

func (p *payments) set(ctx context.Context) (*v1alpha1.ApplicationSet, error) {
	var set v1alpha1.ApplicationSet
	return &set, p.r.Hub.Get(ctx, client.ObjectKey{Namespace: rig.Namespace, Name: rig.SetName}, &set)
}

// annotate sets an annotation of the set; an empty value removes it.
func (p *payments) annotate(key, value string) {
	p.Helper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, "argocd.argoproj.io/"+key, value)
	if value == "" {
		patch = fmt.Sprintf(`{"metadata":{"annotations":{%q:null}}}`, "argocd.argoproj.io/"+key)
	}
	set, err := p.set(p.Context())
	must(p.T, err)
	must(p.T, p.r.Hub.Patch(p.Context(), set, client.RawPatch(types.MergePatchType, []byte(patch))))
}

// push commits the next version everywhere; tags by short name replace it.
func (p *payments) push(tags ...string) string {
	p.Helper()
	p.n++
	special := map[string]string{}
	for _, t := range tags {
		name, tag, _ := strings.Cut(t, "=")
		special[name] = tag
	}
	files := gitserver.Files{}
	for name, cluster := range short {
		tag := p.tag()
		if s := special[name]; s != "" {
			tag = s + "-" + tag
		}
		files["clusters/"+cluster+"/web.yaml"] = rig.Workload(rig.PaymentName, tag)
	}
	id, err := p.r.Repo.Commit(p.tag(), files)
	must(p.T, err)
	return id
}

// only commits a new version for some clusters; the others stay as they are.
func (p *payments) only(names ...string) string {
	p.Helper()
	p.n++
	files := gitserver.Files{}
	for _, name := range names {
		files["clusters/"+short[name]+"/web.yaml"] = rig.Workload(rig.PaymentName, p.tag())
	}
	id, err := p.r.Repo.Commit(p.tag(), files)
	must(p.T, err)
	return id
}

func (p *payments) tag() string { return fmt.Sprintf("v%d", p.n) }

// received are the short names of the clusters that a version was written to.
func (p *payments) received(tag string) []string {
	p.Helper()
	got, err := p.r.Received(rig.PaymentName + ":" + tag + `"`)
	must(p.T, err)
	var out []string
	for name, cluster := range short {
		if slices.Contains(got, cluster) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// reached fails unless exactly these clusters were written the version.
func (p *payments) reached(tag string, want ...string) {
	p.Helper()
	slices.Sort(want)
	if got := p.received(tag); !slices.Equal(got, want) {
		p.Errorf("%s was written to %v, want %v", tag, got, want)
	}
}

// until waits for a state of the set and its records (by short name).
func (p *payments) until(what string, ok func(*v1alpha1.ApplicationSet, map[string]v1alpha1.ApplicationSetAppStatus) bool) {
	p.Helper()
	must(p.T, rig.Until(p.Context(), 40*time.Second, what, func(ctx context.Context) (bool, error) {
		set, err := p.set(ctx)
		if err != nil || set.Status.Rollout == nil {
			return false, err
		}
		records := map[string]v1alpha1.ApplicationSetAppStatus{}
		for name, cluster := range short {
			for _, s := range set.Status.ApplicationStatus {
				if s.Application == cluster+"-payment-service" {
					records[name] = s
				}
			}
		}
		if !ok(set, records) {
			var seen []string
			for _, name := range slices.Sorted(maps.Keys(records)) {
				seen = append(seen, fmt.Sprintf("%s %s %s", name, records[name].Status, records[name].Reason))
			}
			halt := ""
			if h := set.Status.Rollout.Halt; h != nil {
				halt = h.Reason
			}
			return false, fmt.Errorf("rollout %d %s of %+v step %d %s: %s", set.Status.Rollout.ID, set.Status.Rollout.Phase, set.Status.Rollout.Target, set.Status.Rollout.CurrentStep, halt, strings.Join(seen, ", "))
		}
		return true, nil
	}))
}

// phase waits for a phase of the rollout to this revision.
func (p *payments) phase(want, revision string) {
	p.Helper()
	p.until("phase "+want, func(s *v1alpha1.ApplicationSet, _ map[string]v1alpha1.ApplicationSetAppStatus) bool {
		t := s.Status.Rollout.Target
		return s.Status.Rollout.Phase == want && t != nil && len(t.Sources) > 0 && t.Sources[0].Revision == revision
	})
}

// halted waits until the rollout stands for a reason at a step.
func (p *payments) halted(reason string, step int32) {
	p.Helper()
	p.until("halted for "+reason, func(s *v1alpha1.ApplicationSet, _ map[string]v1alpha1.ApplicationSetAppStatus) bool {
		h := s.Status.Rollout.Halt
		return h != nil && h.Reason == reason && (step == 0 || h.Step == step)
	})
}

// condition waits for a condition that is True with this reason.
func (p *payments) condition(kind, reason string) {
	p.Helper()
	p.until(kind+" "+reason, func(s *v1alpha1.ApplicationSet, _ map[string]v1alpha1.ApplicationSetAppStatus) bool {
		return slices.ContainsFunc(s.Status.Conditions, func(c v1alpha1.ApplicationSetCondition) bool {
			return c.Type == kind && c.Status == "True" && c.Reason == reason
		})
	})
}

// ordered fails unless the version went through the steps in order.
func (p *payments) ordered(tag string) {
	p.Helper()
	if err := p.r.InOrder(rig.PaymentName, rig.PaymentName+":"+tag+`"`, []string{short["c"]}, []string{short["e"], short["w"]}, []string{short["eu"], short["ap"]}); err != nil {
		p.Error(err)
	}
}

// runs waits until a cluster itself says that it runs the version.
func (p *payments) runs(name, tag string) {
	p.Helper()
	prints(p.T, p.r, short[name], "registry.example.com/payment-service:"+tag, "get", "deployment", rig.PaymentName, "-n", "payments",
		"-o", "jsonpath={.spec.template.spec.containers[0].image}")
}

// await waits until the version is written to a cluster.
func (p *payments) await(name, tag string) {
	p.Helper()
	m := moment{tag + " is written to " + name, short[name], func(a auditLine, _ string) bool {
		return applied("deployments")(a, "") && mentions(a, rig.PaymentName+":"+tag+`"`)
	}}
	m.await(p.T, p.r, 0, "")
}

// sync asks for a sync as a person would.
func (p *payments) sync(name string) {
	p.Helper()
	app, err := get(p.Context(), p.r, short[name]+"-payment-service")
	must(p.T, err)
	patch := `{"operation":{"initiatedBy":{"username":"a person"},"sync":{}}}`
	must(p.T, p.r.Hub.Patch(p.Context(), app, client.RawPatch(types.MergePatchType, []byte(patch))))
}
