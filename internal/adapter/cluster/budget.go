package cluster

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
)

// Budget bounds the requests to one cluster. The heartbeat is not in it, so that
// a cluster that is asked much is not taken for a dead one.
type Budget struct {
	// QPS is how many requests a second are sent, none or less is no bound; Burst
	// how many at once after a quiet time, none is twice as many.
	QPS, Burst int
}

// limiter keeps to a budget, which may change at any time.
type limiter struct {
	budget func() Budget

	mu     sync.Mutex
	now    Budget
	bucket flowcontrol.RateLimiter
}

var _ flowcontrol.RateLimiter = (*limiter)(nil)

// limited is a configuration whose clients keep to a budget; nil is no bound.
func limited(cfg *rest.Config, budget func() Budget) *rest.Config {
	if budget == nil {
		return cfg
	}
	out := rest.CopyConfig(cfg)
	out.RateLimiter = &limiter{budget: budget, bucket: flowcontrol.NewFakeAlwaysRateLimiter()}
	return out
}

// current is the bucket of the budget of this moment.
func (l *limiter) current() flowcontrol.RateLimiter {
	b := l.budget()
	if b.QPS <= 0 {
		b = Budget{}
	} else if b.Burst <= 0 {
		b.Burst = 2 * b.QPS
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if b != l.now {
		l.now, l.bucket = b, flowcontrol.NewFakeAlwaysRateLimiter()
		if b.QPS > 0 {
			l.bucket = flowcontrol.NewTokenBucketRateLimiter(float32(b.QPS), b.Burst)
		}
	}
	return l.bucket
}

// Wait lets a request pass when there is room for it. An error says that its
// time would be over by then; it counts as a cluster that does not answer.
func (l *limiter) Wait(ctx context.Context) error {
	if err := l.current().Wait(ctx); err != nil {
		return fmt.Errorf("more requests than controller.k8s.client.qps permits: %w: %w", context.DeadlineExceeded, err)
	}
	return nil
}

// TryAccept says whether there is room now.
func (l *limiter) TryAccept() bool { return l.current().TryAccept() }

// Accept waits without end.
func (l *limiter) Accept() { l.current().Accept() }

// Stop does nothing: nothing runs.
func (l *limiter) Stop() {}

// QPS is the budget of this moment.
func (l *limiter) QPS() float32 { return l.current().QPS() }
