package rollout

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/autosync"
)

// TypeRollingSync is the strategy that this package carries out.
const TypeRollingSync = "RollingSync"

// Class says who syncs a generated Application.
type Class string

// The classes of spec §6.2.
const (
	// Managed is synced by the rollout.
	Managed Class = "Managed"
	// Manual matches a step but has no automated sync: a person syncs it.
	Manual Class = "Manual"
	// Unmatched matches no step and syncs by its own policy, at once.
	Unmatched Class = "Unmatched"
	// Skipped was taken out by annotation.
	Skipped Class = "Skipped"
	// Free belongs to a set without an effective rolling strategy.
	Free Class = "Free"
)

// Ignored says why a strategy in the spec has no effect: a reason and words,
// or empty when it has effect or there is none.
func Ignored(set *v1alpha1.ApplicationSet, gate bool) (reason, message string) {
	s := set.Spec.Strategy
	switch {
	case s == nil || s.Type == "" || s.Type == "AllAtOnce":
		return "", ""
	case s.Type != TypeRollingSync:
		return "UnknownStrategyType", fmt.Sprintf("spec.strategy.type %q is not known: write RollingSync or AllAtOnce; all Applications sync at once", s.Type)
	case !gate:
		return "ProgressiveSyncsDisabled", "progressive syncs are switched off: start the controller with --enable-progressive-syncs; all Applications sync at once"
	case s.RollingSync == nil || len(s.RollingSync.Steps) == 0:
		return "NoSteps", "spec.strategy.rollingSync.steps is empty: add steps; all Applications sync at once"
	case forbidsUpdate(set):
		return "PolicyForbidsUpdate", "spec.syncPolicy.applicationsSync forbids updates, which a rollout needs: use create-update or sync"
	}
	return "", ""
}

func forbidsUpdate(set *v1alpha1.ApplicationSet) bool {
	p := set.Spec.SyncPolicy
	return p != nil && p.ApplicationsSync != nil && (*p.ApplicationsSync == "create-only" || *p.ApplicationsSync == "create-delete")
}

// Rolling says that the set has an effective rolling strategy.
func Rolling(set *v1alpha1.ApplicationSet, gate bool) bool {
	reason, _ := Ignored(set, gate)
	return reason == "" && set.Spec.Strategy != nil && set.Spec.Strategy.Type == TypeRollingSync
}

// Classify gives class and step (1-based, 0 for none) of a rendered
// Application; annotations are those of the live one.
func Classify(set *v1alpha1.ApplicationSet, gate bool, app *v1alpha1.Application, annotations map[string]string) (Class, int) {
	if !Rolling(set, gate) {
		return Free, 0
	}
	step := StepOf(set.Spec.Strategy.RollingSync.Steps, app.Labels)
	switch {
	case annotations[v1alpha1.AnnotationRolloutSkip] == "true":
		return Skipped, 0
	case step == 0:
		return Unmatched, 0
	case autosync.Enabled(app.Spec.SyncPolicy):
		return Managed, step
	}
	return Manual, step
}

// StepOf is the first step whose expressions all hold, 1-based; 0 for none.
func StepOf(steps []v1alpha1.RolloutStep, labels map[string]string) int {
	for i, s := range steps {
		if matches(s, labels) {
			return i + 1
		}
	}
	return 0
}

// overlaps counts the steps that match.
func overlaps(steps []v1alpha1.RolloutStep, labels map[string]string) int {
	n := 0
	for _, s := range steps {
		if matches(s, labels) {
			n++
		}
	}
	return n
}

func matches(s v1alpha1.RolloutStep, labels map[string]string) bool {
	for _, e := range s.MatchExpressions {
		value, present := labels[e.Key]
		listed := present && slices.Contains(e.Values, value)
		ok := false
		switch e.Operator {
		case "In":
			ok = listed
		case "NotIn":
			ok = !listed
		case "Exists":
			ok = present
		case "DoesNotExist":
			ok = !present
		}
		if !ok {
			return false
		}
	}
	return true
}

// Validate names the first field that makes the strategy unusable. Fields
// whose effect is not available yet are refused, never ignored: a rollout
// that drops a gate is worse than one that waits.
func Validate(r *v1alpha1.RollingSync) error {
	for name, set := range map[string]bool{
		"dryRun": r.DryRun, "onNewTarget: Queue": r.OnNewTarget == "Queue", "windows": len(r.Windows) > 0,
		"manualSyncPolicy: " + r.ManualSyncPolicy: r.ManualSyncPolicy != "" && r.ManualSyncPolicy != "Wait",
		"unmatchedPolicy: " + r.UnmatchedPolicy:   r.UnmatchedPolicy != "" && r.UnmatchedPolicy != "SyncImmediately",
		"completedStepRegression: Halt":           r.CompletedStepRegression == "Halt",
	} {
		if set {
			return fmt.Errorf("spec.strategy.rollingSync.%s is not available yet: remove it", name)
		}
	}
	if r.Defaults != nil {
		if err := available("spec.strategy.rollingSync.defaults", *r.Defaults); err != nil {
			return err
		}
	}
	names := map[string]bool{}
	for i, s := range r.Steps {
		at := fmt.Sprintf("spec.strategy.rollingSync.steps[%d]", i)
		if s.Name != "" && names[s.Name] {
			return fmt.Errorf("%s.name %q is used twice: names of steps are unique", at, s.Name)
		}
		names[s.Name] = true
		if s.Analysis != nil {
			return fmt.Errorf("%s.analysis is not available yet: remove it", at)
		}
		if err := available(at, s.StepDefaults); err != nil {
			return err
		}
		if err := expressions(at, s); err != nil {
			return err
		}
		if _, err := Limit(s.MaxUpdate, 1); err != nil {
			return fmt.Errorf("%s.maxUpdate: %w", at, err)
		}
	}
	return nil
}

func available(at string, d v1alpha1.StepDefaults) error {
	for name, set := range map[string]bool{
		"stepTimeout": d.StepTimeout != "", "applicationTimeout": d.ApplicationTimeout != "", "bakeTime": d.BakeTime != "",
		"batchBakeTime": d.BatchBakeTime != "", "maxFailures": d.MaxFailures != nil, "approvalTimeout": d.ApprovalTimeout != "",
		"onFailure: " + d.OnFailure: d.OnFailure != "" && d.OnFailure != "Halt",
		"approval: " + d.Approval:   d.Approval != "" && d.Approval != "None",
	} {
		if set {
			return fmt.Errorf("%s.%s is not available yet: remove it", at, name)
		}
	}
	return nil
}

func expressions(at string, s v1alpha1.RolloutStep) error {
	for i, e := range s.MatchExpressions {
		field := fmt.Sprintf("%s.matchExpressions[%d]", at, i)
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

// Limit is how many of total members may change at a time: all without a
// maxUpdate, a number as it is, a percentage rounded down but at least one
// unless it is 0%.
func Limit(maxUpdate *intstr.IntOrString, total int) (int, error) {
	if maxUpdate == nil {
		return total, nil
	}
	if maxUpdate.Type == intstr.Int {
		if maxUpdate.IntVal < 0 {
			return 0, fmt.Errorf("%d is negative: write 0 or more", maxUpdate.IntVal)
		}
		return int(maxUpdate.IntVal), nil
	}
	digits, percent := strings.CutSuffix(maxUpdate.StrVal, "%")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is neither a whole number nor a percentage such as \"25%%\"", maxUpdate.StrVal)
	}
	if !percent {
		return n, nil
	}
	if n == 0 {
		return 0, nil
	}
	return min(total, max(1, n*total/100)), nil
}
