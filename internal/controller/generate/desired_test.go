package generate_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/jq"
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

// desired is Desired of a Writer where it must not fail.
func desired(t *testing.T, set *v1alpha1.ApplicationSet, gate bool, rendered, live *v1alpha1.Application) *v1alpha1.Application {
	t.Helper()
	app, err := generate.Writer{Set: set, Gate: gate}.Desired(rendered, live)
	if err != nil {
		t.Fatal(err)
	}
	return app
}

func TestRolloutHoldsAutomation(t *testing.T) {
	held := desired(t, rolling(), true, rendered("canary"), nil)
	if a := held.Spec.SyncPolicy.Automated; a.Enabled == nil || *a.Enabled || !a.Prune || held.Annotations[v1alpha1.AnnotationRolloutHeldBy] != "payment" {
		t.Errorf("automated %+v, annotations %v", a, held.Annotations)
	}
	for name, free := range map[string]*v1alpha1.Application{
		"an unmatched Application": desired(t, rolling(), true, rendered("other"), nil),
		"with the gate closed":     desired(t, rolling(), false, rendered("canary"), nil),
		"after the rollout":        desired(t, &v1alpha1.ApplicationSet{}, true, rendered("canary"), held),
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
	got := desired(t, set, true, template, live)
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

// TestB15LabelByHand: a label on the live Application neither moves it to
// another step nor survives.
func TestB15LabelByHand(t *testing.T) {
	live := rendered("other")
	live.Labels["wave"] = "canary"
	got := desired(t, rolling(), true, rendered("other"), live)
	if got.Labels["wave"] != "other" {
		t.Errorf("labels %v", got.Labels)
	}
	if a := got.Spec.SyncPolicy.Automated; a.Enabled != nil {
		t.Errorf("a label by hand made the Application a member: automated %+v", a)
	}
}

func automated(app *v1alpha1.Application) string {
	a := app.Spec.SyncPolicy.Automated
	switch {
	case a == nil:
		return "none"
	case a.Enabled == nil:
		return "unset"
	case *a.Enabled:
		return "on"
	}
	return "off"
}

// TestA7PolicyForbidsUpdate (R22): nobody would sync what is never updated.
func TestA7PolicyForbidsUpdate(t *testing.T) {
	for _, policy := range []string{"create-only", "create-delete"} {
		set := rolling()
		set.Spec.SyncPolicy = &v1alpha1.ApplicationSetSyncPolicy{ApplicationsSync: &policy}
		app := desired(t, set, true, rendered("canary"), nil)
		if automated(app) != "unset" || app.Annotations[v1alpha1.AnnotationRolloutHeldBy] != "" {
			t.Errorf("%s: automated %s, annotations %v", policy, automated(app), app.Annotations)
		}
	}
}

// TestI12IgnoredAutomation (R23): an ignored field does not let a member
// escape the waves, and does not keep it held afterwards.
func TestI12IgnoredAutomation(t *testing.T) {
	set := rolling()
	set.Spec.IgnoreApplicationDifferences = []v1alpha1.ApplicationSetIgnoreRule{{JSONPointers: []string{"/spec/syncPolicy"}}}
	live := rendered("canary")
	live.Spec.SyncPolicy.Automated.SelfHeal = true
	held := desired(t, set, true, rendered("canary"), live)
	if automated(held) != "off" || !held.Spec.SyncPolicy.Automated.SelfHeal {
		t.Errorf("a member: automated %s, %+v", automated(held), held.Spec.SyncPolicy.Automated)
	}
	if free := desired(t, set, true, rendered("other"), held); automated(free) != "unset" || !free.Spec.SyncPolicy.Automated.SelfHeal {
		t.Errorf("no member any more: automated %s", automated(free))
	}
	off := false
	by := rendered("other")
	by.Spec.SyncPolicy.Automated.Enabled = &off
	if kept := desired(t, set, true, rendered("other"), by); automated(kept) != "off" {
		t.Errorf("a person's toggle on an Application outside of the rollout: automated %s", automated(kept))
	}
	set.Spec.IgnoreApplicationDifferences[0].JSONPointers = []string{"/status"}
	if _, err := (generate.Writer{Set: set, Gate: true}).Desired(rendered("canary"), live); err == nil {
		t.Error("a rule that cannot be followed is not reported")
	}
}

// TestF16Skip: the annotation survives, takes the Application out, and its
// removal brings it back.
func TestF16Skip(t *testing.T) {
	live := desired(t, rolling(), true, rendered("canary"), nil)
	live.Annotations[v1alpha1.AnnotationRolloutSkip] = "true"
	skipped := desired(t, rolling(), true, rendered("canary"), live)
	if skipped.Annotations[v1alpha1.AnnotationRolloutSkip] != "true" || automated(skipped) != "off" {
		t.Errorf("automated %s, annotations %v", automated(skipped), skipped.Annotations)
	}
	delete(skipped.Annotations, v1alpha1.AnnotationRolloutSkip)
	if back := desired(t, rolling(), true, rendered("canary"), skipped); automated(back) != "off" || back.Annotations[v1alpha1.AnnotationRolloutSkip] != "" {
		t.Errorf("automated %s, annotations %v", automated(back), back.Annotations)
	}
}

// TestF9Unmatched: an Application that leaves the steps gets its rendered
// value back, also an explicit one.
func TestF9Unmatched(t *testing.T) {
	on := true
	template := rendered("other")
	template.Spec.SyncPolicy.Automated.Enabled = &on
	held := desired(t, rolling(), true, rendered("canary"), nil)
	if free := desired(t, rolling(), true, template, held); automated(free) != "on" || free.Annotations[v1alpha1.AnnotationRolloutHeldBy] != "" {
		t.Errorf("automated %s, annotations %v", automated(free), free.Annotations)
	}
}

// TestExpressionsRunElsewhere: a jq expression of a set is evaluated where its
// memory is bounded, and not in the controller; one that fails there is an
// error that leaves the Application alone.
func TestExpressionsRunElsewhere(t *testing.T) {
	set := rolling()
	set.Spec.IgnoreApplicationDifferences = []v1alpha1.ApplicationSetIgnoreRule{{JQPathExpressions: []string{".spec.source.targetRevision"}}}
	var asked []string
	var failure error
	find := generate.Finder(t.Context(), func(ctx context.Context, source string, body []byte, _ time.Duration) (json.RawMessage, error) {
		asked = append(asked, source)
		if failure != nil {
			return nil, failure
		}
		out, err := jq.NewEvaluator().Evaluate(ctx, body)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out)
	})
	want, live := rendered("canary"), rendered("canary")
	want.Spec.Source, live.Spec.Source = &v1alpha1.ApplicationSource{TargetRevision: "v2"}, &v1alpha1.ApplicationSource{TargetRevision: "v1"}
	w := generate.Writer{Set: set, Gate: true, Find: find}
	app, err := w.Desired(want, live)
	if err != nil || app.Spec.Source.TargetRevision != "v1" {
		t.Errorf("%+v, %v", app, err)
	}
	if len(asked) != 2 || asked[0] != ".spec.source.targetRevision" {
		t.Errorf("asked elsewhere: %q", asked)
	}
	failure = errors.New("took more than 64 MiB")
	if _, err := w.Desired(want, live); err == nil || !strings.Contains(err.Error(), "spec.ignoreApplicationDifferences[0].jqPathExpressions[0]") || !strings.Contains(err.Error(), "64 MiB") {
		t.Errorf("an expression that fails: %v", err)
	}
}
