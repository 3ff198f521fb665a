package advance

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

var key = types.NamespacedName{Namespace: "argocd", Name: "payment"}

func status(change ...func(*v1alpha1.ApplicationSetStatus)) v1alpha1.ApplicationSetStatus {
	s := v1alpha1.ApplicationSetStatus{Rollout: &v1alpha1.RolloutStatus{ID: 3, Phase: "Progressing", CurrentStep: 1}}
	for _, c := range change {
		c(&s)
	}
	return s
}

func condition(kind, reason string) func(*v1alpha1.ApplicationSetStatus) {
	return func(s *v1alpha1.ApplicationSetStatus) {
		s.Conditions = append(s.Conditions, v1alpha1.ApplicationSetCondition{Type: kind, Status: "True", Reason: reason, Message: "why"})
	}
}

func none(s *v1alpha1.ApplicationSetStatus) { s.Rollout = nil }

func done(s *v1alpha1.ApplicationSetStatus) { s.Rollout.CompletedAt = at(1) }

// TestAbandonedIsToldOnce: what the planner does not see, that the strategy
// lost its effect, is told when it happens and not again.
func TestAbandonedIsToldOnce(t *testing.T) {
	tr := &turn{log: slog.New(slog.DiscardHandler)}
	reasons := func(old, now v1alpha1.ApplicationSetStatus) string {
		var out []string
		for _, e := range tr.changes(old, now) {
			if !e.Warning || e.Message == "" {
				t.Errorf("event %+v", e)
			}
			out = append(out, e.Reason)
		}
		return strings.Join(out, " ")
	}
	off := condition(v1alpha1.AppSetStrategyIgnored, "ProgressiveSyncsDisabled")
	typo := condition(v1alpha1.AppSetStrategyIgnored, "UnknownStrategyType")
	for _, c := range []struct {
		old, now v1alpha1.ApplicationSetStatus
		want     string
	}{
		{status(), status(), ""},
		{status(), status(none, off), "ProgressiveSyncsDisabled RolloutAbandoned"},
		{status(none, off), status(none, off), ""},
		{status(none), status(none, typo), "RolloutStrategyIgnored"},
		{status(), status(none), "RolloutAbandoned"},
		{status(none), status(), ""},
		{status(done), status(none, off), "ProgressiveSyncsDisabled"},
	} {
		if got := reasons(c.old, c.now); got != c.want {
			t.Errorf("events %q, want %q", got, c.want)
		}
	}
}

// TestHealthOfTheSet: halted is Degraded, paused and awaiting are Suspended.
func TestHealthOfTheSet(t *testing.T) {
	for _, c := range []struct {
		kinds string
		want  v1alpha1.HealthStatusCode
	}{
		{"RolloutHalted RolloutPaused RolloutProgressing", v1alpha1.HealthDegraded},
		{"RolloutPaused RolloutProgressing ResourcesUpToDate", v1alpha1.HealthSuspended},
		{"RolloutAwaitingApproval RolloutProgressing", v1alpha1.HealthSuspended},
		{"RolloutProgressing ResourcesUpToDate", v1alpha1.HealthProgressing},
		{"ResourcesUpToDate", v1alpha1.HealthHealthy},
		{"ErrorOccurred ResourcesUpToDate", v1alpha1.HealthDegraded},
		{"", v1alpha1.HealthUnknown},
	} {
		var s v1alpha1.ApplicationSetStatus
		for _, kind := range strings.Fields(c.kinds) {
			condition(kind, "x")(&s)
		}
		if got := health(s.Conditions).Status; got != c.want {
			t.Errorf("%s: %s, want %s", c.kinds, got, c.want)
		}
	}
}

func at(seconds int64) *metav1.Time { v := metav1.Unix(seconds, 0); return &v }

