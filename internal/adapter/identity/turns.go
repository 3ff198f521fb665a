package identity

import (
	"context"
	"sync"
)

// turns lets attempts with one key go one after the other, so that what the
// first has failed counts for the next.
type turns struct {
	mu    sync.Mutex
	lines map[string]*line
}

type line struct {
	head    chan struct{}
	waiting int
}

// take waits for a turn; whoever has one leaves.
func (t *turns) take(ctx context.Context, key string) (leave func(), err error) {
	t.mu.Lock()
	l := t.lines[key]
	if l == nil {
		l = &line{head: make(chan struct{}, 1)}
		t.lines[key] = l
	}
	l.waiting++
	t.mu.Unlock()
	gone := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if l.waiting--; l.waiting == 0 {
			delete(t.lines, key)
		}
	}
	select {
	case l.head <- struct{}{}:
		return func() { <-l.head; gone() }, nil
	case <-ctx.Done():
		gone()
		return nil, ctx.Err()
	}
}
