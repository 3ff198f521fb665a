package manifest

import (
	"container/list"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/adapter/render"
)

// Bounds of the cache: bytes of all results and how long a failure counts.
const (
	maxCacheBytes = 256 << 20
	failureMemory = 5 * time.Second
)

// result is one rendered source, or why it could not be rendered.
type result struct {
	kind, digest, revision string
	objects                []*unstructured.Unstructured
	err                    error
	at                     time.Time
	// pinned results use the commit id itself and are good for no other.
	pinned bool
	// reads by tree, in the order of the sources.
	reads []render.Reads
	size  int
}

// results is the cache: newest first, bounded by bytes.
type results struct {
	clock clock.Clock
	mu    sync.Mutex
	byKey map[string]*list.Element
	order *list.List
	bytes int
}

type entry struct {
	key string
	*result
}

func newResults(c clock.Clock) *results {
	return &results{clock: c, byKey: map[string]*list.Element{}, order: list.New()}
}

// find returns the result of key when it is valid for the trees of w.
func (c *results) find(key string, w work) (*result, bool) {
	c.mu.Lock()
	at, ok := c.byKey[key]
	if !ok {
		c.mu.Unlock()
		return nil, false
	}
	c.order.MoveToFront(at)
	r := at.Value.(entry).result
	c.mu.Unlock()
	if r.err != nil {
		return r, r.revision == w.revision && c.clock.Since(r.at) < failureMemory
	}
	if r.pinned && r.revision != w.revision {
		return nil, false
	}
	for i, reads := range r.reads {
		if i >= len(w.trees) || !reads.Unchanged(w.trees[i]) {
			return nil, false
		}
	}
	return r, true
}

func (c *results) add(key string, r *result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.byKey[key]; ok {
		c.bytes -= old.Value.(entry).size
		c.order.Remove(old)
	}
	c.byKey[key] = c.order.PushFront(entry{key, r})
	c.bytes += r.size
	for c.bytes > maxCacheBytes && c.order.Len() > 1 {
		last := c.order.Back()
		e := last.Value.(entry)
		c.order.Remove(last)
		delete(c.byKey, e.key)
		c.bytes -= e.size
	}
}
