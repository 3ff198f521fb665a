// Package engine is what the server asks about target clusters, answered by the
// controllers of the same process.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/controller/perform"
	"github.com/sluice-cd/sluice/internal/domain/action"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/inspect"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
	"github.com/sluice-cd/sluice/internal/server/application"
	"github.com/sluice-cd/sluice/internal/server/fault"
)

// Engine answers from the controllers of this process.
type Engine struct {
	Reader   inspect.Reader
	Fleet    *cluster.Fleet
	Perform  *perform.Service
	Settings func() *settings.Snapshot
}

var _ application.Engine = (*Engine)(nil)

// coded gives the errors of a Reader their codes. Its words are for people.
func coded(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, inspect.ErrNoApplication):
		return fault.New(fault.NotFound, "%w", err)
	case errors.Is(err, inspect.ErrNoObject):
		return fault.New(fault.InvalidArgument, "%w", err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fault.New(fault.FailedPrecondition, "%w", err)
}

// Capabilities are the versions of a cluster.
func (e *Engine) Capabilities(server string) (string, []string, error) {
	conn, err := e.Fleet.Connection(server)
	if err != nil {
		return "", nil, err
	}
	if state := conn.State(); state.Status != cluster.StatusSuccessful {
		return "", nil, fmt.Errorf("it does not answer: %s", state.Message)
	}
	return conn.KubeVersion(), conn.APIVersions(), nil
}

// at finds the cluster of an Application.
func (e *Engine) at(app *v1alpha1.Application) (destination.Cluster, *cluster.Connection, error) {
	d := app.Spec.Destination
	found, err := e.Settings().Clusters.Resolve(d.Server, d.Name)
	if err != nil {
		return found, nil, fault.New(fault.FailedPrecondition, "%w", err)
	}
	conn, err := e.Fleet.Connection(found.Server)
	if err != nil {
		return found, nil, fault.New(fault.Unavailable, "cluster %s: %w", found.Name, err)
	}
	return found, conn, nil
}

// seen is what the server knows when it asks; what it knows, a client may have
// been told.
func seen(app *v1alpha1.Application) inspect.Seen {
	return inspect.Seen{NamespacedName: client.ObjectKeyFromObject(app), ResourceVersion: app.ResourceVersion}
}

// Managed lists what Git asks for beside what is there.
func (e *Engine) Managed(ctx context.Context, app *v1alpha1.Application) ([]application.Managed, error) {
	all, err := e.Reader.Resources(ctx, seen(app))
	if err != nil {
		return nil, coded(err)
	}
	var out []application.Managed
	for _, r := range all {
		out = append(out, application.Managed{
			Group: r.Group, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name, Target: r.Target, Live: r.Live,
			Normalized: r.NormalizedLive, Predicted: r.Predicted, Modified: r.Modified,
		})
	}
	return out, nil
}

// Tree gives the managed objects and what they own.
func (e *Engine) Tree(ctx context.Context, app *v1alpha1.Application) (*application.Tree, error) {
	t, err := e.Reader.Tree(ctx, seen(app))
	if err != nil {
		return nil, coded(err)
	}
	return &application.Tree{Nodes: nodes(t.Nodes), OrphanedNodes: nodes(t.Orphans)}, nil
}

func ref(o inspect.Object) application.ResourceRef {
	return application.ResourceRef{Group: o.Group, Version: o.Version, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, UID: o.UID}
}

func refs(all []inspect.Object) []application.ResourceRef {
	var out []application.ResourceRef
	for _, o := range all {
		out = append(out, ref(o))
	}
	return out
}

