package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/adapter/template"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/server"
	"github.com/sluice-cd/sluice/internal/server/setting"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// core is an API in this process over the hub alone: no controller is asked,
// nobody logs in, and what the kubeconfig may do is what can be done
// (spec/cli.md §1.5).
type core struct {
	api *server.Server
	// namespace of the control plane
	namespace string
	stop      func()
}

// kubeconfig reads the connection that the command line names; a context
// without a namespace means the usual one of a control plane.
func kubeconfig(f *connect.Flags) (*rest.Config, string, error) {
	name, rules := f.KubeContext, clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.Kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: name})
	cfg, err := loader.ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("no Kubernetes: %w", err)
	}
	cfg.QPS, cfg.WarningHandler = -1, rest.NoWarnings{}
	namespace := "argocd"
	raw, err := loader.RawConfig()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig: %w", err)
	}
	if name == "" {
		name = raw.CurrentContext
	}
	if c := raw.Contexts[name]; c != nil && c.Namespace != "" {
		namespace = c.Namespace
	}
	if f.KubeNamespace != "" {
		namespace = f.KubeNamespace
	}
	return cfg, namespace, nil
}

func newCore(parent context.Context, f *connect.Flags) (*core, error) {
	cfg, namespace, err := kubeconfig(f)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	setLoggers(log)
	go paceGarbage(parent)
	known, err := scheme()
	if err != nil {
		return nil, err
	}
	hub, err := store.NewHub(namespace, nil)
	if err != nil {
		return nil, err
	}
	if hub.Client, err = client.New(cfg, client.Options{Scheme: known}); err != nil {
		return nil, fmt.Errorf("connect to the hub: %w", err)
	}
	options := hub.CacheOptions()
	options.Scheme = known
	watched, err := cache.New(cfg, options)
	if err != nil {
		return nil, fmt.Errorf("connect to the hub: %w", err)
	}
	ctx, stop := context.WithCancel(parent)
	go func() { _ = watched.Start(ctx) }()
	api, err := coreAPI(ctx, hub, watched, log)
	if err != nil {
		stop()
		return nil, err
	}
	return &core{api: api, namespace: namespace, stop: stop}, nil
}

func coreAPI(ctx context.Context, hub *store.Hub, watched cache.Cache, log *slog.Logger) (*server.Server, error) {
	if err := hub.Watch(ctx, watched); err != nil {
		return nil, err
	}
	declared := settings.NewStore(watched, hub.Namespace, log)
	if err := declared.Load(ctx); err != nil {
		return nil, err
	}
	r, registry := &reach{}, prometheus.NewRegistry()
	r.openDesk(deskParts{reader: watched, client: hub.Client, params: declared.Snapshot().Params, log: log, registry: registry})
	return server.New(ctx, server.Options{
		Config: server.Config{Insecure: true, DisableAuth: true, BaseHRef: "/", ContentTypes: []string{"application/json"}, ReplaceAllowed: true},
		Hub:    hub, Settings: declared.Snapshot, Manifests: r.manifests.get, Engine: r.engine.get, Desk: r.desk.get, Preview: r.preview.get,
		Remotes: r.remotes.get, ClusterState: r.clusterState, Render: template.New(clock.RealClock{}).Render,
		Build: setting.Build{Version: version}, Log: log, Clock: clock.RealClock{}, Registerer: registry,
	})
}

// inProcess serves the command line without a server.
func inProcess(ctx context.Context, f *connect.Flags) (*connect.Tunnel, error) {
	c, err := newCore(ctx, f)
	if err != nil {
		return nil, err
	}
	return listen(ctx, c)
}

// listen serves on a port of this machine that only this process knows; the
// transport of the handler alone would not stream.
func listen(ctx context.Context, c *core) (*connect.Tunnel, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("--core: %w", err)
	}
	secret, err := randomSecret()
	if err != nil {
		c.stop()
		return nil, errors.Join(err, l.Close())
	}
	s := &http.Server{Handler: guarded(secret, c.api.Handler()), ReadHeaderTimeout: probeTimeout}
	go func() { _ = s.Serve(l) }()
	return &connect.Tunnel{
		Address: l.Addr().String(), Namespace: c.namespace, Transport: marked{secret, http.DefaultTransport},
		Close: func() { _ = s.Close(); c.stop() },
	}, nil
}

// dashboard serves API and UI with the rights of the kubeconfig: to whoever
// reaches the address, which is this machine alone unless asked otherwise.
func dashboard(ctx context.Context, f *connect.Flags, address string, ready func(string)) error {
	c, err := newCore(ctx, f)
	if err != nil {
		return err
	}
	defer c.stop()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("--port: %w", err)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return errors.Join(fmt.Errorf("--address: %w", err), l.Close())
	}
	s := &http.Server{Handler: forHost(host, c.api.Handler()), ReadHeaderTimeout: probeTimeout}
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	ready("http://" + l.Addr().String())
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// probeTimeout bounds the header of a request to a server of this process.
const probeTimeout = 10 * time.Second

// secretHeader shows that a request comes from this process: nobody is asked to
// log in, so nobody else on this machine may get in.
const secretHeader = "X-Sluice-Core"

func randomSecret() (string, error) {
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("--core: %w", err)
	}
	return hex.EncodeToString(raw), nil
}

func guarded(secret string, inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get(secretHeader)), []byte(secret)) != 1 {
			http.Error(w, "this port is for one process only", http.StatusForbidden)
			return
		}
		inner.ServeHTTP(w, r)
	})
}

// forHost answers requests for a host, for this machine or for an address. Nobody
// logs in at a dashboard, and the page of a stranger could have its own name
// lead here: a browser would let it read every answer.
func forHost(host string, inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := r.Host
		if name, _, err := net.SplitHostPort(asked); err == nil {
			asked = name
		}
		if asked != "localhost" && !strings.EqualFold(asked, host) && net.ParseIP(strings.Trim(asked, "[]")) == nil {
			http.Error(w, "this is the dashboard of one machine: ask for it by its address or as localhost", http.StatusMisdirectedRequest)
			return
		}
		inner.ServeHTTP(w, r)
	})
}

// marked puts the secret on requests.
type marked struct {
	secret string
	inner  http.RoundTripper
}

// RoundTrip sends a request with the secret.
func (m marked) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(secretHeader, m.secret)
	return m.inner.RoundTrip(r)
}
