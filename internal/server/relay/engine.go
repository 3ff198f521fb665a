package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/heartbeat"
	"github.com/sluice-cd/sluice/internal/domain/action"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
	"github.com/sluice-cd/sluice/internal/server/application"
	"github.com/sluice-cd/sluice/internal/server/applicationset"
	"github.com/sluice-cd/sluice/internal/server/cluster"
)

var (
	_ application.Engine  = (*Client)(nil)
	_ applicationset.Desk = (*Client)(nil)
)

// Capabilities are the versions of a cluster.
func (c *Client) Capabilities(server string) (string, []string, error) {
	v, err := call[versions](c.ctx, c, pathVersions, question{Server: server})
	return v.Kube, v.APIs, err
}

// Managed lists what Git asks for beside what is there.
func (c *Client) Managed(ctx context.Context, app *v1alpha1.Application) ([]application.Managed, error) {
	all, err := call[[]managed](ctx, c, pathManaged, question{App: lean(app)})
	var out []application.Managed
	for _, m := range all {
		out = append(out, fromWire(m))
	}
	return out, err
}

// Tree gives the managed objects and what they own.
func (c *Client) Tree(ctx context.Context, app *v1alpha1.Application) (*application.Tree, error) {
	return call[*application.Tree](ctx, c, pathTree, question{App: lean(app)})
}

// Live reads an object of the tree.
func (c *Client) Live(ctx context.Context, app *v1alpha1.Application, r application.Ref) (*unstructured.Unstructured, error) {
	o, err := call[object](ctx, c, pathLive, question{App: lean(app), Ref: r})
	return o.Unstructured, err
}

