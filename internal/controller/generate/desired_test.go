package generate_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/controller/generate"
)

func rolling() *v1alpha1.ApplicationSet {
	set := &v1alpha1.ApplicationSet{}
	set.Name, set.Namespace = "payment", "argocd"
	set.Spec.Strategy = &v1alpha1.ApplicationSetStrategy{Type: "RollingSync", RollingSync: &v1alpha1.RollingSync{
		Steps: []v1alpha1.RolloutStep{{MatchExpressions: []v1alpha1.StepMatchExpression{{Key: "wave", Operator: "In", Values: []string{"canary"}}}}},
	}}
	return set
}

func rendered(wave string) *v1alpha1.Application {
	app := &v1alpha1.Application{}
	app.Name, app.Labels = "payment-eu", map[string]string{"wave": wave}
	app.Spec.SyncPolicy = &v1alpha1.SyncPolicy{Automated: &v1alpha1.SyncPolicyAutomated{Prune: true}}
	return app
}

func TestRolloutHoldsAutomation(t *testing.T) {
	held := generate.Desired(rolling(), true, rendered("canary"), nil)
	if a := held.Spec.SyncPolicy.Automated; a.Enabled == nil || *a.Enabled || !a.Prune || held.Annotations[v1alpha1.AnnotationRolloutHeldBy] != "payment" {
		t.Errorf("automated %+v, annotations %v", a, held.Annotations)
	}
	for name, free := range map[string]*v1alpha1.Application{
		"an unmatched Application": generate.Desired(rolling(), true, rendered("other"), nil),
		"with the gate closed":     generate.Desired(rolling(), false, rendered("canary"), nil),
		"after the rollout":        generate.Desired(&v1alpha1.ApplicationSet{}, true, rendered("canary"), held),
	} {
		if a := free.Spec.SyncPolicy.Automated; a.Enabled != nil || free.Annotations[v1alpha1.AnnotationRolloutHeldBy] != "" {
			t.Errorf("%s: automated %+v, annotations %v", name, a, free.Annotations)
		}
	}
}

func TestWhatSurvivesOfTheLiveApplication(t *testing.T) {
	set := &v1alpha1.ApplicationSet{}
	set.Name, set.Namespace = "payment", "argocd"
	set.Spec.PreservedFields = &v1alpha1.PreservedFields{Annotations: []string{"kept"}, Labels: []string{"kept"}}
	live := rendered("old")
	live.Annotations = map[string]string{"kept": "yes", "gone": "yes", v1alpha1.AnnotationRefresh: "normal"}
	live.Labels = map[string]string{"kept": "yes", "gone": "yes"}
	live.Finalizers = []string{v1alpha1.FinalizerPostDelete + "/cleanup", "other/finalizer"}
	live.Status.Sync.Revision = "abc"
	live.Operation = &v1alpha1.Operation{}
	template := rendered("new")
	template.Labels = nil
	got := generate.Desired(set, true, template, live)
	if diff := cmp.Diff(map[string]string{"kept": "yes"}, got.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"kept": "yes", v1alpha1.AnnotationRefresh: "normal"}, got.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{v1alpha1.FinalizerPostDelete + "/cleanup"}, got.Finalizers); diff != "" {
		t.Errorf("finalizers (-want +got):\n%s", diff)
	}
	if got.Status.Sync.Revision != "abc" || got.Operation == nil {
		t.Error("status or operation of the live Application is lost")
	}
}

func TestGuarded(t *testing.T) {
	count, percent := int32(3), int32(50)
	guard := func(g *v1alpha1.DeletionGuard) *v1alpha1.ApplicationSet {
		return &v1alpha1.ApplicationSet{Spec: v1alpha1.ApplicationSetSpec{SyncPolicy: &v1alpha1.ApplicationSetSyncPolicy{DeletionGuard: g}}}
	}
	for _, c := range []struct {
		name           string
		set            *v1alpha1.ApplicationSet
		surplus, total int
		want           bool
	}{
		{"nothing to delete", &v1alpha1.ApplicationSet{}, 0, 10, false},
		{"one is always allowed", &v1alpha1.ApplicationSet{}, 1, 3, false},
		{"a tenth", &v1alpha1.ApplicationSet{}, 10, 100, false},
		{"more than a tenth", &v1alpha1.ApplicationSet{}, 11, 100, true},
		{"everything", &v1alpha1.ApplicationSet{}, 100, 100, true},
		{"a larger share", guard(&v1alpha1.DeletionGuard{MaxPercent: &percent}), 50, 100, false},
		{"a count", guard(&v1alpha1.DeletionGuard{MaxCount: &count, MaxPercent: &percent}), 4, 100, true},
		{"switched off", guard(&v1alpha1.DeletionGuard{Disabled: true}), 100, 100, false},
	} {
		if got := generate.Guarded(c.set, c.surplus, c.total); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestB15LabelByHand: a label on the live Application neither moves it to
// another step nor survives.
func TestB15LabelByHand(t *testing.T) {
	live := rendered("other")
	live.Labels["wave"] = "canary"
	got := generate.Desired(rolling(), true, rendered("other"), live)
	if got.Labels["wave"] != "other" {
		t.Errorf("labels %v", got.Labels)
	}
	if a := got.Spec.SyncPolicy.Automated; a.Enabled != nil {
		t.Errorf("a label by hand made the Application a member: automated %+v", a)
	}
}
