package manifest

import (
	"slices"
	"sync"
)

// maxTrees is how many trees are remembered.
const maxTrees = 256

// trees remembers trees of commits, charts and artifacts by what was asked
// for, so that a thousand Applications of one commit share one.
type trees struct {
	mu    sync.Mutex
	known map[treeKey]anchor
	order []treeKey
}

// treeKey names a revision of a source as a project sees it.
type treeKey struct{ project, url, chart, revision string }

func newTrees() *trees { return &trees{known: map[treeKey]anchor{}} }

func (t *trees) get(k treeKey) (anchor, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, ok := t.known[k]
	return a, ok
}

func (t *trees) put(k treeKey, a anchor) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.known[k]; !ok {
		if t.order = append(t.order, k); len(t.order) > maxTrees {
			delete(t.known, t.order[0])
			t.order = t.order[1:]
		}
	}
	t.known[k] = a
}

func (t *trees) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known, t.order = map[treeKey]anchor{}, nil
}

// drop forgets the trees of a plan: one of them could not be read.
func (t *trees) drop(p *plan) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, src := range p.Sources {
		k := treeKey{p.App.Project, src.RepoURL, src.Chart, p.revisions[i]}
		if at := slices.Index(t.order, k); at >= 0 {
			t.order = slices.Delete(t.order, at, at+1)
			delete(t.known, k)
		}
	}
}
