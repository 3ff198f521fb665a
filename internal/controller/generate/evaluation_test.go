package generate

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	testclock "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
)

// TestK4HealthCostsNoLookAtGit: what flaps in a rollout, health and records,
// evaluates no generator; what can change the answer does.
func TestK4HealthCostsNoLookAtGit(t *testing.T) {
	app, set := &v1alpha1.Application{}, &v1alpha1.ApplicationSet{}
	for _, c := range []struct {
		name   string
		change func(*v1alpha1.Application)
		want   bool
	}{
		{"health", func(a *v1alpha1.Application) { a.Status.Health.Status = v1alpha1.HealthDegraded }, false},
		{"sync", func(a *v1alpha1.Application) { a.Status.Sync.Revision = "abc" }, false},
		{"an operation", func(a *v1alpha1.Application) { a.Operation = &v1alpha1.Operation{} }, false},
		{"the spec", func(a *v1alpha1.Application) { a.Spec.Project = "other" }, true},
		{"a label", func(a *v1alpha1.Application) { a.Labels = map[string]string{"a": "b"} }, true},
		{"an annotation", func(a *v1alpha1.Application) { a.Annotations = map[string]string{"a": "b"} }, true},
		{"a finalizer", func(a *v1alpha1.Application) { a.Finalizers = []string{"a/b"} }, true},
	} {
		after := app.DeepCopy()
		c.change(after)
		if got := drifts(app, after); got != c.want {
			t.Errorf("%s of an Application: evaluated %v, want %v", c.name, got, c.want)
		}
	}
	for _, c := range []struct {
		name   string
		change func(*v1alpha1.ApplicationSet)
		want   bool
	}{
		{"the status", func(s *v1alpha1.ApplicationSet) { s.Status.Rollout = &v1alpha1.RolloutStatus{ID: 7} }, false},
		{"the spec", func(s *v1alpha1.ApplicationSet) { s.Generation++ }, true},
		{"an annotation", func(s *v1alpha1.ApplicationSet) {
			s.Annotations = map[string]string{v1alpha1.AnnotationAppSetRefresh: "true"}
		}, true},
		{"a label", func(s *v1alpha1.ApplicationSet) { s.Labels = map[string]string{"a": "b"} }, true},
		{"deletion", func(s *v1alpha1.ApplicationSet) { s.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }, true},
	} {
		after := set.DeepCopy()
		c.change(after)
		if got := asksAnew(set, after); got != c.want {
			t.Errorf("%s of a set: evaluated %v, want %v", c.name, got, c.want)
		}
	}
}

// TestF14FailureKeepsTheLastAnswer: a failing generator hands the rollout the
// Applications of the last complete answer, and says so.
func TestF14FailureKeepsTheLastAnswer(t *testing.T) {
	var offered []appset.Outcome
	now := testclock.NewFakeClock(time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC))
	c := New(Options{Registerer: prometheus.NewRegistry(), Offer: func(o appset.Outcome) { offered = append(offered, o) }, Sources: Sources{Clock: now}})
	set := &v1alpha1.ApplicationSet{ObjectMeta: metav1.ObjectMeta{Name: "payment", Generation: 3}}
	e := &evaluation{Controller: c, set: set, key: types.NamespacedName{Name: "payment"}}
	good := &appset.Rendered{Invalid: map[string]string{}, Applications: []v1alpha1.Application{
		{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, {ObjectMeta: metav1.ObjectMeta{Name: "b"}},
	}}
	e.report(good, nil, nil, appset.Ruling{})
	now.Step(time.Hour)
	e.offerError("ApplicationGenerationFromParamsError", "git is down; "+e.kept(), false)
	if len(offered) != 2 || !offered[0].Complete || offered[1].Complete {
		t.Fatalf("offered %+v", offered)
	}
	got := offered[1]
	if len(got.Applications) != 2 || got.Applications[0].Name != "a" || got.Applications[1].Name != "b" || got.Generation != 3 {
		t.Errorf("the rollout goes on with %d Applications of generation %d", len(got.Applications), got.Generation)
	}
	failure := got.Conditions[0]
	if failure.Type != v1alpha1.AppSetErrorOccurred || failure.Status != "True" || !strings.HasPrefix(failure.Message, "git is down; nothing is deleted") ||
		!strings.Contains(failure.Message, "2026-07-01T12:00:00Z") {
		t.Errorf("condition %+v", failure)
	}
}

