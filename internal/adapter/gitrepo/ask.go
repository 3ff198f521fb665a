package gitrepo

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// failureMemory is how long a failure answers for a remote that has never
// answered, so that a thousand Applications do not ask it a thousand times.
const failureMemory = 3 * time.Second

// question is one ls-remote that several callers wait for.
type question struct {
	done chan struct{}
	refs Refs
	err  error
}

// inquiry lets callers share questions: one is under way, one may be next.
type inquiry struct {
	mu            sync.Mutex
	current, next *question
}

// ask gives the refs of the remote. With after, the question starts after
// this call, so the answer holds what was pushed before it; without, one that
// is under way will do.
func (m *mirror) ask(ctx context.Context, after bool) (Refs, error) {
	q, err := m.join(after)
	if err != nil {
		return Refs{}, fmt.Errorf("repository %s: %w", m.name, err)
	}
	select {
	case <-ctx.Done():
		return Refs{}, fmt.Errorf("repository %s: no answer yet: %w", m.name, ctx.Err())
	case <-q.done:
		return q.refs, q.err
	}
}

func (m *mirror) join(after bool) (*question, error) {
	i := &m.inquiry
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.current == nil:
		q := &question{done: make(chan struct{})}
		if err := m.all.spawn(func() { m.answerAll(q) }); err != nil {
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
func (m *mirror) answerAll(q *question) {
	for q != nil {
		q.refs, q.err = m.lsRemote()
		m.note(q.refs, q.err)
		close(q.done)
		m.inquiry.mu.Lock()
		q, m.inquiry.next = m.inquiry.next, nil
		m.inquiry.current = q
		m.inquiry.mu.Unlock()
	}
}

func (m *mirror) lsRemote() (Refs, error) {
	o := m.all.options
	begin := o.Clock.Now()
	raw, err := m.endpoint.run(m.all.ctx, o.RequestTimeout, m.home, "ls-remote", "--", m.endpoint.url)
	m.all.metrics.observe(m.name, "ls-remote", o.Clock.Since(begin))
	if err != nil {
		return Refs{}, fmt.Errorf("repository %s: %w", m.name, err)
	}
	return parseRefs(raw), nil
}

// refs is what the remote offers: its last answer, or a new one.
func (m *mirror) refs(ctx context.Context, fresh bool) (Refs, error) {
	if fresh {
		return m.ask(ctx, true)
	}
	if refs, err, ok := m.known(); ok {
		return refs, err
	}
	return m.ask(ctx, false)
}

// known is the answer without asking; ok says that there is one.
func (m *mirror) known() (refs Refs, err error, ok bool) { //nolint:revive // the error is part of the answer
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.all.options
	age := o.Clock.Since(m.asked)
	unwatched := o.PollInterval > 0 && !m.polling && age > o.PollInterval
	switch {
	case m.asked.IsZero() || unwatched:
		return Refs{}, nil, false
	case m.failing():
		return Refs{}, m.failure, m.polling || age < failureMemory
	}
	return m.last, nil, true
}

// failing says that the remote has not answered for longer than the grace
// that its last answer gives. The caller holds the lock.
func (m *mirror) failing() bool {
	if m.failure == nil {
		return false
	}
	return m.last.ids == nil || m.all.options.Clock.Since(m.failedAt) >= m.all.options.Grace
}

// note stores an answer and tells subscribers for whom it is news.
func (m *mirror) note(refs Refs, err error) {
	m.mu.Lock()
	m.asked = m.all.options.Clock.Now()
	switch {
	case err == nil:
		m.last = refs
	case m.failure == nil:
		m.failedAt = m.asked
	}
	m.failure = err
	var moved []func()
	for _, s := range m.subs {
		if now := m.view(s.target); now != s.seen {
			s.seen = now
			moved = append(moved, s.notify)
		}
	}
	m.mu.Unlock()
	for _, notify := range moved {
		notify()
	}
}

// view is what a subscriber would be told now. The caller holds the lock.
func (m *mirror) view(t Target) view {
	if m.failing() {
		return view{known: true, failing: true}
	}
	if m.last.ids == nil {
		return view{}
	}
	id, err := m.last.Resolve(t)
	if err != nil {
		return view{known: true, problem: err.Error()}
	}
	return view{known: true, id: id}
}
