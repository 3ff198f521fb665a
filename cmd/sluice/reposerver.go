package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/sluice-cd/sluice/internal/adapter/authority"
	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/adapter/plugin"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/controller/manifest/transport"
	"github.com/sluice-cd/sluice/internal/domain/signature"
)

// authoritySecret holds the authority of the installation.
const authoritySecret = "sluice-internal-authority"

// loadAuthority reads the authority of the installation, or makes it: of
// several first starts at once one wins.
func loadAuthority(ctx context.Context, cfg *rest.Config, namespace string) (*authority.Authority, error) {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("internal authority: %w", err)
	}
	secrets := client.CoreV1().Secrets(namespace)
	found, err := secrets.Get(ctx, authoritySecret, metav1.GetOptions{})
	if err == nil {
		return authority.Load(rand.Reader, found.Data)
	}
	if !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("internal authority: %w", err)
	}
	made, data, err := authority.Make(rand.Reader, time.Now())
	if err != nil {
		return nil, err
	}
	_, err = secrets.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Name: authoritySecret, Labels: map[string]string{"app.kubernetes.io/part-of": "argocd"},
	}, Data: data}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		if found, err = secrets.Get(ctx, authoritySecret, metav1.GetOptions{}); err == nil {
			return authority.Load(rand.Reader, found.Data)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("internal authority: %w", err)
	}
	return made, nil
}

// renderer is the service in this process, or a client of the repo-server
// that a flag names.
func (f *allFlags) renderer(ctx context.Context, cfg *rest.Config, p renderParts) (manifest.Renderer, func(), error) {
	if f.repoServer == "" {
		return f.render.service(ctx, p)
	}
	a, err := loadAuthority(ctx, cfg, f.namespace)
	if err != nil {
		return nil, nil, err
	}
	tls, err := a.Client(transport.RoleController, time.Now, transport.RoleRepoServer)
	if err != nil {
		return nil, nil, err
	}
	return transport.NewClient(ctx, transport.Options{
		Address: f.repoServer, TLS: tls, Timeout: f.repoServerTimeout, Clock: clock.RealClock{}, Log: p.log.With("component", "repo-client"),
	}), func() {}, nil
}

func repoServerCommand() *cobra.Command {
	f, listen := &allFlags{lease: leaseName, internal: internalFlags{address: "0"}}, ""
	c := &cobra.Command{Use: "repo-server", Short: "Render for the other components", Args: cobra.NoArgs}
	flags := c.Flags()
	f.hubFlags.register(flags)
	f.render.register(flags)
	flags.StringVar(&listen, "address", ":8081", "address to listen on; only components of this installation can call it")
	flags.StringVar(&f.data, "data-dir", filepath.Join(os.TempDir(), "sluice-repo-server"), "folder for Git mirrors and caches")
	flags.StringVar(&f.metricsAddress, "metrics-addr", ":8084", "address of /metrics; 0 switches it off")
	flags.StringVar(&f.probeAddress, "probe-addr", ":8085", "address of /healthz and /readyz; 0 switches it off")
	flags.StringVar(&f.logFormat, "logformat", "json", "json or text")
	flags.StringVar(&f.logLevel, "loglevel", "info", "debug, info, warn or error")
	flags.DurationVar(&f.pollInterval, "repository-poll-interval", 15*time.Second, "pause between two questions to one repository")
	flags.Int64Var(&f.diskBudgetMiB, "mirror-disk-budget", 0, "MiB that all Git mirrors may take; 0 is no limit")
	flags.Int64Var(&f.maxPackMiB, "mirror-max-pack", 8192, "MiB that one fetch from a repository may bring")
	flags.Int64Var(&f.gitMemoryMiB, "git-memory", 2048, "MiB of memory that one process of git may use")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		f.pollSet = flags.Changed("repository-poll-interval")
		return f.start(cmd.Context(), func(ctx context.Context, mgr manager.Manager, cfg *rest.Config, log *slog.Logger) error {
			return f.serveRenders(ctx, mgr, cfg, renderServer{listen, log})
		})
	}
	return c
}

