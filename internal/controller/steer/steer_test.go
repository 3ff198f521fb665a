package steer

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/controller/advance"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

var key = types.NamespacedName{Namespace: "argocd", Name: "payment"}

// hub is an API server with one set and its Applications. It takes patches as
// an API server does: at the version they name, or not at all.
type hub struct {
	client.Client
	set  v1alpha1.ApplicationSet
	apps []v1alpha1.Application
	// conflicts is how often somebody else writes first.
	conflicts int
	manager   string
	failure   error
}

var resource = schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "applicationsets"}

func (h *hub) Get(_ context.Context, k client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	set, ok := into.(*v1alpha1.ApplicationSet)
	if !ok || k != key {
		return apierrors.NewNotFound(resource, k.Name)
	}
	h.set.DeepCopyInto(set)
	return nil
}

func (h *hub) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	list, ok := into.(*v1alpha1.ApplicationList)
	if !ok {
		return errors.New("only Applications are listed")
	}
	list.Items = h.apps
	return nil
}

func (h *hub) Patch(_ context.Context, o client.Object, p client.Patch, options ...client.PatchOption) error {
	raw, err := p.Data(o)
	if err != nil {
		return err
	}
	var patch struct {
		Metadata struct {
			ResourceVersion string
			Annotations     map[string]*string
		}
	}
	if err := json.Unmarshal(raw, &patch); err != nil {
		return err
	}
	if h.failure != nil {
		return h.failure
	}
	if h.conflicts > 0 {
		h.conflicts--
		h.set.ResourceVersion += "1"
	}
	if patch.Metadata.ResourceVersion != h.set.ResourceVersion {
		return apierrors.NewConflict(resource, key.Name, errors.New("somebody wrote"))
	}
	for k, v := range patch.Metadata.Annotations {
		if v == nil {
			delete(h.set.Annotations, k)
		} else {
			h.set.Annotations[k] = *v
		}
	}
	var all client.PatchOptions
	all.ApplyOptions(options)
	h.manager = all.FieldManager
	return nil
}

// newHub has two clusters in two steps: the first is Degraded at the newest
// revision, the second waits for approval.
func newHub() *hub {
	h := &hub{}
	h.set.Name, h.set.Namespace, h.set.UID, h.set.ResourceVersion, h.set.Annotations = key.Name, key.Namespace, "u1", "1", map[string]string{}
	h.set.Spec.Strategy = &v1alpha1.ApplicationSetStrategy{Type: rollout.TypeRollingSync, RollingSync: &v1alpha1.RollingSync{Steps: []v1alpha1.RolloutStep{
		{Name: "canary", MatchExpressions: []v1alpha1.StepMatchExpression{{Key: "wave", Operator: "In", Values: []string{"a"}}}},
		{Name: "rest", StepDefaults: v1alpha1.StepDefaults{Approval: "Before"}},
	}}}
	h.set.Status.Rollout = &v1alpha1.RolloutStatus{ID: 4, Phase: "AwaitingApproval", CurrentStep: 2, Steps: []v1alpha1.RolloutStepStatus{
		{Index: 1, Name: "canary", Phase: "Complete", Total: 1, Healthy: 1},
		{Index: 2, Name: "rest", Phase: "AwaitingApproval", Total: 1, Limit: 1, Approval: &v1alpha1.RolloutApproval{State: rollout.ApprovalAwaiting}},
	}}
	h.set.Status.ApplicationStatus = []v1alpha1.ApplicationSetAppStatus{
		{Application: "one", Status: "Healthy", Step: "1"}, {Application: "two", Status: "Waiting", Step: "2", Message: "waiting for approval"},
	}
	for name, wave := range map[string]string{"one": "a", "two": "b"} {
		app := v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: key.Namespace, Labels: map[string]string{"wave": wave}}}
		yes := true
		app.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.ApplicationSetKind, Name: key.Name, UID: "u1", Controller: &yes}}
		app.Spec.Source = &v1alpha1.ApplicationSource{RepoURL: "https://git.example.com/fleet.git", Path: name, TargetRevision: "main"}
		app.Spec.SyncPolicy = &v1alpha1.SyncPolicy{Automated: &v1alpha1.SyncPolicyAutomated{}}
		app.Status.Health.Status, app.Status.Sync.Status, app.Status.Sync.Revision = v1alpha1.HealthHealthy, v1alpha1.SyncStatusOutOfSync, "r1"
		app.Status.Sync.ComparedTo.Source = *app.Spec.Source
		h.apps = append(h.apps, app)
	}
	stranger := v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Name: "stranger", Namespace: key.Namespace}}
	h.apps = append(h.apps, stranger)
	return h
}

func desk(h *hub, evaluate func(context.Context, *v1alpha1.ApplicationSet) (*appset.Rendered, error)) *Desk {
	return New(Options{
		Reader: h, Client: h, Evaluate: evaluate, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		Facts: advance.Facts{
			Gate: true, Clock: testclock.NewFakeClock(time.Unix(1_800_000_000, 0)),
			Resolve: func(context.Context, string, v1alpha1.ApplicationSource) (string, error) { return "r1", nil },
		},
	})
}

// TestAskWritesInTheUsersName promotes, through other people's writes, and
// finds the user as the manager of what was written.
func TestAskWritesInTheUsersName(t *testing.T) {
	t.Parallel()
	h := newHub()
	h.conflicts = 3
	d := desk(h, nil)
	if _, err := d.Ask(t.Context(), key, rollout.Ask{Verb: "approve", Rollout: 4}, "alice@example.com"); err != nil {
		t.Fatal(err)
	}
	if got := h.set.Annotations[v1alpha1.AnnotationPromoteRollout]; got != "4/2" || h.manager != "user:alice@example.com" {
		t.Errorf("annotation %q written by %q", got, h.manager)
	}
	if n := testutil.ToFloat64(d.requests.WithLabelValues("argocd", "payment", "promote", "granted")); n != 1 {
		t.Errorf("%v granted requests are counted", n)
	}
}

