// Package stream holds what changes on their way to one client: at most one
// waiting entry per object, the newest. A client that reads slowly misses states
// in between and nothing else, and costs no more memory than there are objects.
package stream

import (
	"context"
	"slices"
	"sync"
)

// Kind is what happened to an object.
type Kind string

// The kinds, as clients read them.
const (
	Added    Kind = "ADDED"
	Modified Kind = "MODIFIED"
	Deleted  Kind = "DELETED"
)

// Change is what happened to the object of a key.
type Change[V any] struct {
	Kind  Kind
	Value V
}

// Queue keeps the newest change of every key until it is taken. It is safe for
// concurrent use by many writers and one reader.
type Queue[K comparable, V any] struct {
	mu      sync.Mutex
	waiting map[K]Change[V]
	order   []K
	ready   chan struct{}
}

// NewQueue makes an empty queue.
func NewQueue[K comparable, V any]() *Queue[K, V] {
	return &Queue[K, V]{waiting: map[K]Change[V]{}, ready: make(chan struct{}, 1)}
}

// Put adds a change; it never blocks. What waits for the same key becomes one
// change with it: an object that was added and has gone was never there, one
// that went and came back was modified.
func (q *Queue[K, V]) Put(key K, c Change[V]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	before, waits := q.waiting[key]
	switch {
	case !waits:
		q.order = append(q.order, key)
	case before.Kind == Added && c.Kind == Deleted:
		delete(q.waiting, key)
		q.order = slices.DeleteFunc(q.order, func(k K) bool { return k == key })
		return
	case before.Kind == Added:
		c.Kind = Added
	case before.Kind == Deleted && c.Kind == Added:
		c.Kind = Modified
	}
	q.waiting[key] = c
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// Take waits for changes and gives all that wait, oldest first, or the error of
// ctx when it ends.
func (q *Queue[K, V]) Take(ctx context.Context) ([]Change[V], error) {
	for {
		if out := q.drain(); len(out) > 0 {
			return out, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-q.ready:
		}
	}
}

func (q *Queue[K, V]) drain() []Change[V] {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := make([]Change[V], 0, len(q.waiting))
	for _, key := range q.order {
		if c, ok := q.waiting[key]; ok {
			out = append(out, c)
			delete(q.waiting, key)
		}
	}
	q.order = q.order[:0]
	return out
}

// Len is how many changes wait.
func (q *Queue[K, V]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}