// of asks about an object.
func of(app *v1alpha1.Application, o *unstructured.Unstructured) (question, error) {
	raw, err := json.Marshal(object{o})
	if err != nil {
		return question{}, fmt.Errorf("object %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	return question{App: lean(app), Object: raw}, nil
}

// Patch changes an object of the tree.
func (c *Client) Patch(ctx context.Context, app *v1alpha1.Application, live *unstructured.Unstructured, kind types.PatchType, patch []byte) (*unstructured.Unstructured, error) {
	q, err := of(app, live)
	if err != nil {
		return nil, err
	}
	q.PatchType, q.Patch = kind, patch
	o, err := call[object](ctx, c, pathPatch, q)
	return o.Unstructured, err
}

// Delete deletes an object of the tree.
func (c *Client) Delete(ctx context.Context, app *v1alpha1.Application, live *unstructured.Unstructured, how application.Deletion) error {
	q, err := of(app, live)
	if err != nil {
		return err
	}
	q.Deletion = how
	_, err = call[struct{}](ctx, c, pathDelete, q)
	return err
}

// Actions lists what can be done with an object.
func (c *Client) Actions(ctx context.Context, app *v1alpha1.Application, live *unstructured.Unstructured) ([]action.Action, error) {
	q, err := of(app, live)
	if err != nil {
		return nil, err
	}
	return call[[]action.Action](ctx, c, pathActions, q)
}

// Act runs an action.
func (c *Client) Act(ctx context.Context, app *v1alpha1.Application, live *unstructured.Unstructured, a application.Action) error {
	q, err := of(app, live)
	if err != nil {
		return err
	}
	q.Action = &a
	_, err = call[struct{}](ctx, c, pathAct, q)
	return err
}

// Events lists the events about an object.
func (c *Client) Events(ctx context.Context, app *v1alpha1.Application, about corev1.ObjectReference) (*corev1.EventList, error) {
	return call[*corev1.EventList](ctx, c, pathEvents, question{App: lean(app), About: &about})
}

// Predict says what an apply of target would make of the live object.
func (c *Client) Predict(ctx context.Context, app *v1alpha1.Application, target *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	q, err := of(app, target)
	if err != nil {
		return nil, err
	}
	o, err := call[object](ctx, c, pathPredict, q)
	return o.Unstructured, err
}

// Logs opens the log of a container; it may stay open without end.
func (c *Client) Logs(ctx context.Context, app *v1alpha1.Application, q application.LogSource) (io.ReadCloser, error) {
	response, err := c.post(ctx, pathLogs, question{App: lean(app), Logs: &q}) //nolint:bodyclose // whole closes it
	if err != nil {
		return nil, err
	}
	return &whole{response, c.options.Role}, nil
}

// longestPause bounds the one before a stream of changes is opened again.
const longestPause = 10 * time.Second

// Changes says when the tree may have changed, after a gap in any case.
func (c *Client) Changes(app *v1alpha1.Application) (<-chan struct{}, func()) {
	changed := make(chan struct{}, 1)
	ctx, stop := context.WithCancel(c.ctx)
	q := question{App: lean(app)}
	notify := func() {
		select {
		case changed <- struct{}{}:
		default: // a sign is waiting already
		}
	}
	stream := heartbeat.Loop{
		Clock: c.options.Clock, Longest: longestPause,
		Open: func(ctx context.Context, again bool) (bool, error) { return c.follow(ctx, q, again, notify) },
		Interrupted: func(err error, pause time.Duration) {
			notify() // who waits asks, and learns that nobody answers
			c.options.Log.Warn("the watch of a tree was interrupted", "application", app.Namespace+"/"+app.Name, "error", err.Error(), "retry", pause.String())
		},
	}
	go stream.Keep(ctx)
	return changed, stop
}

// follow reads one stream to its end.
func (c *Client) follow(ctx context.Context, q question, again bool, notify func()) (lived bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	response, err := c.post(ctx, pathChanges, q)
	if err != nil {
		return false, err
	}
	defer func() { _ = response.Body.Close() }()
	return heartbeat.Read(ctx, response.Body, c.options.Clock, again, notify)
}

// states is what was last heard of clusters.
type states struct {
	sync.Mutex
	known clusterStates
	asked time.Time
}

// Bounds of the states of clusters: their age, and how long a list waits.
const (
	statesLife = 3 * time.Second
	statesWait = 3 * time.Second
)

// ClusterState is what the controller knows of a cluster, at most three seconds
// old; nothing while it does not answer.
func (c *Client) ClusterState(server string) (cluster.Info, bool) {
	s := &c.states
	s.Lock()
	defer s.Unlock()
	if now := c.options.Clock.Now(); s.asked.IsZero() || now.Sub(s.asked) >= statesLife || now.Before(s.asked) {
		ctx, cancel := context.WithTimeout(c.ctx, statesWait)
		defer cancel()
		known, err := call[clusterStates](ctx, c, pathClusters, struct{}{})
		if err != nil {
			known = nil
		}
		s.known, s.asked = known, c.options.Clock.Now()
	}
	info, ok := s.known[server]
	return info, ok
}

// View says where the rollout of a set stands.
func (c *Client) View(ctx context.Context, key types.NamespacedName) (*rollout.View, error) {
	return call[*rollout.View](ctx, c, pathView, setQuestion{Key: key})
}

// Plan says what a rollout of a saved set would do if it began now.
func (c *Client) Plan(ctx context.Context, key types.NamespacedName) (*rollout.Plan, error) {
	return call[*rollout.Plan](ctx, c, pathPlan, setQuestion{Key: key})
}

// PlanOf is Plan for a manifest.
func (c *Client) PlanOf(ctx context.Context, set *v1alpha1.ApplicationSet) (*rollout.Plan, error) {
	return call[*rollout.Plan](ctx, c, pathPlanOf, setQuestion{Set: set})
}

// Ask carries out what a user asks of a rollout.
func (c *Client) Ask(ctx context.Context, key types.NamespacedName, ask rollout.Ask, user string) (string, error) {
	return call[string](ctx, c, pathAsk, setQuestion{Key: key, Ask: ask, User: user})
}

// Preview renders an ApplicationSet and writes nothing.
func (c *Client) Preview(ctx context.Context, set *v1alpha1.ApplicationSet) ([]v1alpha1.Application, error) {
	return call[[]v1alpha1.Application](ctx, c, pathPreview, setQuestion{Set: set})
}
