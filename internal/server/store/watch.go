package store

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/internal/server/stream"
)

// Shared is one state of an object on its way to many clients: what is encoded
// of it is encoded once for each selection of fields.
type Shared[T client.Object] struct {
	// Object is shared: it must not be changed.
	Object T
	// ID is the same for all states of an object, from its creation to its
	// end; an object that is made anew under the name has another one.
	ID uint64
	// Name is what policies call the object; "" where its index knows none.
	Name string

	mu      sync.Mutex
	encoded map[string][]byte
	text    atomic.Pointer[string]
}

// searched gives the texts that are searched, in small letters.
func (s *Shared[T]) searched(texts func(T) []string) string {
	if known := s.text.Load(); known != nil {
		return *known
	}
	text := strings.ToLower(strings.Join(texts(s.Object), "\x00"))
	s.text.Store(&text)
	return text
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

// maxEncodings bounds how many encodings are kept of one state.
const maxEncodings = 16

// Marks are objects that a watcher remembers, by ID: a bit for each, as many
// watchers remember as many objects as there are. The zero value has none.
type Marks struct{ blocks map[uint64]uint64 }

// Has says whether an object is marked.
func (m *Marks) Has(id uint64) bool { return m.blocks[id/64]&(1<<(id%64)) != 0 }

// Set marks an object.
func (m *Marks) Set(id uint64) {
	if m.blocks == nil {
		m.blocks = map[uint64]uint64{}
	}
	m.blocks[id/64] |= 1 << (id % 64)
}

// Clear takes a mark off.
func (m *Marks) Clear(id uint64) {
	if left := m.blocks[id/64] &^ (1 << (id % 64)); left != 0 {
		m.blocks[id/64] = left
	} else {
		delete(m.blocks, id/64)
	}
}

// Watch is one watcher.
type Watch[T client.Object] struct {
	index *Index[T]
	queue *stream.Queue[uint64, *Shared[T]]
	only  func(T) bool
}

// Watch begins to watch what only lets through; with initial every object that
// is there comes first, as added. Stop ends it.
func (x *Index[T]) Watch(only func(T) bool, initial bool) *Watch[T] {
	w := &Watch[T]{index: x, queue: stream.NewQueue[uint64, *Shared[T]](), only: only}
	x.mu.Lock()
	defer x.mu.Unlock()
	if initial {
		for _, s := range x.current().Items {
			if only(s.Object) {
				w.queue.Put(s.ID, stream.Change[*Shared[T]]{Kind: stream.Added, Value: s})
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
func (x *Index[T]) tell(c stream.Change[*Shared[T]]) {
	for w := range x.watchers {
		if w.only(c.Value.Object) {
			w.queue.Put(c.Value.ID, c)
		}
	}
}
