package gitrepo

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Limits of a path: symbolic links on its way and names in all.
const (
	maxLinks = 40
	maxNames = 512
)

var (
	errOutside  = errors.New("path leaves the repository")
	errAbsolute = errors.New("path is absolute: paths are relative to the root of the repository")
)

// store is where the objects of a commit are.
type store interface {
	// object reads any object by id.
	object(id string) (object, error)
	// file reads the content of a file that is in a folder.
	file(id, folder string, isRoot bool) ([]byte, error)
	// folder lists a tree by id, in name order; the result is shared.
	folder(id string) ([]tree.Entry, error)
}

// commitTree is the tree of one commit. It holds nothing but its root.
type commitTree struct {
	store    store
	revision string
	root     string // id of the root folder
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
	content, err := t.store.file(e.ID, stack[len(stack)-2].ID, len(stack) == 2)
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
	switch e.Kind {
	case tree.Dir:
	case tree.Submodule:
		return nil, fmt.Errorf("%s: is a submodule: submodules are not read, commit the files themselves", name)
	default:
		return nil, fmt.Errorf("%s: is not a directory", name)
	}
	entries, err := t.store.folder(e.ID)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return slices.Clone(entries), nil
}

// Stat walks the path from the root as a file system would, following links
// inside the tree.
func (t *commitTree) Stat(name string) (tree.Entry, error) {
	stack, err := t.walk(name)
	if err != nil {
		return tree.Entry{}, fmt.Errorf("%s: %w", name, err)
	}
	return stack[len(stack)-1], nil
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
func (t *commitTree) walk(name string) ([]tree.Entry, error) {
	rest, err := split(name)
	if err != nil {
		return nil, err
	}
	stack := []tree.Entry{{Kind: tree.Dir, ID: t.root}}
	links, names := 0, 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		if names++; names > maxNames {
			return nil, fmt.Errorf("path has more than %d names", maxNames)
		}
		here := stack[len(stack)-1]
		if here.Kind != tree.Dir {
			return nil, tree.ErrNotExist
		}
		if part == ".." {
			if len(stack) == 1 {
				return nil, errOutside
			}
			stack = stack[:len(stack)-1]
			continue
		}
		next, err := t.child(here.ID, part)
		if err != nil {
			return nil, err
		}
		if next.Kind != tree.Symlink {
			stack = append(stack, next)
			continue
		}
		if links++; links > maxLinks {
			return nil, fmt.Errorf("more than %d symbolic links", maxLinks)
		}
		target, err := t.target(next)
		if err != nil {
			return nil, fmt.Errorf("symbolic link %s: %w", part, err)
		}
		rest = append(target, rest...)
	}
	return stack, nil
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
