package tree

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Bounds of a path in a Memory: links on its way and names in all.
const (
	maxLinks = 40
	maxNames = 512
)

// Errors of paths that cannot be followed.
var (
	ErrOutside  = errors.New("path leaves the tree")
	ErrAbsolute = errors.New("path is absolute: paths are relative to the root")
)

// Memory is a tree held in memory: an unpacked chart or artifact, or files
// that were uploaded. It is safe for concurrent use once it is built.
type Memory struct {
	revision string
	root     *node
}

type node struct {
	Entry
	content []byte // of a file, or where a link leads
	names   []Entry
	below   map[string]*node
}

var _ Tree = (*Memory)(nil)

// Builder collects the files of a Memory.
type Builder struct{ root *node }

// NewBuilder starts an empty tree.
func NewBuilder() *Builder { return &Builder{root: newDir("")} }

func newDir(name string) *node {
	return &node{Entry: Entry{Name: name, Kind: Dir}, below: map[string]*node{}}
}

// Add puts a file at a path, which is cleaned; a later file replaces an
// earlier one. A path that is absolute, leaves the tree or has a NUL byte is
// an error, and so is a file where a folder is.
func (b *Builder) Add(name string, content []byte) error {
	return b.put(name, &node{Entry: Entry{Kind: File, Size: int64(len(content))}, content: content})
}

// Link puts a symbolic link at a path.
func (b *Builder) Link(name, target string) error {
	return b.put(name, &node{Entry: Entry{Kind: Symlink}, content: []byte(target)})
}

// Folder makes a folder, which may stay empty.
func (b *Builder) Folder(name string) error {
	parts, err := Parts(name)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	_, err = b.folder(parts)
	return err
}

func (b *Builder) put(name string, n *node) error {
	parts, err := Parts(name)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	if len(parts) == 0 {
		return fmt.Errorf("%q: is the root, not a file", name)
	}
	dir, err := b.folder(parts[:len(parts)-1])
	if err != nil {
		return err
	}
	n.Name = parts[len(parts)-1]
	if old := dir.below[n.Name]; old != nil && old.Kind == Dir {
		return fmt.Errorf("%q: is a folder and a file at once", name)
	}
	dir.below[n.Name] = n
	return nil
}

func (b *Builder) folder(parts []string) (*node, error) {
	at := b.root
	for _, p := range parts {
		next := at.below[p]
		if next == nil {
			next = newDir(p)
			at.below[p] = next
		}
		if next.Kind != Dir {
			return nil, fmt.Errorf("%q: is a file and a folder at once", path.Join(parts...))
		}
		at = next
	}
	return at, nil
}

// Build ends building. An empty revision stands for the digest of the tree.
func (b *Builder) Build(revision string) *Memory {
	seal(b.root)
	if revision == "" {
		revision = b.root.ID
	}
	return &Memory{revision: revision, root: b.root}
}

// seal gives every node the digest of what it holds.
func seal(n *node) {
	sum := sha256.New()
	if n.Kind != Dir {
		sum.Write(n.content)
	} else {
		n.names = make([]Entry, 0, len(n.below))
		for _, c := range n.below {
			seal(c)
			n.names = append(n.names, c.Entry)
		}
		slices.SortFunc(n.names, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
		for _, e := range n.names {
			_, _ = fmt.Fprintf(sum, "%d:%s:%d:%s\n", len(e.Name), e.Name, e.Kind, e.ID)
		}
	}
	n.ID = hex.EncodeToString(sum.Sum(nil))
}

// Parts takes a path apart after cleaning it; one that is absolute, has a NUL
// byte or leaves the tree is refused.
func Parts(name string) ([]string, error) {
	switch clean := path.Clean(name); {
	case strings.HasPrefix(name, "/"):
		return nil, ErrAbsolute
	case strings.ContainsRune(name, 0):
		return nil, errors.New("path has a NUL byte")
	case clean == ".." || strings.HasPrefix(clean, "../"):
		return nil, ErrOutside
	case clean == ".":
		return nil, nil
	default:
		return strings.Split(clean, "/"), nil
	}
}

// Revision is what the tree was built with.
func (m *Memory) Revision() string { return m.revision }

// ReadFile returns the content of a file, which must not be changed.
func (m *Memory) ReadFile(name string) ([]byte, error) {
	n, _, err := m.walk(name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case n.Kind != File:
		return nil, fmt.Errorf("%s: is not a file", name)
	}
	return n.content, nil
}

// ReadDir lists a folder in lexical order.
func (m *Memory) ReadDir(name string) ([]Entry, error) {
	n, _, err := m.walk(name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case n.Kind != Dir:
		return nil, fmt.Errorf("%s: is not a directory", name)
	}
	return slices.Clone(n.names), nil
}

// Stat describes a path after following links.
func (m *Memory) Stat(name string) (Entry, error) {
	n, _, err := m.walk(name)
	if err != nil {
		return Entry{}, fmt.Errorf("%s: %w", name, err)
	}
	return n.Entry, nil
}

// RealPath is where a path leads when all links on its way are followed.
func (m *Memory) RealPath(name string) (string, error) {
	_, real, err := m.walk(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return real, nil
}

func (m *Memory) walk(name string) (*node, string, error) {
	rest, err := Parts(name)
	if err != nil {
		return nil, "", err
	}
	stack, links, names := []*node{m.root}, 0, 0
	for len(rest) > 0 {
		part, here := rest[0], stack[len(stack)-1]
		rest = rest[1:]
		if names++; names > maxNames {
			return nil, "", fmt.Errorf("path has more than %d names", maxNames)
		}
		switch next := here.below[part]; {
		case part == "" || part == ".":
		case part == "..":
			if len(stack) == 1 {
				return nil, "", ErrOutside
			}
			stack = stack[:len(stack)-1]
		case next == nil:
			return nil, "", ErrNotExist
		case next.Kind == Symlink:
			if links++; links > maxLinks {
				return nil, "", fmt.Errorf("more than %d symbolic links", maxLinks)
			}
			target := string(next.content)
			if target == "" || strings.HasPrefix(target, "/") {
				return nil, "", fmt.Errorf("symbolic link %s: %w", part, ErrOutside)
			}
			rest = append(strings.Split(target, "/"), rest...)
		default:
			stack = append(stack, next)
		}
	}
	var real []string
	for _, n := range stack[1:] {
		real = append(real, n.Name)
	}
	return stack[len(stack)-1], strings.Join(real, "/"), nil
}
