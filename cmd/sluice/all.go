package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	rules "github.com/sluice-cd/sluice/health"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/adapter/eventlog"
	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/adapter/jq"
	"github.com/sluice-cd/sluice/internal/adapter/kubemetrics"
	"github.com/sluice-cd/sluice/internal/adapter/lua"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/controller/application"
	"github.com/sluice-cd/sluice/internal/controller/assessment"
	"github.com/sluice-cd/sluice/internal/controller/hub"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/controller/manifest/transport"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// allFlags configure the one-process form.
type allFlags struct {
	hubFlags
	render                                                  renderFlags
	sets                                                    setFlags
	data, metricsAddress, probeAddress, logFormat, logLevel string
	pprofAddress                                            string
	syncTimeout                                             int
	pollInterval, safety                                    time.Duration
	progressive, elect, installCRDs, strictTokens           bool
	pollSet, allowFile                                      bool
	analysisProviders                                       []string
	diskBudgetMiB, maxPackMiB, gitMemoryMiB                 int64
	// repoServer is where another process renders; empty is this one.
	repoServer        string
	repoServerTimeout time.Duration
	// serve adds the API; what it reaches is given by the controllers.
	serve  bool
	server serverFlags
	reach  reach
	// internal is where servers of other processes ask.
	internal internalFlags
	// events are those of the controllers.
	events *eventlog.Broadcaster
	// level is that of the log; it may change while the process runs.
	level slog.LevelVar
	// keys are those of argocd-cmd-params-cm that flags or variables set.
	keys map[string]string
	// lease elects the process that works, identity is this one's name there.
	lease, identity string
}

func allCommand() *cobra.Command {
	f := &allFlags{lease: leaseName, internal: internalFlags{address: "0"}}
	return f.command("all", "Run every controller in one process", f.controllers)
}

// command runs a component with these flags.
func (f *allFlags) command(name, short string, run component) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short, Args: cobra.NoArgs}
	flags := c.Flags()
	f.register(flags)
	f.render.register(flags)
	f.sets.register(flags)
	flags.StringVar(&f.data, "data-dir", filepath.Join(os.TempDir(), "sluice"), "folder for Git mirrors")
	flags.StringVar(&f.metricsAddress, "metrics-addr", ":8082", "address of /metrics; 0 switches it off")
	flags.StringVar(&f.probeAddress, "probe-addr", ":8081", "address of /healthz and /readyz; 0 switches it off")
	flags.StringVar(&f.pprofAddress, "pprof-addr", "0", "address of /debug/pprof, for loopback only; 0 switches it off")
	flags.StringVar(&f.logFormat, "logformat", "json", "json or text")
	flags.StringVar(&f.logLevel, "loglevel", "info", "debug, info, warn or error")
	flags.DurationVar(&f.pollInterval, "repository-poll-interval", 15*time.Second, "pause between two questions to one repository; wins over repository.poll.interval and timeout.reconciliation of argocd-cm when given")
	flags.Int64Var(&f.diskBudgetMiB, "mirror-disk-budget", 0, "MiB that all Git mirrors may take; 0 is no limit")
	flags.Int64Var(&f.maxPackMiB, "mirror-max-pack", 8192, "MiB that one fetch from a repository may bring")
	flags.Int64Var(&f.gitMemoryMiB, "git-memory", 2048, "MiB of memory that one process of git may use")
	flags.BoolVar(&f.allowFile, "allow-file-repositories", false, "permit file:// URLs: for tests, never with users who may name repositories")
	flags.DurationVar(&f.safety, safetyFlag, 10*time.Second, "look at a running rollout without cause after this time; 0 is never")
	flags.BoolVar(&f.progressive, gateFlag, true, "honour strategy RollingSync")
	flags.StringSliceVar(&f.analysisProviders, "allowed-analysis-providers", nil, "addresses that the analysis of a rollout may ask; none is all, or with --applicationset-namespaces nobody")
	flags.BoolVar(&f.strictTokens, "token-ref-strict-mode", false, "let Secrets be referred to only when they are labelled scm-creds")
	flags.IntVar(&f.syncTimeout, "sync-timeout", envInt("ARGOCD_APPLICATION_CONTROLLER_SYNC_TIMEOUT"), "seconds after which a sync is terminated; 0 leaves it to controller.sync.timeout.seconds of argocd-cmd-params-cm")
	flags.BoolVar(&f.elect, "enable-leader-election", true, "let only one process of several work")
	flags.BoolVar(&f.installCRDs, "install-crds", false, "install what the hub lacks before starting")
	flags.StringVar(&f.repoServer, "repo-server", "", "host:port of a repo-server that renders; default: this process")
	flags.DurationVar(&f.repoServerTimeout, "repo-server-timeout", time.Minute, "time that one answer of the repo-server may take")
	f.internal.register(flags)
	registerKeys(flags)
	if name == "all" {
		flags.BoolVar(&f.serve, "server", false, "serve the API too")
		f.server.register(flags)
	} else {
		f.server.registerEvents(flags)
		f.server.registerNamespaces(flags)
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		f.pollSet, f.server.changed, f.keys = flags.Changed("repository-poll-interval"), flags.Changed, givenKeys(flags)
		if err := f.sets.complete(flags, os.LookupEnv); err != nil {
			return err
		}
		f.sets.rules.StrictTokens = f.strictTokens
		return f.start(cmd.Context(), run)
	}
	return c
}

