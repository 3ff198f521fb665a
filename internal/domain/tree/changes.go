package tree

import (
	"errors"
	"iter"
	"maps"
	"path"
)

// maxChanges is how many paths a difference lists.
const maxChanges = 20_000

// errTooMany says that two trees have too little in common.
var errTooMany = errors.New("too many changes")

// Changes are the paths in which two trees differ: files and links that were
// added, removed or changed, and the folders above and below them.
type Changes struct {
	paths map[string]struct{}
	// links says that paths may lead elsewhere than before, or that there
	// are too many changes to list: every path may have changed.
	everything bool
}

// Has says that what a path leads to may have changed.
func (c *Changes) Has(name string) bool {
	if c.everything {
		return true
	}
	_, changed := c.paths[name]
	return changed
}

// Everything says that any path may have changed.
func (c *Changes) Everything() bool { return c.everything }

// Len is the number of paths that have changed.
func (c *Changes) Len() int { return len(c.paths) }

// Paths are those that have changed, in no order.
func (c *Changes) Paths() iter.Seq[string] { return maps.Keys(c.paths) }

// Difference walks two trees side by side and descends only where they
// differ. When links or submodules changed, or very much did, the answer is
// that everything may have.
func Difference(a, b Tree) (*Changes, error) {
	c := &Changes{paths: map[string]struct{}{}}
	before, err := a.Stat(".")
	if err != nil {
		return nil, err
	}
	after, err := b.Stat(".")
	if err != nil {
		return nil, err
	}
	if before.ID == after.ID && before.ID != "" {
		return c, nil
	}
	err = c.folders(a, b, ".")
	if errors.Is(err, errTooMany) {
		c.everything, err = true, nil
	}
	return c, err
}

func (c *Changes) note(name string) error {
	if len(c.paths) >= maxChanges {
		return errTooMany
	}
	c.paths[name] = struct{}{}
	return nil
}

// folders compares the folder name of a and of b; nil is a tree without it.
func (c *Changes) folders(a, b Tree, name string) error {
	if err := c.note(name); err != nil {
		return err
	}
	before, err := listing(a, name)
	if err != nil {
		return err
	}
	after, err := listing(b, name)
	if err != nil {
		return err
	}
	for len(before)+len(after) > 0 {
		var old, now *Entry
		switch {
		case len(after) == 0 || len(before) > 0 && before[0].Name < after[0].Name:
			old, before = &before[0], before[1:]
		case len(before) == 0 || after[0].Name < before[0].Name:
			now, after = &after[0], after[1:]
		default:
			old, now, before, after = &before[0], &after[0], before[1:], after[1:]
		}
		if err := c.entry(a, b, entryPair{name, old, now}); err != nil {
			return err
		}
	}
	return nil
}

type entryPair struct {
	folder   string
	old, now *Entry
}

func (c *Changes) entry(a, b Tree, p entryPair) error {
	if p.old != nil && p.now != nil && p.old.Kind == p.now.Kind && p.old.ID == p.now.ID && p.old.ID != "" {
		return nil
	}
	var name string
	dirs := [2]Tree{}
	for i, e := range []*Entry{p.old, p.now} {
		if e == nil {
			continue
		}
		name = path.Join(p.folder, e.Name)
		switch e.Kind {
		case Symlink, Submodule:
			return errTooMany
		case Dir:
			dirs[i] = []Tree{a, b}[i]
		}
	}
	if dirs[0] == nil && dirs[1] == nil {
		return c.note(name)
	}
	return c.folders(dirs[0], dirs[1], name)
}

func listing(t Tree, name string) ([]Entry, error) {
	if t == nil {
		return nil, nil
	}
	return t.ReadDir(name)
}
