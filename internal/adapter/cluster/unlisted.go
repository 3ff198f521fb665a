package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-cd/sluice/internal/domain/kindfilter"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// refused notes that a kind may no longer be listed, or is gone: what was seen
// of it is no longer known.
func (c *Connection) refused(w *kindWatch, namespace string, err error) {
	if gone(err) {
		c.vanished(w, err)
		return
	}
	c.fleet.options.Log.Warn("kind cannot be listed", "cluster", c.cluster.Name, "kind", w.gvk.String(), "namespace", namespace, "error", err.Error())
	for _, instance := range c.store.keep(w.gvk.GroupKind(), namespace, nil) {
		if instance != "" {
			c.changed(instance)
		}
	}
}

// watched counts the kinds that are watched; called with the lock held.
func (c *Connection) watched() (n int) {
	for _, w := range c.watches {
		if done, _, err := w.outcome(); !done || err == nil {
			n++
		}
	}
	return n
}

// leftOut says that a kind is left out of the watches, because its list is
// refused and resource.respectRBAC asks for that (spec/config.md §2.3). With
// "strict" the API server is asked whether it is really a right that lacks:
// what a gateway or a webhook forbids for a while is none.
func (c *Connection) leftOut(ctx context.Context, w *kindWatch, respect kindfilter.Respect, refusal error) bool {
	if respect == kindfilter.RespectOff || !apierrors.IsForbidden(refusal) {
		return false
	}
	if respect == kindfilter.RespectNormal {
		return true
	}
	for _, namespace := range w.unconfirmed() {
		if allowed, err := c.mayList(ctx, w.resource, namespace); err != nil || allowed {
			return false
		}
		w.confirm(namespace)
	}
	return true
}

// unconfirmed are the namespaces whose list is refused, but for those of which
// it is known that the right lacks.
func (w *kindWatch) unconfirmed() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(w.refusals)), func(n string) bool { return w.lacking[n] })
}

// confirm notes that the right to list lacks, until a list succeeds.
func (w *kindWatch) confirm(namespace string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lacking[namespace] = true
}

// mayList asks the API server whether the credential may list a resource.
func (c *Connection) mayList(ctx context.Context, r schema.GroupVersionResource, namespace string) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: authorizationv1.SchemeGroupVersion.String(), Kind: "SelfSubjectAccessReview"},
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: "list", Group: r.Group, Version: r.Version, Resource: r.Resource, Namespace: namespace,
		}},
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(review)
	if err != nil {
		return false, fmt.Errorf("access review: %w", err)
	}
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	reviews := c.dynamic.Resource(authorizationv1.SchemeGroupVersion.WithResource("selfsubjectaccessreviews"))
	answer, err := reviews.Create(bounded, &unstructured.Unstructured{Object: fields}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("access review: %w", err)
	}
	allowed, _, err := unstructured.NestedBool(answer.Object, "status", "allowed")
	return allowed, err
}

// FirstUnread is one of the objects that could not be read, and why; the error
// is nil when there is none.
func (o *Observation) FirstUnread() (object.Key, error) {
	keys := slices.SortedFunc(maps.Keys(o.Unread), func(a, b object.Key) int { return strings.Compare(a.String(), b.String()) })
	if len(keys) == 0 {
		return object.Key{}, nil
	}
	return keys[0], o.Unread[keys[0]]
}

// readsAtOnce bounds the objects that one look reads side by side.
const readsAtOnce = 8

// readUnlisted reads the objects an Application names of kinds that are not
// watched, so that the store knows them as they are now.
func (c *Connection) readUnlisted(ctx context.Context, w Want, unlisted map[schema.GroupKind]error) (map[object.Key]error, error) {
	names := map[object.Key]Named{}
	for _, n := range w.Before {
		if unlisted[n.GroupKind()] != nil {
			names[n.Key()] = n
		}
	}
	for _, t := range w.Targets {
		if gvk := t.GroupVersionKind(); unlisted[gvk.GroupKind()] != nil && t.GetName() != "" {
			names[object.KeyOf(t)] = Named{gvk, t.GetNamespace(), t.GetName()}
		}
	}
	unread := map[object.Key]error{}
	var guard sync.Mutex
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(readsAtOnce)
	for key, n := range names {
		group.Go(func() error {
			live, err := c.Read(gctx, n.GroupVersionKind, n.Namespace, n.Name)
			switch {
			case err == nil:
				trim(live)
				c.store.put(live)
				return nil
			case apierrors.IsForbidden(err):
				guard.Lock()
				unread[key] = err
				guard.Unlock()
			case !apierrors.IsNotFound(err):
				return fmt.Errorf("cluster %s: %s: %w", c.cluster.Name, key, err)
			}
			c.store.drop(key, "")
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return unread, nil
}
