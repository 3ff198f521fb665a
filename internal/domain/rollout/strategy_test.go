package rollout_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

func TestLimit(t *testing.T) {
	number := func(n int) *intstr.IntOrString { v := intstr.FromInt32(int32(n)); return &v }
	text := func(s string) *intstr.IntOrString { v := intstr.FromString(s); return &v }
	for _, c := range []struct {
		max   *intstr.IntOrString
		total int
		want  int
		err   string
	}{
		{nil, 7, 7, ""},
		{number(3), 7, 3, ""},
		{number(0), 7, 0, ""},
		{number(-1), 7, 0, "-1 is negative"},
		{text("3"), 7, 3, ""},
		{text("25%"), 7, 1, ""},
		{text("25%"), 8, 2, ""},
		{text("10%"), 3, 1, ""},
		{text("0%"), 3, 0, ""},
		{text("100%"), 3, 3, ""},
		{text("200%"), 3, 3, ""},
		{text("10%"), 0, 0, ""},
		{text("ten"), 3, 0, `"ten" is neither a whole number nor a percentage`},
		{text("-5%"), 3, 0, `"-5%" is neither`},
		{text("1.5%"), 3, 0, `"1.5%" is neither`},
		{text(""), 3, 0, `"" is neither`},
	} {
		got, err := rollout.Limit(c.max, c.total)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("Limit(%v, %d) = %d, %v; want %d, %q", c.max, c.total, got, err, c.want, c.err)
		}
	}
}

func rolling(steps ...v1alpha1.RolloutStep) *v1alpha1.ApplicationSet {
	set := &v1alpha1.ApplicationSet{}
	set.Spec.Strategy = &v1alpha1.ApplicationSetStrategy{Type: "RollingSync", RollingSync: &v1alpha1.RollingSync{Steps: steps}}
	return set
}

func step(key, operator string, values ...string) v1alpha1.RolloutStep {
	return v1alpha1.RolloutStep{MatchExpressions: []v1alpha1.StepMatchExpression{{Key: key, Operator: operator, Values: values}}}
}

func TestStepOf(t *testing.T) {
	for _, c := range []struct {
		name   string
		step   v1alpha1.RolloutStep
		labels map[string]string
		want   int
	}{
		{"In, listed", step("w", "In", "a", "b"), map[string]string{"w": "b"}, 1},
		{"In, not listed", step("w", "In", "a"), map[string]string{"w": "b"}, 0},
		{"In, absent", step("w", "In", "a"), nil, 0},
		{"NotIn, listed", step("w", "NotIn", "a"), map[string]string{"w": "a"}, 0},
		{"NotIn, not listed", step("w", "NotIn", "a"), map[string]string{"w": "b"}, 1},
		{"NotIn, absent", step("w", "NotIn", "a"), nil, 1},
		{"Exists", step("w", "Exists"), map[string]string{"w": ""}, 1},
		{"Exists, absent", step("w", "Exists"), nil, 0},
		{"DoesNotExist", step("w", "DoesNotExist"), nil, 1},
		{"DoesNotExist, present", step("w", "DoesNotExist"), map[string]string{"w": ""}, 0},
		{"no expressions", v1alpha1.RolloutStep{}, nil, 1},
		{"unknown operator", step("w", "Gt", "1"), map[string]string{"w": "2"}, 1},
		{"In nothing", step("w", "In"), map[string]string{"w": "2"}, 1},
		{"Exists with a value", step("w", "Exists", "2"), nil, 1},
		{"no key", step("", "In", "a"), nil, 1},
	} {
		if got := rollout.StepOf([]v1alpha1.RolloutStep{c.step}, c.labels); got != c.want {
			t.Errorf("%s: step %d, want %d", c.name, got, c.want)
		}
	}
	two := []v1alpha1.RolloutStep{step("w", "In", "a"), {}}
	if got := rollout.StepOf(two, map[string]string{"w": "a"}); got != 1 {
		t.Errorf("an Application that matches two steps is in step %d, want the first", got)
	}
	wrong := []v1alpha1.RolloutStep{step("w", "In", "a"), step("w", "Equals", "b"), step("w", "In", "c")}
	for w, want := range map[string]int{"a": 1, "b": 2, "c": 2, "d": 2} {
		if got := rollout.StepOf(wrong, map[string]string{"w": w}); got != want {
			t.Errorf("with a second step that nobody understands, %s is in step %d, want %d", w, got, want)
		}
	}
}

