package core

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/object"
	apicluster "github.com/sluice-cd/sluice/internal/server/cluster"
)

// Clusters knows how clusters are that somebody has asked about.
type Clusters struct {
	settings func() *settings.Snapshot
	fleet    *cluster.Fleet

	mu    sync.Mutex
	asked map[string]bool
}

// NewClusters makes Clusters that know of none; fleet is empty and for them
// alone.
func NewClusters(fleet *cluster.Fleet, current func() *settings.Snapshot) *Clusters {
	return &Clusters{settings: current, fleet: fleet, asked: map[string]bool{}}
}

// meetTimeout bounds the wait for clusters that do not answer.
const meetTimeout = 10 * time.Second

// Meet connects to clusters and waits, for some seconds, until each has
// answered or failed to.
func (c *Clusters) Meet(ctx context.Context, servers []string) {
	c.mu.Lock()
	for _, server := range servers {
		c.asked[server] = true
	}
	c.mu.Unlock()
	c.Reload(c.settings())
	bounded, cancel := context.WithTimeout(ctx, meetTimeout)
	defer cancel()
	for _, server := range servers {
		if conn, err := c.fleet.Connection(server); err == nil {
			conn.Await(bounded)
		}
	}
}

// Reload takes over what is declared of the clusters that are known.
func (c *Clusters) Reload(s *settings.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var known destination.Clusters
	for _, one := range s.Clusters {
		if c.asked[one.Server] {
			known = append(known, one)
		}
	}
	c.fleet.Track(object.TrackingOf(s.Config))
	c.fleet.Replace(known)
}

// State is what is known of a cluster; false is nothing.
func (c *Clusters) State(server string) (apicluster.Info, bool) {
	c.mu.Lock()
	asked := c.asked[server]
	c.mu.Unlock()
	if !asked {
		return apicluster.Info{}, false
	}
	return StateOf(c.fleet, server)
}

// StateOf is what a fleet knows of a cluster. One that cannot be connected to
// has failed.
func StateOf(fleet *cluster.Fleet, server string) (apicluster.Info, bool) {
	conn, err := fleet.Connection(server)
	if err != nil {
		return apicluster.Info{}, false
	}
	state := conn.State()
	since := metav1.NewTime(state.Since)
	return apicluster.Info{
		ConnectionState: apicluster.ConnectionState{Status: state.Status, Message: state.Message, ModifiedAt: &since},
		ServerVersion:   conn.KubeVersion(), APIVersions: conn.APIVersions(),
	}, true
}
