package rbac

import (
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/internal/domain/access"
)

// sieve answers one kind of request of one principal for many objects. What of
// the policy can speak of it does not depend on the object, only on its project:
// it is looked up once for each project.
type sieve struct {
	rules Rules
	who   access.Principal
	what  access.Request // without an object
	// projects says that objects may begin with a project.
	projects bool
	// asked are the questions for objects of a project, by its name; each is
	// the lines of one subject.
	asked map[string][][]*shelf
}

// Sift answers like Allowed for many objects of one resource and action, much
// faster. The answers are those of the moment at which Sift is called.
func (r Rules) Sift(who access.Principal, resource, action string) func(object string) bool {
	if who.Unrestricted {
		return func(string) bool { return true }
	}
	s := &sieve{
		rules: r, who: who, what: access.Request{Resource: resource, Action: action},
		projects: slices.Contains(inProject, resource), asked: map[string][][]*shelf{},
	}
	return s.allowed
}

// allowed answers for one object.
func (s *sieve) allowed(object string) bool {
	for _, question := range s.questions(object) {
		var v verdict
		for _, shelf := range question {
			if shelf.judge(object, &v); v.deny != nil {
				break
			}
		}
		if v.allow != nil && v.deny == nil {
			return true
		}
	}
	return false
}

func (s *sieve) questions(object string) [][]*shelf {
	first := "" // no project
	if s.what.Resource == Projects {
		first = object
	} else if name, _, ok := strings.Cut(object, "/"); ok && s.projects {
		first = name
	}
	known, ok := s.asked[first]
	if !ok {
		known = s.ask(object)
		s.asked[first] = known
	}
	return known
}

// ask lists what decide would ask about the object, in its order; questions on
// which no line can speak are left out.
func (s *sieve) ask(object string) (out [][]*shelf) {
	add := func(layer *Layer, subject string) {
		if lines := s.rules.Policy.shelves(layer, subject, s.what); len(lines) > 0 {
			out = append(out, lines)
		}
	}
	what := s.what
	what.Object = object
	if s.rules.DefaultRole != "" {
		add(nil, s.rules.DefaultRole)
	}
	if s.who.Subject != "" || len(s.who.Groups) > 0 {
		name, layer := s.rules.project(what)
		project, _, role := SplitRoleSubject(s.who.Subject)
		switch {
		case role && name != "" && project != name: // a token of another project
		case role && name != "":
			add(layer, s.who.Subject)
		default:
			add(layer, s.who.Subject)
			for _, g := range s.who.Groups {
				if s.rules.Policy.member(layer, g) {
					add(layer, g)
				}
			}
		}
	}
	add(nil, "")
	return out
}

// shelves are the lines that can speak of a request, whatever its object: those
// that judge looks at.
func (p *Policy) shelves(top *Layer, subject string, what access.Request) (out []*shelf) {
	for _, b := range p.books(top, subject) {
		if b == nil {
			continue
		}
		if s := b.exact[[2]string{what.Resource, what.Action}]; s != nil {
			out = append(out, s)
		}
		for _, s := range b.order {
			if s.resource.matches(what.Resource) && s.action.matches(what.Action) {
				out = append(out, &s.shelf)
			}
		}
	}
	return out
}

// books are those of a subject and of every role that it inherits, from the
// Policy and the Layer on top of it.
func (p *Policy) books(top *Layer, subject string) (out []*book) {
	layers := []*Layer{p.layer}
	if top != nil {
		layers = append(layers, top)
	}
	names := []string{subject}
	for i := 0; i < len(names); i++ {
		for _, l := range layers {
			out = append(out, l.books[names[i]])
			for _, role := range l.grants[names[i]] {
				if !slices.Contains(names, role) {
					names = append(names, role)
				}
			}
		}
	}
	return out
}