func TestClassify(t *testing.T) {
	off := false
	auto := &v1alpha1.SyncPolicy{Automated: &v1alpha1.SyncPolicyAutomated{}}
	set := rolling(step("w", "In", "a"))
	app := func(w string, p *v1alpha1.SyncPolicy) *v1alpha1.Application {
		a := &v1alpha1.Application{}
		a.Labels = map[string]string{"w": w}
		a.Spec.SyncPolicy = p
		return a
	}
	skip := map[string]string{v1alpha1.AnnotationRolloutSkip: "true"}
	for _, c := range []struct {
		name        string
		set         *v1alpha1.ApplicationSet
		gate        bool
		app         *v1alpha1.Application
		annotations map[string]string
		class       rollout.Class
		step        int
	}{
		{"automated in a step", set, true, app("a", auto), nil, rollout.Managed, 1},
		{"manual in a step", set, true, app("a", nil), nil, rollout.Manual, 1},
		{"automation switched off", set, true, app("a", &v1alpha1.SyncPolicy{Automated: &v1alpha1.SyncPolicyAutomated{Enabled: &off}}), nil, rollout.Manual, 1},
		{"in no step", set, true, app("x", auto), nil, rollout.Unmatched, 0},
		{"in no step that can be read", rolling(step("w", "In", "a"), step("w", "is", "b")), true, app("x", auto), nil, rollout.Managed, 2},
		{"skipped by annotation", set, true, app("a", auto), skip, rollout.Skipped, 0},
		{"gate closed", set, false, app("a", auto), nil, rollout.Free, 0},
		{"no strategy", &v1alpha1.ApplicationSet{}, true, app("a", auto), nil, rollout.Free, 0},
	} {
		if class, step := rollout.Classify(c.set, c.gate, c.app, c.annotations); class != c.class || step != c.step {
			t.Errorf("%s: %s in step %d, want %s in %d", c.name, class, step, c.class, c.step)
		}
	}
}

func TestIgnoredSaysWhy(t *testing.T) {
	only := "create-only"
	forbidden := rolling(step("w", "In", "a"))
	forbidden.Spec.SyncPolicy = &v1alpha1.ApplicationSetSyncPolicy{ApplicationsSync: &only}
	odd := rolling(step("w", "In", "a"))
	odd.Spec.Strategy.Type = "rollingsync"
	for _, c := range []struct {
		set    *v1alpha1.ApplicationSet
		gate   bool
		reason string
	}{
		{rolling(step("w", "In", "a")), true, ""},
		{rolling(step("w", "In", "a")), false, "ProgressiveSyncsDisabled"},
		{rolling(), true, "NoSteps"},
		{odd, true, "UnknownStrategyType"},
		{forbidden, true, "PolicyForbidsUpdate"},
		{&v1alpha1.ApplicationSet{}, true, ""},
	} {
		reason, message := rollout.Ignored(c.set, c.gate)
		if reason != c.reason || (message == "") != (reason == "") {
			t.Errorf("reason %q with message %q, want %q", reason, message, c.reason)
		}
	}
}

func TestValidateNamesTheField(t *testing.T) {
	bad := intstr.FromString("many")
	named := func(n string) v1alpha1.RolloutStep { s := step("w", "In", "a"); s.Name = n; return s }
	limited := step("w", "In", "a")
	limited.MaxUpdate = &bad
	for _, c := range []struct {
		steps []v1alpha1.RolloutStep
		want  string
	}{
		{[]v1alpha1.RolloutStep{step("w", "In", "a")}, ""},
		{[]v1alpha1.RolloutStep{step("w", "In")}, "spec.strategy.rollingSync.steps[0].matchExpressions[0].values is empty"},
		{[]v1alpha1.RolloutStep{step("w", "Exists", "a")}, "steps[0].matchExpressions[0].values is set"},
		{[]v1alpha1.RolloutStep{step("w", "in", "a")}, `steps[0].matchExpressions[0].operator "in" is not one of`},
		{[]v1alpha1.RolloutStep{named("x"), named("x")}, `steps[1].name "x" is used twice`},
		{[]v1alpha1.RolloutStep{limited}, `steps[0].maxUpdate: "many" is neither`},
	} {
		err := rollout.Validate(&v1alpha1.RollingSync{Steps: c.steps})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}
