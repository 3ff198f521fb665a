package cluster

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// Options of a Fleet.
type Options struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Clock      clock.WithTicker
	// Hub is how to reach the cluster this process manages from.
	Hub *rest.Config
	// Budget is that of each cluster, asked for at each request; nil is no bound.
	Budget func() Budget
	// Programs are those that Secrets of clusters may have started for their
	// credentials, by their names there; nil is all of them. ProgramsFrom is what
	// users name them with.
	Programs     []string
	ProgramsFrom string
}

// Change says what moved: the objects of one instance, or with an empty
// instance the connection itself.
type Change struct {
	Server, Instance string
	// Shown says that only what is shown has changed, nothing that a
	// comparison looks at.
	Shown bool
}

// Matter says that the change of a managed object is worth a comparison. It is
// called by watches and must not take long.
type Matter func(ctx context.Context, before, after *unstructured.Unstructured) bool

// Fleet holds the connections to all registered clusters.
type Fleet struct {
	ctx     context.Context
	options Options
	metrics *metrics

	mu       sync.RWMutex
	byServer map[string]*Connection
	broken   map[string]error
	onChange []func(Change)
	matter   Matter
	tracking object.Tracking
	leave    func(kind schema.GroupKind, server string) bool
}

// NewFleet makes an empty fleet whose connections end with ctx.
func NewFleet(ctx context.Context, o Options) *Fleet {
	return &Fleet{ctx: ctx, options: o, metrics: newMetrics(o.Registerer), byServer: map[string]*Connection{}, broken: map[string]error{}}
}

// OnChange calls f from watches; f must not block.
func (f *Fleet) OnChange(do func(Change)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onChange = append(f.onChange, do)
}

// Leave makes scans pass over the kinds of which out says that the settings
// leave them out of sight on a cluster.
func (f *Fleet) Leave(out func(kind schema.GroupKind, server string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leave = out
}

// excluded says that a kind is left out; what mirrors others always is.
func (f *Fleet) excluded(kind schema.GroupKind, server string) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return kind.Kind == "Event" || kind.Kind == "Endpoints" && kind.Group == "" || kind.Group == "coordination.k8s.io" || kind.Group == "metrics.k8s.io" || f.leave != nil && f.leave(kind, server)
}

// Weigh makes changes of managed objects count only when matter says so.
func (f *Fleet) Weigh(matter Matter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.matter = matter
}

// matters says that a change counts; without anybody who weighs, all do.
func (f *Fleet) matters(ctx context.Context, before, after *unstructured.Unstructured) bool {
	f.mu.RLock()
	matter := f.matter
	f.mu.RUnlock()
	return matter == nil || matter(ctx, before, after)
}

func (f *Fleet) tell(c Change) {
	f.mu.RLock()
	listeners := f.onChange
	f.mu.RUnlock()
	for _, do := range listeners {
		do(c)
	}
}

// Track sets how objects are marked; it counts from the next Replace on.
func (f *Fleet) Track(t object.Tracking) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tracking = t
}

// Replace makes the fleet match the registered clusters: connections whose
// credentials changed are made anew, all of them when objects are marked in
// another way, others are left alone.
func (f *Fleet) Replace(clusters destination.Clusters) {
	f.mu.Lock()
	var moved []string
	seen := map[string]bool{}
	for _, c := range clusters {
		seen[c.Server] = true
		old := f.byServer[c.Server]
		if old != nil && bytes.Equal(old.cluster.Config, c.Config) && slices.Equal(old.cluster.Namespaces, c.Namespaces) && old.store.tracking == f.tracking {
			continue
		}
		moved = append(moved, c.Server)
		if old != nil {
			old.close()
			delete(f.byServer, c.Server)
		}
		delete(f.broken, c.Server)
		conn, err := newConnection(f, c, old)
		if err != nil {
			f.broken[c.Server] = err
			continue
		}
		f.byServer[c.Server] = conn
	}
	for server, conn := range f.byServer {
		if !seen[server] {
			conn.close()
			delete(f.byServer, server)
			moved = append(moved, server)
		}
	}
	f.mu.Unlock()
	for _, server := range moved {
		f.tell(Change{Server: server})
	}
}

// Connection finds the connection of a server.
func (f *Fleet) Connection(server string) (*Connection, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if c, ok := f.byServer[server]; ok {
		return c, nil
	}
	if err, ok := f.broken[server]; ok {
		return nil, err
	}
	return nil, fmt.Errorf("cluster %s is not registered", server)
}
