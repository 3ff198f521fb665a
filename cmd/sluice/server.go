package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/authority"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/adapter/kubemetrics"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/adapter/template"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/controller/manifest/transport"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/server"
	"github.com/sluice-cd/sluice/internal/server/repository"
	"github.com/sluice-cd/sluice/internal/server/session"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// serverFlags are those of argocd-server (spec/config.md, most used flags).
type serverFlags struct {
	server.Config
	contentTypes string
	dex          string
	dexPlain     bool
	dexStrict    bool
	events       []string
	proxies      []string
	tls          tlsFlags
	// hookWorkers and hookWriters are how many events of webhooks are looked at,
	// and how many objects they make look again, at a time.
	hookWorkers, hookWriters int
	namespaces               []string
	// apart are the namespaces, once they were read.
	apart policy.Namespaces
	// changed says that a flag was given.
	changed func(flag string) bool
}

func (f *serverFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.Address, "address", "0.0.0.0", "address that the API listens on")
	flags.IntVar(&f.Port, "port", 8080, "port that the API listens on")
	flags.BoolVar(&f.Insecure, "insecure", false, "serve the API without TLS; also server.insecure of argocd-cmd-params-cm")
	flags.BoolVar(&f.DisableAuth, "disable-auth", false, "let everybody do everything")
	flags.StringVar(&f.BaseHRef, "basehref", "/", "path below the host at which browsers see the UI")
	flags.StringVar(&f.RootPath, "rootpath", "", "path below the host at which the API is served")
	flags.BoolVar(&f.Gzip, "enable-gzip", true, "compress answers for clients that accept it")
	flags.StringVar(&f.contentTypes, "api-content-types", "application/json", "content types, divided by ;, that requests may have that change something; empty switches the check off")
	flags.StringVar(&f.dex, "dex-server", "argocd-dex-server:5556", "host:port or URL of the Dex beside the server; empty is nowhere")
	f.registerEvents(flags)
	flags.StringSliceVar(&f.proxies, "trusted-proxies", nil, "networks of reverse proxies whose X-Forwarded-For tells where requests come from; also server.trusted.proxies of argocd-cmd-params-cm; none believes nobody")
	flags.BoolVar(&f.dexPlain, "dex-server-plaintext", false, "reach Dex without TLS")
	flags.BoolVar(&f.dexStrict, "dex-server-strict-tls", false, "verify the certificate of Dex")
	f.registerNamespaces(flags)
	f.tls.register(flags)
	flags.IntVar(&f.hookWorkers, "webhook-parallelism-limit", 50, "events of webhooks that are looked at at a time, 1 to 1000; also server.webhook.parallelism.limit")
	flags.IntVar(&f.hookWriters, "webhook-refresh-workers", 20, "objects that webhooks refresh at a time, 1 to 1000; also server.webhook.refresh.workers")
	flags.BoolVar(&f.Strict, "strict", false, "refuse a rollback, and a sync to another revision than the target, of an Application with automated sync; otherwise it holds what was deployed")
	flags.BoolVar(&f.ReplaceAllowed, "sync-with-replace-allowed", true, "let requests ask for sync option Replace=true")
}

// registerEvents adds the flag that servers and controllers have.
func (f *serverFlags) registerEvents(flags *pflag.FlagSet) {
	reasons := listOf(os.Getenv(eventsVariable), ",")
	if len(reasons) == 0 {
		reasons = []string{"all"}
	}
	flags.StringSliceVar(&f.events, eventsFlag, reasons,
		"reasons of which Kubernetes events are made: all, none or a list; env "+eventsVariable+"; also enable.k8s.event after controller. and server. in argocd-cmd-params-cm")
}

// dexURL is where Dex is reached; an address without a scheme has TLS unless
// that is switched off.
func (f *serverFlags) dexURL() string {
	switch {
	case f.dex == "" || strings.Contains(f.dex, "://"):
		return f.dex
	case f.dexPlain:
		return "http://" + f.dex
	}
	return "https://" + f.dex
}

func scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	return s, errors.Join(v1alpha1.AddToScheme(s), corev1.AddToScheme(s))
}

// serverParts are what a server is built from besides its flags.
type serverParts struct {
	hub        *store.Hub
	settings   *settings.Store
	reach      *reach
	config     *rest.Config
	log        *slog.Logger
	registerer prometheus.Registerer
}

