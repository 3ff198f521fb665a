// Package tree is the read-only view of one commit that renderers read from.
// There is nothing outside it: no path can leave it.
package tree

import "io/fs"

// Kind is what an entry of a tree is.
type Kind int

// The kinds of entries.
const (
	File Kind = iota
	Dir
	Symlink
	Submodule
)

// Entry is one name in a folder.
type Entry struct {
	Name string
	Kind Kind
	// ID is the object id of the content (blob or tree).
	ID string
	// Size in bytes; zero for folders.
	Size int64
}

// Tree reads one commit. Paths are slash separated, relative to the root,
// cleaned; "" and "." are the root. Symlinks are followed inside the tree
// only; one that would leave it is an error. A missing path is an error that
// wraps fs.ErrNotExist. Implementations are safe for concurrent use.
type Tree interface {
	// Revision is the full commit id.
	Revision() string
	// ReadFile returns the content of a file.
	ReadFile(path string) ([]byte, error)
	// ReadDir lists a folder in lexical order.
	ReadDir(path string) ([]Entry, error)
	// Stat describes a path after following symlinks.
	Stat(path string) (Entry, error)
}

// ErrNotExist is wrapped by every error that says that a path is missing.
var ErrNotExist = fs.ErrNotExist