func TestMetricsOfAHalt(t *testing.T) {
	r := prometheus.NewRegistry()
	m := newMetrics(r, true)
	s := status(func(s *v1alpha1.ApplicationSetStatus) {
		s.Rollout.StartedAt = at(1000)
		s.Rollout.Halt = &v1alpha1.RolloutHalt{Reason: "ApplicationDegraded"}
		s.Rollout.Steps = []v1alpha1.RolloutStepStatus{{Index: 1, Total: 3, Healthy: 2, Failed: 1}}
		s.ApplicationStatus = []v1alpha1.ApplicationSetAppStatus{{Application: "a", LastTransitionTime: at(1200)}}
	})
	m.describe(key, &s, description{now: time.Unix(1500, 0), bytes: 700, manual: []int{0, 2}})
	if got := testutil.ToFloat64(m.applications.WithLabelValues("argocd", "payment", "2", "manual")); got != 2 {
		t.Errorf("%v members of step 2 without automated sync, want 2", got)
	}
	for name, want := range map[string]float64{
		"argocd_appset_rollout_halted": 1, "argocd_appset_rollout_stalled_seconds": 300, "argocd_appset_rollout_status_bytes": 700,
		"argocd_appset_rollout_current_step": 1, "argocd_appset_rollout_info": 1, "argocd_appset_progressive_syncs_enabled": 1,
	} {
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range families {
			if f.GetName() == name {
				found = true
				if got := f.Metric[0].GetGauge().GetValue(); got != want {
					t.Errorf("%s is %v, want %v", name, got, want)
				}
			}
		}
		if !found {
			t.Errorf("%s is not there", name)
		}
	}
	s.Rollout.Halt = nil
	m.describe(key, &s, description{now: time.Unix(1500, 0)})
	if n := testutil.CollectAndCount(m.halted); n != 0 {
		t.Errorf("%d series of halts after it ended", n)
	}
	m.forget(key)
	if n := testutil.CollectAndCount(m.rollout); n != 0 {
		t.Errorf("%d series of a set that is gone", n)
	}
}