// build makes the API over a store that is filled.
func (f *serverFlags) build(ctx context.Context, p serverParts) (*server.Server, error) {
	log := p.log.With("component", "server")
	limits, parallel, err := loginLimits(os.Getenv)
	if err != nil {
		return nil, err
	}
	known, err := session.Assemble(ctx, session.AssemblyOptions{
		Limits: limits, Parallel: parallel,
		Hub: p.hub, BaseHRef: f.BaseHRef, Dex: f.dexURL(), DexStrict: f.dexStrict, Clock: clock.RealClock{}, Random: rand.Reader, Log: log, Registerer: p.registerer,
		Secure: func() bool { return !f.Insecure || strings.HasPrefix(p.hub.Config("argocd-cm")["url"], "https://") },
	})
	if err != nil {
		return nil, err
	}
	go known.Run(ctx)
	pages, audited, err := f.beyond(ctx, p, log)
	if err != nil {
		return nil, err
	}
	maps.Copy(pages, known.Pages())
	maps.Copy(pages, downloads(os.Executable))
	return server.New(ctx, server.Options{
		Who: known.Auth, Decide: known.Policies, More: known.Routes(), Pages: pages, Audit: audited,
		Config: f.Config, Hub: p.hub, Settings: p.settings.Snapshot, Manifests: p.reach.manifests.get, Engine: p.reach.engine.get,
		Desk: p.reach.desk.get, Preview: p.reach.preview.get, Remotes: p.reach.remotes.get, ClusterState: p.reach.clusterState,
		Probe: func(ctx context.Context, c destination.Cluster) (string, error) {
			return cluster.Probe(ctx, c, p.config)
		},
		Rotator: cluster.Rotator{Hub: p.config}, Tokens: projectTokens{known.Keeper}, Render: template.New(clock.RealClock{}).Render,
		Build: buildOf(version), Log: log, Clock: clock.RealClock{}, Registerer: p.registerer,
	})
}

// alongside is the server of `sluice all`: it runs in every process, not only
// in the one that the Lease elects.
type alongside struct {
	flags *allFlags
	mgr   manager.Manager
	log   *slog.Logger
}

func (f *allFlags) beside(mgr manager.Manager, log *slog.Logger) *alongside {
	return &alongside{flags: f, mgr: mgr, log: log}
}

// NeedLeaderElection says no.
func (*alongside) NeedLeaderElection() bool { return false }

// Start serves until ctx ends.
func (a *alongside) Start(ctx context.Context) error {
	f := a.flags
	hub, err := store.NewHub(f.namespace, f.server.namespaces)
	if err != nil {
		return err
	}
	if hub.Client, err = client.New(a.mgr.GetConfig(), client.Options{Scheme: a.mgr.GetScheme()}); err != nil {
		return fmt.Errorf("connect to the hub: %w", err)
	}
	if err := hub.Watch(ctx, a.mgr.GetCache()); err != nil {
		return err
	}
	declared := settings.NewStore(a.mgr.GetCache(), f.namespace, a.log.With("component", "server-settings"))
	if err := declared.Load(ctx); err != nil {
		return err
	}
	if err := f.server.complete(declared.Snapshot().Params); err != nil {
		return err
	}
	api, err := f.server.build(ctx, serverParts{hub: hub, settings: declared, reach: &f.reach, config: a.mgr.GetConfig(), log: a.log, registerer: metrics.Registry})
	if err != nil {
		return err
	}
	return runAll(ctx, declared.Run, api.Run)
}

// serverCommand is the API as a process of its own.
func serverCommand() *cobra.Command {
	f, all := &serverFlags{}, &allFlags{}
	metricsPort := 8083
	c := &cobra.Command{Use: "server", Aliases: []string{"argocd-server"}, Short: "Serve the API", Args: cobra.NoArgs}
	flags := c.Flags()
	all.hubFlags.register(flags)
	f.register(flags)
	flags.IntVar(&metricsPort, "metrics-port", metricsPort, "port of /metrics; 0 switches it off")
	flags.StringVar(&all.pprofAddress, "pprof-addr", "0", "address of /debug/pprof, for loopback only; 0 switches it off")
	flags.StringVar(&all.logFormat, "logformat", "json", "json or text")
	flags.StringVar(&all.logLevel, "loglevel", "info", "debug, info, warn or error")
	flags.StringVar(&all.data, "data-dir", filepath.Join(os.TempDir(), "sluice-server"), "folder for lists of names in repositories")
	flags.StringVar(&all.repoServer, "repo-server", "", "host:port of the repo-server that renders")
	flags.DurationVar(&all.repoServerTimeout, "repo-server-timeout", time.Minute, "time that one answer of the repo-server may take")
	controllerTimeout := time.Minute
	flags.DurationVar(&controllerTimeout, "controller-timeout", controllerTimeout, "time that one answer of a controller may take")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		log, err := all.logger()
		if err != nil {
			return err
		}
		if controllerTimeout <= 0 {
			return fmt.Errorf("--controller-timeout=%s: want more than 0", controllerTimeout)
		}
		f.changed = flags.Changed
		if f.tls.ciphers == "list" {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), strings.Join(cipherNames(), "\n"))
			return err
		}
		return (&serverProcess{flags: f, all: all, log: log, timeout: controllerTimeout, metricsPort: metricsPort}).run(cmd.Context())
	}
	return c
}

