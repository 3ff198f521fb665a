package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// maxDepth bounds submodules in submodules.
const maxDepth = 8

// submodule opens the repository that stands at a path, once.
func (t *commitTree) submodule(at, commit string) (*commitTree, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if found, ok := t.mounted[at]; ok {
		return found, nil
	}
	sub, err := t.store.mount(t, at, commit)
	if err != nil {
		return nil, err
	}
	if t.mounted == nil {
		t.mounted = map[string]*commitTree{}
	}
	t.mounted[at] = sub
	return sub, nil
}

func (s commitStore) mounts() bool { return s.m.all.options.Submodule != nil }

// mount reads the URL of a submodule from .gitmodules, asks whether and as whom
// it may be read, and opens the commit that the parent names. Nothing is
// fetched before a path leads into it, so a broken submodule breaks only those
// who need it.
func (s commitStore) mount(t *commitTree, at, commit string) (*commitTree, error) {
	if t.depth >= maxDepth {
		return nil, fmt.Errorf("more than %d submodules inside one another", maxDepth)
	}
	urls, err := s.gitmodules(t)
	if err != nil {
		return nil, err
	}
	raw, ok := urls[at]
	if !ok {
		return nil, errors.New(".gitmodules does not name it: add path and url, or remove the entry from the commit")
	}
	parent := s.by.repository
	target, _, _ := splitUser(parent)
	url, err := repo.Relative(target, raw)
	if err != nil {
		return nil, err
	}
	if _, err := repo.Parse(url); err != nil {
		return nil, err
	}
	with, err := s.m.all.options.Submodule(parent, url)
	if err != nil {
		return nil, err
	}
	opened, err := s.m.all.Tree(s.m.all.ctx, with, commit)
	if err != nil {
		return nil, err
	}
	own := opened.(*commitTree)
	return &commitTree{store: own.store, revision: own.revision, root: own.root, depth: t.depth + 1}, nil
}

// gitmodules reads the URLs by path; git itself parses the file.
func (s commitStore) gitmodules(t *commitTree) (map[string]string, error) {
	e, err := t.child(t.root, ".gitmodules")
	switch {
	case errors.Is(err, tree.ErrNotExist):
		return nil, errors.New("the repository has no .gitmodules: commit it")
	case err != nil:
		return nil, err
	case e.Kind != tree.File:
		return nil, errors.New(".gitmodules is not a file")
	}
	content, err := s.file(e.ID, t.root, true)
	if err != nil {
		return nil, fmt.Errorf(".gitmodules: %w", err)
	}
	ctx, cancel := context.WithTimeout(s.m.all.ctx, time.Minute)
	defer cancel()
	out, err := s.m.all.local.run(ctx, command{
		args: []string{"config", "--no-includes", "--file", "-", "--null", "--list"}, dir: s.m.home, stdin: string(content) + "\n", limit: time.Minute, maxOutput: 16 << 20,
	})
	if err != nil {
		return nil, fmt.Errorf(".gitmodules: %w", err)
	}
	paths, urls := map[string]string{}, map[string]string{}
	for entry := range strings.SplitSeq(string(out), "\x00") {
		key, value, _ := strings.Cut(entry, "\n")
		rest, ok := strings.CutPrefix(key, "submodule.")
		dot := strings.LastIndex(rest, ".")
		if !ok || dot < 0 {
			continue
		}
		switch name := rest[:dot]; rest[dot+1:] {
		case "path":
			paths[name] = strings.Trim(value, "/")
		case "url":
			urls[name] = value
		}
	}
	byPath := map[string]string{}
	for name, at := range paths {
		byPath[at] = urls[name]
	}
	return byPath, nil
}
