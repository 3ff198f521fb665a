package rollout_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// TestSeveralSources pins every source of an Application, in order, and puts
// the same revision under every member that shares one.
func TestSeveralSources(t *testing.T) {
	t.Parallel()
	set := rolling(step("w", "Exists"))
	set.UID = "0123456789"
	in := rollout.Input{Set: set, Now: noon}
	for _, name := range []string{"a", "b"} {
		app := &v1alpha1.Application{}
		app.Name, app.Labels = name, map[string]string{"w": "1"}
		app.Spec.Sources = []v1alpha1.ApplicationSource{{RepoURL: "https://charts", Chart: "shop", TargetRevision: "1.*"}, {RepoURL: "https://git", Path: name, TargetRevision: "main"}}
		app.Spec.SyncPolicy = &v1alpha1.SyncPolicy{Automated: &v1alpha1.SyncPolicyAutomated{}}
		live := app.DeepCopy()
		live.Status.Sync = v1alpha1.SyncStatus{Status: v1alpha1.SyncStatusOutOfSync, Revisions: []string{"1.3.0", "abc"}}
		live.Status.Sync.ComparedTo.Sources = app.Spec.Sources
		class, k := rollout.Classify(set, true, app, nil)
		in.Members = append(in.Members, rollout.Member{Rendered: app, Live: live, Class: class, Step: k, Target: rollout.Target{SpecHash: name, Revisions: []string{"1.3.0", "abc"}}})
	}
	d := settle(t, in)
	want := []v1alpha1.RolloutSource{
		{RepoURL: "https://charts", Chart: "shop", TargetRevision: "1.*", Revision: "1.3.0"},
		{RepoURL: "https://git", TargetRevision: "main", Revision: "abc"},
	}
	if got := d.Rollout.Target.Sources; !slices.Equal(got, want) {
		t.Errorf("target %+v, want %+v", got, want)
	}
	if len(d.Operations) != 2 || !d.Operations[0].List || !slices.Equal(d.Operations[1].Revisions, []string{"1.3.0", "abc"}) {
		t.Errorf("operations %+v", d.Operations)
	}
	first := d.Rollout.ID
	for i := range in.Members { // a new version of the chart
		in.Members[i].Target.Revisions = []string{"1.4.0", "abc"}
		in.Members[i].Live.Status.Sync.Revisions = []string{"1.4.0", "abc"}
	}
	if d := rollout.Next(in); d.Rollout.ID != first+1 || d.Rollout.Trigger != "Revision" {
		t.Errorf("a new chart version: rollout %d, trigger %s", d.Rollout.ID, d.Rollout.Trigger)
	}
}

// TestTheCallerMayRefuse holds a strategy that the caller finds invalid, and
// one that the caller cannot carry out.
func TestTheCallerMayRefuse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*rollout.Input)
		want   string
	}{
		{"an analysis address", func(in *rollout.Input) { in.Refused = "address not allowed: http://x" }, "address not allowed"},
		{"windows that nobody evaluates", func(in *rollout.Input) {
			in.Set.Spec.Strategy.RollingSync.Windows = []v1alpha1.RolloutWindow{{Kind: "deny", Schedule: "0 0 * * *", Duration: "1h"}}
		}, "windows cannot be evaluated"},
		{"metrics that nobody measures", func(in *rollout.Input) {
			p := &v1alpha1.PrometheusProvider{Address: "http://x", Query: "up"}
			in.Set.Spec.Strategy.RollingSync.Steps[0].Analysis = &v1alpha1.StepAnalysis{Metrics: []v1alpha1.AnalysisMetric{
				{Name: "m", SuccessCondition: "true", Provider: v1alpha1.AnalysisProvider{Prometheus: p}},
			}}
		}, "analysis cannot be measured"},
	} {
		in := fleet(10)
		c.change(&in)
		d := settle(t, in)
		if len(d.Operations) > 0 || d.Rollout.Halt == nil || d.Rollout.Halt.Reason != rollout.HaltInvalidStrategy {
			t.Errorf("%s: operations %v, halt %+v", c.name, d.Operations, d.Rollout.Halt)
		}
		if !slices.ContainsFunc(d.Conditions, func(x v1alpha1.ApplicationSetCondition) bool { return strings.Contains(x.Message, c.want) }) {
			t.Errorf("%s: conditions %+v", c.name, d.Conditions)
		}
	}
}

// TestALostRecordStartsAnew never reuses ids of operations.
func TestALostRecordStartsAnew(t *testing.T) {
	t.Parallel()
	in := fleet(20)
	d := settle(t, in)
	for _, record := range []string{"", "nonsense", "1z:AAAA", d.Rollout.Record[:40]} {
		in.Set.Status.Rollout.Record = record
		if got := rollout.Next(in); got.Rollout.ID != d.Rollout.ID+1 || len(got.Operations) > 0 {
			t.Errorf("record %q: rollout %d after %d, operations %v", record, got.Rollout.ID, d.Rollout.ID, got.Operations)
		}
	}
}

// TestWhatIsSentCountsAsRunning keeps a slot for an operation that the cache
// does not show yet.
func TestWhatIsSentCountsAsRunning(t *testing.T) {
	t.Parallel()
	in := fleet(5)
	for i := range in.Members {
		in.Members[i].Step = 1
		compared(in.Members[i].Live, false, "")
	}
	one := intstr.FromInt32(1)
	in.Set.Spec.Strategy.RollingSync.Steps = in.Set.Spec.Strategy.RollingSync.Steps[:1]
	in.Set.Spec.Strategy.RollingSync.Steps[0].MaxUpdate = &one
	d := settle(t, in)
	if len(d.Operations) != 1 {
		t.Fatalf("operations %v", d.Operations)
	}
	in.Members[0].Sent = d.Operations[0].ID
	in.Set.Annotations = map[string]string{v1alpha1.AnnotationPauseRollout: "true"}
	settle(t, in)
	delete(in.Set.Annotations, v1alpha1.AnnotationPauseRollout)
	if d := settle(t, in); len(d.Operations) > 0 || d.Applications[0].Status != rollout.Progressing {
		t.Errorf("operations %v, the first member is %s", d.Operations, d.Applications[0].Status)
	}
}

func TestPreview(t *testing.T) {
	t.Parallel()
	in := fleet(50)
	in.Set.Spec.Strategy.RollingSync.Steps[4].BakeTime = "10m"
	in.Set.Spec.Strategy.RollingSync.Steps[3].Approval = "Before"
	before := in.Set.DeepCopy()
	plan := rollout.Preview(in)
	if plan.Problem != "" || len(plan.Steps) != 5 || len(plan.Target) != 1 {
		t.Fatalf("plan %+v", plan)
	}
	first, second, last := plan.Steps[0], plan.Steps[1], plan.Steps[4]
	if first.Current != 10 || first.Outdated != 0 || len(first.Batches) != 0 {
		t.Errorf("a step that needs nothing: %+v", first)
	}
	if second.Current != 6 || second.Outdated != 4 || second.Limit != 1 || len(second.Batches) != 4 {
		t.Errorf("a step that is half done: %+v", second)
	}
	if len(last.Batches) != 10 || last.Minimum != 600 || plan.Minimum != 600 || plan.Steps[3].Approval != "Before" {
		t.Errorf("the last step: %+v, minimum %d", last, plan.Minimum)
	}
	if in.Set.Generation != before.Generation || in.Set.Status.Rollout != nil {
		t.Error("planning changed the set")
	}
}
