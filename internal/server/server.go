package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/identity"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/server/application"
	"github.com/sluice-cd/sluice/internal/server/applicationset"
	"github.com/sluice-cd/sluice/internal/server/badge"
	"github.com/sluice-cd/sluice/internal/server/certificate"
	"github.com/sluice-cd/sluice/internal/server/cluster"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/gpgkey"
	"github.com/sluice-cd/sluice/internal/server/link"
	"github.com/sluice-cd/sluice/internal/server/notification"
	"github.com/sluice-cd/sluice/internal/server/project"
	"github.com/sluice-cd/sluice/internal/server/repository"
	"github.com/sluice-cd/sluice/internal/server/rest"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/setting"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// Config is how a server is reached; its fields are the flags of argocd-server
// (spec/config.md).
type Config struct {
	// Address and Port to listen on; BaseHRef and RootPath are where users see
	// the UI and the API below the host.
	Address            string
	Port               int
	BaseHRef, RootPath string
	// Insecure serves without TLS; DisableAuth lets everybody do everything.
	Insecure, DisableAuth bool
	Gzip                  bool
	// ContentTypes are accepted in requests that change something.
	ContentTypes   []string
	ReplaceAllowed bool
	// Strict is --strict: no deployment by hand against automated sync.
	Strict bool
	// MinTLS and MaxTLS are versions of TLS, Ciphers those of TLS 1.2; zero is
	// the choice of the library.
	MinTLS, MaxTLS uint16
	Ciphers        []uint16
	// Histogram publishes how long calls take by the name that dashboards know.
	Histogram bool
	// Proxies are believed about where requests come from.
	Proxies rest.Proxies
}

// Options of a Server.
type Options struct {
	Config
	Hub      *store.Hub
	Settings func() *settings.Snapshot
	// Manifests and Engine give nil while this process reaches none.
	Manifests func() manifest.Renderer
	Engine    func() application.Engine
	// Desk and Preview are those of the controllers of ApplicationSets, Remotes
	// asks repositories; each gives nil while this process has none.
	Desk    func() applicationset.Desk
	Preview func() func(context.Context, *v1alpha1.ApplicationSet) ([]v1alpha1.Application, error)
	Remotes func() repository.Remotes
	// Probe connects to a cluster, Rotator replaces its token, ClusterState is
	// what is known of it.
	Probe        func(ctx context.Context, c destination.Cluster) (version string, err error)
	Rotator      cluster.Rotator
	ClusterState func(server string) (cluster.Info, bool)
	// MeetClusters finds out how clusters are that ClusterState is about to be
	// asked for; nil where it knows by itself.
	MeetClusters func(ctx context.Context, servers []string)
	// Tokens makes tokens of project roles; nil is none.
	Tokens project.Tokens
	// Render fills templates of links in.
	Render link.Render
	// Who tells who asks, Decide what he may; Audit may be nil.
	Who    rest.Authenticator
	Decide access.Decider
	Audit  route.Auditor
	// More are routes and pages of others: identity, webhooks, the UI.
	More       route.Table
	Pages      map[string]http.Handler
	Build      setting.Build
	Plugins    func() []string
	Log        *slog.Logger
	Clock      clock.WithTicker
	Registerer prometheus.Registerer
}

// Server is the API of one hub.
type Server struct {
	options Options
	table   route.Table
	handler http.Handler
	certs   *certificates

	ready  atomic.Bool
	ending context.Context //nolint:containedctx // the life of the process, not of a request
	end    context.CancelFunc
}

// nobody refuses everybody: the server was given no identities.
type nobody struct{}

// Authenticate refuses.
func (nobody) Authenticate(*http.Request) (access.Principal, error) {
	return access.Principal{}, fault.New(fault.Unauthenticated, "no session information")
}

// everybody is --disable-auth.
type everybody struct{}

// Authenticate admits.
func (everybody) Authenticate(*http.Request) (access.Principal, error) {
	return access.Principal{Unrestricted: true}, nil
}

// Allowed says no: only the unrestricted pass, and they are not asked about.
func (nobody) Allowed(access.Principal, access.Request) bool { return false }

// New makes a Server; ctx is its life.
func New(ctx context.Context, o Options) (*Server, error) {
	if o.Who == nil {
		o.Who = nobody{}
	}
	if o.Decide == nil {
		o.Decide = nobody{}
	}
	if o.DisableAuth {
		o.Who = everybody{}
	}
	s := &Server{options: o, certs: newCertificates(o.Hub, o.Clock, o.Log)}
	s.ending, s.end = context.WithCancel(context.WithoutCancel(ctx))
	s.table = append(s.routes(), o.More...)
	registerer := o.Registerer
	if registerer != nil {
		info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "argocd_info", Help: "Information about the server.", ConstLabels: prometheus.Labels{"version": o.Build.Version}})
		info.Set(1)
		if err := registerer.Register(info); err != nil {
			return nil, fmt.Errorf("metrics of the server: %w", err)
		}
	}
	handler, err := rest.NewHandler(rest.Options{
		Table: s.table, Who: o.Who, Decide: o.Decide, Audit: o.Audit, Pages: s.pages(),
		Outside:  map[string]http.Handler{"/healthz": http.HandlerFunc(s.health)},
		RootPath: o.RootPath, ContentTypes: o.ContentTypes, Origins: s.origins, Proxies: o.Proxies, Gzip: o.Gzip, Ending: s.ending,
		Log: o.Log, Clock: o.Clock, Registerer: registerer, Histogram: o.Histogram,
	})
	if err != nil {
		return nil, err
	}
	s.handler = handler
	return s, nil
}

