package application

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/domain/diff"
	"github.com/sluice-cd/sluice/internal/domain/health"
	"github.com/sluice-cd/sluice/internal/domain/inspect"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

var _ inspect.Reader = (*Controller)(nil)

// catchUpTimeout is how long a question waits until the cache of this process has what
// the process that asks has seen. Both watch the same hub.
const catchUpTimeout = 5 * time.Second

// since loads an Application that is at least as new as the one that was seen.
func (c *Controller) since(ctx context.Context, seen inspect.Seen) (*v1alpha1.Application, error) {
	arrived := make(chan struct{}, 1)
	stop := c.arrivals.add(seen.NamespacedName, func() {
		select {
		case arrived <- struct{}{}:
		default:
		}
	})
	defer stop()
	waiting, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	want := version(&v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{ResourceVersion: seen.ResourceVersion}})
	for {
		app, err := c.load(ctx, seen.NamespacedName)
		behind := err == nil && version(app) < want || apierrors.IsNotFound(err) && want > 0
		if !behind {
			return app, err
		}
		select {
		case <-arrived:
		case <-waiting.Done():
			if err == nil {
				err = fmt.Errorf("this controller has not seen version %s of Application %s yet, only %s: is its watch of the hub slow? Try again", seen.ResourceVersion, seen, app.ResourceVersion)
			}
			return nil, cmp.Or(ctx.Err(), err)
		}
	}
}