// envInt reads a number of zero or more from the environment; anything else
// counts as 0.
func envInt(name string) int {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

func (f *allFlags) validate() error {
	if f.syncTimeout < 0 {
		return fmt.Errorf("--sync-timeout=%d: want 0 or more seconds", f.syncTimeout)
	}
	if f.safety != 0 && (f.safety < time.Second || f.safety > 24*time.Hour) {
		return fmt.Errorf("--applicationset-controller-requeue-after=%s: want 0 or 1s to 24h", f.safety)
	}
	if f.pollInterval < 0 {
		return fmt.Errorf("--repository-poll-interval=%s: want 0 or more", f.pollInterval)
	}
	if f.diskBudgetMiB < 0 || f.maxPackMiB <= 0 || f.gitMemoryMiB < 64 {
		return fmt.Errorf("--mirror-disk-budget=%d, --mirror-max-pack=%d, --git-memory=%d: want 0 or more, more than 0, and 64 or more", f.diskBudgetMiB, f.maxPackMiB, f.gitMemoryMiB)
	}
	return f.internal.check()
}

func (f *allFlags) logger() (*slog.Logger, error) {
	level, ok := levelOf(f.logLevel)
	if !ok {
		return nil, fmt.Errorf("--loglevel=%s: want debug, info, warn or error", f.logLevel)
	}
	f.level.Set(level)
	options := &slog.HandlerOptions{Level: &f.level}
	switch f.logFormat {
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, options)), nil
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, options)), nil
	}
	return nil, fmt.Errorf("--logformat=%s: want json or text", f.logFormat)
}

// setLoggers makes libraries write where we write.
func setLoggers(logger *slog.Logger) {
	log.SetLogger(logr.FromSlogHandler(logger.Handler()))
	klog.SetLogger(logr.FromSlogHandler(logger.Handler()))
}

// component is what runs beside the manager.
type component func(ctx context.Context, mgr manager.Manager, cfg *rest.Config, logger *slog.Logger) error

// start runs a component and ends with ctx.
func (f *allFlags) start(ctx context.Context, run component) error {
	if err := f.validate(); err != nil {
		return err
	}
	logger, err := f.logger()
	if err != nil {
		return err
	}
	setLoggers(logger)
	if err := kubemetrics.Install(metrics.Registry); err != nil {
		return err
	}
	go paceGarbage(ctx)
	cfg, err := f.config()
	if err != nil {
		return err
	}
	cfg.QPS, cfg.Burst = -1, 0
	cfg.WarningHandler = rest.NoWarnings{}
	if f.installCRDs {
		if err := hub.Install(ctx, cfg, f.namespace, func(line string) { logger.Info(line) }); err != nil {
			return err
		}
	}
	identity, unlock, err := claim(f.data)
	if err != nil {
		return err
	}
	defer unlock()
	f.identity = identity
	mgr, err := f.manager(ctx, cfg, logger)
	if err != nil {
		return err
	}
	logger.Info("starting", "version", version, "namespace", f.namespace, "progressiveSyncs", f.progressive,
		"rolloutSafetyInterval", f.safety.String(), "repositoryPollInterval", f.pollInterval.String())
	if err := mgr.Add(manager.RunnableFunc(func(ctx context.Context) error { return run(ctx, mgr, cfg, logger) })); err != nil {
		return fmt.Errorf("controllers: %w", err)
	}
	if f.serve {
		if err := mgr.Add(f.beside(mgr, logger)); err != nil {
			return fmt.Errorf("server: %w", err)
		}
	}
	return mgr.Start(ctx)
}

