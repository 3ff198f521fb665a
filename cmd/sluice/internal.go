package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/adapter/authority"
	"github.com/sluice-cd/sluice/internal/controller/manifest/transport"
	apicluster "github.com/sluice-cd/sluice/internal/server/cluster"
	"github.com/sluice-cd/sluice/internal/server/relay"
)

// internalFlags say where a controller answers servers of other processes.
type internalFlags struct{ address, advertise string }

func (f *internalFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.address, "internal-address", f.address, "address at which servers of this installation ask this process; 0 switches it off")
	flags.StringVar(&f.advertise, "internal-advertise", "", "host, or host:port, by which they reach it; default: $POD_IP, or the address that this host has towards the hub")
}

func (f *internalFlags) on() bool { return f.address != "" && f.address != "0" }

func (f *internalFlags) check() error {
	if f.on() {
		if _, _, err := net.SplitHostPort(f.address); err != nil {
			return fmt.Errorf("--internal-address=%s: want host:port, :port or 0", f.address)
		}
	}
	if _, _, err := net.SplitHostPort(f.advertise); err == nil && relay.CheckAddress(f.advertise) != nil {
		return fmt.Errorf("--internal-advertise=%s: want a host, or host:port with a port of 1 to 65535", f.advertise)
	}
	return nil
}

// announced is host:port by which others reach a listener.
func (f *internalFlags) announced(ctx context.Context, listener net.Addr, hub string) (string, error) {
	if relay.CheckAddress(f.advertise) == nil {
		return f.advertise, nil
	}
	bound, port, err := net.SplitHostPort(listener.String())
	if err != nil {
		return "", fmt.Errorf("--internal-address: %w", err)
	}
	host := f.advertise
	if host == "" {
		host = os.Getenv("POD_IP")
	}
	if ip := net.ParseIP(bound); host == "" && ip != nil && !ip.IsUnspecified() {
		host = bound
	}
	if host == "" {
		if host, err = towards(ctx, hub); err != nil {
			return "", fmt.Errorf("this host has no address towards the hub; give --internal-advertise: %w", err)
		}
	}
	address := net.JoinHostPort(host, port)
	if err := relay.CheckAddress(address); err != nil {
		return "", fmt.Errorf("--internal-advertise=%s: %w", host, err)
	}
	return address, nil
}

// towards is the address that this host has on the way to a server; nothing is
// sent.
func towards(ctx context.Context, server string) (string, error) {
	u, err := url.Parse(server)
	if err != nil || u.Hostname() == "" {
		return "", errors.New("the address of the hub is no URL")
	}
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "udp", net.JoinHostPort(u.Hostname(), "443"))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	host, _, err := net.SplitHostPort(conn.LocalAddr().String())
	return host, err
}

// controllerCommand is the controller of Applications alone.
func controllerCommand() *cobra.Command {
	f := &allFlags{lease: appsLeaseName, internal: internalFlags{address: ":8086"}}
	c := f.command("application-controller", "Run the controller of Applications alone", f.applicationsAlone)
	c.Aliases = []string{"controller", "argocd-application-controller"}
	return c
}

// answering serves what this process reaches to servers of other processes,
// and announces it in the roles; the certificate is that of the first.
func (f *allFlags) answering(p *parts, roles ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		if !f.internal.on() {
			<-ctx.Done()
			return nil
		}
		a, err := loadAuthority(ctx, p.cfg, f.namespace)
		if err != nil {
			return err
		}
		tls, err := a.Server(roles[0], time.Now, transport.RoleServer)
		if err != nil {
			return err
		}
		log := p.log.With("component", "internal")
		mux, err := (&relay.Handler{
			Engine: f.reach.engine.get, Desk: f.reach.desk.get, Preview: f.reach.preview.get, Clusters: func() map[string]apicluster.Info { return f.states(p) },
			Clock: p.clock, Log: log, Registerer: p.registry,
		}).Mux()
		if err != nil {
			return err
		}
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.internal.address)
		if err != nil {
			return fmt.Errorf("--internal-address=%s: %w", f.internal.address, err)
		}
		address, err := f.internal.announced(ctx, listener.Addr(), p.cfg.Host)
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		leases, err := leasesOf(p.cfg, f.namespace, log)
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		server := &http.Server{
			Handler: mux, TLSConfig: tls, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 64 << 10,
			HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 10_000}, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		}
		runs := []func(context.Context) error{func(ctx context.Context) error {
			defer context.AfterFunc(ctx, func() { _ = server.Close() })()
			if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("--internal-address=%s: %w", f.internal.address, err)
			}
			return nil
		}}
		for _, role := range roles {
			log.Info("servers are answered", "address", address, "lease", relay.LeaseName(role))
			runs = append(runs, func(ctx context.Context) error {
				return leases.Announce(ctx, relay.Holder{Role: role, Identity: f.identity, Address: address})
			})
		}
		return runAll(ctx, runs...)
	}
}

// states are those of all clusters that are known.
func (f *allFlags) states(p *parts) map[string]apicluster.Info {
	out := map[string]apicluster.Info{}
	for _, c := range p.store.Snapshot().Clusters {
		if info, ok := f.reach.clusterState(c.Server); ok {
			out[c.Server] = info
		}
	}
	return out
}

func leasesOf(cfg *rest.Config, namespace string, log *slog.Logger) (*relay.Leases, error) {
	client, err := coordination.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("leases: %w", err)
	}
	return &relay.Leases{Client: client, Namespace: namespace, Clock: clock.RealClock{}, Log: log}, nil
}

// relays let a server reach the controllers of other processes.
func (s *serverProcess) relays(ctx context.Context, r *reach, a *authority.Authority, p serving) error {
	log := s.log.With("component", "controller-client")
	leases, err := leasesOf(p.cfg, s.all.namespace, log)
	if err != nil {
		return err
	}
	ask := func(role string, answering ...string) (*relay.Client, error) {
		tls, err := a.Client(transport.RoleServer, time.Now, answering...)
		if err != nil {
			return nil, err
		}
		return relay.NewClient(ctx, relay.Options{
			Directory: leases, Role: role, TLS: tls, Timeout: s.timeout, Clock: clock.RealClock{}, Log: log, Registerer: p.registry,
		})
	}
	apps, err := ask(transport.RoleController, transport.RoleController)
	if err != nil {
		return err
	}
	// `sluice all` does both and answers as the controller of Applications.
	sets, err := ask(transport.RoleAppSets, transport.RoleAppSets, transport.RoleController)
	if err != nil {
		return err
	}
	r.engine.set(apps)
	r.states.set(apps.ClusterState)
	r.desk.set(planning{Desk: r.desk.get(), plans: sets})
	r.preview.set(sets.Preview)
	return nil
}