// TestAskPausesAndResumes sets both annotations of a pause and takes both away.
func TestAskPausesAndResumes(t *testing.T) {
	t.Parallel()
	h := newHub()
	d := desk(h, nil)
	if _, err := d.Ask(t.Context(), key, rollout.Ask{Verb: "pause", Reason: "incident 7"}, "bob"); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{v1alpha1.AnnotationPauseRollout: "true", v1alpha1.AnnotationPauseReason: "incident 7"}
	if !maps.Equal(h.set.Annotations, want) {
		t.Errorf("paused: %v", h.set.Annotations)
	}
	if _, err := d.Ask(t.Context(), key, rollout.Ask{Verb: "resume"}, "bob"); err != nil || len(h.set.Annotations) != 0 {
		t.Errorf("resumed: %v, %v", h.set.Annotations, err)
	}
}

// TestAskRefusals: what is refused or fails writes nothing and is counted as
// what it is; a set that does not exist makes no series.
func TestAskRefusals(t *testing.T) {
	t.Parallel()
	h := newHub()
	d := desk(h, nil)
	if _, err := d.Ask(t.Context(), key, rollout.Ask{Verb: "promote", Rollout: 3}, "eve"); rollout.WhyRefused(err) != rollout.Stale {
		t.Errorf("for another rollout: %v", err)
	}
	if _, err := d.Ask(t.Context(), key, rollout.Ask{Verb: "explode"}, "eve"); rollout.WhyRefused(err) != rollout.Misread {
		t.Errorf("no verb: %v", err)
	}
	if _, err := d.Ask(t.Context(), types.NamespacedName{Namespace: "argocd", Name: "none"}, rollout.Ask{Verb: "pause"}, "eve"); !apierrors.IsNotFound(err) {
		t.Errorf("no set: %v", err)
	}
	h.conflicts = 100
	if _, err := d.Ask(t.Context(), key, rollout.Ask{Verb: "abort", Rollout: 4}, "eve"); !apierrors.IsConflict(err) {
		t.Errorf("endless conflicts: %v", err)
	}
	if len(h.set.Annotations) != 0 {
		t.Errorf("written: %v", h.set.Annotations)
	}
	if n := testutil.CollectAndCount(d.requests); n != 2 {
		t.Errorf("%d series, want one refused and one failed", n)
	}
}

// TestView shows what is stored and what the Applications of this very set
// say.
func TestView(t *testing.T) {
	t.Parallel()
	h := newHub()
	v, err := desk(h, nil).View(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if v.Summary != "step 2 (rest) waits for approval" || len(v.Blocking) != 1 || v.Blocking[0].Name != "two" || v.Blocking[0].Sync != "OutOfSync" {
		t.Errorf("%+v", v)
	}
	if _, err := desk(h, nil).View(t.Context(), types.NamespacedName{Name: "none"}); !apierrors.IsNotFound(err) {
		t.Errorf("no set: %v", err)
	}
}

// TestPlan plans a saved set, a manifest that is not saved, and one without a
// rollout; it writes nothing.
func TestPlan(t *testing.T) {
	t.Parallel()
	h := newHub()
	evaluate := func(_ context.Context, set *v1alpha1.ApplicationSet) (*appset.Rendered, error) {
		if set.Name == "broken" {
			return nil, errors.New("spec.generators[0]: Git is down")
		}
		return &appset.Rendered{Applications: h.apps[:2], Errors: []error{errors.New("one parameter set is bad")}}, nil
	}
	d := desk(h, evaluate)
	plan, err := d.Plan(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Steps) != 2 || plan.Steps[0].Outdated != 1 || plan.Steps[1].Approval != "Before" || len(plan.Incomplete) != 1 || plan.Target[0].Revision != "r1" {
		t.Errorf("%+v", plan)
	}
	unsaved := h.set.DeepCopy()
	unsaved.UID, unsaved.ResourceVersion, unsaved.Status = "", "", v1alpha1.ApplicationSetStatus{}
	unsaved.Spec.Strategy.RollingSync.Steps = unsaved.Spec.Strategy.RollingSync.Steps[1:]
	if plan, err = d.PlanOf(t.Context(), unsaved); err != nil || len(plan.Steps) != 1 || plan.Steps[0].Outdated != 2 {
		t.Errorf("unsaved: %+v, %v", plan, err)
	}
	unsaved.Spec.Strategy.Type = "rollingSync"
	if plan, err = d.PlanOf(t.Context(), unsaved); err != nil || !strings.Contains(plan.Problem, "is not known") {
		t.Errorf("ignored: %+v, %v", plan, err)
	}
	unsaved.Spec.Strategy = nil
	if plan, err = d.PlanOf(t.Context(), unsaved); err != nil || !strings.Contains(plan.Problem, "not RollingSync") {
		t.Errorf("without a strategy: %+v, %v", plan, err)
	}
	broken := h.set.DeepCopy()
	broken.Name = "broken"
	if _, err = d.PlanOf(t.Context(), broken); err == nil || !strings.Contains(err.Error(), "ApplicationSet broken: spec.generators[0]: Git is down") {
		t.Errorf("broken: %v", err)
	}
	if _, err = desk(h, nil).Plan(t.Context(), key); err == nil || !strings.Contains(err.Error(), "ask the server beside the controllers") {
		t.Errorf("where nothing renders: %v", err)
	}
}
