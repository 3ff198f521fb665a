package store

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/internal/server/stream"
)

// Shared is one state of an object on its way to many clients: what is encoded
// of it is encoded once for each selection of fields.
type Shared[T client.Object] struct {
	// Object is shared: it must not be changed.
	Object T

	mu      sync.Mutex
	encoded map[string][]byte
}

// Encoded gives the encoding under a name, made at most once.
func (s *Shared[T]) Encoded(name string, encode func() ([]byte, error)) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if raw, ok := s.encoded[name]; ok {
		return raw, nil
	}
	raw, err := encode()
	if err != nil {
		return nil, err
	}
	if s.encoded == nil || len(s.encoded) >= maxEncodings {
		s.encoded = map[string][]byte{}
	}
	s.encoded[name] = raw
	return raw, nil
}

// maxEncodings bounds how many selections of fields are kept of one state.
const maxEncodings = 8

// Watch is one watcher.
type Watch[T client.Object] struct {
	index *Index[T]
	queue *stream.Queue[types.NamespacedName, *Shared[T]]
	only  func(T) bool
}

// Watch begins to watch what only lets through; with initial every object that
// is there comes first, as added. Stop ends it.
func (x *Index[T]) Watch(only func(T) bool, initial bool) *Watch[T] {
	w := &Watch[T]{index: x, queue: stream.NewQueue[types.NamespacedName, *Shared[T]](), only: only}
	x.mu.Lock()
	defer x.mu.Unlock()
	if initial {
		for _, s := range x.current().Items {
			if only(s.Object) {
				w.queue.Put(client.ObjectKeyFromObject(s.Object), stream.Change[*Shared[T]]{Kind: stream.Added, Value: s})
			}
		}
	}
	x.watchers[w] = struct{}{}
	return w
}

// Next waits for changes: the newest state of every object that changed.
func (w *Watch[T]) Next(ctx context.Context) ([]stream.Change[*Shared[T]], error) {
	return w.queue.Take(ctx)
}

// Stop ends the watch.
func (w *Watch[T]) Stop() {
	w.index.mu.Lock()
	defer w.index.mu.Unlock()
	delete(w.index.watchers, w)
}

// Watchers is how many watch.
func (x *Index[T]) Watchers() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.watchers)
}

// tell puts a change before every watcher; x.mu is held.
func (x *Index[T]) tell(c stream.Change[*Shared[T]], key types.NamespacedName) {
	for w := range x.watchers {
		if w.only(c.Value.Object) {
			w.queue.Put(key, c)
		}
	}
}
