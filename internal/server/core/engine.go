package core

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	controller "github.com/sluice-cd/sluice/internal/controller/application"
	"github.com/sluice-cd/sluice/internal/controller/perform"
	"github.com/sluice-cd/sluice/internal/domain/action"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/inspect"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/server/application"
	"github.com/sluice-cd/sluice/internal/server/engine"
	"github.com/sluice-cd/sluice/internal/server/fault"
)

// Reader tells of Applications, and what their controller would say of them now.
type Reader interface {
	inspect.Reader
	// Reconciled compares an Application anew and writes nothing; what cannot be
	// compared is said in conditions.
	Reconciled(ctx context.Context, seen inspect.Seen) (*v1alpha1.ApplicationStatus, error)
}

// Options of an Engine.
type Options struct {
	Settings func() *settings.Snapshot
	// Clusters are asked for what is no matter of an Application.
	Clusters *Clusters
	// Connections say how clusters are connected to; the Registerer is not used.
	Connections cluster.Options
	// Reader tells of Applications by the connections of a fleet.
	Reader  func(fleet *cluster.Fleet) Reader
	Perform *perform.Service
}

// Engine answers by connections that it makes when it is asked. It is safe for
// concurrent use.
type Engine struct {
	o   Options
	ctx context.Context //nolint:containedctx // the life of the connections

	mu   sync.Mutex
	open []*opened // the last one that was asked for comes last
}

var _ application.Engine = (*Engine)(nil)

// opened is the connection for one Application.
type opened struct {
	key      types.NamespacedName
	cluster  destination.Cluster
	tracking object.Tracking
	engine   *engine.Engine
	reader   Reader
	end      context.CancelFunc
}

// maxOpen bounds the Applications that are looked at: the one that nobody has
// asked about for the longest time makes room.
const maxOpen = 32

// New makes an Engine; its connections end with ctx.
func New(ctx context.Context, o Options) *Engine { return &Engine{o: o, ctx: ctx} }

// of gives what answers for an Application.
func (e *Engine) of(app *v1alpha1.Application) (*engine.Engine, error) {
	s, key := e.o.Settings(), client.ObjectKeyFromObject(app)
	found, err := s.Clusters.Resolve(app.Spec.Destination.Server, app.Spec.Destination.Name)
	if err != nil {
		return nil, fault.New(fault.FailedPrecondition, "spec.destination: %w", err)
	}
	found, tracking := narrow(found, app), object.TrackingOf(s.Config)
	e.mu.Lock()
	defer e.mu.Unlock()
	if i := slices.IndexFunc(e.open, func(o *opened) bool { return o.key == key && o.tracking == tracking && o.covers(found) }); i >= 0 {
		known := e.open[i]
		e.open = append(slices.Delete(e.open, i, i+1), known)
		return known.engine, nil
	}
	if len(e.open) == maxOpen {
		e.open[0].end()
		e.open = slices.Delete(e.open, 0, 1)
	}
	next := e.connect(destination.Clusters{found}, tracking)
	next.key, next.cluster = key, found
	e.open = append(e.open, next)
	return next.engine, nil
}

func (e *Engine) connect(to destination.Clusters, tracking object.Tracking) *opened {
	ctx, end := context.WithCancel(e.ctx)
	how := e.o.Connections
	how.Registerer = prometheus.NewRegistry() // of one among many: nobody reads it
	fleet := cluster.NewFleet(ctx, how)
	reader := e.o.Reader(fleet)
	fleet.Track(tracking)
	fleet.Replace(to)
	return &opened{
		tracking: tracking, end: end, reader: reader,
		engine: &engine.Engine{Reader: reader, Fleet: fleet, Perform: e.o.Perform, Settings: e.o.Settings},
	}
}

// narrow restricts a cluster to the namespaces of an Application, unless it is
// restricted already or they are not known.
func narrow(c destination.Cluster, app *v1alpha1.Application) destination.Cluster {
	if len(c.Namespaces) > 0 {
		return c
	}
	if namespaces, known := controller.Scope(app); known {
		c.Namespaces, c.ClusterResources = slices.Sorted(maps.Keys(namespaces)), true
	}
	return c
}

// covers says that a connection is as good for a cluster as its own would be.
func (o *opened) covers(c destination.Cluster) bool {
	if o.cluster.Server != c.Server || !bytes.Equal(o.cluster.Config, c.Config) || o.cluster.ClusterResources != c.ClusterResources {
		return false
	}
	if len(o.cluster.Namespaces) == 0 || len(c.Namespaces) == 0 {
		return len(o.cluster.Namespaces) == len(c.Namespaces)
	}
	return !slices.ContainsFunc(c.Namespaces, func(n string) bool { return !slices.Contains(o.cluster.Namespaces, n) })
}

