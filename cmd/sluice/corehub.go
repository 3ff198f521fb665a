package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/adapter/eventlog"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/adapter/template"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/controller/application"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/server"
	"github.com/sluice-cd/sluice/internal/server/audit"
	"github.com/sluice-cd/sluice/internal/server/core"
	"github.com/sluice-cd/sluice/internal/server/session"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// coreMode is an API in this process over Kubernetes alone: it looks at
// clusters and renders by itself, nobody logs in, and what the kubeconfig may do
// is what can be done (spec/cli.md §1.5).
type coreMode struct {
	api *server.Server
	// engine looks at target clusters.
	engine *core.Engine
	// namespace of the control plane
	namespace string
	stop      func()
}

// kubeconfig reads the connection that the command line names.
func kubeconfig(f *connect.Flags) (*rest.Config, string, error) {
	cfg, namespace, err := f.Kube.Config(f.KubeContext)
	if err != nil {
		return nil, "", err
	}
	cfg.WarningHandler = rest.NoWarnings{}
	return cfg, namespace, nil
}

// helloTimeout bounds the first questions to the hub.
const helloTimeout = 15 * time.Second

// controlPlane looks whether the namespace holds one that the kubeconfig may
// read, and gives its argocd-cmd-params-cm. A cache would wait for ever for what
// it may not list.
func controlPlane(ctx context.Context, hub client.Client, namespace string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	projects := &v1alpha1.AppProjectList{}
	group, gctx := errgroup.WithContext(ctx)
	for what, list := range map[string]client.ObjectList{
		"Applications": &v1alpha1.ApplicationList{}, "ApplicationSets": &v1alpha1.ApplicationSetList{}, "AppProjects": projects,
		"Secrets": &corev1.SecretList{}, "ConfigMaps": &corev1.ConfigMapList{},
	} {
		group.Go(func() error {
			err := hub.List(gctx, list, client.InNamespace(namespace), client.Limit(1))
			switch {
			case meta.IsNoMatchError(err), apierrors.IsNotFound(err):
				return fmt.Errorf("--core: this cluster has no %s: name the one of the control plane with --kube-context, or install it there", what)
			case apierrors.IsForbidden(err):
				return fmt.Errorf("--core: the kubeconfig may not list %s in namespace %s, which core mode reads: ask for the right, or log in to a server: %w", what, namespace, err)
			case err != nil:
				return fmt.Errorf("--core: Kubernetes does not answer: %w", err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var config, params corev1.ConfigMap
	err := hub.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "argocd-cm"}, &config)
	if apierrors.IsNotFound(err) && len(projects.Items) == 0 {
		return nil, fmt.Errorf("--core: namespace %s holds no control plane: name its namespace with -n, or for good: kubectl config set-context --current --namespace=argocd", namespace)
	}
	if err = client.IgnoreNotFound(err); err == nil {
		err = client.IgnoreNotFound(hub.Get(ctx, client.ObjectKey{Namespace: namespace, Name: settings.ParamsName}, &params))
	}
	if err != nil {
		return nil, fmt.Errorf("--core: %w", err)
	}
	return params.Data, nil
}

// coreFolder is where mirrors and rendered manifests are kept between two
// commands: below the folder of the user's caches, or for this command alone
// where that cannot be used, or another command uses it now.
func coreFolder(host, namespace string, caches func() (string, error)) (dir string, release func(), err error) {
	if base, err := caches(); err == nil {
		sum := sha256.Sum256([]byte(host + "\x00" + namespace))
		dir := filepath.Join(base, "sluice", "core", hex.EncodeToString(sum[:8]))
		if _, unlock, err := claim(dir); err == nil {
			return dir, unlock, nil
		}
	}
	dir, err = os.MkdirTemp("", "sluice-core-")
	if err != nil {
		return "", nil, fmt.Errorf("--core: %w", err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}

// mirrorBudget bounds the mirrors that core mode keeps, in MiB.
const mirrorBudget = 4096

// coreFlags are the flags of the controllers with their defaults, and with what
// argocd-cmd-params-cm says.
func coreFlags(ctx context.Context, hub client.Reader, namespace string) (*allFlags, error) {
	f := &allFlags{lease: leaseName, internal: internalFlags{address: "0"}}
	f.command("core", "", nil) // its flags carry the defaults
	f.namespace, f.diskBudgetMiB, f.pollSet, f.pollInterval = namespace, mirrorBudget, true, time.Minute
	return f, f.fromParams(ctx, hub)
}

// coreLog is silent unless the user asks for more.
func coreLog(level string) *slog.Logger {
	if level == "debug" || level == "trace" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.NewTextHandler(io.Discard, nil))
}

// newCore opens core mode; stop of what it gives has to be called.
func newCore(parent context.Context, f *connect.Flags) (c *coreMode, err error) {
	cfg, namespace, err := kubeconfig(f)
	if err != nil {
		return nil, err
	}
	log := coreLog(f.LogLevel)
	setLoggers(log)
	go paceGarbage(parent)
	known, err := scheme()
	if err != nil {
		return nil, err
	}
	direct, err := client.New(cfg, client.Options{Scheme: known})
	if err != nil {
		return nil, fmt.Errorf("--core: %w", err)
	}
	params, err := controlPlane(parent, direct, namespace)
	if err != nil {
		return nil, err
	}
	hub, err := store.NewHub(namespace, listOf(params[namespacesKey], ","))
	if err != nil {
		return nil, err
	}
	hub.Client = direct
	all, err := coreFlags(parent, direct, namespace)
	if err != nil {
		return nil, err
	}
	var release func()
	if all.data, release, err = coreFolder(cfg.Host, namespace, os.UserCacheDir); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(parent)
	o := &coreOpening{all: all, hub: hub, cfg: cfg, log: log, ends: []func(){release, cancel}}
	api, err := o.open(ctx)
	if err != nil {
		o.stop()
		return nil, err
	}
	return &coreMode{api: api, engine: o.looks, namespace: namespace, stop: o.stop}, nil
}

// coreOpening is core mode as it comes about.
type coreOpening struct {
	all *allFlags
	hub *store.Hub
	cfg *rest.Config
	log *slog.Logger
	// looks at target clusters, once it is open.
	looks *core.Engine
	// ends are carried out the last one first.
	ends []func()
}

func (o *coreOpening) stop() {
	for i := len(o.ends) - 1; i >= 0; i-- {
		o.ends[i]()
	}
	o.ends = nil
}

func (o *coreOpening) open(ctx context.Context) (*server.Server, error) {
	mgr, err := o.manager(ctx)
	if err != nil {
		return nil, err
	}
	go func() { _ = mgr.Start(ctx) }() // it ends with ctx; what it lacks, reads say
	if err := o.hub.Watch(ctx, mgr.GetCache()); err != nil {
		return nil, err
	}
	p, closeParts, err := o.all.parts(ctx, mgr, o.cfg, o.log)
	if err != nil {
		return nil, err
	}
	o.ends = append(o.ends, closeParts)
	r := &o.all.reach
	clusters, err := o.engine(ctx, r, p)
	if err != nil {
		return nil, err
	}
	sets, err := o.all.setControllers(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(r.openSets(p, sets), r.openRemotes(p, o.all.data)); err != nil {
		return nil, err
	}
	options, err := o.options(ctx, r, p)
	if err != nil {
		return nil, err
	}
	options.MeetClusters = clusters.Meet
	go func() { _ = p.store.Run(ctx) }() // it ends with ctx, and only then
	return server.New(ctx, *options)
}

// manager caches the hub; it elects nobody and serves nothing.
func (o *coreOpening) manager(ctx context.Context) (manager.Manager, error) {
	known, err := scheme()
	if err != nil {
		return nil, err
	}
	o.all.events = eventlog.NewBroadcaster(ctx, o.log, metrics.Registry) // it ends with ctx
	mgr, err := ctrl.NewManager(o.cfg, ctrl.Options{
		Scheme: known, Cache: o.hub.CacheOptions(), Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		EventBroadcaster: o.all.events, //nolint:staticcheck // core v1 events are what users read
	})
	if err != nil {
		return nil, fmt.Errorf("--core: %w", err)
	}
	return mgr, nil
}

// programsKey names the programs that Secrets of clusters may have core mode
// start for their credentials.
const programsKey = "SLUICE_CORE_PROGRAMS"

// engine answers for target clusters from this process.
func (o *coreOpening) engine(ctx context.Context, r *reach, p *parts) (*core.Clusters, error) {
	judge, err := newJudge(p.log, p.scripts)
	if err != nil {
		return nil, err
	}
	judge.Reload(p.store.Snapshot().Config)
	p.store.OnChange(func(s *settings.Snapshot) { judge.Reload(s.Config) })
	actions, closeActions, err := performer(p)
	if err != nil {
		return nil, err
	}
	o.ends = append(o.ends, closeActions)
	how := cluster.Options{
		Log: p.log.With("component", "cluster"), Registerer: p.registry, Clock: p.clock, Hub: p.cfg,
		Programs: append([]string{}, listOf(os.Getenv(programsKey), ",")...), ProgramsFrom: programsKey,
	}
	clusters := core.NewClusters(cluster.NewFleet(ctx, how), p.store.Snapshot)
	p.store.OnChange(clusters.Reload)
	r.states.set(clusters.State)
	o.looks = core.New(ctx, core.Options{
		Settings: p.store.Snapshot, Clusters: clusters, Connections: how, Perform: actions,
		Reader: func(fleet *cluster.Fleet) core.Reader {
			return application.NewAnswers(application.Options{
				Cache: p.mgr.GetCache(), Namespace: o.all.namespace, Settings: p.store, Clusters: fleet, Manifests: p.manifests,
				Health: judge, Queries: p.queries, Log: p.log.With("component", "application"), Clock: p.clock, Registerer: prometheus.NewRegistry(),
			})
		},
	})
	r.engine.set(o.looks)
	return clusters, nil
}

// options are those of the API of core mode.
func (o *coreOpening) options(ctx context.Context, r *reach, p *parts) (*server.Options, error) {
	registry := prometheus.NewRegistry()
	audited, err := audit.New(audit.Options{
		Client: o.hub.Client, Namespace: o.hub.Namespace, Project: o.hub.Project, Config: func() map[string]string { return o.hub.Config("argocd-cm") },
		Log: o.log, Clock: p.clock, Registerer: registry,
	})
	if err != nil {
		return nil, err
	}
	go audited.Run(ctx)
	o.ends = append(o.ends, func() { // what was done is told before the process ends
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), helloTimeout)
		defer cancel()
		audited.Flush(bounded)
	})
	options := &server.Options{
		Config: server.Config{Insecure: true, BaseHRef: "/", ContentTypes: []string{"application/json"}, ReplaceAllowed: true},
		Who:    kubeUser{access.Principal{Unrestricted: true, Name: userOf(ctx, o.cfg)}}, Audit: audited,
		Hub: o.hub, Settings: p.store.Snapshot, Manifests: r.manifests.get, Engine: r.engine.get, Desk: r.desk.get, Preview: r.preview.get,
		Remotes: r.remotes.get, ClusterState: r.clusterState,
		Probe:   func(ctx context.Context, c destination.Cluster) (string, error) { return cluster.Probe(ctx, c, o.cfg) },
		Rotator: cluster.Rotator{Hub: o.cfg}, Render: template.New(p.clock).Render,
		Build: buildOf(version), Log: o.log, Clock: clock.RealClock{}, Registerer: registry,
	}
	// Without accounts, because a policy cannot be read or argocd-secret not be
	// written, the rest goes on: it is when things are broken that core mode is
	// needed.
	known, err := session.Assemble(ctx, session.AssemblyOptions{
		Hub: o.hub, BaseHRef: "/", Clock: p.clock, Random: rand.Reader, Log: o.log, Registerer: registry, Secure: func() bool { return false },
	})
	if err != nil {
		o.log.Warn("no accounts", "error", err.Error())
		return options, nil
	}
	go known.Run(ctx)
	options.More, options.Tokens = known.Routes(), projectTokens{known.Keeper}
	return options, nil
}

// kubeUser is who the kubeconfig says: what he may do, Kubernetes decides.
type kubeUser struct{ who access.Principal }

// Authenticate admits.
func (u kubeUser) Authenticate(*http.Request) (access.Principal, error) { return u.who, nil }

// userOf is the name that Kubernetes knows the user by, "" when it does not say.
func userOf(ctx context.Context, cfg *rest.Config) string {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return ""
	}
	review, err := kube.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return ""
	}
	return review.Status.UserInfo.Username
}
