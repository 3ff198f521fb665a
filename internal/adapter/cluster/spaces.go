package cluster

import (
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// spaces are the namespaces in which objects of a kind are seen: "" is all of
// them, nothing is none. A connection in namespaced mode (key "namespaces" of
// the cluster Secret, spec/config.md §6.1) sees those it names, and objects
// without a namespace only with clusterResources.
func (c *Connection) spaces(m *meta.RESTMapping) []string {
	switch {
	case len(c.cluster.Namespaces) == 0:
		return []string{""}
	case m.Scope.Name() == meta.RESTScopeNameNamespace:
		return c.cluster.Namespaces
	case c.cluster.ClusterResources:
		return []string{""}
	}
	return nil
}

// noSuchResource is how an API server answers for a kind that it does not
// have, other than for an object that is not there.
const noSuchResource = "the server could not find the requested resource"

// gone says that the kind of a request is gone, not only its object.
func gone(err error) bool {
	return apierrors.IsNotFound(err) && strings.Contains(err.Error(), noSuchResource)
}

// vanished ends the watch of a kind that the cluster has no longer: what was
// seen of it is forgotten, and should the kind come back it is followed anew.
func (c *Connection) vanished(w *kindWatch, err error) {
	if !gone(err) {
		return
	}
	kind := w.gvk.GroupKind()
	c.mu.Lock()
	current := c.watches[kind] == w
	if current {
		delete(c.watches, kind)
	}
	c.mu.Unlock()
	if !current {
		return
	}
	w.stop()
	if err := c.learn(c.ctx); err != nil {
		c.fleet.options.Log.Warn("kinds not learnt", "cluster", c.cluster.Name, "error", err.Error())
		return
	}
	if _, err := c.mapping(w.gvk); !meta.IsNoMatchError(err) {
		return // it is there: the next look follows it again
	}
	c.fleet.options.Log.Info("kind is gone", "cluster", c.cluster.Name, "kind", w.gvk.String())
	for _, instance := range c.store.keep(kind, "", nil) {
		if instance != "" {
			c.changed(instance)
		}
	}
}

// explained words a refusal because of a kind that is gone as what it is
// (spec/sync.md §3).
func (c *Connection) explained(obj *unstructured.Unstructured, err error) error {
	if !gone(err) {
		return err
	}
	if problem := c.learn(c.ctx); problem != nil {
		return err
	}
	return errors.New(c.NotServed(obj))
}

// NotServed words that the cluster does not have the kind of an object, or only
// another version of it (spec/sync.md §3).
func (c *Connection) NotServed(obj *unstructured.Unstructured) string {
	gvk := obj.GroupVersionKind()
	if has := c.Version(gvk.Group, gvk.Kind); has != "" && has != gvk.Version {
		return fmt.Sprintf("The Kubernetes API could not find version %q of %s/%s for requested resource %s/%s. Version %q of %s/%s is installed on the destination cluster.",
			gvk.Version, gvk.Group, gvk.Kind, obj.GetNamespace(), obj.GetName(), has, gvk.Group, gvk.Kind)
	}
	return fmt.Sprintf("The Kubernetes API could not find %s/%s for requested resource %s/%s. Make sure the %q CRD is installed on the destination cluster.",
		gvk.Group, gvk.Kind, obj.GetNamespace(), obj.GetName(), gvk.Kind)
}
