package manifest

import (
	"container/list"
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/adapter/render"
)

// Bounds of the results in memory: bytes of all, results of one key and facts
// (branches that differ), and how long a failure counts: from the first to the
// last in a row.
const (
	maxCacheBytes  = 128 << 20
	maxVariants    = 4
	firstFailure   = 5 * time.Second
	longestFailure = 3 * time.Minute
)

// results is the cache in memory: newest first, bounded by bytes. A result is
// found by its key and by the facts that renders of this key were seen to use.
type results struct {
	clock clock.Clock
	limit int
	mu    sync.Mutex
	keys  map[string]*variants
	order *list.List // of entry
	bytes int
}

// variants are the results of one key.
type variants struct {
	used   []render.Inputs
	byName map[string][]*list.Element // newest first
	// asked says that disk and Redis were asked for this key.
	asked bool
}

type entry struct {
	key, name string
	*result
	bytes int
}

func newResults(c clock.Clock, limit int) *results {
	if limit == 0 {
		limit = maxCacheBytes
	}
	return &results{clock: c, limit: limit, keys: map[string]*variants{}, order: list.New()}
}

// find returns a result of key that is valid for the facts and trees.
func (c *results) find(ctx context.Context, s *Service, w *work) (*result, bool) {
	for _, r := range c.candidates(w.key, w.facts) {
		if r.err != nil {
			if r.revision == w.facts.revision && c.clock.Now().Before(r.until) && r.valid(ctx, s, w) {
				return r, true
			}
			continue
		}
		if r.valid(ctx, s, w) {
			return r, true
		}
	}
	return nil, false
}

// candidates are the results for these facts, whatever they have read.
func (c *results) candidates(key string, f facts) []*result {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.keys[key]
	if v == nil {
		return nil
	}
	var out []*result
	for _, used := range v.used {
		for _, at := range v.byName[f.digest(used)] {
			c.order.MoveToFront(at)
			out = append(out, at.Value.(entry).result)
		}
	}
	return out
}

// knows says whether disk and Redis were asked for a key, and that they are now.
func (c *results) knows(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.variants(key)
	was := v.asked
	v.asked = true
	return was
}

func (c *results) variants(key string) *variants {
	v := c.keys[key]
	if v == nil {
		v = &variants{byName: map[string][]*list.Element{}}
		c.keys[key] = v
	}
	return v
}

// failed gives a failure the time when it is tried again: twice as long as the
// one before it in the same revision.
func (c *results) failed(w *work, r *result) {
	r.failures = 1
	for _, before := range c.candidates(w.key, w.facts) {
		if before.err != nil && before.revision == r.revision {
			r.failures = max(r.failures, before.failures+1)
		}
	}
	pause := firstFailure << min(r.failures-1, 10)
	r.until = c.clock.Now().Add(min(pause, longestFailure))
}

func (c *results) add(key, name string, r *result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.variants(key)
	for _, old := range slices.Clone(v.byName[name]) {
		if e := old.Value.(entry); e.err != nil || e.digest == r.digest && r.err == nil {
			c.remove(old)
		}
	}
	v = c.variants(key)
	if !slices.Contains(v.used, r.used) {
		v.used = append(v.used, r.used)
	}
	e := entry{key, name, r, r.size()}
	v.byName[name] = slices.Insert(v.byName[name], 0, c.order.PushFront(e))
	c.bytes += e.bytes
	if all := v.byName[name]; len(all) > maxVariants {
		c.remove(all[len(all)-1])
	}
	for c.bytes > c.limit && c.order.Len() > 1 {
		c.remove(c.order.Back())
	}
}

func (c *results) remove(at *list.Element) {
	e := at.Value.(entry)
	c.order.Remove(at)
	c.bytes -= e.bytes
	v := c.keys[e.key]
	if v.byName[e.name] = slices.DeleteFunc(v.byName[e.name], func(x *list.Element) bool { return x == at }); len(v.byName[e.name]) == 0 {
		delete(v.byName, e.name)
	}
	if len(v.byName) == 0 {
		delete(c.keys, e.key)
	}
}

// clear empties the memory.
func (c *results) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys, c.bytes = map[string]*variants{}, 0
	c.order.Init()
}
