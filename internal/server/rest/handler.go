package rest

import (
	"context"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// Authenticator tells who sends a request. An error is Unauthenticated; where
// anonymous access is on, a request without a good token gives the empty
// Principal and no error.
type Authenticator interface {
	Authenticate(r *http.Request) (access.Principal, error)
}

// Renewer is an Authenticator that hands out fresh cookies to those whose
// session is about to end (spec/api.md §2, auto-renew).
type Renewer interface {
	Renew(w http.ResponseWriter, r *http.Request, who access.Principal)
}

// Baker is an answer that browsers get cookies with.
type Baker interface {
	Cookies() []*http.Cookie
}

// Options of a handler.
type Options struct {
	Table  route.Table
	Who    Authenticator
	Decide access.Decider
	// Audit may be nil.
	Audit route.Auditor
	// Pages are handlers that are no routes, by pattern of http.ServeMux:
	// webhooks, login redirects, badges, the UI ("/").
	Pages map[string]http.Handler
	// Outside are pages that answer outside of the root path too, and before
	// anything is checked: /healthz.
	Outside map[string]http.Handler
	// RootPath is where the API lives below the host; "" is /.
	RootPath string
	// ContentTypes are accepted for requests that change something; none
	// switches the check off.
	ContentTypes []string
	// Origins tells which origins besides the own one may send requests that
	// change something: those of url and additionalUrls of argocd-cm.
	Origins func() []string
	// Proxies are believed about where requests come from; none by default.
	Proxies Proxies
	Gzip    bool
	// RequestTimeout bounds unary calls (default 2 minutes), KeepAlive is the
	// pause between comments of idle event streams (default 15 s).
	RequestTimeout, KeepAlive time.Duration
	// Ending is done when the server stops: streams end then.
	Ending     context.Context //nolint:containedctx // the life of the process, not of a request
	Log        *slog.Logger
	Clock      clock.WithTicker
	Registerer prometheus.Registerer
	// Histogram publishes grpc_server_handling_seconds, too: many series.
	Histogram bool
}

// Pages that have rules of their own about who may send what: senders of
// webhooks know no content type rule, and Dex is sent forms by browsers, by
// command lines and by the pages of providers. Neither reads a cookie of ours.
const (
	webhookPath = "/api/webhook"
	dexPath     = "/api/dex/"
)

// guarded says that a path is one of ours, for which a browser could be tricked.
func guarded(at string) bool {
	return strings.HasPrefix(at, "/api/") && at != webhookPath && !(strings.HasPrefix(at, dexPath) && path.Clean(at) == strings.TrimSuffix(at, "/"))
}

// api serves the table.
type api struct {
	Options
	run     route.Runner
	metrics *metrics
	open    *openStreams
}

// NewHandler makes the HTTP handler of a table.
func NewHandler(o Options) (http.Handler, error) {
	if err := o.Table.Validate(); err != nil {
		return nil, err
	}
	if o.RequestTimeout == 0 {
		o.RequestTimeout = 2 * time.Minute
	}
	if o.KeepAlive == 0 {
		o.KeepAlive = 15 * time.Second
	}
	a := &api{Options: o, run: route.Runner{Log: o.Log, Audit: o.Audit}, metrics: newMetrics(o), open: newOpenStreams()}
	mux := http.NewServeMux()
	for i := range o.Table {
		handler := a.route(&a.Table[i])
		mux.Handle(o.Table[i].Method+" "+o.Table[i].Path, handler)
		if at := strings.LastIndexByte(o.Table[i].Path, '/'); strings.HasSuffix(o.Table[i].Path, "...}") { // the rest may be nothing
			mux.Handle(o.Table[i].Method+" "+o.Table[i].Path[:at], handler)
		}
	}
	for pattern, page := range o.Pages {
		mux.Handle(pattern, page)
	}
	return a.outside(a.guard(mux)), nil
}

// outside serves what is outside of the root path, and takes the root path off.
func (a *api) outside(inner http.Handler) http.Handler {
	mux := http.NewServeMux()
	for pattern, page := range a.Outside {
		mux.Handle(pattern, page)
	}
	root := "/" + strings.Trim(path.Clean("/"+a.RootPath), "/")
	if root == "/" {
		mux.Handle("/", inner)
	} else {
		mux.Handle(root+"/", http.StripPrefix(root, inner))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		if len(r.URL.RequestURI()) > maxURL {
			http.Error(w, "the URL is too long", http.StatusRequestURITooLong)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// maxURL bounds URLs in bytes.
const maxURL = 64 << 10

// guard refuses what a browser could be tricked into: requests that change
// something need a content type that no form can send, and must not come from
// another site (spec/api.md §1).
func (a *api) guard(inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !reads(r) && guarded(r.URL.Path) {
			if !a.contentType(r.Header.Get("Content-Type")) {
				http.Error(w, "Invalid content type", http.StatusUnsupportedMediaType)
				return
			}
			if err := a.sameSite(r); err != nil {
				a.fail(w, err)
				return
			}
		}
		inner.ServeHTTP(w, r)
	})
}

func reads(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
}

func (a *api) contentType(header string) bool {
	if len(a.ContentTypes) == 0 {
		return true
	}
	kind, _, err := mime.ParseMediaType(header)
	return err == nil && slices.ContainsFunc(a.ContentTypes, func(t string) bool { return strings.EqualFold(t, kind) })
}

func (a *api) sameSite(r *http.Request) error {
	check := http.NewCrossOriginProtection()
	if a.Origins != nil {
		for _, origin := range a.Origins() {
			if err := check.AddTrustedOrigin(origin); err != nil {
				a.Log.Warn("url of argocd-cm is no origin", "error", err.Error())
			}
		}
	}
	if err := check.Check(r); err != nil {
		return fault.New(fault.PermissionDenied, "the request comes from another site: set url or additionalUrls in argocd-cm to the address that users see")
	}
	return nil
}

// route is the way of one request.
func (a *api) route(line *route.Route) http.Handler {
	if line.MaxBody == 0 {
		line.MaxBody = route.DefaultMaxBody
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := a.Who.Authenticate(r)
		if err != nil {
			if line.Rule.Access != route.Open {
				a.metrics.refused(line, fault.Unauthenticated)
				a.fail(w, unauthenticated(err))
				return
			}
			who = access.Principal{}
		}
		if renew, ok := a.Who.(Renewer); ok && err == nil {
			renew.Renew(w, r, who)
		}
		request := line.NewRequest()
		if err := decode(request, r, line.MaxBody); err != nil {
			code, _ := fault.Of(err)
			a.metrics.refused(line, code)
			a.fail(w, err)
			return
		}
		if !line.Upload {
			_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // the body is read; not every writer has deadlines
		}
		call := route.NewCall(line, who, a.Decide)
		call.Client = a.Proxies.source(r)
		if line.Streams {
			a.streamed(w, r, call, request)
			return
		}
		a.unary(w, r, call, request)
	})
}

// unauthenticated keeps a code that the Authenticator gave.
func unauthenticated(err error) error {
	if code, _ := fault.Of(err); code != fault.Unknown {
		return err
	}
	return fault.Hide(err, fault.Unauthenticated, "invalid session")
}

func (a *api) unary(w http.ResponseWriter, r *http.Request, call *route.Call, request any) {
	line := call.Route
	var fields *selection
	if line.Fields {
		var err error
		if fields, err = parseFields(r.URL.Query().Get("fields")); err != nil {
			a.fail(w, err)
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.RequestTimeout)
	defer cancel()
	done := a.metrics.start(line, a.Clock)
	answer, err := a.run.Do(ctx, call, request)
	code, _ := fault.Of(err)
	done(code)
	if err != nil {
		a.fail(w, err)
		return
	}
	raw, err := encode(answer, fields)
	if err != nil {
		a.Log.Error("an answer cannot be encoded", "route", line.Name(), "error", err.Error())
		a.fail(w, fmt.Errorf("encode: %w", err))
		return
	}
	if baker, ok := answer.(Baker); ok {
		for _, cookie := range baker.Cookies() {
			http.SetCookie(w, cookie)
		}
	}
	a.respond(w, r, raw)
}
