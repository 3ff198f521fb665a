package cluster

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"

	"github.com/sluice-cd/sluice/internal/domain/object"
)

// kindWatch follows all objects of one kind, in all namespaces or in those
// that the connection is restricted to.
type kindWatch struct {
	gvk      schema.GroupVersionKind
	resource schema.GroupVersionResource
	stop     context.CancelFunc

	mu sync.Mutex
	// pending are the namespaces that are not listed, "" is all of them;
	// refusals say for which of them the API server forbids that, or has no
	// such kind. It is asked again all the same.
	pending  map[string]bool
	refusals map[string]error
	problem  error
	// lacking are the namespaces for which the API server confirmed that the
	// right to list lacks.
	lacking map[string]bool
	// moved closes, and is made anew, when one of the above changes.
	moved chan struct{}
}

// listed notes that one of the lists is complete; back says that it had been
// refused.
func (w *kindWatch) listed(namespace string) (back bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, back = w.refusals[namespace]
	if !back && !w.pending[namespace] {
		return false
	}
	delete(w.pending, namespace)
	delete(w.refusals, namespace)
	delete(w.lacking, namespace)
	if len(w.pending) == 0 {
		w.problem = nil
	}
	w.move()
	return back
}

// failed notes why a list is not complete; news says that it is refused from
// now on.
func (w *kindWatch) failed(namespace string, err error) (news bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problem = err
	if !apierrors.IsForbidden(err) && !gone(err) {
		return false
	}
	before, known := w.refusals[namespace]
	w.refusals[namespace] = err
	if apierrors.IsForbidden(err) {
		w.pending[namespace] = true // what was listed before holds no longer
	}
	if news = !known || gone(before) != gone(err); news {
		w.move()
	}
	return news
}

func (w *kindWatch) move() {
	close(w.moved)
	w.moved = make(chan struct{})
}

// outcome says whether all is listed (done without an error) or refused (done
// with the reason); else moved tells when to look again, and err is the last
// reason for which nothing is known yet.
func (w *kindWatch) outcome() (done bool, moved <-chan struct{}, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pending) == 0 {
		return true, nil, nil
	}
	for _, why := range w.refusals {
		return true, nil, why
	}
	return false, w.moved, w.problem
}

// wait ends when all was listed, when that is refused, or with ctx.
func (w *kindWatch) wait(ctx context.Context, conn *Connection) error {
	for {
		done, moved, err := w.outcome()
		switch {
		case done && err == nil:
			return nil
		case done:
			return fmt.Errorf("cluster %s: objects of kind %s cannot be listed: %w", conn.cluster.Name, w.gvk.Kind, err)
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("cluster %s: live objects of kind %s not listed yet: %w", conn.cluster.Name, w.gvk.Kind, errors.Join(ctx.Err(), err))
		case <-conn.ctx.Done():
			return fmt.Errorf("cluster %s: connection closed", conn.cluster.Name)
		}
	}
}

// sink receives what a reflector sees and feeds the store.
type sink struct {
	conn *Connection
	kind *kindWatch
	// namespace is the only one that is seen; empty is all.
	namespace string
}

var _ cache.ReflectorStore = (*sink)(nil)

// watchKind starts to follow a kind; it is called with the lock held.
func (c *Connection) watchKind(gvk schema.GroupVersionKind, m *meta.RESTMapping) *kindWatch {
	ctx, cancel := context.WithCancel(c.ctx)
	spaces := c.spaces(m)
	w := &kindWatch{
		gvk: gvk, resource: m.Resource, stop: cancel, pending: map[string]bool{}, refusals: map[string]error{}, lacking: map[string]bool{}, moved: make(chan struct{}),
	}
	for _, namespace := range spaces {
		w.pending[namespace] = true
	}
	for _, namespace := range spaces {
		c.reflect(ctx, w, m.Resource, namespace)
	}
	return w
}