// inspect begins a pass that only reads.
func (c *Controller) inspect(ctx context.Context, seen inspect.Seen) (*pass, error) {
	app, err := c.since(ctx, seen)
	if err != nil {
		if apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("Application %s: %w", seen, inspect.ErrNoApplication) //nolint:staticcheck // names an object
		}
		return nil, err
	}
	p := newPass(c, app, c.Log.With("application", seen.String()))
	p.refresh = ""
	if err := p.locate(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// Resources implements inspect.Reader.
func (c *Controller) Resources(ctx context.Context, seen inspect.Seen) ([]inspect.Resource, error) {
	p, err := c.inspect(ctx, seen)
	if err != nil {
		return nil, err
	}
	if state := p.conn.State(); state.Status != cluster.StatusSuccessful {
		return nil, fmt.Errorf("cluster %s does not answer: %s", p.cluster.Name, state.Message)
	}
	sources := p.app.Spec.GetSources()
	ids := revisions(p.app.Status.Sync)
	if len(ids) != len(sources) {
		if ids, err = p.resolve(ctx, sources, false); err != nil {
			return nil, err
		}
	}
	v, err := p.look(ctx, sources, ids, asIs)
	if err != nil {
		return nil, err
	}
	j := p.judgement(&v.verdicts)
	var out []inspect.Resource
	for _, pair := range v.pairs {
		if pair.Target != nil && syncplan.Skipped(pair.Target) {
			continue
		}
		out = append(out, j.side(ctx, pair))
	}
	return out, nil
}

// side puts one pair side by side, without secrets.
func (j judgement) side(ctx context.Context, pair syncplan.Pair) inspect.Resource {
	known := cmp.Or(pair.Live, pair.Target)
	r := inspect.Resource{Object: inspect.Of(known), Unknown: j.found.unknown[pair.Key]}
	r.Target, r.Live = diff.Masked(pair.Target, pair.Live, j.options.MaskAnnotations)
	if pair.Live != nil {
		r.ResourceVersion = pair.Live.GetResourceVersion()
	}
	if r.Unknown != "" { // no prediction is possible: what Git asks for stands for it
		r.NormalizedLive, r.Predicted = r.Live, r.Target
		return r
	}
	result, compared := j.found.results[pair.Key]
	if !compared {
		// Not different, missing or to be pruned: no prediction is needed.
		var err error
		result, err = diff.Compare(ctx, diff.Input{
			Desired: pair.Target, Live: pair.Live, Predicted: pair.Live, Ignore: j.rules.For(pair.Key), Options: j.options,
		})
		if err != nil {
			r.Unknown = err.Error()
		}
	}
	r.NormalizedLive, r.Predicted, r.Modified, r.Text = result.Live, result.Predicted, result.Modified, result.Text()
	return r
}

// Tree implements inspect.Reader.
func (c *Controller) Tree(ctx context.Context, seen inspect.Seen) (inspect.Tree, error) {
	p, err := c.inspect(ctx, seen)
	if err != nil {
		return inspect.Tree{}, err
	}
	nodes := p.nodes(ctx)
	out := inspect.Tree{Nodes: nodes}
	for _, k := range p.strays(ctx, among(nodes)) {
		out.Orphans = append(out.Orphans, inspect.Node{Object: inspect.Object{
			Group: k.Group, Version: p.conn.Version(k.Group, k.Kind), Kind: k.Kind, Namespace: k.Namespace, Name: k.Name,
		}})
	}
	return out, nil
}

func among(nodes []inspect.Node) func(object.Key) bool {
	return func(k object.Key) bool {
		return slices.ContainsFunc(nodes, func(n inspect.Node) bool { return n.Key() == k })
	}
}

// nodes are made of what the status names and what is live.
func (p *pass) nodes(ctx context.Context) []inspect.Node {
	seen := p.conn.Known(p.instance)
	roots := map[object.Key]inspect.Node{}
	for _, r := range p.app.Status.Resources {
		o := inspect.Object{Group: r.Group, Version: r.Version, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}
		n := inspect.Node{Object: o}
		if r.Health != nil {
			n.Health = &health.Status{Code: r.Health.Status, Message: r.Health.Message}
		}
		roots[o.Key()] = n
	}
	var owners []types.UID
	for k, live := range seen.Live {
		if owner, self := p.systemRules().tracking.Owner(live); roots[k].Kind == "" && (!self || owner != p.instance) || !p.permits(live) {
			continue
		}
		n := inspect.Describe(live)
		if v := p.Health.Assess(ctx, live, seen.Pods(k)); v.Known {
			n.Health = &v.Status
		}
		roots[k] = n
		owners = append(owners, live.GetUID())
	}
	list := make([]inspect.Node, 0, len(roots))
	for _, n := range roots {
		list = append(list, n)
	}
	return inspect.Grow(list, p.conn.Descendants(owners))
}

// Object implements inspect.Reader.
func (c *Controller) Object(ctx context.Context, seen inspect.Seen, o inspect.Object) (*unstructured.Unstructured, error) {
	p, err := c.inspect(ctx, seen)
	if err != nil {
		return nil, err
	}
	missing := fmt.Errorf("%s %s %s %w %s", o.Kind, o.Group, o.Name, inspect.ErrNoObject, seen.Name)
	nodes := p.nodes(ctx)
	i := slices.IndexFunc(nodes, func(n inspect.Node) bool {
		return n.Key() == o.Key() && (o.Version == "" || n.Version == o.Version) && (o.UID == "" || n.UID == o.UID)
	})
	version := o.Version
	switch {
	case i >= 0 && nodes[i].UID != "":
		version = nodes[i].Version
	case i >= 0 || !slices.Contains(p.strays(ctx, among(nodes)), o.Key()):
		return nil, missing
	case version == "":
		version = p.conn.Version(o.Group, o.Kind)
	}
	live, err := p.conn.Read(ctx, schema.GroupVersionKind{Group: o.Group, Version: version, Kind: o.Kind}, o.Namespace, o.Name)
	if apierrors.IsNotFound(err) {
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	_, masked := diff.Masked(nil, live, p.systemRules().parsed.Compare.MaskAnnotations)
	return masked, nil
}

// Watch implements inspect.Reader.
func (c *Controller) Watch(key types.NamespacedName, notify func()) (cancel func()) {
	return c.watchers.add(key, notify)
}
