// Package component runs one control-plane component in the current process.
// The fleet binary starts itself once per component, because an API server
// keeps global state and must be alone in its process.
package component

import (
	"context"
	"fmt"
	"net/url"
	"os"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// Names of the components.
const (
	Etcd       = "etcd"
	APIServer  = "kube-apiserver"
	Controller = "kube-controller-manager"
	Scheduler  = "kube-scheduler"
	Kubelet    = "kwok"
)

// Run runs the component until ctx ends.
func Run(ctx context.Context, name string, args []string) error {
	switch name {
	case Etcd:
		return etcd(ctx, args)
	case Kubelet:
		return kwok(ctx, args)
	case APIServer:
		c := apiserver.NewAPIServerCommand()
		c.SetArgs(args)
		return c.ExecuteContext(ctx)
	case Controller:
		c := controllers.NewControllerManagerCommand()
		c.SetArgs(args)
		return c.ExecuteContext(ctx)
	case Scheduler:
		c := scheduler.NewSchedulerCommand()
		c.SetArgs(args)
		return c.ExecuteContext(ctx)
	}
	return fmt.Errorf("unknown component %q", name)
}

// etcd serves one store for all clusters. args: data folder, client URL,
// peer URL, CA file, certificate file, key file.
func etcd(ctx context.Context, args []string) error {
	if len(args) != 6 {
		return fmt.Errorf("etcd: want 6 arguments, got %d", len(args))
	}
	client, err := url.Parse(args[1])
	if err != nil {
		return fmt.Errorf("etcd client address: %w", err)
	}
	peer, err := url.Parse(args[2])
	if err != nil {
		return fmt.Errorf("etcd peer address: %w", err)
	}
	cfg := embed.NewConfig()
	cfg.Dir = args[0]
	cfg.LogLevel = "error"
	cfg.LogOutputs = []string{"stderr"}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	tls := transport.TLSInfo{TrustedCAFile: args[3], CertFile: args[4], KeyFile: args[5], ClientCertAuth: true}
	cfg.ClientTLSInfo, cfg.PeerTLSInfo = tls, tls
	cfg.UnsafeNoFsync = true
	cfg.QuotaBackendBytes = 4 << 30
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = "periodic", "5m"
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	defer server.Close()
	select {
	case <-ctx.Done():
		return nil
	case err := <-server.Err():
		fmt.Fprintln(os.Stderr, err)
		return err
	}
}
