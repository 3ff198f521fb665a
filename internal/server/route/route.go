package route

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"runtime/debug"
	"strings"

	"github.com/sluice-cd/sluice/internal/server/fault"
)

// Spec is what is declared of a route.
type Spec struct {
	// Method and Path are those of REST; the path is a pattern of http.ServeMux
	// below the root path.
	Method, Path string
	// RPC is the gRPC name: package.Service/Method (spec/wire.md).
	RPC  string
	Rule Rule
	// MaxBody bounds the request's body in bytes; 0 is DefaultMaxBody.
	MaxBody int64
	// Upload says that the handler reads the body, which must be Lines, itself.
	Upload bool
	// Fields says that the query parameter "fields" selects parts of the answer.
	Fields bool
	// Summary is a sentence for the documentation.
	Summary string
}

// DefaultMaxBody is the largest JSON body of a request in bytes.
const DefaultMaxBody = 4 << 20

// Route is a line of the table.
type Route struct {
	Spec
	// Request and Answer are the types; Answer is that of one message when the
	// route streams.
	Request, Answer reflect.Type
	// Streams says that there are many messages.
	Streams bool

	unary  func(ctx context.Context, c *Call, request any) (any, error)
	stream func(ctx context.Context, c *Call, request any, send func(any) error) error
}

// Unary makes a route with one answer.
func Unary[Q, A any](s Spec, handle func(ctx context.Context, c *Call, request *Q) (*A, error)) Route {
	return Route{
		Spec: s, Request: reflect.TypeFor[Q](), Answer: reflect.TypeFor[A](),
		unary: func(ctx context.Context, c *Call, request any) (any, error) {
			typed, ok := request.(*Q)
			if !ok {
				return nil, fmt.Errorf("%s: request is a %T", s.RPC, request)
			}
			answer, err := handle(ctx, c, typed)
			if err == nil && answer == nil {
				return nil, fmt.Errorf("%s: no answer", s.RPC)
			}
			return answer, err
		},
	}
}

// Stream makes a route with many messages. The handler stops when send fails;
// sending nil opens the stream before there is a message.
func Stream[Q, M any](s Spec, handle func(ctx context.Context, c *Call, request *Q, send func(*M) error) error) Route {
	return Route{
		Spec: s, Request: reflect.TypeFor[Q](), Answer: reflect.TypeFor[M](), Streams: true,
		stream: func(ctx context.Context, c *Call, request any, send func(any) error) error {
			typed, ok := request.(*Q)
			if !ok {
				return fmt.Errorf("%s: request is a %T", s.RPC, request)
			}
			return handle(ctx, c, typed, func(m *M) error {
				if m == nil {
					return send(nil)
				}
				return send(m)
			})
		},
	}
}

// Name is method and path, as in the documentation.
func (r *Route) Name() string { return r.Method + " " + r.Path }

// Changes says that the route does more than read.
func (r *Route) Changes() bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }

// NewRequest makes an empty request to be filled by a transport.
func (r *Route) NewRequest() any { return reflect.New(r.Request).Interface() }

// Service and Operation are the parts of RPC.
func (r *Route) Service() string { service, _, _ := strings.Cut(r.RPC, "/"); return service }

// Operation is the method's part of RPC.
func (r *Route) Operation() string { _, method, _ := strings.Cut(r.RPC, "/"); return method }

// Runner carries out calls for transports.
type Runner struct {
	Log *slog.Logger
	// Audit may be nil.
	Audit Auditor
}

// Do answers a unary call. A panic becomes an error.
func (r Runner) Do(ctx context.Context, c *Call, request any) (answer any, err error) {
	defer func() { r.finish(ctx, c, recover(), &err) }()
	answer, err = c.Route.unary(ctx, c, request)
	if settled := c.settle(r.Log, err != nil); settled != nil {
		return nil, settled
	}
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// Pour streams the messages of a call into send. Nothing is sent before the
// checks of the rule are granted.
func (r Runner) Pour(ctx context.Context, c *Call, request any, send func(any) error) (err error) {
	defer func() { r.finish(ctx, c, recover(), &err) }()
	return c.Route.stream(ctx, c, request, func(m any) error {
		if err := c.settle(r.Log, false); err != nil {
			return err
		}
		return send(m)
	})
}

// finish turns a panic into an error, logs what callers must not read and
// tells the audit.
func (r Runner) finish(ctx context.Context, c *Call, panicked any, err *error) {
	if panicked != nil {
		r.Log.Error("a handler failed unexpectedly", "route", c.Route.Name(), "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
		*err = fault.New(fault.Internal, "internal error: see the log of the server")
	}
	code, message := fault.Of(*err)
	switch code {
	case fault.Unknown, fault.Internal, fault.Unavailable:
		if !errors.Is(*err, context.Canceled) {
			r.Log.Error("request failed", "route", c.Route.Name(), "code", code.String(), "error", (*err).Error())
		}
	default:
		var coded *fault.Error
		if errors.As(*err, &coded) && coded.Unwrap() != nil {
			r.Log.Debug("request refused", "route", c.Route.Name(), "code", code.String(), "error", coded.Unwrap().Error())
		}
	}
	if r.Audit != nil && c.Route.Changes() {
		r.Audit.Record(ctx, Record{Call: c, Acts: c.acted(), Code: code, Message: message})
	}
}

// Table is everything that a server can do.
type Table []Route

// Validate names the routes that lack something, all of them.
func (t Table) Validate() error {
	var problems []error
	seen := map[string]bool{}
	for i := range t {
		r := &t[i]
		if err := r.Rule.Validate(); err != nil {
			problems = append(problems, fmt.Errorf("route %s %w", r.Name(), err))
		}
		if r.Service() == "" || r.Operation() == "" {
			problems = append(problems, fmt.Errorf("route %s has the RPC name %q: write package.Service/Method", r.Name(), r.RPC))
		}
		if seen[r.Name()] {
			problems = append(problems, fmt.Errorf("route %s is there twice", r.Name()))
		}
		seen[r.Name()] = true
	}
	return errors.Join(problems...)
}
