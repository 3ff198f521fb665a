package main

import (
	"testing"
	"time"
)

// TestLoginLimits: variables bound logins; what is no number in bounds is
// refused.
func TestLoginLimits(t *testing.T) {
	for _, c := range []struct {
		variables map[string]string
		failures  int
		window    time.Duration
		parallel  int
	}{
		{nil, 5, 5 * time.Minute, 50},
		{map[string]string{failuresVariable: "3", windowVariable: "60", parallelVariable: "9", replicasVariable: "2"}, 3, time.Minute, 4},
		{map[string]string{parallelVariable: "0", replicasVariable: "2"}, 5, 5 * time.Minute, maxParallel},
		{map[string]string{replicasVariable: "100"}, 5, 5 * time.Minute, 1},
		{map[string]string{failuresVariable: "500"}, 500, 5 * time.Minute, 50},
	} {
		limits, parallel, err := loginLimits(func(name string) string { return c.variables[name] })
		if err != nil || limits.Failures != c.failures || limits.Window != c.window || parallel != c.parallel || limits.Account < limits.Failures {
			t.Errorf("%v: %+v, %d, %v", c.variables, limits, parallel, err)
		}
	}
	for name, value := range map[string]string{failuresVariable: "0", windowVariable: "5m", parallelVariable: "-1", replicasVariable: "none"} {
		if _, _, err := loginLimits(func(asked string) string { return map[string]string{name: value}[asked] }); err == nil {
			t.Errorf("%s=%s is taken", name, value)
		}
	}
}
