package rbac

import (
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/internal/domain/access"
)

// Rules answer for one moment.
type Rules struct {
	Policy *Policy
	// DefaultRole is policy.default; empty is none.
	DefaultRole string
	// Project gives the roles of a project that exists; a nil Layer is a
	// project without usable roles.
	Project func(name string) (*Layer, bool)
}

var _ access.Decider = Rules{}

// Step names the question that decided (spec/rbac.md §4).
type Step string

// Steps, in the order they are asked.
const (
	StepUnrestricted Step = "authentication is switched off"
	StepDefault      Step = "default role"
	StepToken        Step = "project token"
	StepForeignToken Step = "token of another project"
	StepSubject      Step = "subject"
	StepGroup        Step = "group"
	StepNobody       Step = "empty subject"
	StepNone         Step = "nothing allows it"
)

// Decision is an answer with its reason.
type Decision struct {
	Allowed bool
	Step    Step
	// Subject is whose lines decided.
	Subject string
	// Line allowed, or denied when Allowed is false; nil when no line speaks
	// of the request.
	Line *Line
	// Ignored are groups that have lines of their own but are in no grant:
	// such lines never count.
	Ignored []string
}

// Allowed answers a request.
func (r Rules) Allowed(who access.Principal, what access.Request) bool {
	return r.decide(who, what, nil)
}

// Explain answers like Allowed and says why.
func (r Rules) Explain(who access.Principal, what access.Request) Decision {
	d := Decision{Step: StepNone}
	d.Allowed = r.decide(who, what, &d)
	return d
}

// decide asks in the order of spec/rbac.md §4; d, when not nil, is told why.
func (r Rules) decide(who access.Principal, what access.Request, d *Decision) bool {
	if who.Unrestricted {
		return d.because(StepUnrestricted, "", verdict{})
	}
	if r.DefaultRole != "" && r.ask(question{step: StepDefault, subject: r.DefaultRole}, what, d) {
		return true
	}
	if (who.Subject != "" || len(who.Groups) > 0) && r.claims(who, what, d) {
		return true
	}
	return r.ask(question{step: StepNobody}, what, d)
}

// claims asks for the subject and its groups.
func (r Rules) claims(who access.Principal, what access.Request, d *Decision) bool {
	name, layer := r.project(what)
	if project, _, ok := SplitRoleSubject(who.Subject); ok && name != "" {
		if project != name {
			d.note(StepForeignToken, who.Subject, verdict{})
			return false
		}
		return r.ask(question{StepToken, layer, who.Subject}, what, d)
	}
	if r.ask(question{StepSubject, layer, who.Subject}, what, d) {
		return true
	}
	for _, g := range who.Groups {
		if !r.Policy.member(layer, g) {
			if d != nil && r.speaksOf(layer, g) {
				d.Ignored = append(d.Ignored, g)
			}
			continue
		}
		if r.ask(question{StepGroup, layer, g}, what, d) {
			return true
		}
	}
	return false
}

func (r Rules) speaksOf(layer *Layer, subject string) bool {
	return r.Policy.layer.books[subject] != nil || (layer != nil && layer.books[subject] != nil)
}

// inProject are resources whose object may begin with a project.
var inProject = []string{Applications, ApplicationSets, Repositories, Clusters, Logs, Exec}

// project finds the project that a request is about; empty when there is none.
func (r Rules) project(what access.Request) (string, *Layer) {
	name := ""
	if what.Resource == Projects {
		name = what.Object
	} else if slices.Contains(inProject, what.Resource) {
		first, _, ok := strings.Cut(what.Object, "/")
		if ok {
			name = first
		}
	}
	if name == "" || r.Project == nil {
		return "", nil
	}
	layer, ok := r.Project(name)
	if !ok {
		return "", nil
	}
	return name, layer
}

type question struct {
	step    Step
	layer   *Layer
	subject string
}

func (r Rules) ask(q question, what access.Request, d *Decision) bool {
	v := r.Policy.judge(q.layer, q.subject, what)
	if v.allow == nil || v.deny != nil {
		if v.deny != nil {
			d.note(q.step, q.subject, v)
		}
		return false
	}
	return d.because(q.step, q.subject, v)
}

// because notes what allowed.
func (d *Decision) because(step Step, subject string, v verdict) bool {
	if d != nil {
		d.Step, d.Subject, d.Line = step, subject, v.allow
	}
	return true
}

// note keeps the first reason for a no.
func (d *Decision) note(step Step, subject string, v verdict) {
	if d != nil && d.Step == StepNone {
		d.Step, d.Subject, d.Line = step, subject, v.deny
	}
}
