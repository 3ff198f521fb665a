package gitrepo

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Limits of a path: symbolic links on its way and names in all.
const (
	maxLinks = 40
	maxNames = 512
)

var (
	errOutside   = errors.New("path leaves the repository")
	errSubmodule = errors.New("is a submodule: submodules are not read, commit the files themselves")
	errAbsolute  = errors.New("path is absolute: paths are relative to the root of the repository")
)

// store is where the objects of a commit are.
type store interface {
	// object reads any object by id.
	object(id string) (object, error)
	// file reads the content of a file that is in a folder.
	file(id, folder string, isRoot bool) ([]byte, error)
	// folder lists a tree by id, in name order; the result is shared.
	folder(id string) ([]tree.Entry, error)
	// mount opens the commit of another repository that stands at a path.
	mount(t *commitTree, path, commit string) (*commitTree, error)
	// mounts says whether submodules are read at all.
	mounts() bool
}

// commitTree is the tree of one commit. Submodules that were looked into are
// trees of their own.
type commitTree struct {
	store    store
	revision string
	root     string // id of the root folder
	depth    int    // of submodules above this one

	mu      sync.Mutex
	mounted map[string]*commitTree // by path
}

// node is a name on a way through trees: in is the tree that its content
// belongs to.
type node struct {
	tree.Entry
	in     *commitTree
	folder string // id of the content, when it is a folder
}

var _ tree.Tree = (*commitTree)(nil)

func (t *commitTree) Revision() string { return t.revision }

func (t *commitTree) ReadFile(name string) ([]byte, error) {
	stack, err := t.walk(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	e := stack[len(stack)-1]
	if e.Kind != tree.File {
		return nil, fmt.Errorf("%s: is not a file", name)
	}
	parent := stack[len(stack)-2]
	content, err := e.in.store.file(e.ID, parent.folder, parent.folder == e.in.root)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return content, nil
}

func (t *commitTree) ReadDir(name string) ([]tree.Entry, error) {
	stack, err := t.walk(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	e := stack[len(stack)-1]
	switch e.Kind {
	case tree.Dir:
	case tree.Submodule:
		return nil, fmt.Errorf("%s: %w", name, errSubmodule)
	default:
		return nil, fmt.Errorf("%s: is not a directory", name)
	}
	shared, err := e.in.store.folder(e.folder)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	entries := slices.Clone(shared)
	if e.in.store.mounts() {
		for i := range entries {
			if entries[i].Kind == tree.Submodule {
				entries[i].Kind = tree.Dir
			}
		}
	}
	return entries, nil
}

// Stat walks the path from the root as a file system would, following links
// inside the tree.
func (t *commitTree) Stat(name string) (tree.Entry, error) {
	stack, err := t.walk(name)
	if err != nil {
		return tree.Entry{}, fmt.Errorf("%s: %w", name, err)
	}
	return stack[len(stack)-1].Entry, nil
}

// RealPath is where a path leads when all links on its way are followed.
func (t *commitTree) RealPath(name string) (string, error) {
	stack, err := t.walk(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	var b strings.Builder
	for i, e := range stack[1:] {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(e.Name)
	}
	return b.String(), nil
}

// walk gives the entries from the root to the one named, none of them a link.
func (t *commitTree) walk(name string) ([]node, error) {
	rest, err := split(name)
	if err != nil {
		return nil, err
	}
	stack := []node{{tree.Entry{Kind: tree.Dir, ID: t.root}, t, t.root}}
	links, names := 0, 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		if names++; names > maxNames {
			return nil, fmt.Errorf("path has more than %d names", maxNames)
		}
		here := stack[len(stack)-1]
		switch {
		case here.Kind == tree.Submodule:
			return nil, errSubmodule
		case here.Kind != tree.Dir:
			return nil, tree.ErrNotExist
		case part == ".." && len(stack) == 1:
			return nil, errOutside
		case part == "..":
			stack = stack[:len(stack)-1]
			continue
		}
		next, err := here.in.child(here.folder, part)
		if err != nil {
			return nil, err
		}
		if next.Kind != tree.Symlink {
			entered, err := enter(stack, next)
			if err != nil {
				return nil, err
			}
			stack = append(stack, entered)
			continue
		}
		if links++; links > maxLinks {
			return nil, fmt.Errorf("more than %d symbolic links", maxLinks)
		}
		target, err := here.in.target(next)
		if err != nil {
			return nil, fmt.Errorf("symbolic link %s: %w", part, err)
		}
		rest = append(target, rest...)
	}
	return stack, nil
}

// enter makes the node of an entry; a submodule becomes the folder it stands
// for, keeping its own id.
func enter(stack []node, next tree.Entry) (node, error) {
	in := stack[len(stack)-1].in
	if next.Kind != tree.Submodule || !in.store.mounts() {
		return node{next, in, next.ID}, nil
	}
	at := ""
	for _, n := range stack {
		if n.in == in && n.folder != in.root {
			at += n.Name + "/"
		}
	}
	sub, err := in.submodule(at+next.Name, next.ID)
	if err != nil {
		return node{}, fmt.Errorf("submodule %s: %w", at+next.Name, err)
	}
	next.Kind = tree.Dir
	return node{next, sub, sub.root}, nil
}

// child finds a name in a folder.
func (t *commitTree) child(folder, name string) (tree.Entry, error) {
	entries, err := t.store.folder(folder)
	if err != nil {
		return tree.Entry{}, err
	}
	at, ok := slices.BinarySearchFunc(entries, name, func(e tree.Entry, n string) int { return strings.Compare(e.Name, n) })
	if !ok {
		return tree.Entry{}, tree.ErrNotExist
	}
	return entries[at], nil
}

// target reads a link; where it leads is walked from the link's own folder.
func (t *commitTree) target(link tree.Entry) ([]string, error) {
	o, err := t.store.object(link.ID)
	if err != nil {
		return nil, err
	}
	if len(o.content) == 0 || len(o.content) > 4096 {
		return nil, fmt.Errorf("target of %d bytes is not a path", len(o.content))
	}
	if o.content[0] == '/' {
		return nil, errOutside
	}
	return names(string(o.content)), nil
}

// split cleans a path of a caller and takes it apart; one that would leave
// the tree is refused.
func split(name string) ([]string, error) {
	if strings.HasPrefix(name, "/") {
		return nil, errAbsolute
	}
	clean := path.Clean(name)
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return nil, errOutside
	}
	return names(clean), nil
}

// names are the parts of a path that lead somewhere.
func names(p string) []string {
	return slices.DeleteFunc(strings.Split(p, "/"), func(n string) bool { return n == "" || n == "." })
}