// TestEventsOfApplications: what a cache that lags behind hid from one
// evaluation, the arrival of the Application makes up for.
func TestEventsOfApplications(t *testing.T) {
	yes := true
	owned := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "argocd", Name: "a", OwnerReferences: []metav1.OwnerReference{
		{Kind: v1alpha1.ApplicationSetKind, Name: "payment", Controller: &yes},
	}}}
	healthy, moved := owned.DeepCopy(), owned.DeepCopy()
	healthy.Status.Health.Status = v1alpha1.HealthHealthy
	moved.Spec.Project = "other"
	for _, c := range []struct {
		name string
		send func(toolscache.ResourceEventHandlerFuncs)
		want int
	}{
		{"it comes", func(h toolscache.ResourceEventHandlerFuncs) { h.OnAdd(owned, false) }, 1},
		{"it goes", func(h toolscache.ResourceEventHandlerFuncs) { h.OnDelete(owned) }, 1},
		{"it drifts", func(h toolscache.ResourceEventHandlerFuncs) { h.OnUpdate(owned, moved) }, 1},
		{"it becomes healthy", func(h toolscache.ResourceEventHandlerFuncs) { h.OnUpdate(owned, healthy) }, 0},
		{"nobody owns it", func(h toolscache.ResourceEventHandlerFuncs) { h.OnAdd(&v1alpha1.Application{}, false) }, 0},
	} {
		controller := New(Options{Registerer: prometheus.NewRegistry()})
		c.send(controller.applicationEvents())
		if got := controller.queue.Len(); got != c.want {
			t.Errorf("%s: %d sets to evaluate, want %d", c.name, got, c.want)
		}
		controller.queue.ShutDown()
	}
}

// TestMissingApplicationsStayMembers: what exists and cannot be rendered at
// present stays in the outcome, as invalid, with its automation as rendered.
func TestMissingApplicationsStayMembers(t *testing.T) {
	yes, off := true, false
	set := &v1alpha1.ApplicationSet{ObjectMeta: metav1.ObjectMeta{Name: "payment"}}
	live := func(name, owner string) *v1alpha1.Application {
		app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"wave": name},
			Annotations:     map[string]string{v1alpha1.AnnotationRolloutHeldBy: owner},
			OwnerReferences: []metav1.OwnerReference{{Kind: v1alpha1.ApplicationSetKind, Name: owner, Controller: &yes}}}}
		app.Spec.SyncPolicy = &v1alpha1.SyncPolicy{Automated: &v1alpha1.SyncPolicyAutomated{Enabled: &off}}
		return app
	}
	owned := map[string]*v1alpha1.Application{"canary": live("canary", "payment"), "rest": live("rest", "payment"), "other": live("other", "others")}
	r := &appset.Rendered{Applications: []v1alpha1.Application{{ObjectMeta: metav1.ObjectMeta{Name: "rest"}}}}
	got := withMissing(set, r, owned, errors.New("spec.generators[0]: no key nam"))
	if len(got.Applications) != 2 || got.Applications[0].Name != "canary" || !strings.Contains(got.Invalid["canary"], "no key nam") || got.Invalid["rest"] != "" {
		t.Fatalf("applications %d, invalid %v", len(got.Applications), got.Invalid)
	}
	if a := got.Applications[0]; a.Spec.SyncPolicy.Automated.Enabled != nil || a.Labels["wave"] != "canary" {
		t.Errorf("automated %+v, labels %v", a.Spec.SyncPolicy.Automated, a.Labels)
	}
	if withMissing(set, r, owned, nil) != r || len(r.Applications) != 1 {
		t.Error("a complete rendering is changed")
	}
}

// TestNothingKnownIsNotNothing: before the first answer a failing generator
// hands over that nothing is known, never that there are no Applications.
func TestNothingKnownIsNotNothing(t *testing.T) {
	var offered []appset.Outcome
	c := New(Options{Registerer: prometheus.NewRegistry(), Offer: func(o appset.Outcome) { offered = append(offered, o) }, Sources: Sources{Clock: testclock.NewFakeClock(time.Unix(1, 0))}})
	e := &evaluation{Controller: c, set: &v1alpha1.ApplicationSet{}, key: types.NamespacedName{Name: "payment"}}
	e.offerError("ApplicationGenerationFromParamsError", "git is down", false)
	e.report(&appset.Rendered{}, nil, nil, appset.Ruling{})
	e.offerError("ApplicationGenerationFromParamsError", "git is down", false)
	if len(offered) != 3 || !offered[0].Blind || offered[1].Blind || offered[2].Blind {
		t.Errorf("offered %+v", offered)
	}
}
