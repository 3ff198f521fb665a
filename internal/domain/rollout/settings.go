package rollout

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// What a step does when it fails, and when it asks a person.
const (
	OnFailureHalt     = "Halt"
	OnFailureRollback = "Rollback"
	OnFailureContinue = "Continue"
	ApprovalNone      = "None"
	ApprovalBefore    = "Before"
	ApprovalAfter     = "After"
)

// setting is what applies to one step: its own value, else the default.
type setting struct {
	name, key                        string
	max                              *intstr.IntOrString
	stepTimeout, applicationTimeout  time.Duration
	bake, batchBake, approvalTimeout time.Duration
	maxFailures                      *intstr.IntOrString
	onFailure, approval              string
	analysis                         *v1alpha1.StepAnalysis
	sliding, implicit                bool
}

// unmatchedStep names the step of Applications that come after the last one.
const unmatchedStep = "unmatched"

// settings resolves the steps of a valid strategy, with the implicit last one.
func settings(r *v1alpha1.RollingSync) []setting {
	def := v1alpha1.StepDefaults{}
	if r.Defaults != nil {
		def = *r.Defaults
	}
	steps := r.Steps
	if r.UnmatchedPolicy == UnmatchedAfterLastStep {
		steps = append(append([]v1alpha1.RolloutStep(nil), steps...), v1alpha1.RolloutStep{Name: unmatchedStep})
	}
	out := make([]setting, len(steps))
	seen := make(map[string]int, len(steps))
	for i := range steps {
		s := &steps[i]
		out[i] = setting{
			name: s.Name, key: keyOf(s), max: s.MaxUpdate, maxFailures: s.MaxFailures, analysis: s.Analysis,
			stepTimeout:        span(s.StepTimeout, def.StepTimeout),
			applicationTimeout: span(s.ApplicationTimeout, def.ApplicationTimeout),
			bake:               span(s.BakeTime, def.BakeTime),
			batchBake:          span(s.BatchBakeTime, def.BatchBakeTime),
			approvalTimeout:    span(s.ApprovalTimeout, def.ApprovalTimeout),
			onFailure:          cmp.Or(s.OnFailure, def.OnFailure, OnFailureHalt),
			approval:           cmp.Or(s.Approval, def.Approval, ApprovalNone),
			sliding:            r.Batching == "Sliding",
			implicit:           i >= len(r.Steps),
		}
		if s.MaxFailures == nil {
			out[i].maxFailures = def.MaxFailures
		}
		if n := seen[out[i].key]; n > 0 {
			out[i].key += "#" + strconv.Itoa(n)
		}
		seen[keyOf(s)]++
	}
	return out
}

// keyOf names a step by what it selects, so that what is remembered of it does
// not move to another step when steps are inserted.
func keyOf(s *v1alpha1.RolloutStep) string {
	if s.Name != "" {
		return s.Name
	}
	h := fnv.New32a()
	for _, e := range s.MatchExpressions {
		for _, text := range append([]string{e.Key, e.Operator}, e.Values...) {
			_, _ = h.Write([]byte(text)) // never fails
			_, _ = h.Write([]byte{0})
		}
		_, _ = h.Write([]byte{1})
	}
	return ":" + strconv.FormatUint(uint64(h.Sum32()), 36)
}

// span reads the first duration that is set; Validate has refused bad ones.
func span(texts ...string) time.Duration {
	for _, text := range texts {
		if text == "" {
			continue
		}
		if d, err := time.ParseDuration(text); err == nil {
			return max(0, d)
		}
	}
	return 0
}

// Share is a number or a percentage of total, rounded down; nil is zero.
func Share(value *intstr.IntOrString, total int) (int, error) {
	if value == nil {
		return 0, nil
	}
	if value.Type == intstr.Int {
		if value.IntVal < 0 {
			return 0, fmt.Errorf("%d is negative: write 0 or more", value.IntVal)
		}
		return int(value.IntVal), nil
	}
	n, percent, err := number(value.StrVal)
	if err != nil || !percent {
		return n, err
	}
	return n * total / 100, nil
}

// maxNumber bounds numbers and percentages, so that products stay small.
const maxNumber = 1_000_000

// number reads "25" and "25%".
func number(text string) (n int, percent bool, err error) {
	digits, percent := strings.CutSuffix(text, "%")
	n, err = strconv.Atoi(digits)
	if err != nil || n < 0 || digits[0] == '+' {
		return 0, false, fmt.Errorf("%q is neither a whole number nor a percentage such as \"25%%\"", text)
	}
	return min(n, maxNumber), percent, nil
}

// Limit is how many of total members may change at a time: all without a
// maxUpdate, a number as it is, a percentage rounded down but at least one
// unless it is 0%; never more than all of them.
func Limit(maxUpdate *intstr.IntOrString, total int) (int, error) {
	if maxUpdate == nil {
		return total, nil
	}
	n, err := Share(maxUpdate, total)
	if err != nil {
		return 0, err
	}
	if maxUpdate.Type == intstr.String && n == 0 {
		if p, _, _ := number(maxUpdate.StrVal); p > 0 {
			n = 1
		}
	}
	return min(total, n), nil
}
