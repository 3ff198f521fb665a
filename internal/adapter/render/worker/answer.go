package worker

import (
	"context"
	"fmt"
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
	out.text(t.Revision())
	return nil
}
