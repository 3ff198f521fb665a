package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/fleet"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

// The sets of this part: ten steps of one Application each, for the latency of
// steps, and four steps of five, for the length of a whole rollout.
const (
	oneByOneSteps = 10
	oneByOneRuns  = 6 // the first installs; 9 steps follow another in each run
	fiveBySteps   = 4
	fiveByEach    = 5
	maxLatencyMS  = 300
	maxTotalRatio = 1.3
)

// targets are the clusters of this part.
const targets = "one:env=bench,two:env=bench"

// course is an ApplicationSet of steps with some Applications each, spread over
// the clusters, and its folder in Git.
type course struct {
	*rig.Rig
	name        string
	steps, each int
}

func (c course) app(step, i int) string { return fmt.Sprintf("%s-%02d-%d", c.name, step, i) }

func (c course) cluster(step, i int) string { return []string{"one", "two"}[(step+i)%2] }

func (c course) manifest() string {
	var elements, steps strings.Builder
	for k := range c.steps {
		for i := range c.each {
			fmt.Fprintf(&elements, "      - {name: %s, cluster: %s, stage: \"%d\"}\n", c.app(k, i), c.cluster(k, i), k)
		}
		fmt.Fprintf(&steps, "      - {matchExpressions: [{key: stage, operator: In, values: [\"%d\"]}]}\n", k)
	}
	return fmt.Sprintf(`apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: %[1]s}
spec:
  generators:
  - list:
      elements:
%[2]s  strategy:
    type: RollingSync
    rollingSync:
      steps:
%[3]s  template:
    metadata: {name: '{{name}}', labels: {stage: '{{stage}}'}}
    spec:
      project: default
      source: {repoURL: %[4]q, targetRevision: HEAD, path: apps/%[1]s}
      destination: {name: '{{cluster}}', namespace: '{{name}}'}
      syncPolicy: {automated: {}, syncOptions: [CreateNamespace=true]}
`, c.name, elements.String(), steps.String(), c.Git.URL("gitops-fleet"))
}

func (c course) commit(tag string) (string, error) {
	return c.Repo.Commit(c.name+" "+tag, gitserver.Files{"apps/" + c.name + "/web.yaml": rig.Workload(rig.PaymentName, tag)})
}

// settled says that the rollout of a revision is complete everywhere.
func (c course) settled(ctx context.Context, revision string) (bool, error) {
	var set v1alpha1.ApplicationSet
	if err := c.Hub.Get(ctx, client.ObjectKey{Namespace: rig.Namespace, Name: c.name}, &set); err != nil {
		return false, err
	}
	r := set.Status.Rollout
	if r == nil || r.CompletedAt == nil || r.Target == nil || len(r.Target.Sources) != 1 || r.Target.Sources[0].Revision != revision {
		return false, errors.New("the rollout is not complete")
	}
	for _, a := range set.Status.ApplicationStatus {
		if a.Status != "Healthy" || !slices.Equal(a.TargetRevisions, []string{revision}) {
			return false, fmt.Errorf("%s is %s", a.Application, a.Status)
		}
	}
	return len(set.Status.ApplicationStatus) == c.steps*c.each, nil
}

// run commits a version and waits until it is everywhere. It returns when it
// was pushed.
func (c course) run(ctx context.Context, tag string, limit time.Duration) (time.Time, string, error) {
	begin := time.Now()
	id, err := c.commit(tag)
	if err != nil {
		return begin, id, err
	}
	return begin, id, rig.Until(ctx, limit, c.name+" "+tag+" everywhere", func(ctx context.Context) (bool, error) { return c.settled(ctx, id) })
}

// trace is what the audit logs tell of one revision: by Application, when its
// operation was requested, when the cluster was first written to, and when its
// Deployment was last reported; and every write of an Application and of the
// set's status.
type trace struct {
	requested, written, healthy map[string]time.Time
	complete                    time.Time
	apps                        map[string][]write
	set                         []write
}

// write is one request, from when the API server got it until it answered.
type write struct{ got, done time.Time }

