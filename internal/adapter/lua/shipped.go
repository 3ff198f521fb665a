package lua

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/gobwas/glob"

	"github.com/sluice-cd/sluice/internal/domain/health"
)

// Names in the folder of shipped scripts: <group>/<Kind>/health.lua and
// <group>/<Kind>/actions.lua; _ in a folder name stands for any text without
// a slash. The preludes define functions for all of them.
const (
	healthFile, actionsFile       = "health.lua", "actions.lua"
	healthPrelude, actionsPrelude = "health.lua", "actions.lua"
)

// Shipped finds the scripts that come with the product.
type Shipped struct {
	health, actions book
	vm              *VM
	preludes        map[string]string
}

// book finds scripts by kind.
type book struct {
	exact map[string]Task
	wild  []wildcard
}

type wildcard struct {
	folder      string
	group, kind glob.Glob
	task        Task
}

var _ health.Rules = (*Shipped)(nil)

// NewShipped reads a folder of scripts and compiles them all, so that a broken
// one is found at start.
func NewShipped(files fs.FS) (*Shipped, error) {
	s := &Shipped{vm: NewVM(), preludes: map[string]string{}, health: book{exact: map[string]Task{}}, actions: book{exact: map[string]Task{}}}
	for _, name := range []string{healthPrelude, actionsPrelude} {
		raw, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("shipped scripts: %w", err)
		}
		s.preludes[name] = string(raw)
	}
	names, err := fs.Glob(files, "*/*/*.lua")
	if err != nil {
		return nil, fmt.Errorf("shipped scripts: %w", err)
	}
	slices.Sort(names)
	for _, name := range names {
		raw, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("shipped scripts: %w", err)
		}
		folder, file := path.Split(name)
		folder = strings.TrimSuffix(folder, "/")
		switch file {
		case healthFile:
			err = s.health.add(folder, Task{Name: "shipped health script " + folder, Prelude: s.preludes[healthPrelude], Source: string(raw), OpenLibs: true})
		case actionsFile:
			err = s.actions.add(folder, Task{Name: "shipped actions " + folder, Prelude: s.preludes[actionsPrelude], Source: string(raw)})
		default:
			err = fmt.Errorf("want the file name %s or %s", healthFile, actionsFile)
		}
		if err == nil {
			_, err = s.vm.compile(name, string(raw))
		}
		if err != nil {
			return nil, fmt.Errorf("shipped script %s: %w", name, err)
		}
	}
	return s, nil
}

func (b *book) add(folder string, t Task) error {
	group, kind, _ := strings.Cut(folder, "/")
	if group == "core" {
		group = ""
	}
	if !strings.Contains(folder, "_") {
		b.exact[group+"/"+kind] = t
		return nil
	}
	w := wildcard{folder: folder, task: t}
	var err error
	if w.group, err = glob.Compile(strings.ReplaceAll(group, "_", "*")); err != nil {
		return err
	}
	if w.kind, err = glob.Compile(strings.ReplaceAll(kind, "_", "*")); err != nil {
		return err
	}
	b.wild = append(b.wild, w)
	return nil
}

// find prefers the exact folder; of wildcards the first in alphabetical order
// answers (spec/diff-health.md §9.3).
func (b *book) find(group, kind string) (Task, bool) {
	if t, ok := b.exact[group+"/"+kind]; ok {
		return t, true
	}
	for _, w := range b.wild {
		if w.group.Match(group) && w.kind.Match(kind) {
			return w.task, true
		}
	}
	return Task{}, false
}

// Find gives the shipped health script of a kind.
func (s *Shipped) Find(group, kind string) health.Script {
	t, ok := s.health.find(group, kind)
	if !ok {
		return nil
	}
	return &script{s.vm, t}
}