func (f *allFlags) manager(ctx context.Context, cfg *rest.Config, logger *slog.Logger) (manager.Manager, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	hub, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connect to the hub: %w", err)
	}
	if err := f.fromParams(ctx, hub); err != nil {
		return nil, err
	}
	lock, err := leaseLock(cfg, types.NamespacedName{Namespace: f.namespace, Name: f.lease}, f.identity)
	if err != nil {
		return nil, err
	}
	release, renew, retry := 15*time.Second, 10*time.Second, 2*time.Second
	f.events = eventlog.NewBroadcaster(ctx, logger, metrics.Registry)
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: scheme, Cache: f.sets.hubCache(f.namespace, f.server.apart), PprofBindAddress: f.pprofAddress,
		Metrics: server.Options{BindAddress: f.metricsAddress}, HealthProbeBindAddress: f.probeAddress,
		LeaderElection: f.elect, LeaderElectionResourceLockInterface: lock,
		LeaderElectionReleaseOnCancel: true, LeaseDuration: &release, RenewDeadline: &renew, RetryPeriod: &retry,
		EventBroadcaster: f.events, //nolint:staticcheck // core v1 events are what users read; it ends with ctx
	})
	if err != nil {
		return nil, fmt.Errorf("connect to the hub: %w", err)
	}
	if err := mgr.AddHealthzCheck("alive", healthz.Ping); err != nil {
		return nil, fmt.Errorf("probes: %w", err)
	}
	if err := mgr.AddReadyzCheck("ready", healthz.Ping); err != nil {
		return nil, fmt.Errorf("probes: %w", err)
	}
	return mgr, nil
}

// parts are what several controllers are made of.
type parts struct {
	mgr       manager.Manager
	cfg       *rest.Config
	log       *slog.Logger
	registry  prometheus.Registerer
	clock     clock.WithTicker
	store     *settings.Store
	projects  projectGetter
	mirrors   *gitrepo.Mirrors
	manifests manifest.Renderer
	// scripts run what users wrote, in children of this program; queries
	// evaluates their jq expressions there.
	scripts *lua.Pool
	queries jq.Caller
}

// parts makes them; the function that comes back ends them.
func (f *allFlags) parts(ctx context.Context, mgr manager.Manager, cfg *rest.Config, logger *slog.Logger) (*parts, func(), error) {
	p := &parts{mgr: mgr, cfg: cfg, log: logger, registry: metrics.Registry, clock: clock.RealClock{}}
	p.store = settings.NewStore(mgr.GetCache(), f.namespace, logger.With("component", "settings"))
	if err := p.store.Load(ctx); err != nil {
		return nil, nil, err
	}
	f.events.Choose(f.server.reasons(paramsOf(p.store)))
	f.events.Use(eventLabels(ctx, mgr.GetClient(), f.namespace, func() map[string]string { return p.store.Snapshot().Config }))
	mirrorOptions := f.mirrorOptions(p.store, p.clock, p.registry, logger)
	p.projects = projectsOf(mgr.GetClient(), f.namespace, p.store.Snapshot)
	mirrorOptions.Submodule = submodules(ctx, p.store.Snapshot, p.projects)
	mirrors, err := gitrepo.New(ctx, mirrorOptions)
	if err != nil {
		return nil, nil, err
	}
	p.store.OnChange(func(*settings.Snapshot) { mirrors.Reload() })
	manifests, closeManifests, err := f.renderer(ctx, cfg, renderParts{
		data: f.data, mirrors: mirrors, store: p.store, permitted: permitted(ctx, p.projects), log: logger, registry: p.registry,
	})
	if err != nil {
		mirrors.Close()
		return nil, nil, err
	}
	p.mirrors, p.manifests = mirrors, manifests
	p.scripts, err = lua.NewPool(lua.PoolOptions{Clock: p.clock, Log: logger.With("component", "health")})
	if err != nil {
		closeManifests()
		mirrors.Close()
		return nil, nil, err
	}
	p.queries = queries(p.scripts)
	return p, func() { p.scripts.Close(); closeManifests(); mirrors.Close() }, nil
}

// controllers wires everything together; it runs on the leader only.
func (f *allFlags) controllers(ctx context.Context, mgr manager.Manager, cfg *rest.Config, logger *slog.Logger) error {
	p, closeParts, err := f.parts(ctx, mgr, cfg, logger)
	if err != nil {
		return err
	}
	defer closeParts()
	apps, err := f.applications(ctx, p)
	if err != nil {
		return err
	}
	sets, err := f.setControllers(ctx, p)
	if err != nil {
		return err
	}
	if f.serve || f.internal.on() {
		closeActions, err := f.reach.openEngine(p, apps)
		if err != nil {
			return err
		}
		defer closeActions()
		if err := errors.Join(f.reach.openSets(p, sets), f.reach.openRemotes(p, f.data)); err != nil {
			return err
		}
	}
	return runAll(ctx, p.store.Run, apps.controller.Start, sets.advance.Start, sets.generate.Start, f.answering(p, transport.RoleController, transport.RoleAppSets))
}

