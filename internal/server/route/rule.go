package route

import (
	"fmt"
	"strings"

	"github.com/sluice-cd/sluice/internal/domain/access"
)

// Access is the kind of a rule.
type Access int

// The kinds of rules. The zero value is none: a route that has it is refused.
const (
	Undeclared Access = iota
	// Open needs no token; what is shown may still depend on who asks.
	Open
	// Login needs a valid token and no right.
	Login
	// Filtered never fails for lack of rights: it shows fewer items.
	Filtered
	// Guarded answers only what every check of Must was granted for.
	Guarded
)

// String is the name of the kind.
func (a Access) String() string {
	return [...]string{"undeclared", "open", "login", "filtered", "guarded"}[a]
}

// Check is a right in terms of policies; the object is known to the handler.
// An action that ends in /* covers fine-grained ones (spec/rbac.md §3).
type Check struct{ Resource, Action string }

// String is resource/action.
func (c Check) String() string { return c.Resource + "/" + c.Action }

func (c Check) covers(what access.Request) bool {
	if c.Resource != what.Resource {
		return false
	}
	prefix, fine := strings.CutSuffix(c.Action, "/*")
	return c.Action == what.Action || fine && strings.HasPrefix(what.Action, prefix+"/")
}

// Rule says who may use a route.
type Rule struct {
	Access Access
	// Must are granted before there is an answer; May may be asked besides.
	Must, May []Check
}

// Public is the rule of what anybody may read.
func Public() Rule { return Rule{Access: Open} }

// Authenticated is the rule of what everybody with a token may use.
func Authenticated(may ...string) Rule { return Rule{Access: Login, May: checks(may)} }

// Lists is the rule of lists and watches: items that the caller may not see are
// left out. Checks are written resource/action.
func Lists(may ...string) Rule { return Rule{Access: Filtered, May: checks(may)} }

// Needs is the rule of everything else.
func Needs(must ...string) Rule { return Rule{Access: Guarded, Must: checks(must)} }

// And adds checks that only some requests need.
func (r Rule) And(may ...string) Rule {
	r.May = append(append([]Check(nil), r.May...), checks(may)...)
	return r
}

func checks(texts []string) []Check {
	var out []Check
	for _, text := range texts {
		resource, action, _ := strings.Cut(text, "/")
		out = append(out, Check{Resource: resource, Action: action})
	}
	return out
}

// Validate says what a rule lacks.
func (r Rule) Validate() error {
	switch {
	case r.Access == Undeclared:
		return fmt.Errorf("has no rule: declare who may use it")
	case r.Access == Guarded && len(r.Must) == 0:
		return fmt.Errorf("is guarded by no check: name at least one")
	case r.Access != Guarded && len(r.Must) > 0:
		return fmt.Errorf("is %s and names checks that must be granted", r.Access)
	}
	for _, c := range append(append([]Check(nil), r.Must...), r.May...) {
		if c.Resource == "" || c.Action == "" {
			return fmt.Errorf("has the check %q: write resource/action", c)
		}
	}
	return nil
}
