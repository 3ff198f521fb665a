package rbac

import (
	"maps"
	"slices"

	"github.com/sluice-cd/sluice/internal/domain/access"
)

// Policy is a compiled policy. It never changes.
type Policy struct {
	mode   Mode
	layer  *Layer
	closed map[string]inherited // by subject or member
	// Problems names patterns that match nothing because they are not valid,
	// and effects that are neither allow nor deny.
	Problems []error
}

// inherited is what a subject inherits from, itself first, and the lines of all.
type inherited struct {
	names []string
	books []*book
}

// Layer is a part of a policy: lines by subject and grants by member. The
// roles of a project are one of their own on top of the Policy.
type Layer struct {
	books  map[string]*book
	grants map[string][]string
	// problems of compiling it
	problems []error
}

// Compile makes a Policy of texts; their order means nothing.
func Compile(mode Mode, texts ...Text) *Policy {
	var all Text
	for _, t := range texts {
		all.join(t)
	}
	p := &Policy{mode: mode, layer: compileLayer(mode, all), closed: map[string]inherited{}}
	p.Problems = p.layer.problems
	for member := range p.layer.grants {
		p.close(member)
	}
	for subject := range p.layer.books {
		p.close(subject)
	}
	return p
}

func (p *Policy) close(subject string) {
	in := inherited{names: closure(subject, p.layer.grants)}
	for _, name := range in.names {
		if b := p.layer.books[name]; b != nil {
			in.books = append(in.books, b)
		}
	}
	p.closed[subject] = in
}

// Mode is how the tokens of the Policy are matched.
func (p *Policy) Mode() Mode { return p.mode }

// closure lists a member and everything it inherits from.
func closure(member string, grants map[string][]string) []string {
	out := []string{member}
	for i := 0; i < len(out); i++ {
		for _, role := range grants[out[i]] {
			if !slices.Contains(out, role) {
				out = append(out, role)
			}
		}
	}
	return out
}

func compileLayer(mode Mode, text Text) *Layer {
	l := &Layer{books: map[string]*book{}, grants: map[string][]string{}}
	c := newCompiler(mode)
	for i := range text.Lines {
		line := &text.Lines[i]
		if line.Effect != allow && line.Effect != deny {
			c.problems = append(c.problems, &effectError{line})
			continue
		}
		b := l.books[line.Subject]
		if b == nil {
			b = &book{exact: map[[2]string]*shelf{}, loose: map[[2]string]*looseShelf{}}
			l.books[line.Subject] = b
		}
		b.add(c, line)
	}
	for _, b := range l.books {
		b.seal()
	}
	for _, g := range text.Grants {
		l.grants[g.Member] = append(l.grants[g.Member], g.Role)
	}
	l.problems = c.problems
	return l
}

type effectError struct{ line *Line }

func (e *effectError) Error() string {
	return e.line.Source + ": effect \"" + shorten(e.line.Effect) + "\" is neither allow nor deny: the line has no effect"
}

// book holds the lines of one subject.
type book struct {
	// exact holds lines whose resource and action are plain words, loose those
	// with a pattern in either; order lists loose for reading.
	exact map[[2]string]*shelf
	loose map[[2]string]*looseShelf
	order []*looseShelf
}

type looseShelf struct {
	resource, action token
	shelf
}

// shelf holds lines of one resource and action by the prefix of their objects.
type shelf struct {
	whole    map[string]verdict
	byPrefix map[string][]entry
	lengths  []int
}

// entry is a line whose object is a pattern.
type entry struct {
	object token
	line   *Line
}

// verdict is what lines say: at most one of each effect is kept to tell why.
type verdict struct{ allow, deny *Line }

func (v *verdict) add(l *Line) {
	if l.Effect == deny {
		v.deny = l
	} else if v.allow == nil {
		v.allow = l
	}
}

func (b *book) add(c *compiler, line *Line) {
	resource, action := c.token(line.Resource, line.Source), c.token(line.Action, line.Source)
	object := c.token(line.Object, line.Source)
	key := [2]string{line.Resource, line.Action}
	if resource.whole && action.whole {
		key = [2]string{resource.prefix, action.prefix}
		if b.exact[key] == nil {
			b.exact[key] = newShelf()
		}
		b.exact[key].add(object, line)
		return
	}
	if b.loose[key] == nil {
		b.loose[key] = &looseShelf{resource: resource, action: action, shelf: *newShelf()}
	}
	b.loose[key].add(object, line)
}

func newShelf() *shelf {
	return &shelf{whole: map[string]verdict{}, byPrefix: map[string][]entry{}}
}

func (s *shelf) add(object token, line *Line) {
	if object.whole {
		v := s.whole[object.prefix]
		v.add(line)
		s.whole[object.prefix] = v
		return
	}
	s.byPrefix[object.prefix] = append(s.byPrefix[object.prefix], entry{object, line})
}

func (b *book) seal() {
	for _, s := range b.exact {
		s.seal()
	}
	for _, key := range slices.SortedFunc(maps.Keys(b.loose), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		b.loose[key].seal()
		b.order = append(b.order, b.loose[key])
	}
}

func (s *shelf) seal() {
	for prefix := range s.byPrefix {
		if !slices.Contains(s.lengths, len(prefix)) {
			s.lengths = append(s.lengths, len(prefix))
		}
	}
	slices.Sort(s.lengths)
}

// judge adds what the lines of the book say about a request.
func (b *book) judge(what access.Request, v *verdict) {
	if b == nil || v.deny != nil {
		return
	}
	if s := b.exact[[2]string{what.Resource, what.Action}]; s != nil {
		s.judge(what.Object, v)
	}
	for _, s := range b.order {
		if v.deny != nil {
			return
		}
		if s.resource.matches(what.Resource) && s.action.matches(what.Action) {
			s.judge(what.Object, v)
		}
	}
}

func (s *shelf) judge(object string, v *verdict) {
	if w, ok := s.whole[object]; ok {
		if w.deny != nil {
			v.deny = w.deny
			return
		}
		if v.allow == nil {
			v.allow = w.allow
		}
	}
	for _, n := range s.lengths {
		if n > len(object) {
			return
		}
		for _, e := range s.byPrefix[object[:n]] {
			if v.allow != nil && e.line.Effect == allow {
				continue
			}
			if e.object.matches(object) {
				v.add(e.line)
			}
			if v.deny != nil {
				return
			}
		}
	}
}

// judge says what the Policy, with an optional Layer on top, says about a
// subject: its own lines and those of every role it inherits.
func (p *Policy) judge(top *Layer, subject string, what access.Request) (v verdict) {
	if top == nil || len(top.grants) == 0 {
		in, ok := p.closed[subject]
		for _, b := range in.books {
			b.judge(what, &v)
		}
		if top == nil || len(top.books) == 0 {
			return v
		}
		if !ok {
			top.books[subject].judge(what, &v)
		}
		for _, name := range in.names {
			top.books[name].judge(what, &v)
		}
		return v
	}
	var room [16]string
	names := append(room[:0], subject)
	for i := 0; i < len(names); i++ {
		for _, l := range [...]*Layer{p.layer, top} {
			l.books[names[i]].judge(what, &v)
			for _, role := range l.grants[names[i]] {
				if !slices.Contains(names, role) {
					names = append(names, role)
				}
			}
		}
	}
	return v
}

// member says that a grant of the Policy or the Layer names the group.
func (p *Policy) member(top *Layer, group string) bool {
	if _, ok := p.layer.grants[group]; ok {
		return true
	}
	if top == nil {
		return false
	}
	_, ok := top.grants[group]
	return ok
}
