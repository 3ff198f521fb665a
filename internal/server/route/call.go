package route

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/server/fault"
)

// Call is one request as its handler sees it: who asks, and what he may do. It
// is safe for concurrent use.
type Call struct {
	// Who asks.
	Who access.Principal
	// Route is the line of the table.
	Route *Route
	// Client is the address of the caller, for the audit.
	Client string

	decider access.Decider

	mu      sync.Mutex
	granted []Check
	// held are the questions of a guarded route that were answered with yes.
	held       []access.Request
	undeclared *access.Request
	acts       []Act
}

// Act is something that a handler has done, for the audit.
type Act struct {
	// Object is what was changed; nil when it is no object of the hub.
	Object client.Object
	// Reason and Message are those of the event (spec/observability.md §3);
	// Message goes on after the name of the user.
	Reason, Message string
	// Before and After are the states, where both are known.
	Before, After client.Object
}

// Record is one finished call that changed something or was refused to.
type Record struct {
	Call    *Call
	Acts    []Act
	Code    fault.Code
	Message string
}

// Auditor is told of every call that changes something, also of refused ones.
// It must not block.
type Auditor interface {
	Record(ctx context.Context, r Record)
}

// NewCall begins a request.
func NewCall(r *Route, who access.Principal, decider access.Decider) *Call {
	return &Call{Who: who, Route: r, decider: decider}
}

// Can asks a question that the route declares; the answer to any other is no,
// and the call fails as a fault of ours.
func (c *Call) Can(what access.Request) bool {
	found := c.declared(what)
	if found == nil || !c.Who.Unrestricted && !c.decider.Allowed(c.Who, what) {
		return false
	}
	c.grant(*found, what)
	return true
}

// Sieve is Can for many objects of one resource and action, much faster; the
// answers are those of the moment at which it is made, for one goroutine.
func (c *Call) Sieve(resource, action string) (allowed func(object string) bool) {
	what := access.Request{Resource: resource, Action: action}
	found := c.declared(what)
	if found == nil {
		return func(string) bool { return false }
	}
	sift := func(string) bool { return true }
	if sifter, ok := c.decider.(access.Sifter); !c.Who.Unrestricted && ok {
		sift = sifter.Sift(c.Who, resource, action)
	} else if !c.Who.Unrestricted {
		sift = func(object string) bool {
			return c.decider.Allowed(c.Who, access.Request{Resource: resource, Action: action, Object: object})
		}
	}
	noted := false
	return func(object string) bool {
		if !sift(object) {
			return false
		}
		if !noted || c.holds() {
			what.Object, noted = object, true
			c.grant(*found, what)
		}
		return true
	}
}

// declared finds the check of the rule that covers a question; without one the
// call has failed.
func (c *Call) declared(what access.Request) *Check {
	for _, set := range [][]Check{c.Route.Rule.Must, c.Route.Rule.May} {
		for i := range set {
			if set[i].covers(what) {
				return &set[i]
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	undeclared := what // what itself stays off the heap
	c.undeclared = &undeclared
	return nil
}

// holds says that what is granted is asked again while the call runs.
func (c *Call) holds() bool { return c.Route.Streams && c.Route.Rule.Access == Guarded }

// grant notes a yes.
func (c *Call) grant(found Check, what access.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.granted, found) {
		c.granted = append(c.granted, found)
	}
	if c.holds() && len(c.held) < maxHeld && !slices.Contains(c.held, what) {
		c.held = append(c.held, what)
	}
}

// maxHeld bounds the questions that are asked again while a stream runs.
const maxHeld = 16

// Still asks again what a stream was granted, for who has shown his token
// again: rights that were taken away end the stream.
func (c *Call) Still(who access.Principal) bool {
	c.mu.Lock()
	held := slices.Clone(c.held)
	c.mu.Unlock()
	for _, what := range held {
		if !who.Unrestricted && !c.decider.Allowed(who, what) {
			return false
		}
	}
	return true
}

// Must is Can with an error that says what is missing (spec/rbac.md §7).
func (c *Call) Must(what access.Request) error {
	if c.Can(what) {
		return nil
	}
	return Denied(c.Who, what)
}

// Denied is the specific message of a refusal: subject and time of issue are
// those of the token, as far as it has them (spec/rbac.md §7).
func Denied(who access.Principal, what access.Request) error {
	claims := ""
	if who.Subject != "" {
		claims = ", sub: " + who.Subject
	}
	if !who.IssuedAt.IsZero() {
		claims += ", iat: " + who.IssuedAt.UTC().Format(time.RFC3339)
	}
	return fault.New(fault.PermissionDenied, "permission denied: %s, %s, %s%s", what.Resource, what.Action, what.Object, claims)
}

// Imitate asks what would be asked about an object that is not there, and
// forgets the answers: Hidden takes as long then as for one that may not be
// seen (SEC-34).
func (c *Call) Imitate(actions []string, what access.Request) {
	for _, action := range actions {
		if what.Action = action; !c.Who.Unrestricted {
			c.decider.Allowed(c.Who, what)
		}
	}
}

// Refusing lists what is asked before the refusal of an action: the action, and
// whether the object may be seen at all.
func Refusing(action string) []string {
	if action == "get" {
		return []string{action}
	}
	return []string{action, "get"}
}

// Hidden is the refusal that tells nothing: the same for what is absent.
func Hidden() error { return fault.New(fault.PermissionDenied, "permission denied") }

// Vouch grants all that the rule demands, for callers whose right does not
// come from a policy: an account that changes itself, a member of a role.
func (c *Call) Vouch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.granted = append(c.granted, c.Route.Rule.Must...)
}

// Did notes what the handler has done.
func (c *Call) Did(a Act) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acts = append(c.acts, a)
}

// acted gives what was done so far.
func (c *Call) acted() []Act {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.acts)
}

// settle refuses an answer for which not everything was granted that the route
// declares, or for which something else was asked. A call that failed anyway
// need not have been granted anything.
func (c *Call) settle(log *slog.Logger, failed bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.undeclared != nil {
		log.Error("a handler asks what its route does not declare", "route", c.Route.Name(), "resource", c.undeclared.Resource, "action", c.undeclared.Action)
		return fault.New(fault.Internal, "internal error: a permission of this route is not declared")
	}
	if failed || c.Route.Rule.Access != Guarded {
		return nil
	}
	for _, must := range c.Route.Rule.Must {
		if !slices.Contains(c.granted, must) {
			log.Error("a handler answers without its check", "route", c.Route.Name(), "check", must.String())
			return fault.New(fault.Internal, "internal error: a permission of this route was not checked")
		}
	}
	return nil
}
