package rbac

import (
	"fmt"
	"slices"

	"github.com/sluice-cd/sluice/internal/domain/access"
)

// Finding is what Validate says about a policy.
type Finding struct {
	// Fatal findings make a policy invalid, the others only warn.
	Fatal   bool
	Message string
}

// Validate checks the data of argocd-rbac-cm, or {"policy.csv": text}
// (spec/rbac.md §8). A policy without fatal findings can be loaded.
func Validate(data map[string]string) []Finding {
	if _, err := ParseSettings(data, false); err != nil {
		return []Finding{{Fatal: true, Message: err.Error()}}
	}
	var all Text
	for _, key := range policyKeys(data) {
		t, err := Parse(key, data[key])
		if err != nil {
			return []Finding{{Fatal: true, Message: err.Error()}}
		}
		all.join(t)
	}
	var out []Finding
	for _, err := range Compile(ParseMode(data["policy.matchMode"]), all).Problems {
		out = append(out, Finding{Message: err.Error()})
	}
	out = append(out, emptyRoles(all)...)
	if ParseMode(data["policy.matchMode"]) == Glob {
		out = append(out, unknownWords(all)...)
	}
	return out
}

// emptyRoles warns about roles that are granted and grant nothing.
func emptyRoles(all Text) []Finding {
	known := map[string]bool{}
	builtin := Builtin()
	for _, l := range slices.Concat(all.Lines, builtin.Lines) {
		known[l.Subject] = true
	}
	for _, g := range slices.Concat(all.Grants, builtin.Grants) {
		known[g.Member] = true
	}
	var out []Finding
	for _, g := range all.Grants {
		if _, _, project := SplitRoleSubject(g.Role); !known[g.Role] && !project {
			known[g.Role] = true
			out = append(out, Finding{Message: fmt.Sprintf("%s: role %q is granted and has no policies", g.Source, shorten(g.Role))})
		}
	}
	return out
}

// unknownWords warns about words that no request uses.
func unknownWords(all Text) []Finding {
	var out []Finding
	for _, l := range all.Lines {
		if r, err := globToken(l.Resource); err == nil && !slices.ContainsFunc(resources, r.matches) {
			out = append(out, Finding{Message: fmt.Sprintf("%s: no request is about resource %q: the line has no effect", l.Source, shorten(l.Resource))})
		}
		if a, err := globToken(l.Action); err == nil && a.whole && !KnownAction(l.Action) {
			out = append(out, Finding{Message: fmt.Sprintf("%s: no request is about action %q: the line has no effect", l.Source, shorten(l.Action))})
		}
	}
	return out
}

// Query is what "admin settings rbac can" asks.
type Query struct {
	// Subject is a role, an account or a group; it is asked as it stands.
	Subject                     string
	Action, Resource, SubObject string
	DefaultRole                 string
	// Strict refuses resources and actions that policies do not know.
	Strict bool
}

// Can answers a Query from a policy (spec/rbac.md §8). The error names the
// word that is not known.
func Can(p *Policy, q Query) (bool, error) {
	resource := Canonical(q.Resource)
	if q.Strict && !KnownResource(resource) {
		return false, fmt.Errorf("resource %q is not known: use one of %v", shorten(q.Resource), resources)
	}
	if q.Strict && !KnownAction(q.Action) {
		return false, fmt.Errorf("action %q is not known: use one of %v", shorten(q.Action), actions)
	}
	object := q.SubObject
	if object == "" {
		object = "*"
	}
	if object == "*" && scoped(resource) {
		object = "*/*"
	}
	r := Rules{Policy: p, DefaultRole: q.DefaultRole}
	return r.Allowed(access.Principal{Subject: q.Subject, Issuer: "argocd"}, access.Request{Resource: resource, Action: q.Action, Object: object}), nil
}
