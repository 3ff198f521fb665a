package manifest

import (
	"sync"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// maxDifferences is how many pairs of trees are remembered.
const maxDifferences = 128

// differences remembers which paths differ between two trees.
type differences struct {
	mu    sync.Mutex
	known map[pair]*difference
	order []pair
}

// pair is the root ids of two trees.
type pair struct{ from, to string }

type difference struct {
	once    sync.Once
	changes *tree.Changes
	err     error
}

func newDifferences() *differences { return &differences{known: map[pair]*difference{}} }

// between works out a difference once for all callers.
func (d *differences) between(from, to anchor) (*tree.Changes, error) {
	p := pair{from.root, to.root}
	d.mu.Lock()
	one := d.known[p]
	if one == nil {
		one = &difference{}
		d.known[p] = one
		if d.order = append(d.order, p); len(d.order) > maxDifferences {
			delete(d.known, d.order[0])
			d.order = d.order[1:]
		}
	}
	d.mu.Unlock()
	one.once.Do(func() { one.changes, one.err = tree.Difference(from.tree, to.tree) })
	if one.err != nil {
		d.mu.Lock()
		if d.known[p] == one {
			delete(d.known, p) // reading may work the next time
		}
		d.mu.Unlock()
	}
	return one.changes, one.err
}

// anchor is a tree with the id of its root.
type anchor struct {
	tree tree.Tree
	root string
}

func anchorOf(t tree.Tree) anchor {
	if t == nil {
		return anchor{}
	}
	root, err := t.Stat(".")
	if err != nil {
		return anchor{tree: t}
	}
	return anchor{t, root.ID}
}
