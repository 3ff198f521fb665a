package worker

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// proxy is a tree of the parent. What it has been told it remembers, also for
// later renders of a tree with the same root; what is answered from memory is
// reported, so that the parent records it as read.
type proxy struct {
	child  *child
	number uint64
	name   treeName
	memo   *memo

	mu     sync.Mutex
	seen   map[string]bool // told or reported in this render
	reused []reused
}

var _ tree.Tree = (*proxy)(nil)

func (c *child) tree(number uint64, name treeName) *proxy {
	p := &proxy{child: c, number: number, name: name, memo: c.memos.of(name.Root), seen: map[string]bool{}}
	c.asking.Lock()
	defer c.asking.Unlock()
	c.proxies = append(c.proxies, p)
	return p
}

func (p *proxy) Revision() string { return p.name.Revision }

// report notes that a question was answered from memory.
func (p *proxy) report(r reused) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := r.Op + r.Question + r.Path
	if !p.seen[key] {
		p.seen[key] = true
		r.Tree = p.number
		p.reused = append(p.reused, r)
	}
}

func (p *proxy) told(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[key] = true
}

func (p *proxy) look(name string, full bool) look {
	if known, ok := p.memo.look(name); ok && (known.full || !full || known.err != nil || known.entry.Kind != tree.File) {
		p.report(reused{Op: string(opLook), Path: name})
		return known
	}
	q := &parts{}
	if full {
		q.byte(opRead)
	} else {
		q.byte(opLook)
	}
	q.number(p.number)
	q.text(name)
	var l look
	a, err := p.child.ask(q)
	if err != nil {
		l.err = err
	} else {
		l.entry, l.place = a.readEntry(), a.readText()
		if full && l.entry.Kind == tree.File {
			l.content, l.full = a.readContent(), true
		}
		if a.bad {
			l.err = errFrame
		}
	}
	p.told(string(opLook) + name)
	p.memo.keep(name, l)
	return l
}

func (p *proxy) Stat(name string) (tree.Entry, error) {
	l := p.look(name, false)
	return l.entry, l.err
}

// RealPath is where a path leads, as render.RealPath asks for.
func (p *proxy) RealPath(name string) (string, error) {
	l := p.look(name, false)
	return l.place, l.err
}

func (p *proxy) ReadFile(name string) ([]byte, error) {
	l := p.look(name, true)
	switch {
	case l.err != nil:
		return nil, l.err
	case !l.full:
		return nil, fmt.Errorf("%s: is not a file", name)
	}
	return l.content, nil
}

func (p *proxy) ReadDir(name string) ([]tree.Entry, error) { return p.List(name, "") }

// List asks a question of render.List.
func (p *proxy) List(name, question string) ([]tree.Entry, error) {
	if known, ok := p.memo.list(name, question); ok {
		p.report(reused{Op: string(opList), Path: name, Question: question})
		return known.entries, known.err
	}
	q := &parts{}
	q.byte(opList)
	q.number(p.number)
	q.text(name)
	q.text(question)
	var l listed
	a, err := p.child.ask(q)
	if err == nil {
		l.entries, err = a.readEntries()
	}
	l.err = err
	p.told(string(opList) + question + name)
	p.memo.keepList(name, question, l)
	return l.entries, l.err
}

func (p *parts) readEntries() ([]tree.Entry, error) {
	var out []tree.Entry
	for range p.readNumber() {
		out = append(out, p.readEntry())
		if p.bad {
			return nil, errFrame
		}
	}
	return out, nil
}

type look struct {
	entry   tree.Entry
	place   string
	content []byte
	full    bool // content is there
	err     error
}

type listed struct {
	entries []tree.Entry
	err     error
}

// Bounds of what is remembered: trees, and bytes of one.
const (
	maxMemos     = 4
	maxMemoBytes = 4 << 20
)

// memos are what is known of trees, by the id of the root; newest last.
type memos struct {
	order []string
	known map[string]*memo
}

// of gives what is known of a tree; of one without an id, nothing.
func (m *memos) of(root string) *memo {
	if root == "" {
		return newMemo()
	}
	if m.known == nil {
		m.known = map[string]*memo{}
	}
	if at := slices.Index(m.order, root); at >= 0 {
		m.order = append(slices.Delete(m.order, at, at+1), root)
	} else {
		m.order = append(m.order, root)
		m.known[root] = newMemo()
	}
	if len(m.order) > maxMemos {
		delete(m.known, m.order[0])
		m.order = m.order[1:]
	}
	m.known[root].trim()
	return m.known[root]
}

// memo is what is known of one tree.
type memo struct {
	mu    sync.Mutex
	looks map[string]look
	lists map[string]listed
	bytes int
}

func newMemo() *memo { return &memo{looks: map[string]look{}, lists: map[string]listed{}} }

// trim starts anew when too much is known.
func (m *memo) trim() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes > maxMemoBytes {
		m.looks, m.lists, m.bytes = map[string]look{}, map[string]listed{}, 0
	}
}

// look gives what is known of a path; of a folder that was listed it is known
// what is not in it.
func (m *memo) look(name string) (look, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l, ok := m.looks[name]; ok {
		return l, true
	}
	clean := path.Clean(name)
	dir, ok := m.lists[path.Dir(clean)]
	if !ok || dir.err != nil || clean == "." || strings.HasPrefix(clean, "..") || strings.HasPrefix(clean, "/") {
		return look{}, false
	}
	if parent, ok := m.looks[path.Dir(clean)]; !ok || parent.place != path.Dir(clean) {
		return look{}, false
	}
	if slices.ContainsFunc(dir.entries, func(e tree.Entry) bool { return e.Name == path.Base(clean) }) {
		return look{}, false
	}
	return look{err: &remoteError{fmt.Sprintf("%s: %v", name, tree.ErrNotExist), true}}, true
}

// list gives a known listing; every question about a folder follows from the
// listing of all its names.
func (m *memo) list(name, question string) (listed, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l, ok := m.lists[question+name]; ok {
		return l, true
	}
	all, ok := m.lists[name]
	if !ok || all.err != nil || question == "" {
		return listed{}, false
	}
	return listed{entries: render.Select(all.entries, question)}, true
}

func (m *memo) keep(name string, l look) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looks[name] = l
	m.bytes += len(l.content) + len(name) + 200
}

func (m *memo) keepList(name, question string, l listed) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lists[question+name] = l
	m.bytes += len(name) + 100*len(l.entries) + 100
}

// fill takes what was sent ahead.
func (m *memo) fill(body []byte) {
	p := &parts{b: body}
	for len(p.b) > 0 && !p.bad {
		op, name := p.readByte(), p.readText()
		switch op {
		case opLook:
			m.keep(name, look{entry: p.readEntry(), place: name})
		case opRead:
			m.keep(name, look{entry: p.readEntry(), place: name, content: p.readContent(), full: true})
		case opList:
			if entries, err := p.readEntries(); err == nil {
				m.keepList(name, "", listed{entries: entries})
			}
		default:
			return
		}
	}
}
