package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/account"
)

// Variables that bound logins (spec/config.md §7, other environment variables).
const (
	failuresVariable = "ARGOCD_SESSION_FAILURE_MAX_FAIL_COUNT"
	windowVariable   = "ARGOCD_SESSION_FAILURE_WINDOW_SECONDS"
	parallelVariable = "ARGOCD_MAX_CONCURRENT_LOGIN_REQUESTS_COUNT"
	replicasVariable = "ARGOCD_API_SERVER_REPLICAS"
)

// Bounds of what can be set.
const (
	defaultParallel = 50
	maxParallel     = 10_000
	maxFailures     = 1000
	maxWindow       = 7 * 24 * 3600
)

// loginLimits reads how failed logins are braked, and how many logins this one
// of several servers looks at at a time.
func loginLimits(environment func(string) string) (account.Limits, int, error) {
	limits, failure := account.DefaultLimits, error(nil)
	number := func(name string, otherwise, lowest, highest int) int {
		text := environment(name)
		if text == "" {
			return otherwise
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < lowest || n > highest {
			failure = fmt.Errorf("%s=%s: want a number from %d to %d", name, text, lowest, highest)
			return otherwise
		}
		return n
	}
	limits.Failures = number(failuresVariable, limits.Failures, 1, maxFailures)
	limits.Account = max(limits.Account, limits.Failures)
	limits.Window = time.Duration(number(windowVariable, int(limits.Window/time.Second), 1, maxWindow)) * time.Second
	parallel := number(parallelVariable, defaultParallel, 0, maxParallel)
	if parallel == 0 { // no limit
		return limits, maxParallel, failure
	}
	return limits, max(1, parallel/number(replicasVariable, 1, 1, maxParallel)), failure
}
