package window

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// Rollout holds the windows of a rolling strategy.
type Rollout struct {
	rules []rule
	// steps limits a rule to these steps, 1-based; empty is every step.
	steps [][]int
}

// State says whether a step is held by windows.
type State struct {
	Closed bool
	// Why names the windows that close; empty when open.
	Why string
	// Until is when Closed changes; zero when that is never or not known.
	Until time.Time
}

// ParseRollout reads spec.strategy.rollingSync.windows. A window may name
// steps by name or, where no step has that name, by number. The error names the
// first wrong field.
func ParseRollout(windows []v1alpha1.RolloutWindow, steps []v1alpha1.RolloutStep) (Rollout, error) {
	var out Rollout
	for i, w := range windows {
		at := fmt.Sprintf("spec.strategy.rollingSync.windows[%d]", i)
		r, zoneErr, err := text{w.Kind, w.Schedule, w.Duration, w.TimeZone, w.Description}.parse(at)
		if err != nil {
			return Rollout{}, err
		}
		if zoneErr != nil {
			return Rollout{}, zoneErr
		}
		limited := []int{}
		for j, name := range w.Steps {
			n := slices.IndexFunc(steps, func(s v1alpha1.RolloutStep) bool { return s.Name != "" && s.Name == name })
			if number, err := strconv.Atoi(name); n < 0 && err == nil && number >= 1 && number <= len(steps) {
				n = number - 1
			}
			if n < 0 {
				return Rollout{}, fmt.Errorf("%s.steps[%d]: %q is not a step: the steps are %s", at, j, name, strings.Join(stepNames(steps), ", "))
			}
			limited = append(limited, n+1)
		}
		out.rules, out.steps = append(out.rules, r), append(out.steps, limited)
	}
	return out, nil
}

func stepNames(steps []v1alpha1.RolloutStep) []string {
	var out []string
	for i, s := range steps {
		if s.Name == "" {
			s.Name = strconv.Itoa(i + 1)
		}
		out = append(out, s.Name)
	}
	return out
}

// At says whether the step (1-based) is held at now: by an open deny window,
// or because it has allow windows and none is open.
func (r Rollout) At(step int, now time.Time) State {
	var places []int
	for i, limited := range r.steps {
		if len(limited) == 0 || slices.Contains(limited, step) {
			places = append(places, i)
		}
	}
	rules := pick(r.rules, places)
	m := look(rules, now)
	out := State{
		Closed: closed(rules, m),
		Until:  nextChange(rules, now, func(m moment) bool { return closed(rules, m) }),
	}
	if out.Closed {
		out.Why = blocking(rules, m)
	}
	return out
}

// Steps answers the windows of a strategy for every step at now, the first
// step first; last is what comes after all steps (unmatchedPolicy
// AfterLastStep), which only windows of every step limit. The error names the
// first wrong field.
func Steps(r *v1alpha1.RollingSync, now time.Time) ([]State, error) {
	windows, err := ParseRollout(r.Windows, r.Steps)
	if err != nil {
		return nil, err
	}
	out := make([]State, len(r.Steps)+1)
	for i := range out {
		out[i] = windows.At(i+1, now)
	}
	return out, nil
}