func nodes(all []inspect.Node) []application.Node {
	var out []application.Node
	for i := range all {
		n := &all[i]
		next := application.Node{ResourceRef: ref(n.Object), ParentRefs: refs(n.Parents), ResourceVersion: n.ResourceVersion, Images: n.Images}
		for _, info := range n.Info {
			next.Info = append(next.Info, application.InfoItem{Name: info.Name, Value: info.Value})
		}
		if n.Health != nil {
			next.Health = &v1alpha1.HealthStatus{Status: n.Health.Code, Message: n.Health.Message}
		}
		if !n.CreatedAt.IsZero() {
			created := n.CreatedAt.UTC()
			next.CreatedAt = &created
		}
		if w := n.Networking; w != nil {
			next.NetworkingInfo = &application.NetworkingInfo{TargetLabels: w.TargetLabels, Labels: w.Labels, TargetRefs: refs(w.TargetRefs), ExternalURLs: w.ExternalURLs}
			for _, a := range w.Ingress {
				next.NetworkingInfo.Ingress = append(next.NetworkingInfo.Ingress, corev1.LoadBalancerIngress{Hostname: a.Hostname, IP: a.IP})
			}
		}
		out = append(out, next)
	}
	return out
}

// Changes says when the tree may have changed; many changes are one.
func (e *Engine) Changes(app *v1alpha1.Application) (<-chan struct{}, func()) {
	changed := make(chan struct{}, 1)
	stop := e.Reader.Watch(client.ObjectKeyFromObject(app), func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	return changed, stop
}

// Live reads an object of the tree; Secrets are masked already.
func (e *Engine) Live(ctx context.Context, app *v1alpha1.Application, r application.Ref) (*unstructured.Unstructured, error) {
	o, err := e.Reader.Object(ctx, seen(app), inspect.Object{Group: r.Group, Version: r.Version, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name})
	if errors.Is(err, inspect.ErrNoObject) {
		return nil, nil
	}
	return o, coded(err)
}

// Patch changes an object of the tree.
func (e *Engine) Patch(ctx context.Context, app *v1alpha1.Application, live *unstructured.Unstructured, kind types.PatchType, patch []byte) (*unstructured.Unstructured, error) {
	_, conn, err := e.at(app)
	if err != nil {
		return nil, err
	}
	return conn.Patch(ctx, live, kind, patch)
}

// Delete deletes an object of the tree.
func (e *Engine) Delete(ctx context.Context, app *v1alpha1.Application, live *unstructured.Unstructured, how application.Deletion) error {
	_, conn, err := e.at(app)
	if err != nil {
		return err
	}
	switch {
	case how.Orphan:
		return conn.Delete(ctx, live, metav1.DeletePropagationOrphan)
	case how.Force:
		return conn.Kill(ctx, live)
	}
	return conn.Delete(ctx, live, metav1.DeletePropagationForeground)
}

// Actions lists what can be done with an object.
func (e *Engine) Actions(ctx context.Context, _ *v1alpha1.Application, live *unstructured.Unstructured) ([]action.Action, error) {
	return e.Perform.List(ctx, live)
}

// Act runs an action.
func (e *Engine) Act(ctx context.Context, app *v1alpha1.Application, live *unstructured.Unstructured, a application.Action) error {
	found, conn, err := e.at(app)
	if err != nil {
		return err
	}
	return e.Perform.Run(ctx, perform.Request{App: app, Project: a.Project, Destination: found, Cluster: conn, Live: live, Action: a.Name, Params: a.Params})
}

// Events lists the events about an object.
func (e *Engine) Events(ctx context.Context, app *v1alpha1.Application, about corev1.ObjectReference) (*corev1.EventList, error) {
	_, conn, err := e.at(app)
	if err != nil {
		return nil, err
	}
	return conn.Events(ctx, about)
}

// Logs opens the log of a container.
func (e *Engine) Logs(ctx context.Context, app *v1alpha1.Application, q application.LogSource) (io.ReadCloser, error) {
	_, conn, err := e.at(app)
	if err != nil {
		return nil, err
	}
	return conn.Logs(ctx, q.Namespace, q.Pod, q.Options)
}

// Predict says what an apply of target would make of the live object.
func (e *Engine) Predict(ctx context.Context, app *v1alpha1.Application, target *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	_, conn, err := e.at(app)
	if err != nil {
		return nil, err
	}
	predicted, err := conn.Predict(ctx, target, syncplan.MannerOf(target, nil, nil, false).Comparison())
	if err != nil {
		return nil, errors.New(cluster.Brief(target, err))
	}
	return predicted, nil
}