// applicationsAlone runs the controller of Applications beside others that run
// those of ApplicationSets.
func (f *allFlags) applicationsAlone(ctx context.Context, mgr manager.Manager, cfg *rest.Config, logger *slog.Logger) error {
	p, closeParts, err := f.parts(ctx, mgr, cfg, logger)
	if err != nil {
		return err
	}
	defer closeParts()
	apps, err := f.applications(ctx, p)
	if err != nil {
		return err
	}
	closeActions, err := f.reach.openEngine(p, apps)
	if err != nil {
		return err
	}
	defer closeActions()
	return runAll(ctx, p.store.Run, apps.controller.Start, f.answering(p, transport.RoleController))
}

// appLoop is the controller of Applications with its connections.
type appLoop struct {
	controller *application.Controller
	fleet      *cluster.Fleet
}

// applications makes it.
func (f *allFlags) applications(ctx context.Context, p *parts) (*appLoop, error) {
	fleet := cluster.NewFleet(ctx, cluster.Options{Log: p.log.With("component", "cluster"), Registerer: p.registry, Clock: p.clock, Hub: p.cfg, Budget: budget(f.keys, paramsOf(p.store))})
	reload := func(s *settings.Snapshot) {
		fleet.Track(object.TrackingOf(s.Config))
		fleet.Replace(s.Clusters)
	}
	reload(p.store.Snapshot())
	p.store.OnChange(reload)
	judge, err := newJudge(p.log, p.scripts)
	if err != nil {
		return nil, err
	}
	judge.Reload(p.store.Snapshot().Config)
	p.store.OnChange(func(s *settings.Snapshot) { judge.Reload(s.Config) })
	apps := application.New(application.Options{
		Client: p.mgr.GetClient(), Cache: p.mgr.GetCache(), Namespace: f.namespace, Settings: p.store, Clusters: fleet, Manifests: p.manifests,
		Health: judge, Queries: p.queries,
		Watches:  f.watches,
		Recorder: p.mgr.GetEventRecorderFor("argocd-application-controller"), Log: p.log.With("component", "application"), //nolint:staticcheck // core v1 events are what users read
		Clock: p.clock, Registerer: p.registry, NewID: randomID, SyncTimeout: time.Duration(f.syncTimeout) * time.Second, Given: f.keys,
	})
	return &appLoop{controller: apps, fleet: fleet}, nil
}

// newJudge makes the assessor of health; scripts of users run in the children
// of a pool.
func newJudge(logger *slog.Logger, scripts *lua.Pool) (*assessment.Judge, error) {
	shipped, err := lua.NewShipped(rules.Files)
	if err != nil {
		return nil, err
	}
	return assessment.New(assessment.Options{
		Shipped: shipped, Runner: scripts, Clock: clock.RealClock{}, Log: logger.With("component", "health"), Registerer: metrics.Registry,
	}), nil
}

// queries has jq expressions of users evaluated by the children that run
// their scripts too.
func queries(pool *lua.Pool) jq.Caller {
	return func(ctx context.Context, source string, body []byte, limit time.Duration) (json.RawMessage, error) {
		name := "a jq expression"
		if source != "" {
			name = fmt.Sprintf("jq expression %q", source)
		}
		return pool.Call(ctx, lua.Job{Name: name, Source: source, Kind: jq.Kind, Body: body, Limit: limit})
	}
}

// luaWorkerCommand is the life of a child that runs scripts of users.
func luaWorkerCommand() *cobra.Command {
	return &cobra.Command{
		Use: lua.WorkerCommand, Short: "Run Lua scripts and jq expressions from a pipe", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return lua.Serve(cmd.Context(), os.Stdin, os.Stdout, map[string]lua.Handler{jq.Kind: jq.NewEvaluator().Evaluate})
		},
	}
}

// runAll runs until the first of them fails or ctx ends.
func runAll(ctx context.Context, starts ...func(context.Context) error) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(starts))
	for _, start := range starts {
		go func() { ended <- start(inner) }()
	}
	var first error
	for range starts {
		if err := <-ended; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	return first
}

// randomID names an operation.
func randomID() string {
	raw := make([]byte, 8)
	_, _ = rand.Read(raw) // never fails
	return hex.EncodeToString(raw)
}
