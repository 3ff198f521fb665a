package cluster

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/sluice-cd/sluice/internal/domain/object"
)

// kindWatch follows all objects of one kind.
type kindWatch struct {
	gvk    schema.GroupVersionKind
	synced chan struct{}
	stop   context.CancelFunc
}

// sink receives what a reflector sees and feeds the store.
type sink struct {
	conn *Connection
	kind *kindWatch
	done bool
}

var _ cache.ReflectorStore = (*sink)(nil)

// watchKind starts to follow a kind; it is called with the lock held.
func (c *Connection) watchKind(gvk schema.GroupVersionKind, gvr schema.GroupVersionResource) *kindWatch {
	ctx, cancel := context.WithCancel(c.ctx)
	w := &kindWatch{gvk: gvk, synced: make(chan struct{}), stop: cancel}
	resource := c.dynamic.Resource(gvr)
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			bounded, done := context.WithTimeout(ctx, listTimeout)
			defer done()
			return resource.List(bounded, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return resource.Watch(ctx, o)
		},
	}
	r := cache.NewReflectorWithOptions(lw, &unstructured.Unstructured{}, &sink{conn: c, kind: w}, cache.ReflectorOptions{
		Name: c.cluster.Name + "/" + gvk.Kind, TypeDescription: gvk.String(), MinWatchTimeout: 5 * time.Minute,
	})
	go r.RunWithContext(ctx)
	return w
}

func (s *sink) see(obj any) error {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil
	}
	trim(u)
	if n, changed := s.conn.store.put(u); changed && n.instance != "" {
		s.conn.fleet.tell(Change{Server: s.conn.cluster.Server, Instance: n.instance, Shown: !s.counts(n)})
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
	for _, instance := range s.conn.store.keep(s.kind.gvk.Group, s.kind.gvk.Kind, listed) {
		if instance != "" {
			s.conn.changed(instance)
		}
	}
	if !s.done {
		s.done = true
		close(s.kind.synced)
	}
	return nil
}

// Resync does nothing: the store is always complete.
func (s *sink) Resync() error { return nil }
