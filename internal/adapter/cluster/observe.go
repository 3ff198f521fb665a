package cluster

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/internal/domain/inspect"
	"github.com/sluice-cd/sluice/internal/domain/kindfilter"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// Want is what an Application needs to see.
type Want struct {
	Instance string
	Targets  []*unstructured.Unstructured
	// Before are objects that it managed before; their kinds are watched, too.
	Before []Named
	// Respect says what becomes of kinds that may not be listed.
	Respect kindfilter.Respect
	// Children are kinds of what becomes of the targets. They are watched, but
	// neither waited for nor missed when they may not be.
	Children []schema.GroupVersionKind
}

// Named names one object of which nothing else is known.
type Named struct {
	schema.GroupVersionKind
	Namespace, Name string
}

// Key of the object.
func (n Named) Key() object.Key {
	return object.Key{Group: n.Group, Kind: n.Kind, Namespace: n.Namespace, Name: n.Name}
}

// Observation is the live state for one Application. Objects are shared:
// callers must not change them.
type Observation struct {
	Live map[object.Key]*unstructured.Unstructured
	pods map[object.Key][]object.Pod
	// Unlisted are the kinds that are not watched, with the reason; objects of
	// them were read one by one, and Unread says why some could not be.
	Unlisted map[schema.GroupKind]error
	Unread   map[object.Key]error
}

// Pods lists the pods of the current revision below an object.
func (o *Observation) Pods(k object.Key) []object.Pod { return o.pods[k] }

// childKinds are followed beside what Applications manage.
var childKinds = []schema.GroupVersionKind{
	{Group: "apps", Version: "v1", Kind: "ReplicaSet"}, {Version: "v1", Kind: "Pod"},
}

// Observe gives the live roots of an instance and the objects that have the
// key of a target. It waits for watches of kinds that are new, until ctx ends.
// A kind that may not be listed is an error, or with Want.Respect left out of
// the watches: then only the objects that Want names are seen of it.
func (c *Connection) Observe(ctx context.Context, w Want) (*Observation, error) {
	kinds := slices.Clone(childKinds)
	for _, b := range w.Before {
		kinds = append(kinds, b.GroupVersionKind)
	}
	for _, t := range w.Targets {
		kinds = append(kinds, t.GroupVersionKind())
	}
	unlisted, err := c.follow(ctx, kinds, w.Respect)
	if err != nil {
		return nil, err
	}
	c.glance(w.Children)
	if err := c.complete(ctx, w); err != nil {
		return nil, err
	}
	unread, err := c.readUnlisted(ctx, w, unlisted)
	if err != nil {
		return nil, err
	}
	out := c.store.observe(w)
	out.Unlisted, out.Unread = unlisted, unread
	return out, nil
}

// complete notes what an Application wants and reads what was not kept in
// full so far, because nobody wanted it.
func (c *Connection) complete(ctx context.Context, w Want) error {
	s := c.store
	var bare []*unstructured.Unstructured
	s.mu.Lock()
	s.want(w.Instance, w.Targets)
	for _, t := range w.Targets {
		if n := s.byKey[object.KeyOf(t)]; n != nil && n.full == nil {
			bare = append(bare, t)
		}
	}
	s.mu.Unlock()
	for _, t := range bare {
		live, err := c.Read(ctx, t.GroupVersionKind(), t.GetNamespace(), t.GetName())
		if apierrors.IsNotFound(err) {
			continue // the watch will say so too
		}
		if err != nil {
			return err
		}
		trim(live)
		s.put(live)
	}
	return nil
}

// Read reads one object from the API server; a NotFound error says that there
// is none.
func (c *Connection) Read(ctx context.Context, gvk schema.GroupVersionKind, namespace, name string) (*unstructured.Unstructured, error) {
	r, err := c.resource(gvk, namespace)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return r.Get(bounded, name, metav1.GetOptions{})
}

// Forget drops what an Application that is gone wanted to see.
func (c *Connection) Forget(instance string) {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	c.store.want(instance, nil)
}

// Descendants lists what the given objects own, directly or not. The slices in
// it are shared: callers must not change them.
func (c *Connection) Descendants(owners []types.UID) []inspect.Node {
	c.store.mu.RLock()
	defer c.store.mu.RUnlock()
	var out []inspect.Node
	for _, uid := range owners {
		out = c.store.below(uid, maxOwners, out)
	}
	return out
}

// maxOwners bounds the chain of owners.
const maxOwners = 16

// Known gives the live roots of an instance, and the objects that it wanted
// to see last, as they are known now.
func (c *Connection) Known(instance string) *Observation {
	s := c.store
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := newObservation()
	for key := range s.wants[instance] {
		s.show(out, s.byKey[key])
	}
	for _, n := range s.byInstance[instance] {
		s.show(out, n)
	}
	return out
}

func newObservation() *Observation {
	return &Observation{Live: map[object.Key]*unstructured.Unstructured{}, pods: map[object.Key][]object.Pod{}}
}

func (s *store) observe(w Want) *Observation {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := newObservation()
	for _, n := range s.byInstance[w.Instance] {
		s.show(out, n)
	}
	for _, t := range w.Targets {
		s.show(out, s.byKey[object.KeyOf(t)])
	}
	return out
}

// show adds an object to an observation.
func (s *store) show(out *Observation, n *node) {
	if n == nil || n.full == nil || out.Live[n.key] != nil {
		return
	}
	out.Live[n.key] = n.full
	if pods := s.pods(n.uid, s.newestReplicaSet(n)); len(pods) > 0 {
		out.pods[n.key] = pods
	}
}

// follow starts missing watches and waits until all have listed; it gives the
// kinds that may not be listed, when they are to be left out.
func (c *Connection) follow(ctx context.Context, kinds []schema.GroupVersionKind, respect kindfilter.Respect) (unlisted map[schema.GroupKind]error, err error) {
	var waits []*kindWatch
	for _, gvk := range kinds {
		w, err := c.watchOf(gvk)
		if err != nil {
			return nil, err
		}
		if w != nil && !slices.Contains(waits, w) {
			waits = append(waits, w)
		}
	}
	for _, w := range waits {
		err := w.wait(ctx, c)
		if err == nil {
			continue
		}
		if !c.leftOut(ctx, w, respect, err) {
			return nil, err
		}
		if unlisted == nil {
			unlisted = map[schema.GroupKind]error{}
		}
		unlisted[w.gvk.GroupKind()] = err
	}
	return unlisted, nil
}

// watchOf gives the watch of a kind, and begins it when there is none; nil
// when there is nothing to see of it.
func (c *Connection) watchOf(gvk schema.GroupVersionKind) (*kindWatch, error) {
	c.mu.Lock()
	w := c.watches[gvk.GroupKind()]
	c.mu.Unlock()
	if w != nil {
		return w, nil
	}
	m, err := c.mapping(gvk)
	if meta.IsNoMatchError(err) {
		return nil, nil // the kind does not exist: nothing can be live
	}
	if err != nil {
		return nil, err
	}
	if len(c.spaces(m)) == 0 {
		return nil, nil // out of sight
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if w = c.watches[gvk.GroupKind()]; w == nil {
		w = c.watchKind(gvk, m)
		c.watches[gvk.GroupKind()] = w
	}
	return w, nil
}

// glance begins to watch kinds that nothing depends on.
func (c *Connection) glance(kinds []schema.GroupVersionKind) {
	for _, gvk := range kinds {
		if _, err := c.watchOf(gvk); err != nil {
			c.fleet.options.Log.Debug("kind not watched", "cluster", c.cluster.Name, "kind", gvk.String(), "error", err.Error())
		}
	}
}