// reflect follows a kind in one namespace, or everywhere.
func (c *Connection) reflect(ctx context.Context, w *kindWatch, gvr schema.GroupVersionResource, namespace string) {
	var resource dynamic.ResourceInterface = c.dynamic.Resource(gvr)
	if namespace != "" {
		resource = c.dynamic.Resource(gvr).Namespace(namespace)
	}
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			bounded, done := context.WithTimeout(ctx, listTimeout)
			defer done()
			list, err := resource.List(bounded, o)
			if err != nil {
				if w.failed(namespace, err) {
					c.refused(w, namespace, err)
				}
			}
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return resource.Watch(ctx, o)
		},
	}
	r := cache.NewReflectorWithOptions(lw, &unstructured.Unstructured{}, &sink{conn: c, kind: w, namespace: namespace}, cache.ReflectorOptions{
		Name: c.cluster.Name + "/" + w.gvk.Kind, TypeDescription: w.gvk.String(), MinWatchTimeout: 5 * time.Minute,
	})
	go r.RunWithContext(ctx)
}

func (s *sink) see(obj any) error {
	defer func() { // whoever may write objects to the cluster writes what is looked at here
		if r := recover(); r != nil {
			s.conn.fleet.options.Log.Error("object not understood", "cluster", s.conn.cluster.Name, "kind", s.kind.gvk.String(), "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil
	}
	trim(u)
	n, changed := s.conn.store.put(u)
	if changed && n.instance != "" {
		s.conn.fleet.tell(Change{Server: s.conn.cluster.Server, Instance: n.instance, Shown: !s.counts(n)})
	}
	if changed && n.before != nil && n.before.instance != "" && n.before.instance != n.instance {
		s.conn.changed(n.before.instance) // somebody took the object away from it
	}
	s.conn.fleet.metrics.events.WithLabelValues(s.conn.cluster.Server, s.kind.gvk.Group, s.kind.gvk.Kind).Inc()
	return nil
}

// counts says that a comparison may find something else after the change.
func (s *sink) counts(n news) bool {
	if n.before == nil || n.before.uid != n.after.uid || n.before.full == nil || n.after.full == nil {
		return !sameRecord(n.before, n.after)
	}
	return n.before.owner != n.after.owner || s.conn.fleet.matters(s.conn.ctx, n.before.full, n.after.full)
}

// trim drops what nobody reads: of managedFields the owners of status. Those
// of scale stay, for rules name autoscalers by what they own there.
func trim(u *unstructured.Unstructured) {
	metadata, _ := u.Object["metadata"].(map[string]any)
	fields, ok := metadata["managedFields"].([]any)
	if !ok {
		return
	}
	kept := make([]any, 0, len(fields))
	for _, f := range fields {
		if entry, ok := f.(map[string]any); ok && entry["subresource"] != "status" {
			kept = append(kept, f)
		}
	}
	if metadata["managedFields"] = kept; len(kept) == 0 {
		delete(metadata, "managedFields")
	}
}

// Add stores an object that appeared.
func (s *sink) Add(obj any) error { return s.see(obj) }

// Update stores an object that changed.
func (s *sink) Update(obj any) error { return s.see(obj) }

// Delete drops an object.
func (s *sink) Delete(obj any) error {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		s.conn.mu.Lock()
		delete(s.conn.predicted, object.KeyOf(u))
		s.conn.mu.Unlock()
		if instance, dropped := s.conn.store.drop(object.KeyOf(u), u.GetUID()); dropped && instance != "" {
			s.conn.changed(instance)
		}
	}
	return nil
}

// Replace takes a complete list.
func (s *sink) Replace(list []any, _ string) error {
	listed := map[object.Key]bool{}
	for _, obj := range list {
		if u, ok := obj.(*unstructured.Unstructured); ok {
			listed[object.KeyOf(u)] = true
			if err := s.see(u); err != nil {
				return err
			}
		}
	}
	for _, instance := range s.conn.store.keep(s.kind.gvk.GroupKind(), s.namespace, listed) {
		if instance != "" {
			s.conn.changed(instance)
		}
	}
	if s.kind.listed(s.namespace) {
		s.conn.fleet.tell(Change{Server: s.conn.cluster.Server}) // whoever did without it looks again
	}
	return nil
}

// Resync does nothing: the store is always complete.
func (s *sink) Resync() error { return nil }
