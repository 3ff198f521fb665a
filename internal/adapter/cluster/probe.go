package cluster

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/sluice-cd/sluice/internal/domain/destination"
)

// probeTimeout bounds a Probe.
const probeTimeout = 10 * time.Second

// Probe connects to a cluster that need not be registered, and gives its
// version. The error holds no credential.
func Probe(ctx context.Context, c destination.Cluster, hub *rest.Config) (version string, err error) {
	cfg, err := restConfig(c, hub)
	if err != nil {
		return "", err
	}
	cfg.Timeout = probeTimeout
	client, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return "", fmt.Errorf("cluster %s: %w", c.Server, err)
	}
	found, err := client.ServerVersion()
	if err != nil {
		return "", fmt.Errorf("cluster %s does not answer: %w", c.Server, err)
	}
	return found.GitVersion, ctx.Err()
}
