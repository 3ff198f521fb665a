package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

func (w *World) strategyVerbs() map[string]func([]string) error {
	return map[string]func([]string) error{
		"step": func(args []string) error { return w.addStep(args, len(w.rolling().Steps)) },
		"insert": func(args []string) error {
			n, err := strconv.Atoi(args[0])
			if err != nil {
				return err
			}
			return w.addStep(args[1:], n-1)
		},
		"change": func(args []string) error {
			n, err := strconv.Atoi(args[0])
			if err != nil {
				return err
			}
			return change(&w.rolling().Steps[n-1], args[1:])
		},
		"set":     func(args []string) error { return w.set(args[0], args[1]) },
		"analyze": w.analyze,
	}
}

// addStep reads: step SELECTOR [KEY VALUE]...
func (w *World) addStep(args []string, at int) error {
	s := v1alpha1.RolloutStep{}
	for _, one := range strings.Split(args[0], ";") {
		if e, ok := expression(one); ok {
			s.MatchExpressions = append(s.MatchExpressions, e)
		}
	}
	if err := change(&s, args[1:]); err != nil {
		return err
	}
	w.rolling().Steps = slices.Insert(w.rolling().Steps, at, s)
	return nil
}

// expression reads all, k=v,w, k!=v,w, k and !k.
func expression(text string) (v1alpha1.StepMatchExpression, bool) {
	if text == "all" {
		return v1alpha1.StepMatchExpression{}, false
	}
	if k, v, ok := strings.Cut(text, "!="); ok {
		return v1alpha1.StepMatchExpression{Key: k, Operator: "NotIn", Values: strings.Split(v, ",")}, true
	}
	if k, v, ok := strings.Cut(text, "="); ok {
		return v1alpha1.StepMatchExpression{Key: k, Operator: "In", Values: strings.Split(v, ",")}, true
	}
	if k, ok := strings.CutPrefix(text, "!"); ok {
		return v1alpha1.StepMatchExpression{Key: k, Operator: "DoesNotExist"}, true
	}
	return v1alpha1.StepMatchExpression{Key: text, Operator: "Exists"}, true
}

// change sets fields of a step.
func change(s *v1alpha1.RolloutStep, args []string) error {
	if len(args)%2 != 0 {
		return fmt.Errorf("want pairs of key and value")
	}
	for i := 0; i < len(args); i += 2 {
		value := args[i+1]
		number := intstr.Parse(value)
		switch args[i] {
		case "name":
			s.Name = value
		case "max":
			s.MaxUpdate = &number
			if strings.HasPrefix(value, "'") {
				text := intstr.FromString(strings.Trim(value, "'"))
				s.MaxUpdate = &text
			}
		case "operator":
			s.MatchExpressions[0].Operator = value
		case "timeout":
			s.StepTimeout = value
		case "app-timeout":
			s.ApplicationTimeout = value
		case "bake":
			s.BakeTime = value
		case "batch-bake":
			s.BatchBakeTime = value
		case "max-failures":
			s.MaxFailures = &number
		case "on-failure":
			s.OnFailure = value
		case "approval":
			s.Approval = value
		case "approval-timeout":
			s.ApprovalTimeout = value
		default:
			return fmt.Errorf("no field %q of a step", args[i])
		}
	}
	return nil
}

// set changes a field of the strategy.
func (w *World) set(key, value string) error {
	r := w.rolling()
	switch key {
	case "batching":
		r.Batching = value
	case "onNewTarget":
		r.OnNewTarget = value
	case "manualSyncPolicy":
		r.ManualSyncPolicy = value
	case "unmatchedPolicy":
		r.UnmatchedPolicy = value
	case "completedStepRegression":
		r.CompletedStepRegression = value
	case "failureGracePeriod":
		r.FailureGracePeriod = value
	case "paused":
		r.Paused = value == "true"
	case "dryRun":
		r.DryRun = value == "true"
	default:
		return fmt.Errorf("no field %q of the strategy", key)
	}
	return nil
}

// analyze reads: analyze STEP METRIC [count N] [interval D] [delay D]
// [failures N] [inconclusive N] [errors N] [scope Application] [when DuringBake].
func (w *World) analyze(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	s := &w.rolling().Steps[n-1]
	if s.Analysis == nil {
		s.Analysis = &v1alpha1.StepAnalysis{}
	}
	m := v1alpha1.AnalysisMetric{
		Name: args[1], SuccessCondition: "result[0] < 0.05",
		Provider: v1alpha1.AnalysisProvider{Prometheus: &v1alpha1.PrometheusProvider{Address: "http://prometheus:9090", Query: "up"}},
	}
	for i := 2; i+1 < len(args); i += 2 {
		number := intstr.Parse(args[i+1])
		switch args[i] {
		case "count":
			m.Count = &number
		case "failures":
			m.FailureLimit = &number
		case "inconclusive":
			m.InconclusiveLimit = &number
		case "errors":
			m.ConsecutiveErrorLimit = &number
		case "interval":
			m.Interval = args[i+1]
		case "delay":
			m.InitialDelay = args[i+1]
		case "scope":
			m.Scope = args[i+1]
		case "when":
			s.Analysis.When = args[i+1]
		default:
			return fmt.Errorf("no field %q of a metric", args[i])
		}
	}
	s.Analysis.Metrics = append(s.Analysis.Metrics, m)
	return nil
}
