package cluster

import (
	"context"
	"testing"

	"k8s.io/client-go/rest"
)

// TestBudget: requests pass as far as the budget of the moment goes, and what
// does not fit into it counts as not answered.
func TestBudget(t *testing.T) {
	t.Parallel()
	if cfg := (&rest.Config{}); limited(cfg, nil) != cfg {
		t.Error("nobody bounds anything, yet there is a limiter")
	}
	budget := Budget{}
	cfg := limited(&rest.Config{}, func() Budget { return budget })
	passed := func() (n int) {
		for n < 100 && cfg.RateLimiter.TryAccept() {
			n++
		}
		return n
	}
	if n := passed(); n != 100 {
		t.Errorf("%d pass without a bound", n)
	}
	budget = Budget{QPS: 1, Burst: 7}
	if n := passed(); n < 7 || n == 100 {
		t.Errorf("%d pass at once, want the burst of 7", n)
	}
	brief, cancel := context.WithCancel(t.Context())
	cancel()
	if err := cfg.RateLimiter.Wait(brief); !Unreachable(err) {
		t.Errorf("what found no room in time: %v", err)
	}
	budget = Budget{QPS: 3}
	if n := passed(); n < 6 || n == 100 || cfg.RateLimiter.QPS() != 3 {
		t.Errorf("%d pass at once, want twice the rate of 3", n)
	}
	budget.QPS = -1
	if n := passed(); n != 100 {
		t.Errorf("%d pass after the bound was taken away", n)
	}
}
