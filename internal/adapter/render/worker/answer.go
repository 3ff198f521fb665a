package worker

import (
	"context"
	"fmt"
	"path"
	"slices"

	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// maxTrees is how many trees one render may reach.
const maxTrees = 256

// answers are what a child may see during one render.
type answers struct {
	trees  []tree.Tree
	remote render.Remote
}

// answer gives the body of the answer to a question. What it reads is
// recorded by the trees of the request.
func (a *answers) answer(ctx context.Context, question []byte) []byte {
	q := &parts{b: question}
	out := &parts{}
	out.byte(answerOK)
	var err error
	switch op := q.readByte(); op {
	case opLook, opRead:
		err = a.look(q, out, op == opRead)
	case opList:
		err = a.list(q, out)
	case opChart, opBase, opFile:
		err = a.ask(ctx, op, q, out)
	default:
		err = errFrame
	}
	if err == nil && q.bad {
		err = errFrame
	}
	if err == nil && len(out.b) > maxAnswer {
		err = fmt.Errorf("is too large: at most %d bytes are read", maxAnswer)
	}
	if err != nil {
		return failed(err)
	}
	return out.b
}

func (a *answers) tree(q *parts) (tree.Tree, error) {
	n := q.readNumber()
	if n >= uint64(len(a.trees)) {
		return nil, errFrame
	}
	return a.trees[n], nil
}

func (a *answers) look(q, out *parts, full bool) error {
	t, err := a.tree(q)
	if err != nil {
		return err
	}
	name := q.readText()
	e, err := t.Stat(name)
	if err != nil {
		return err
	}
	place, err := render.RealPath(t, name)
	if err != nil {
		return err
	}
	out.entry(e)
	out.text(place)
	if !full || e.Kind != tree.File {
		return nil
	}
	content, err := t.ReadFile(name)
	out.content(content)
	return err
}

func (a *answers) list(q, out *parts) error {
	t, err := a.tree(q)
	if err != nil {
		return err
	}
	name, question := q.readText(), q.readText()
	var entries []tree.Entry
	if question == "" {
		entries, err = t.ReadDir(name)
	} else {
		entries, err = render.List(t, name, question)
	}
	if err != nil {
		return err
	}
	out.number(uint64(len(entries)))
	for _, e := range entries {
		out.entry(e)
	}
	return nil
}

func (a *answers) ask(ctx context.Context, op byte, q, out *parts) error {
	if a.remote == nil {
		return errFrame
	}
	if op == opFile {
		content, err := a.remote.File(ctx, q.readText())
		out.content(content)
		return err
	}
	if len(a.trees) >= maxTrees {
		return fmt.Errorf("names more than %d charts and repositories", maxTrees)
	}
	var t tree.Tree
	var err error
	if op == opChart {
		t, err = a.remote.Chart(ctx, render.ChartRef{Repository: q.readText(), Name: q.readText(), Versions: q.readText()})
	} else {
		t, err = a.remote.Base(ctx, q.readText(), q.readText())
	}
	if err != nil {
		return err
	}
	a.trees = append(slices.Clip(a.trees), t)
	out.number(uint64(len(a.trees) - 1))
	name := nameOf(t)
	out.text(name.Revision)
	out.text(name.Root)
	return nil
}

func nameOf(t tree.Tree) treeName {
	n := treeName{Revision: t.Revision()}
	if root, err := unrecorded(t).Stat("."); err == nil {
		n.Root = root.ID
	}
	return n
}

// unrecorded reads without being noted.
func unrecorded(t tree.Tree) tree.Tree {
	if r, ok := t.(interface{ Unrecorded() tree.Tree }); ok {
		return r.Unrecorded()
	}
	return t
}

// replay asks what the child did not need to ask, so that it is recorded.
func (a *answers) replay(all []reused) error {
	for _, one := range all {
		if one.Tree >= uint64(len(a.trees)) {
			return errFrame
		}
		t := a.trees[one.Tree]
		switch one.Op {
		case string(opLook):
			_, _ = t.Stat(one.Path) // the answer is recorded, not needed
			_, _ = render.RealPath(t, one.Path)
		case string(opList):
			if one.Question == "" {
				_, _ = t.ReadDir(one.Path)
			} else {
				_, _ = render.List(t, one.Path, one.Question)
			}
		default:
			return errFrame
		}
	}
	return nil
}

// Bounds of what is sent ahead: bytes, files, and levels below the folder.
const (
	aheadBytes, aheadFile, aheadFiles, aheadDepth = 256 << 10, 32 << 10, 64, 3
)

// readAhead collects the answers to what a render of a folder will ask, so
// that it need not wait for each.
func readAhead(t tree.Tree, folder string) []byte {
	r := &ahead{tree: unrecorded(t)}
	if _, err := tree.Parts(folder); err != nil {
		return nil
	}
	r.folder(path.Clean(folder), 0)
	return r.out.b
}

type ahead struct {
	tree  tree.Tree
	out   parts
	files int
}

func (r *ahead) folder(dir string, depth int) {
	e, err := r.tree.Stat(dir)
	if err != nil || e.Kind != tree.Dir || depth > aheadDepth {
		return
	}
	if place, err := render.RealPath(r.tree, dir); err != nil || path.Clean(place) != dir {
		return
	}
	entries, err := r.tree.ReadDir(dir)
	if err != nil || len(entries) > 4*aheadFiles {
		return
	}
	r.out.byte(opLook)
	r.out.text(dir)
	r.out.entry(e)
	r.out.byte(opList)
	r.out.text(dir)
	r.out.number(uint64(len(entries)))
	for _, one := range entries {
		r.out.entry(one)
	}
	for _, one := range entries {
		name := path.Join(dir, one.Name)
		switch {
		case one.Kind == tree.Dir:
			r.folder(name, depth+1)
		case one.Kind == tree.File && one.Size <= aheadFile && r.files < aheadFiles && len(r.out.b) < aheadBytes:
			r.file(name)
		}
	}
}

func (r *ahead) file(name string) {
	e, err := r.tree.Stat(name)
	if err != nil {
		return
	}
	content, err := r.tree.ReadFile(name)
	if err != nil || len(content) > aheadFile {
		return
	}
	r.files++
	r.out.byte(opRead)
	r.out.text(name)
	r.out.entry(e)
	r.out.content(content)
}
