package manifest

import (
	"container/list"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
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

// everything is all facts a render can use.
const everything = ^render.Inputs(0)

// facts are what a render may use besides its sources and what it reads.
type facts struct {
	Query
	target, revision string
}

// digest names the facts that are used.
func (f facts) digest(used render.Inputs) string {
	sum := sha256.New()
	for _, x := range []struct {
		one   render.Inputs
		value any
	}{
		{render.UsesName, f.App.Name},
		{render.UsesInstance, f.App.Instance},
		{render.UsesNamespace, f.App.Namespace},
		{render.UsesProject, f.App.Project},
		{render.UsesRevision, f.revision},
		{render.UsesTargetRevision, f.target},
		{render.UsesCluster, []any{f.KubeVersion, f.APIVersions}},
	} {
		if used&x.one != 0 {
			_, _ = fmt.Fprintf(sum, "%d %q\n", x.one, x.value)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// result is one rendered source, or why it could not be rendered.
type result struct {
	kind, digest, revision string
	objects                []*unstructured.Unstructured
	err                    error
	at                     time.Time
	used                   render.Inputs
	// reads by tree, in the order of the sources.
	reads []render.Reads
	size  int
}

// results is the cache: newest first, bounded by bytes. A result is found by
// its key and by the facts that renders of this key were seen to use.
type results struct {
	clock clock.Clock
	mu    sync.Mutex
	// used counts the results of a key by the facts that they use.
	used   map[string]map[render.Inputs]int
	byName map[string]*list.Element
	order  *list.List
	bytes  int
}

type entry struct {
	key, name string
	*result
}

func newResults(c clock.Clock) *results {
	return &results{clock: c, used: map[string]map[render.Inputs]int{}, byName: map[string]*list.Element{}, order: list.New()}
}

// find returns the result of key when it is valid for the facts and trees.
func (c *results) find(key string, f facts, w work) (*result, bool) {
	for _, r := range c.candidates(key, f) {
		if r.err != nil {
			if r.revision == w.revision && c.clock.Since(r.at) < failureMemory {
				return r, true
			}
			continue
		}
		if r.valid(w) {
			return r, true
		}
	}
	return nil, false
}

// candidates are the results for these facts, whatever they have read.
func (c *results) candidates(key string, f facts) []*result {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*result
	for _, used := range slices.Sorted(maps.Keys(c.used[key])) {
		if at, ok := c.byName[key+f.digest(used)]; ok {
			c.order.MoveToFront(at)
			out = append(out, at.Value.(entry).result)
		}
	}
	return out
}

// valid says that the trees answer as those answered that r was rendered from.
func (r *result) valid(w work) bool {
	for i, reads := range r.reads {
		if i >= len(w.trees) || !reads.Unchanged(w.trees[i]) {
			return false
		}
	}
	return true
}

func (c *results) add(key string, f facts, r *result) {
	name := key + f.digest(r.used)
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.byName[name]; ok {
		c.remove(old)
	}
	c.byName[name] = c.order.PushFront(entry{key, name, r})
	if c.used[key] == nil {
		c.used[key] = map[render.Inputs]int{}
	}
	c.used[key][r.used]++
	c.bytes += r.size
	for c.bytes > maxCacheBytes && c.order.Len() > 1 {
		c.remove(c.order.Back())
	}
}

func (c *results) remove(at *list.Element) {
	e := at.Value.(entry)
	c.order.Remove(at)
	delete(c.byName, e.name)
	c.bytes -= e.size
	if c.used[e.key][e.used]--; c.used[e.key][e.used] == 0 {
		delete(c.used[e.key], e.used)
	}
	if len(c.used[e.key]) == 0 {
		delete(c.used, e.key)
	}
}
