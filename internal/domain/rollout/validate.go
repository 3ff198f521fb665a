package rollout

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

const at = "spec.strategy.rollingSync"

// Validate names the first field that makes the strategy unusable. Nothing is
// admitted under such a strategy: a rollout that drops a gate is worse than one
// that waits (spec/progressive-sync.md §6.3).
func Validate(r *v1alpha1.RollingSync) error {
	for _, f := range []struct {
		name, value string
		allowed     []string
	}{
		{"batching", r.Batching, []string{"Batch", "Sliding"}},
		{"onNewTarget", r.OnNewTarget, []string{"Restart", "Queue"}},
		{"manualSyncPolicy", r.ManualSyncPolicy, []string{ManualWait, ManualSkip, ManualSync}},
		{"unmatchedPolicy", r.UnmatchedPolicy, []string{UnmatchedSyncImmediately, UnmatchedAfterLastStep, UnmatchedHold}},
		{"completedStepRegression", r.CompletedStepRegression, []string{"Ignore", "Warn", "Halt"}},
	} {
		if err := oneOf(at+"."+f.name, f.value, f.allowed); err != nil {
			return err
		}
	}
	if err := duration(at+".failureGracePeriod", r.FailureGracePeriod); err != nil {
		return err
	}
	if r.Defaults != nil {
		if err := defaults(at+".defaults", r.Defaults); err != nil {
			return err
		}
	}
	names := map[string]bool{}
	for i := range r.Steps {
		if err := validStep(fmt.Sprintf("%s.steps[%d]", at, i), &r.Steps[i], names); err != nil {
			return err
		}
	}
	for i := range r.Windows {
		if err := validWindow(fmt.Sprintf("%s.windows[%d]", at, i), &r.Windows[i], r.Steps); err != nil {
			return err
		}
	}
	return nil
}

var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func validStep(at string, s *v1alpha1.RolloutStep, names map[string]bool) error {
	if s.Name != "" {
		switch {
		case names[s.Name]:
			return fmt.Errorf("%s.name %q is used twice: names of steps are unique", at, s.Name)
		case !dnsLabel.MatchString(s.Name):
			return fmt.Errorf("%s.name %q is not a DNS label: use lower case letters, digits and dashes", at, s.Name)
		case strings.Trim(s.Name, "0123456789") == "":
			return fmt.Errorf("%s.name %q is a number, which would be taken for a position: add a letter", at, s.Name)
		case s.Name == unmatchedStep:
			return fmt.Errorf("%s.name %q is reserved for Applications that match no step: choose another", at, s.Name)
		}
		names[s.Name] = true
	}
	if err := expressions(at, *s); err != nil {
		return err
	}
	if _, err := Limit(s.MaxUpdate, 1); err != nil {
		return fmt.Errorf("%s.maxUpdate: %w", at, err)
	}
	if err := defaults(at, &s.StepDefaults); err != nil {
		return err
	}
	if s.Analysis != nil {
		return analysisFields(at+".analysis", s.Analysis)
	}
	return nil
}

func defaults(at string, d *v1alpha1.StepDefaults) error {
	for _, f := range []struct{ name, value string }{
		{"stepTimeout", d.StepTimeout}, {"applicationTimeout", d.ApplicationTimeout}, {"bakeTime", d.BakeTime},
		{"batchBakeTime", d.BatchBakeTime}, {"approvalTimeout", d.ApprovalTimeout},
	} {
		if err := duration(at+"."+f.name, f.value); err != nil {
			return err
		}
	}
	if err := oneOf(at+".onFailure", d.OnFailure, []string{OnFailureHalt, OnFailureRollback, OnFailureContinue}); err != nil {
		return err
	}
	if err := oneOf(at+".approval", d.Approval, []string{ApprovalNone, ApprovalBefore, ApprovalAfter}); err != nil {
		return err
	}
	if _, err := Share(d.MaxFailures, 1); err != nil {
		return fmt.Errorf("%s.maxFailures: %w", at, err)
	}
	return nil
}

func oneOf(field, value string, allowed []string) error {
	if value != "" && !slices.Contains(allowed, value) {
		return fmt.Errorf("%s %q is not one of %s", field, value, strings.Join(allowed, ", "))
	}
	return nil
}

func duration(field, text string) error {
	if text == "" {
		return nil
	}
	if d, err := time.ParseDuration(text); err != nil || d < 0 {
		return fmt.Errorf("%s %q is not a duration such as 30m or 1h30m", field, text)
	}
	return nil
}

