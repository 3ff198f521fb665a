package appset_test

import (
	"fmt"
	"io/fs"
	"path"
	"testing/fstest"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// files is a commit in memory.
type files map[string]string

func (f files) open(string, string) (tree.Tree, error) {
	m := fstest.MapFS{}
	for name, content := range f {
		m[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return commit{m}, nil
}

type commit struct{ fs fstest.MapFS }

func (commit) Revision() string { return "0123456789abcdef0123456789abcdef01234567" }

func (c commit) ReadFile(name string) ([]byte, error) { return c.fs.ReadFile(path.Clean(name)) }

func (c commit) ReadDir(name string) ([]tree.Entry, error) {
	entries, err := c.fs.ReadDir(path.Clean(name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var out []tree.Entry
	for _, e := range entries {
		out = append(out, entry(e))
	}
	return out, nil
}

func (c commit) Stat(name string) (tree.Entry, error) {
	info, err := c.fs.Stat(path.Clean(name))
	if err != nil {
		return tree.Entry{}, fmt.Errorf("%s: %w", name, err)
	}
	return entry(fs.FileInfoToDirEntry(info)), nil
}

func entry(e fs.DirEntry) tree.Entry {
	if e.IsDir() {
		return tree.Entry{Name: e.Name(), Kind: tree.Dir}
	}
	return tree.Entry{Name: e.Name(), Kind: tree.File}
}