func TestMetricsOfWhatEnded(t *testing.T) {
	m := newMetrics(prometheus.NewRegistry(), true)
	before := status().Rollout
	before.Steps = []v1alpha1.RolloutStepStatus{{Index: 1, StartedAt: at(100), Analysis: []v1alpha1.RolloutAnalysis{{Name: "rate", Successful: 1}}}}
	after := before.DeepCopy()
	after.Steps[0].CompletedAt = at(160)
	after.Steps[0].Analysis[0].Successful, after.Steps[0].Analysis[0].Errors = 2, 1
	after.StartedAt, after.CompletedAt, after.Phase = at(100), at(160), rollout.PhaseCompleted
	for range 2 { // the second time nothing has changed
		m.observe(key, before, after, time.Unix(160, 0))
		before = after
	}
	for name, c := range map[string]struct{ got, want float64 }{
		"rollouts":    {testutil.ToFloat64(m.rollouts.WithLabelValues("argocd", "payment", "completed")), 1},
		"measured":    {testutil.ToFloat64(m.analysis.WithLabelValues("argocd", "payment", "rate", "successful")), 1},
		"errors":      {testutil.ToFloat64(m.analysis.WithLabelValues("argocd", "payment", "rate", "error")), 1},
		"durations":   {float64(testutil.CollectAndCount(m.seconds)), 1},
		"step series": {float64(testutil.CollectAndCount(m.stepSeconds)), 1},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
}

// TestEndings: a rollout is counted once when it ends, however short the
// history is that the set keeps.
func TestEndings(t *testing.T) {
	r := func(id int64, phase string, completed bool) *v1alpha1.RolloutStatus {
		s := &v1alpha1.RolloutStatus{ID: id, Phase: phase}
		if completed {
			s.CompletedAt = at(160)
		}
		return s
	}
	for _, c := range []struct {
		before, after *v1alpha1.RolloutStatus
		want          string
	}{
		{nil, r(1, "Progressing", false), ""},
		{nil, r(1, "Idle", true), "1 nochange"},
		{r(1, "Idle", true), r(1, "Idle", true), ""},
		{r(1, "Progressing", false), r(1, "Completed", true), "1 completed"},
		{r(1, "Completed", true), r(2, "Progressing", false), ""},
		{r(1, "Halted", false), r(2, "Progressing", false), "1 superseded"},
		{r(1, "Progressing", false), r(2, "Idle", true), "1 superseded 2 nochange"},
		{r(1, "RolledBack", false), r(2, "Progressing", false), "1 rolledback"},
		{r(1, "Aborted", false), r(2, "Progressing", false), "1 aborted"},
	} {
		var got []string
		for _, e := range endings(c.before, c.after) {
			got = append(got, fmt.Sprint(e.rollout.ID, " ", e.result))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v to %+v: %q, want %q", c.before, c.after, got, c.want)
		}
	}
}

func TestOperation(t *testing.T) {
	app := &v1alpha1.Application{}
	app.Spec.SyncPolicy = &v1alpha1.SyncPolicy{SyncOptions: []string{"A=true"}, Retry: &v1alpha1.RetryStrategy{Limit: 2}}
	old := v1alpha1.ApplicationSource{RepoURL: "r", Path: "old"}
	for _, c := range []struct {
		name string
		op   rollout.Operation
		want v1alpha1.SyncOperation
	}{
		{"one source", rollout.Operation{ID: "u/1/1", Kind: rollout.KindSync, Revisions: []string{"abc"}, Prune: true},
			v1alpha1.SyncOperation{Revision: "abc", Prune: true, SyncOptions: []string{"A=true"}}},
		{"several sources", rollout.Operation{ID: "u/1/1", Kind: rollout.KindSync, List: true, Revisions: []string{"a", "b"}},
			v1alpha1.SyncOperation{Revisions: []string{"a", "b"}, SyncOptions: []string{"A=true"}}},
		{"rollback", rollout.Operation{ID: "u/1/2", Kind: rollout.KindRollback, Revisions: []string{"abc"}, Sources: []v1alpha1.ApplicationSource{old}},
			v1alpha1.SyncOperation{Revision: "abc", Source: &old, SyncOptions: []string{"A=true"}}},
		{"rollback of a list of one", rollout.Operation{ID: "u/1/2", Kind: rollout.KindRollback, List: true, Revisions: []string{"abc"}, Sources: []v1alpha1.ApplicationSource{old}},
			v1alpha1.SyncOperation{Revisions: []string{"abc"}, Sources: []v1alpha1.ApplicationSource{old}, SyncOptions: []string{"A=true"}}},
		{"self-heal", rollout.Operation{ID: "u/1/3", Kind: rollout.KindSelfHeal, Revisions: []string{"abc"}, Heals: 4},
			v1alpha1.SyncOperation{Revision: "abc", AutoHealAttemptsCount: 4, SyncOptions: []string{"A=true"}}},
	} {
		got := operation(app, c.op)
		if diff := cmp.Diff(c.want, *got.Sync); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if got.Retry.Limit != 2 || !got.InitiatedBy.Automated || got.Info[1].Name != rollout.OperationInfo || got.Info[1].Value != c.op.ID {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	if got := operation(&v1alpha1.Application{}, rollout.Operation{}); got.Retry.Limit != 5 {
		t.Errorf("retry without a policy: %+v", got.Retry)
	}
}

// TestSentUntilSeen remembers an operation until the cache shows the version
// that carries it, or another object.
func TestSentUntilSeen(t *testing.T) {
	app := func(version, uid string) *v1alpha1.Application {
		a := &v1alpha1.Application{}
		a.Name, a.ResourceVersion, a.UID = "c", version, types.UID(uid)
		return a
	}
	s := &state{sent: map[string]sent{"c": {id: "u/1/1", version: 20, uid: "x"}}}
	if got := s.pending(app("19", "x")); got != "u/1/1" {
		t.Errorf("before it is seen: %q", got)
	}
	if got := s.pending(app("20", "x")); got != "" || len(s.sent) != 0 {
		t.Errorf("when it is seen: %q", got)
	}
	s.sent["c"] = sent{id: "u/1/1", version: 20, uid: "x"}
	if got := s.pending(app("5", "y")); got != "" {
		t.Errorf("another object: %q", got)
	}
}

func TestActor(t *testing.T) {
	set := &v1alpha1.ApplicationSet{}
	set.ManagedFields = []metav1.ManagedFieldsEntry{
		{Manager: "other", FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:annotations":{"f:x":{}}}}`)},
		{Manager: "kubectl-annotate", FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:annotations":{"f:argocd.argoproj.io/promote-rollout":{}}}}`)},
		{Manager: "empty"},
	}
	if got := actor(set, v1alpha1.AnnotationPromoteRollout); got != "kubectl-annotate" {
		t.Errorf("actor %q", got)
	}
	if got := actor(set, v1alpha1.AnnotationAbortRollout); got != "" {
		t.Errorf("actor of an annotation that nobody set: %q", got)
	}
}

// TestForeignOperationsAreCountedOnce looks at members that people sync.
func TestForeignOperationsAreCountedOnce(t *testing.T) {
	manual := func(names ...string) v1alpha1.ApplicationSetStatus {
		var s v1alpha1.ApplicationSetStatus
		for _, n := range names {
			s.ApplicationStatus = append(s.ApplicationStatus, v1alpha1.ApplicationSetAppStatus{Application: n, Reason: rollout.ReasonManualSync})
		}
		return s
	}
	if got := newly(rollout.ReasonManualSync, manual("a"), manual("a", "b")); len(got) != 1 || got[0] != "b" {
		t.Errorf("newly synced by people: %v", got)
	}
}

// TestOwnedByTheVerySet leaves Applications alone that belonged to a set of
// the same name.
func TestOwnedByTheVerySet(t *testing.T) {
	set := &v1alpha1.ApplicationSet{}
	set.Name, set.UID = "payment", "new"
	yes := true
	for _, c := range []struct {
		ref  metav1.OwnerReference
		want bool
	}{
		{metav1.OwnerReference{Kind: "ApplicationSet", Name: "payment", UID: "new", Controller: &yes}, true},
		{metav1.OwnerReference{Kind: "ApplicationSet", Name: "payment", UID: "old", Controller: &yes}, false},
		{metav1.OwnerReference{Kind: "ApplicationSet", Name: "other", UID: "new", Controller: &yes}, false},
		{metav1.OwnerReference{Kind: "Application", Name: "payment", UID: "new", Controller: &yes}, false},
		{metav1.OwnerReference{Kind: "ApplicationSet", Name: "payment", UID: "new"}, false},
	} {
		app := &v1alpha1.Application{}
		app.OwnerReferences = []metav1.OwnerReference{c.ref}
		if got := owned(app, set); got != c.want {
			t.Errorf("%+v: %v", c.ref, got)
		}
	}
}

// TestMemoryOfGoneApplicationsIsBounded generates new names all the time.
func TestMemoryOfGoneApplicationsIsBounded(t *testing.T) {
	s := &state{sent: map[string]sent{}, hashes: map[string]hashed{}}
	for i := range 1000 {
		app := &v1alpha1.Application{}
		app.Name = fmt.Sprint("preview-", i)
		first := s.hash(app)
		s.sent[app.Name] = sent{id: "u/1/1"}
		if again := s.hash(app); again != first || first == "" {
			t.Fatalf("hash %q, then %q", first, again)
		}
		s.prune([]rollout.Member{{Rendered: app}})
	}
	if n := len(s.hashes) + len(s.sent); n > 100 {
		t.Errorf("%d entries for one Application", n)
	}
}