// serverProcess is the life of `sluice server`.
type serverProcess struct {
	flags       *serverFlags
	all         *allFlags
	log         *slog.Logger
	metricsPort int
	// timeout bounds one answer of a controller.
	timeout time.Duration
}

func (s *serverProcess) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	setLoggers(s.log)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := kubemetrics.Install(registry); err != nil {
		return err
	}
	go paceGarbage(ctx)
	cfg, err := s.all.config()
	if err != nil {
		return err
	}
	cfg.QPS, cfg.Burst = -1, 0
	cfg.WarningHandler = rest.NoWarnings{}
	known, err := scheme()
	if err != nil {
		return err
	}
	direct, err := client.New(cfg, client.Options{Scheme: known})
	if err != nil {
		return fmt.Errorf("connect to the hub: %w", err)
	}
	params, err := paramsAt(ctx, direct, s.all.namespace)
	if err != nil {
		return err
	}
	if err := errors.Join(s.flags.namespacesFrom(params), s.logs(params)); err != nil {
		return err
	}
	hub, err := store.NewHub(s.all.namespace, s.flags.namespaces)
	if err != nil {
		return err
	}
	hub.Client = direct
	options := hub.CacheOptions()
	options.Scheme = known
	watched, err := cache.New(cfg, options)
	if err != nil {
		return fmt.Errorf("connect to the hub: %w", err)
	}
	return runAll(ctx, watched.Start, func(ctx context.Context) error {
		return s.serve(ctx, serving{cfg: cfg, hub: hub, watched: watched, registry: registry})
	})
}

// serving is what a server process has set up.
type serving struct {
	cfg      *rest.Config
	hub      *store.Hub
	watched  cache.Cache
	registry *prometheus.Registry
}

func (s *serverProcess) serve(ctx context.Context, p serving) error {
	if err := p.hub.Watch(ctx, p.watched); err != nil {
		return err
	}
	declared := settings.NewStore(p.watched, s.all.namespace, s.log.With("component", "settings"))
	if err := declared.Load(ctx); err != nil {
		return err
	}
	measured := s.metrics(declared.Snapshot().Params)
	if err := s.flags.complete(declared.Snapshot().Params); err != nil {
		return err
	}
	s.followLevel(declared)
	r := &reach{}
	r.openDesk(deskParts{reader: p.watched, client: p.hub.Client, params: declared.Snapshot().Params, log: s.log, registry: p.registry})
	a, err := loadAuthority(ctx, p.cfg, s.all.namespace)
	if err != nil {
		return err
	}
	if s.all.repoServer != "" {
		m, err := s.renderer(ctx, a)
		if err != nil {
			return err
		}
		r.manifests.set(m)
	}
	if err := s.relays(ctx, r, a, p); err != nil {
		return err
	}
	remotes, closeRemotes, err := s.remotes(ctx, declared, p.registry)
	if err != nil {
		return err
	}
	defer closeRemotes()
	r.remotes.set(remotes)
	api, err := s.flags.build(ctx, serverParts{hub: p.hub, settings: declared, reach: r, config: p.cfg, log: s.log, registerer: p.registry})
	if err != nil {
		return err
	}
	return runAll(ctx, declared.Run, api.Run, func(ctx context.Context) error { return serveMetrics(ctx, measured, p.registry) },
		func(ctx context.Context) error { return servePprof(ctx, s.all.pprofAddress) })
}

// remotes asks repositories from this process, for trials and lists of names.
func (s *serverProcess) remotes(ctx context.Context, declared *settings.Store, registry prometheus.Registerer) (repository.Remotes, func(), error) {
	s.all.maxPackMiB, s.all.gitMemoryMiB, s.all.pollSet = 1, 512, true
	mirrors, err := gitrepo.New(ctx, s.all.mirrorOptions(declared, clock.RealClock{}, registry, s.log))
	if err != nil {
		return nil, nil, err
	}
	declared.OnChange(func(*settings.Snapshot) { mirrors.Reload() })
	r, err := newRemotes(mirrors, remoteParts{data: s.all.data, params: paramsOf(declared), log: s.log, registry: registry})
	if err != nil {
		mirrors.Close()
		return nil, nil, err
	}
	return r, mirrors.Close, nil
}

func (s *serverProcess) renderer(ctx context.Context, a *authority.Authority) (manifest.Renderer, error) {
	tls, err := a.Client(transport.RoleServer, time.Now, transport.RoleRepoServer)
	if err != nil {
		return nil, err
	}
	return transport.NewClient(ctx, transport.Options{
		Address: s.all.repoServer, TLS: tls, Timeout: s.all.repoServerTimeout, Clock: clock.RealClock{}, Log: s.log.With("component", "repo-client"),
	}), nil
}

// serveMetrics answers /metrics on its own port.
func serveMetrics(ctx context.Context, address string, registry *prometheus.Registry) error {
	if address == "" {
		<-ctx.Done()
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	s := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute}
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("--metrics-port: %w", err)
	}
	return nil
}
