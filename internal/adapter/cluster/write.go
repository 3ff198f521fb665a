package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/sluice-cd/sluice/internal/domain/diff"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// resource addresses the API for one object.
func (c *Connection) resource(gvk schema.GroupVersionKind, namespace string) (dynamic.ResourceInterface, error) {
	m, err := c.mapping(gvk)
	if meta.IsNoMatchError(err) {
		return nil, fmt.Errorf("The Kubernetes API could not find %s/%s for requested resource. Make sure the %q CRD is installed on the destination cluster.", gvk.Group, gvk.Kind, gvk.Kind) //nolint:staticcheck // tools match on this text
	}
	if err != nil {
		return nil, err
	}
	if m.Scope.Name() == meta.RESTScopeNameNamespace {
		return c.dynamic.Resource(m.Resource).Namespace(namespace), nil
	}
	return c.dynamic.Resource(m.Resource), nil
}

// writesAtOnce bounds the writes and dry runs on their way to one cluster.
const writesAtOnce = 32

// slot waits until one more write may be on its way.
func (c *Connection) slot(ctx context.Context) (release func(), err error) {
	select {
	case c.slots <- struct{}{}:
		return func() { <-c.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *Connection) count(verb string, err error) {
	result := "ok"
	switch {
	case Unreachable(err):
		result = "unreachable"
	case err != nil:
		result = "refused"
	}
	c.fleet.metrics.requests.WithLabelValues(c.cluster.Server, verb, result).Inc()
}

// remember lets the next Observe see what was just written.
func (c *Connection) remember(u *unstructured.Unstructured) {
	trim(u)
	c.store.put(u)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.predicted, object.KeyOf(u)) // it spoke of the version before
}

func (c *Connection) live(key object.Key) *unstructured.Unstructured {
	c.store.mu.RLock()
	defer c.store.mu.RUnlock()
	if n := c.store.byKey[key]; n != nil {
		return n.full
	}
	return nil
}

// Create creates an object; an existing one is an AlreadyExists error.
func (c *Connection) Create(ctx context.Context, obj *unstructured.Unstructured) error {
	release, err := c.slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	r, err := c.resource(obj.GroupVersionKind(), obj.GetNamespace())
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	created, err := r.Create(bounded, obj, metav1.CreateOptions{FieldManager: diff.Manager})
	c.count("create", err)
	if err != nil {
		return c.explained(obj, err)
	}
	c.remember(created)
	return nil
}

// Delete deletes exactly this object, not another one of the same name; one
// that is gone is fine.
func (c *Connection) Delete(ctx context.Context, live *unstructured.Unstructured, propagation metav1.DeletionPropagation) error {
	release, err := c.slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	return c.remove(ctx, live, propagation)
}

// remove is Delete for who has a slot already.
func (c *Connection) remove(ctx context.Context, live *unstructured.Unstructured, propagation metav1.DeletionPropagation) error {
	r, err := c.resource(live.GroupVersionKind(), live.GetNamespace())
	if err != nil {
		return err
	}
	uid := live.GetUID()
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err = r.Delete(bounded, live.GetName(), metav1.DeleteOptions{
		PropagationPolicy: &propagation, Preconditions: &metav1.Preconditions{UID: &uid},
	})
	c.count("delete", err)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		c.store.drop(object.KeyOf(live), uid)
		return nil
	}
	return err
}

// releaseAttempts bounds the repetitions when others write at the same time.
const releaseAttempts = 5

// RemoveFinalizer takes one finalizer off exactly this object; when somebody
// else writes at the same time it looks again.
func (c *Connection) RemoveFinalizer(ctx context.Context, live *unstructured.Unstructured, finalizer string) error {
	release, err := c.slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	r, err := c.resource(live.GroupVersionKind(), live.GetNamespace())
	if err != nil {
		return err
	}
	for range releaseAttempts {
		if err = c.release(ctx, r, live, finalizer); !apierrors.IsConflict(err) {
			break
		}
	}
	c.count("release", err)
	return err
}

func (c *Connection) release(ctx context.Context, r dynamic.ResourceInterface, live *unstructured.Unstructured, finalizer string) error {
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	fresh, err := r.Get(bounded, live.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) || (err == nil && fresh.GetUID() != live.GetUID()) {
		c.store.drop(object.KeyOf(live), live.GetUID())
		return nil
	}
	if err != nil {
		return err
	}
	rest := []string{}
	for _, f := range fresh.GetFinalizers() {
		if f != finalizer {
			rest = append(rest, f)
		}
	}
	if len(rest) == len(fresh.GetFinalizers()) {
		c.remember(fresh)
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": rest, "resourceVersion": fresh.GetResourceVersion()}})
	if err != nil {
		return fmt.Errorf("%s: %w", object.KeyOf(live), err)
	}
	updated, err := r.Patch(bounded, live.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: diff.Manager})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err == nil {
		c.remember(updated)
	}
	return err
}

// Namespace reads live, because namespaces are not always watched; nil when
// there is none of the name.
func (c *Connection) Namespace(ctx context.Context, name string) (*unstructured.Unstructured, error) {
	r, err := c.resource(schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}, "")
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	found, err := r.Get(bounded, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return found, nil
}
