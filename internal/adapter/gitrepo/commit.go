package gitrepo

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Limits of one tree: how deep links may chain and how long a folder may be.
const (
	maxLinks   = 40
	maxEntries = 100_000
)

// commitTree is the tree of one commit.
type commitTree struct {
	objects  *objects
	revision string
	root     string // id of the root tree

	mu   sync.Mutex
	dirs map[string][]tree.Entry // by tree id
}

var _ tree.Tree = (*commitTree)(nil)

func newCommitTree(o *objects, revision string) (*commitTree, error) {
	kind, root, raw, err := o.read(revision + "^{tree}")
	if err != nil {
		return nil, err
	}
	if kind != "tree" {
		return nil, fmt.Errorf("%s is a %s, not a commit", revision, kind)
	}
	entries, err := parseTree(raw)
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", revision, err)
	}
	t := &commitTree{objects: o, revision: revision, root: root, dirs: map[string][]tree.Entry{root: entries}}
	return t, nil
}

func (t *commitTree) Revision() string { return t.revision }

func (t *commitTree) ReadFile(name string) ([]byte, error) {
	e, err := t.Stat(name)
	if err != nil {
		return nil, err
	}
	if e.Kind != tree.File {
		return nil, fmt.Errorf("%s: is not a file", name)
	}
	_, _, content, err := t.objects.read(e.ID)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return content, nil
}

func (t *commitTree) ReadDir(name string) ([]tree.Entry, error) {
	e, err := t.Stat(name)
	if err != nil {
		return nil, err
	}
	if e.Kind != tree.Dir {
		return nil, fmt.Errorf("%s: is not a directory", name)
	}
	entries, err := t.list(e.ID)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	sorted := slices.Clone(entries)
	slices.SortFunc(sorted, func(a, b tree.Entry) int { return cmp.Compare(a.Name, b.Name) })
	return sorted, nil
}

func (t *commitTree) list(id string) ([]tree.Entry, error) {
	t.mu.Lock()
	entries, ok := t.dirs[id]
	t.mu.Unlock()
	if ok {
		return entries, nil
	}
	_, _, raw, err := t.objects.read(id)
	if err != nil {
		return nil, err
	}
	entries, err = parseTree(raw)
	if err != nil {
		return nil, err
	}
	if len(entries) > maxEntries {
		return nil, fmt.Errorf("has %d entries: at most %d are read", len(entries), maxEntries)
	}
	t.mu.Lock()
	t.dirs[id] = entries
	t.mu.Unlock()
	return entries, nil
}

// Stat walks the path from the root, following links inside the tree.
func (t *commitTree) Stat(name string) (tree.Entry, error) {
	return t.walk(name, name, 0)
}

func (t *commitTree) walk(name, asked string, links int) (tree.Entry, error) {
	clean, err := inside(name)
	if err != nil {
		return tree.Entry{}, fmt.Errorf("%s: %w", asked, err)
	}
	current := tree.Entry{Kind: tree.Dir, ID: t.root}
	if clean == "." {
		return current, nil
	}
	parts := strings.Split(clean, "/")
	for i, part := range parts {
		if current.Kind != tree.Dir {
			return tree.Entry{}, fmt.Errorf("%s: %w", asked, tree.ErrNotExist)
		}
		entries, err := t.list(current.ID)
		if err != nil {
			return tree.Entry{}, fmt.Errorf("%s: %w", asked, err)
		}
		at := slices.IndexFunc(entries, func(e tree.Entry) bool { return e.Name == part })
		if at < 0 {
			return tree.Entry{}, fmt.Errorf("%s: %w", asked, tree.ErrNotExist)
		}
		current = entries[at]
		if current.Kind != tree.Symlink {
			continue
		}
		if links >= maxLinks {
			return tree.Entry{}, fmt.Errorf("%s: more than %d symbolic links", asked, maxLinks)
		}
		_, _, target, err := t.objects.read(current.ID)
		if err != nil {
			return tree.Entry{}, fmt.Errorf("%s: %w", asked, err)
		}
		next := path.Join(path.Join(parts[:i]...), string(target), path.Join(parts[i+1:]...))
		if strings.HasPrefix(string(target), "/") {
			return tree.Entry{}, fmt.Errorf("%s: symbolic link %s leaves the repository", asked, path.Join(parts[:i+1]...))
		}
		return t.walk(next, asked, links+1)
	}
	return current, nil
}

// inside cleans a path and refuses one that would leave the tree.
func inside(name string) (string, error) {
	if strings.HasPrefix(name, "/") {
		name = strings.TrimLeft(name, "/")
	}
	clean := path.Clean(name)
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return "", fmt.Errorf("path leaves the repository")
	}
	return clean, nil
}