func validWindow(at string, w *v1alpha1.RolloutWindow, steps []v1alpha1.RolloutStep) error {
	if w.Kind != "allow" && w.Kind != "deny" {
		return fmt.Errorf("%s.kind %q is neither allow nor deny", at, w.Kind)
	}
	if d, err := time.ParseDuration(w.Duration); err != nil || d <= 0 {
		return fmt.Errorf("%s.duration %q is not a duration such as 8h", at, w.Duration)
	}
	if strings.TrimSpace(w.Schedule) == "" {
		return fmt.Errorf("%s.schedule is empty: write a cron expression such as 0 17 * * 5", at)
	}
	for _, name := range w.Steps {
		if stepNamed(steps, name) == 0 {
			return fmt.Errorf("%s.steps names %q, which is no step: use the name or number of a step", at, name)
		}
	}
	return nil
}

// stepNamed finds a step by name or 1-based number; 0 is none.
func stepNamed(steps []v1alpha1.RolloutStep, name string) int {
	for i := range steps {
		if (steps[i].Name != "" && steps[i].Name == name) || fmt.Sprint(i+1) == name {
			return i + 1
		}
	}
	return 0
}

// WindowApplies says that a window limits a step, given by its 1-based number:
// windows without steps limit all of them.
func WindowApplies(r *v1alpha1.RollingSync, w v1alpha1.RolloutWindow, step int) bool {
	return len(w.Steps) == 0 || slices.ContainsFunc(w.Steps, func(name string) bool { return stepNamed(r.Steps, name) == step })
}

func analysisFields(at string, a *v1alpha1.StepAnalysis) error {
	if err := oneOf(at+".when", a.When, []string{AnalyzeAfterHealthy, AnalyzeDuringBake}); err != nil {
		return err
	}
	if len(a.Metrics) == 0 {
		return fmt.Errorf("%s.metrics is empty: name at least one metric", at)
	}
	names := map[string]bool{}
	for i := range a.Metrics {
		m, at := &a.Metrics[i], fmt.Sprintf("%s.metrics[%d]", at, i)
		switch {
		case m.Name == "":
			return fmt.Errorf("%s.name is empty: name the metric", at)
		case names[m.Name]:
			return fmt.Errorf("%s.name %q is used twice: names of metrics are unique", at, m.Name)
		case m.Provider.Prometheus == nil:
			return fmt.Errorf("%s.provider is empty: prometheus is the one that exists", at)
		case m.Provider.Prometheus.Address == "" || m.Provider.Prometheus.Query == "":
			return fmt.Errorf("%s.provider.prometheus needs address and query", at)
		case m.SuccessCondition == "" && m.FailureCondition == "":
			return fmt.Errorf("%s needs successCondition or failureCondition", at)
		}
		names[m.Name] = true
		if err := oneOf(at+".scope", m.Scope, []string{ScopeStep, ScopeApplication}); err != nil {
			return err
		}
		for name, text := range map[string]string{"interval": m.Interval, "initialDelay": m.InitialDelay, "provider.prometheus.timeout": m.Provider.Prometheus.Timeout} {
			if err := duration(at+"."+name, text); err != nil {
				return err
			}
		}
		for name, v := range map[string]*intstr.IntOrString{
			"count": m.Count, "failureLimit": m.FailureLimit, "inconclusiveLimit": m.InconclusiveLimit, "consecutiveErrorLimit": m.ConsecutiveErrorLimit,
		} {
			if v == nil {
				continue
			}
			if n, err := Share(v, 100); err != nil || (v.Type == intstr.String && strings.HasSuffix(v.StrVal, "%")) || (name == "count" && n == 0) {
				return fmt.Errorf("%s.%s %q is not a whole number", at, name, v.String())
			}
		}
	}
	return nil
}

func expressions(at string, s v1alpha1.RolloutStep) error {
	for i, e := range s.MatchExpressions {
		field := fmt.Sprintf("%s.matchExpressions[%d]", at, i)
		if e.Key == "" {
			return fmt.Errorf("%s.key is empty: write the key of a label", field)
		}
		switch e.Operator {
		case "In", "NotIn":
			if len(e.Values) == 0 {
				return fmt.Errorf("%s.values is empty: %s needs values", field, e.Operator)
			}
		case "Exists", "DoesNotExist":
			if len(e.Values) > 0 {
				return fmt.Errorf("%s.values is set: %s takes none", field, e.Operator)
			}
		default:
			return fmt.Errorf("%s.operator %q is not one of In, NotIn, Exists, DoesNotExist", field, e.Operator)
		}
	}
	return nil
}