type renderServer struct {
	listen string
	log    *slog.Logger
}

// serveRenders runs the repo-server until ctx ends.
func (f *allFlags) serveRenders(ctx context.Context, mgr manager.Manager, cfg *rest.Config, s renderServer) error {
	store := settings.NewStore(mgr.GetCache(), f.namespace, s.log.With("component", "settings"))
	if err := store.Load(ctx); err != nil {
		return err
	}
	options := f.mirrorOptions(store, clock.RealClock{}, metrics.Registry, s.log)
	projects := projectsOf(mgr.GetClient(), f.namespace, store.Snapshot)
	options.Submodule = submodules(ctx, store.Snapshot, projects)
	mirrors, err := gitrepo.New(ctx, options)
	if err != nil {
		return err
	}
	defer mirrors.Close()
	store.OnChange(func(*settings.Snapshot) { mirrors.Reload() })
	service, done, err := f.render.service(ctx, renderParts{
		data: f.data, mirrors: mirrors, store: store, permitted: permitted(ctx, projects), log: s.log, registry: metrics.Registry,
	})
	if err != nil {
		return err
	}
	defer done()
	a, err := loadAuthority(ctx, cfg, f.namespace)
	if err != nil {
		return err
	}
	tls, err := a.Server(transport.RoleRepoServer, time.Now, transport.Callers...)
	if err != nil {
		return err
	}
	server := &http.Server{
		Addr: s.listen, Handler: (&transport.Handler{Renderer: service, Keys: func() []signature.Key { return store.Snapshot().Keys }, Clock: clock.RealClock{}}).Mux(), TLSConfig: tls,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Minute, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 10_000},
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	return runAll(ctx, store.Run, func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { _ = server.Close() })
		defer stop()
		if err := server.ListenAndServeTLS("", ""); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("--address=%s: %w", s.listen, err)
		}
		return nil
	})
}

// pluginServerCommand is what the sidecar of a config-management plugin runs.
func pluginServerCommand() *cobra.Command {
	var config, format, level string
	c := &cobra.Command{Use: "cmp-server", Aliases: []string{"argocd-cmp-server"}, Short: "Serve a config-management plugin in its sidecar", Args: cobra.NoArgs}
	c.Flags().StringVar(&config, "config-dir-path", "/home/argocd/cmp-server/config", "folder of plugin.yaml")
	c.Flags().StringVar(&format, "logformat", "json", "json or text")
	c.Flags().StringVar(&level, "loglevel", "info", "debug, info, warn or error")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		log, err := (&allFlags{logFormat: format, logLevel: level}).logger()
		if err != nil {
			return err
		}
		loaded, err := plugin.LoadConfig(config)
		if err != nil {
			return err
		}
		work := os.Getenv("ARGOCD_CMP_WORKDIR")
		if work == "" {
			work = os.TempDir()
		}
		s := &plugin.Server{Config: loaded, SocketDir: pluginDir(), WorkDir: filepath.Join(work, "_cmp_server"), Version: version, Log: log}
		log.Info("serving a plugin", "plugin", loaded.Name())
		return s.Serve(cmd.Context())
	}
	return c
}

// askPass answers git in the sidecar of a plugin, which starts this program
// with its prompt (spec/wire.md §4.9).
func askPass(ctx context.Context, prompts []string) int {
	if len(prompts) != 1 {
		fmt.Fprintln(os.Stderr, "sluice: expected one argument, the prompt of git")
		return 1
	}
	answer, err := plugin.AskPass(ctx, os.Getenv(plugin.AskPassSocket), os.Getenv(plugin.AskPassNonce), prompts[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, "sluice:", err)
		return 1
	}
	fmt.Println(answer)
	return 0
}

// pluginDir is where the sockets of plugins are.
func pluginDir() string {
	if dir := os.Getenv("ARGOCD_PLUGINSOCKFILEPATH"); dir != "" {
		return dir
	}
	return plugin.DefaultDir
}