// met is of, when the cluster has answered or failed to.
func (e *Engine) met(ctx context.Context, app *v1alpha1.Application) (*engine.Engine, error) {
	inner, err := e.of(app)
	if err != nil {
		return nil, err
	}
	found, err := e.o.Settings().Clusters.Resolve(app.Spec.Destination.Server, app.Spec.Destination.Name)
	if err != nil {
		return nil, fault.New(fault.FailedPrecondition, "spec.destination: %w", err)
	}
	conn, err := inner.Fleet.Connection(found.Server)
	if err != nil {
		return nil, fault.New(fault.FailedPrecondition, "%w", err)
	}
	bounded, cancel := context.WithTimeout(ctx, meetTimeout)
	defer cancel()
	if state := conn.Await(bounded); state.Status != cluster.StatusSuccessful {
		return nil, fault.New(fault.Unavailable, "cluster %s does not answer: %s", found.Name, state.Message)
	}
	return inner, nil
}

// Capabilities are the versions of a cluster.
func (e *Engine) Capabilities(server string) (string, []string, error) {
	e.o.Clusters.Meet(e.ctx, []string{server})
	info, known := e.o.Clusters.State(server)
	switch {
	case !known:
		_, err := e.o.Clusters.fleet.Connection(server)
		return "", nil, err
	case info.ConnectionState.Status != cluster.StatusSuccessful:
		return "", nil, fmt.Errorf("it does not answer: %s", info.ConnectionState.Message)
	}
	return info.ServerVersion, info.APIVersions, nil
}

// Managed lists what Git asks for beside what is there.
func (e *Engine) Managed(ctx context.Context, app *v1alpha1.Application) ([]application.Managed, error) {
	inner, err := e.of(app)
	if err != nil {
		return nil, err
	}
	return inner.Managed(ctx, app)
}

// Tree gives the managed objects and what they own.
func (e *Engine) Tree(ctx context.Context, app *v1alpha1.Application) (*application.Tree, error) {
	inner, err := e.of(app)
	if err != nil {
		return nil, err
	}
	return inner.Tree(ctx, app)
}

// Changes says when the tree may have changed.
func (e *Engine) Changes(app *v1alpha1.Application) (changed <-chan struct{}, stop func()) {
	inner, err := e.of(app)
	if err != nil { // who asks for the tree is told why there is none
		return nil, func() {}
	}
	return inner.Changes(app)
}

// Live reads an object of the tree.
func (e *Engine) Live(ctx context.Context, app *v1alpha1.Application, r application.Ref) (*unstructured.Unstructured, error) {
	inner, err := e.met(ctx, app)
	if err != nil {
		return nil, err
	}
	return inner.Live(ctx, app, r)
}

// Patch changes an object of the tree.
func (e *Engine) Patch(ctx context.Context, app *v1alpha1.Application, live *unstructured.Unstructured, kind types.PatchType, patch []byte) (*unstructured.Unstructured, error) {
	inner, err := e.met(ctx, app)
	if err != nil {
		return nil, err
	}
	return inner.Patch(ctx, app, live, kind, patch)
}

// Delete deletes an object of the tree.
func (e *Engine) Delete(ctx context.Context, app *v1alpha1.Application, live *unstructured.Unstructured, how application.Deletion) error {
	inner, err := e.met(ctx, app)
	if err != nil {
		return err
	}
	return inner.Delete(ctx, app, live, how)
}

// Actions lists what can be done with an object.
func (e *Engine) Actions(ctx context.Context, _ *v1alpha1.Application, live *unstructured.Unstructured) ([]action.Action, error) {
	return e.o.Perform.List(ctx, live)
}

// Act runs an action.
func (e *Engine) Act(ctx context.Context, app *v1alpha1.Application, live *unstructured.Unstructured, a application.Action) error {
	inner, err := e.met(ctx, app)
	if err != nil {
		return err
	}
	return inner.Act(ctx, app, live, a)
}

// Events lists the events about an object.
func (e *Engine) Events(ctx context.Context, app *v1alpha1.Application, about corev1.ObjectReference) (*corev1.EventList, error) {
	inner, err := e.met(ctx, app)
	if err != nil {
		return nil, err
	}
	return inner.Events(ctx, app, about)
}

// Logs opens the log of a container.
func (e *Engine) Logs(ctx context.Context, app *v1alpha1.Application, q application.LogSource) (io.ReadCloser, error) {
	inner, err := e.met(ctx, app)
	if err != nil {
		return nil, err
	}
	return inner.Logs(ctx, app, q)
}

// Predict says what an apply of target would make of the live object.
func (e *Engine) Predict(ctx context.Context, app *v1alpha1.Application, target *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	inner, err := e.met(ctx, app)
	if err != nil {
		return nil, err
	}
	return inner.Predict(ctx, app, target)
}