// Table is everything that the server can do.
func (s *Server) Table() route.Table { return s.table }

// Handler answers requests, for those who listen themselves.
func (s *Server) Handler() http.Handler { return s.handler }

func (s *Server) routes() route.Table {
	o := s.options
	links := &link.Maker{Hub: o.Hub, Render: o.Render, Log: o.Log}
	apps := application.New(application.Options{
		Hub: o.Hub, Settings: o.Settings, Manifests: o.Manifests, Engine: o.Engine, Links: links, Log: o.Log, Clock: o.Clock, ReplaceAllowed: o.ReplaceAllowed, Strict: o.Strict,
	})
	sets := applicationset.New(applicationset.Options{Hub: o.Hub, Desk: o.Desk, Preview: o.Preview, Log: o.Log, Clock: o.Clock})
	clusters := cluster.New(cluster.Options{
		Hub: o.Hub, Settings: o.Settings, Probe: o.Probe, Rotator: o.Rotator, State: o.ClusterState, Meet: o.MeetClusters, Log: o.Log, Clock: o.Clock,
	})
	repositories := repository.New(repository.Options{Hub: o.Hub, Settings: o.Settings, Remotes: o.Remotes, Manifests: o.Manifests, Log: o.Log, Clock: o.Clock})
	projects := project.New(project.Options{
		Hub: o.Hub, Settings: o.Settings, Tokens: o.Tokens, Details: scoped{clusters, repositories}, Links: links, Log: o.Log, Clock: o.Clock,
	})
	known := setting.New(setting.Options{Hub: o.Hub, Build: o.Build, ReplaceAllowed: o.ReplaceAllowed, Plugins: o.Plugins, Find: identity.Lookup(o.Hub), Log: o.Log})
	var table route.Table
	for _, part := range []route.Table{
		apps.Routes(), sets.Routes(), projects.Routes(), clusters.Routes(), repositories.Routes(), certificate.New(o.Hub).Routes(),
		gpgkey.New(o.Hub).Routes(), notification.New(o.Hub).Routes(), known.Routes(),
	} {
		table = append(table, part...)
	}
	return table
}

// scoped shows what belongs to a project.
type scoped struct {
	clusters     *cluster.Service
	repositories *repository.Service
}

// ClustersOf lists the clusters of a project.
func (s scoped) ClustersOf(project string) []any { return s.clusters.Of(project) }

// RepositoriesOf lists the repositories of a project.
func (s scoped) RepositoriesOf(project string) []any { return s.repositories.Of(project) }

func (s *Server) pages() map[string]http.Handler {
	out := map[string]http.Handler{"/api/badge": &badge.Handler{Hub: s.options.Hub}}
	out["GET /swagger.json"], out["GET /swagger-ui"] = s.documents()
	for pattern, page := range s.options.Pages {
		out[pattern] = page
	}
	return out
}

// origins are the addresses that users see, which may send what changes
// something.
func (s *Server) origins() []string {
	cm := s.options.Hub.Config("argocd-cm")
	return origins(cm["url"], cm["additionalUrls"])
}

// health answers probes: 503 while starting and ending.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "use GET", http.StatusMethodNotAllowed)
		return
	}
	if !s.ready.Load() || s.ending.Err() != nil {
		http.Error(w, "starting or ending", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n")) // the prober may be gone
}

// Run listens and answers until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	o := s.options
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(o.Address, fmt.Sprint(o.Port)))
	if err != nil {
		return fmt.Errorf("--address and --port: %w", err)
	}
	return s.Serve(ctx, listener)
}

// Serve answers on a listener until ctx ends.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	o := s.options
	if err := s.prepare(ctx); err != nil {
		return err
	}
	var certificate func() (*tls.Certificate, error)
	if !o.Insecure {
		if err := s.certs.load(ctx); err != nil {
			return err
		}
		certificate = s.certs.current
	}
	o.Log.Info("the server answers", "address", listener.Addr().String(), "tls", !o.Insecure, "rootPath", o.RootPath, "auth", !o.DisableAuth)
	s.ready.Store(true)
	defer s.ready.Store(false)
	return rest.Serve(ctx, rest.ServeOptions{
		Listener: listener, Handler: s.handler, Certificate: certificate, MinTLS: o.MinTLS, MaxTLS: o.MaxTLS, Ciphers: o.Ciphers, RootPath: o.RootPath,
		Drain: 20 * time.Second, Ending: s.end, Log: o.Log, Clock: o.Clock,
	})
}
