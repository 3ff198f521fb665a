package rollout

import (
	"fmt"
	"slices"

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
	// Unmatched matches no step: it syncs by its own policy, at once, unless
	// unmatchedPolicy says otherwise.
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

// What happens to Applications that match no step.
const (
	UnmatchedSyncImmediately = "SyncImmediately"
	UnmatchedAfterLastStep   = "AfterLastStep"
	UnmatchedHold            = "Hold"
)

// What happens to Applications without automated sync.
const (
	ManualWait = "Wait"
	ManualSkip = "Skip"
	ManualSync = "Sync"
)

// Holds says that the rollout of the set switches the automated sync of this
// Application off, because it syncs it itself or keeps it from being synced.
func Holds(set *v1alpha1.ApplicationSet, gate bool, app *v1alpha1.Application, annotations map[string]string) bool {
	switch class, _ := Classify(set, gate, app, annotations); class {
	case Managed, Skipped:
		return true
	case Unmatched:
		p := set.Spec.Strategy.RollingSync.UnmatchedPolicy
		return p == UnmatchedAfterLastStep || p == UnmatchedHold
	}
	return false
}

// Classify gives class and step of a rendered Application; annotations are
// those of the live one. Steps are 1-based, 0 is none; with unmatchedPolicy
// AfterLastStep, Applications that match no step have the step after the last.
func Classify(set *v1alpha1.ApplicationSet, gate bool, app *v1alpha1.Application, annotations map[string]string) (Class, int) {
	if !Rolling(set, gate) {
		return Free, 0
	}
	step := StepOf(set.Spec.Strategy.RollingSync.Steps, app.Labels)
	switch {
	case annotations[v1alpha1.AnnotationRolloutSkip] == "true":
		return Skipped, 0
	case step == 0:
		r := set.Spec.Strategy.RollingSync
		if r.UnmatchedPolicy == UnmatchedAfterLastStep && autosync.Enabled(app.Spec.SyncPolicy) {
			return Unmatched, len(r.Steps) + 1
		}
		return Unmatched, 0
	case autosync.Enabled(app.Spec.SyncPolicy):
		return Managed, step
	}
	return Manual, step
}

// StepOf is the first step whose expressions all hold, 1-based; 0 for none. A
// step with an expression that cannot be read takes all that reach it: nobody
// knows whom it means, and one that seems to match no step would sync at once.
func StepOf(steps []v1alpha1.RolloutStep, labels map[string]string) int {
	for i, s := range steps {
		if matches(s, labels) || slices.ContainsFunc(s.MatchExpressions, unreadable) {
			return i + 1
		}
	}
	return 0
}

// unreadable says that an expression has no meaning (§6.3): no key, an operator
// that does not exist, or one with too few or too many values.
func unreadable(e v1alpha1.StepMatchExpression) bool {
	switch e.Operator {
	case "In", "NotIn":
		return e.Key == "" || len(e.Values) == 0
	case "Exists", "DoesNotExist":
		return e.Key == "" || len(e.Values) > 0
	}
	return true
}

// matching lists the steps that match, 1-based.
func matching(steps []v1alpha1.RolloutStep, labels map[string]string) []int {
	var out []int
	for i, s := range steps {
		if matches(s, labels) {
			out = append(out, i+1)
		}
	}
	return out
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