// passage is where the time went between the last health event of a step and
// the first operation of the next one: until the Application said that it is
// Healthy, until the set's status said who is next, and until the operation
// was requested.
type passage struct{ observe, decide, act time.Duration }

// passage of an Application's health to the next one's operation. The last
// write of the set before the operation is the one that admits it, the last
// one of the Application before that the one that told.
func (t *trace) passage(from, to string) (p passage) {
	admitted := before(t.set, t.requested[to])
	told := before(t.apps[from], admitted.got)
	return passage{told.done.Sub(t.healthy[from]), admitted.got.Sub(told.done), t.requested[to].Sub(admitted.got)}
}

// before is the last write that was answered before a time.
func before(writes []write, at time.Time) (last write) {
	for _, w := range writes {
		if w.done.Before(at) && w.done.After(last.done) {
			last = w
		}
	}
	return last
}

// trace reads the audit logs of a run that was pushed at a time.
func (c course) trace(revision, tag string, pushed time.Time) (*trace, error) {
	t := &trace{requested: map[string]time.Time{}, written: map[string]time.Time{}, healthy: map[string]time.Time{}, apps: map[string][]write{}}
	for _, cluster := range c.Fleet.Clusters() {
		lines, err := cluster.AuditLines()
		if err != nil {
			return nil, err
		}
		for i := range lines {
			a := &lines[i]
			switch {
			case !a.Write() || a.Received.Before(pushed):
			case cluster.Name == "hub":
				t.hub(a, c, revision)
			default:
				t.target(a, c, tag)
			}
		}
	}
	return t, nil
}

func (t *trace) hub(a *fleet.Audit, c course, revision string) {
	switch w := (write{a.Received, a.Done}); {
	case a.ObjectRef.Resource == "applications":
		t.apps[a.ObjectRef.Name] = append(t.apps[a.ObjectRef.Name], w)
	case a.ObjectRef.Resource == "applicationsets" && a.ObjectRef.Name == c.name && a.ObjectRef.Subresource == "status":
		t.set = append(t.set, w)
	}
	switch {
	case a.ObjectRef.Resource == "applications" && bytes.Contains(a.RequestObject, []byte("RolloutOperation")) && bytes.Contains(a.RequestObject, []byte(revision)):
		first(t.requested, a.ObjectRef.Name, a.Received)
	case a.ObjectRef.Resource == "applicationsets" && a.ObjectRef.Name == c.name && bytes.Contains(a.RequestObject, []byte(`"phase":"Completed"`)) && t.complete.IsZero():
		t.complete = a.Done
	}
}

func (t *trace) target(a *fleet.Audit, c course, tag string) {
	namespace := a.ObjectRef.Namespace
	if a.ObjectRef.Resource != "deployments" || !strings.HasPrefix(namespace, c.name+"-") {
		return
	}
	switch {
	case a.ObjectRef.Subresource == "" && bytes.Contains(a.RequestObject, []byte(":"+tag+`"`)):
		first(t.written, namespace, a.Received)
	case a.ObjectRef.Subresource == "status" && !t.written[namespace].IsZero():
		if bytes.Contains(a.RequestObject, []byte(`"availableReplicas":2`)) && bytes.Contains(a.RequestObject, []byte(`"updatedReplicas":2`)) {
			t.healthy[namespace] = a.Done // the last one before the next version
		}
	}
}

func first(times map[string]time.Time, name string, at time.Time) {
	if times[name].IsZero() || at.Before(times[name]) {
		times[name] = at
	}
}

// measureSteps runs both courses on real clusters.
func measureSteps(ctx context.Context, _ size) (figures []Figure, err error) {
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r, err := rig.Start(ctx, rig.Options{Bin: filepath.Dir(self), Dir: dir, Clusters: targets, Progress: os.Stderr})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Stop(context.WithoutCancel(ctx))) }()
	if err := r.Launch(); err != nil {
		return nil, err
	}
	if figures, err = (course{r, "single", oneByOneSteps, 1}).latencies(ctx); err != nil {
		return nil, err
	}
	total, err := (course{r, "five", fiveBySteps, fiveByEach}).total(ctx)
	return append(figures, total...), err
}

