package gitrepo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// question is one ls-remote that several callers wait for.
type question struct {
	done chan struct{}
	refs *Refs
	err  error
}

// inquiry lets callers share questions: one is under way, one may be next.
type inquiry struct {
	mu            sync.Mutex
	current, next *question
}

// Explicit questions to one repository: a burst of them at once, then one per
// pause, however many callers there are.
const (
	questionBurst = 100
	questionPause = 250 * time.Millisecond
)

// bucket holds the questions that may start at once.
type bucket struct {
	used float64
	at   time.Time
}

// take says how long the next question has to wait.
func (b *bucket) take(now time.Time) time.Duration {
	if !b.at.IsZero() {
		b.used = max(0, b.used-now.Sub(b.at).Seconds()/questionPause.Seconds())
	}
	b.at = now
	b.used++
	if b.used <= questionBurst {
		return 0
	}
	return time.Duration((b.used - questionBurst) * float64(questionPause))
}

// ask gives the refs of the remote. With after, the question starts after
// this call, so the answer holds what was pushed before it; without, one that
// is under way will do.
func (a *access) ask(ctx context.Context, after bool) (*Refs, error) {
	q, err := a.join(after)
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", a.name, err)
	}
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("repository %s: no answer yet: %w", a.name, ctx.Err())
	case <-q.done:
		return q.refs, q.err
	}
}

func (a *access) join(after bool) (*question, error) {
	i := &a.inquiry
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.current == nil:
		q := &question{done: make(chan struct{})}
		if err := a.all.spawn(func() { a.answerAll(q) }); err != nil {
			return nil, err
		}
		i.current = q
		return q, nil
	case !after:
		return i.current, nil
	case i.next == nil:
		i.next = &question{done: make(chan struct{})}
	}
	return i.next, nil
}

// answerAll answers q and then the questions that came up meanwhile.
func (a *access) answerAll(q *question) {
	for q != nil {
		a.mu.Lock()
		pause := a.budget.take(a.all.options.Clock.Now())
		a.mu.Unlock()
		rest(a.all.ctx, a.all.options.Clock, pause)
		if q.refs, q.err = a.lsRemote(a.all.ctx); q.err == nil {
			q.refs = a.consistent(a.all.ctx, q.refs)
		}
		a.note(q.refs, q.err)
		close(q.done)
		a.inquiry.mu.Lock()
		q, a.inquiry.next = a.inquiry.next, nil
		a.inquiry.current = q
		a.inquiry.mu.Unlock()
	}
}

// rest waits until the pause is over or ctx ends.
func rest(ctx context.Context, c clock.WithTicker, pause time.Duration) {
	if pause <= 0 {
		return
	}
	timer := c.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C():
	}
}

func (a *access) lsRemote(ctx context.Context) (*Refs, error) {
	o := a.all.options
	var raw []byte
	err := a.remote(ctx, "ls-remote", "", func() error {
		var err error
		raw, err = a.endpoint.run(ctx, command{
			args: []string{"ls-remote", "--", a.endpoint.target()}, dir: a.mirror.home, limit: o.RequestTimeout, maxOutput: o.MaxRefsBytes,
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", a.name, err)
	}
	refs := parseRefs(raw)
	a.remember(raw, refs)
	return refs, nil
}

// remote runs one request to the remote: within the limits of its host, with
// fresh credentials, counted and timed. A redirect within the same origin is
// followed once.
func (a *access) remote(ctx context.Context, kind, revision string, do func() error) error {
	slots := a.all.host(kind, a.endpoint.origin())
	a.all.metrics.waiting(a.name, 1)
	err := slots.Acquire(ctx, 1)
	a.all.metrics.waiting(a.name, -1)
	if err != nil {
		return fmt.Errorf("waiting for other requests to %s: %w", a.endpoint.origin(), err)
	}
	defer slots.Release(1)
	begin := a.all.options.Clock.Now()
	if err = a.endpoint.refresh(ctx); err == nil {
		if err = do(); isRedirect(err) {
			if err = a.endpoint.follow(ctx, err); err == nil {
				err = do()
			}
		}
	}
	took := a.all.options.Clock.Since(begin)
	a.all.metrics.observe(a.name, kind, took)
	if err != nil && ctx.Err() == nil {
		a.all.metrics.failed(a.name, kind, revision)
	}
	a.all.options.Log.Debug("git request", "repository", a.name, "request", kind, "took", took.String(), "failed", err != nil)
	return err
}