// latencies rolls versions out through steps of one Application.
func (c course) latencies(ctx context.Context) ([]Figure, error) {
	if _, err := c.commit("v0"); err != nil {
		return nil, err
	}
	if err := c.Apply(ctx, c.manifest(), &v1alpha1.ApplicationSet{}); err != nil {
		return nil, err
	}
	var requests, writes, observe, decide, act []float64
	for n := range oneByOneRuns + 1 {
		tag := fmt.Sprintf("v%d", n+1)
		pushed, id, err := c.run(ctx, tag, 3*time.Minute)
		if err != nil {
			return nil, err
		}
		if n == 0 { // v0 may still have been on its way
			continue
		}
		t, err := c.trace(id, tag, pushed)
		if err != nil {
			return nil, err
		}
		for k := 1; k < c.steps; k++ {
			before, now := t.healthy[c.app(k-1, 0)], t.requested[c.app(k, 0)]
			if before.IsZero() || now.IsZero() {
				return nil, fmt.Errorf("the audit logs do not tell when %s passed from step %d to the next", tag, k)
			}
			requests = append(requests, now.Sub(before).Seconds()*1000)
			writes = append(writes, t.written[c.app(k, 0)].Sub(before).Seconds()*1000)
			p := t.passage(c.app(k-1, 0), c.app(k, 0))
			observe, decide, act = append(observe, p.observe.Seconds()*1000), append(decide, p.decide.Seconds()*1000), append(act, p.act.Seconds()*1000)
			fmt.Fprintf(os.Stderr, "rollout: %s step %d: observe %s, decide %s, act %s\n", tag, k+1, p.observe, p.decide, p.act)
		}
	}
	return []Figure{
		figure("rollout.step_latency_ms", "ms", percentile(requests, 99), maxLatencyMS),
		figure("rollout.step_latency_median_ms", "ms", percentile(requests, 50), 0),
		figure("rollout.step_latency_steps", "", float64(len(requests)), 0),
		figure("rollout.step_write_latency_ms", "ms", percentile(writes, 99), 0),
		figure("rollout.step_observe_ms", "ms", percentile(observe, 99), 0),
		figure("rollout.step_decide_ms", "ms", percentile(decide, 99), 0),
		figure("rollout.step_act_ms", "ms", percentile(act, 99), 0),
	}, nil
}

// total rolls a version out whose pods take 5 s to become ready. What the sum
// of the slowest Application of each step leaves of its time is ours.
func (c course) total(ctx context.Context) ([]Figure, error) {
	if _, err := c.commit("v0"); err != nil {
		return nil, err
	}
	if err := c.Apply(ctx, c.manifest(), &v1alpha1.ApplicationSet{}); err != nil {
		return nil, err
	}
	if _, _, err := c.run(ctx, "v1", 3*time.Minute); err != nil {
		return nil, err
	}
	pushed, id, err := c.run(ctx, "slow-v2", 3*time.Minute)
	if err != nil {
		return nil, err
	}
	t, err := c.trace(id, "slow-v2", pushed)
	if err != nil {
		return nil, err
	}
	sum := 0.0
	for k := range c.steps {
		slowest := 0.0
		for i := range c.each {
			app := c.app(k, i)
			if t.requested[app].IsZero() || t.healthy[app].IsZero() {
				return nil, fmt.Errorf("the audit logs do not tell when %s was synced and Healthy", app)
			}
			slowest = max(slowest, t.healthy[app].Sub(t.requested[app]).Seconds())
		}
		sum += slowest
	}
	if t.complete.IsZero() || sum < fiveBySteps*5 {
		return nil, fmt.Errorf("complete at %s, %.1f s of steps: want pods that take 5 s", t.complete, sum)
	}
	wall := t.complete.Sub(pushed).Seconds()
	return []Figure{
		figure("rollout.total_ratio", "", wall/sum, maxTotalRatio),
		figure("rollout.total_wall_s", "s", wall, 0),
		figure("rollout.total_steps_s", "s", sum, 0),
	}, nil
}

// percentile is the smallest value that is not exceeded by p percent of them.
func percentile(values []float64, p float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, int(math.Ceil(p/100*float64(len(sorted))))-1)]
}
