package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/csaupgrade"

	"github.com/sluice-cd/sluice/internal/domain/diff"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// clientSideManagers are managers whose fields become ours on first apply.
var clientSideManagers = sets.New("kubectl-client-side-apply", "kubectl", "helm", diff.Manager)

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

// Apply makes the live object have the fields of obj by server-side apply and
// returns a message such as "deployment.apps/web serverside-applied".
func (c *Connection) Apply(ctx context.Context, obj *unstructured.Unstructured) (string, error) {
	if err := c.migrate(ctx, obj); err != nil {
		return "", err
	}
	applied, err := c.apply(ctx, obj, false)
	c.count("apply", err)
	if err != nil {
		return "", err
	}
	c.remember(applied)
	kind := strings.ToLower(obj.GetKind())
	if g := obj.GroupVersionKind().Group; g != "" {
		kind += "." + g
	}
	return fmt.Sprintf("%s/%s serverside-applied", kind, obj.GetName()), nil
}

// remember lets the next Observe see what was just written.
func (c *Connection) remember(u *unstructured.Unstructured) {
	trim(u)
	c.store.put(u)
}

func (c *Connection) apply(ctx context.Context, obj *unstructured.Unstructured, dryRun bool) (*unstructured.Unstructured, error) {
	r, err := c.resource(obj.GroupVersionKind(), obj.GetNamespace())
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(obj)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", object.KeyOf(obj), err)
	}
	force := true
	options := metav1.PatchOptions{FieldManager: diff.Manager, Force: &force}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return r.Patch(bounded, obj.GetName(), types.ApplyPatchType, raw, options)
}

// migrate takes over, once, the fields that client-side tools own.
func (c *Connection) migrate(ctx context.Context, obj *unstructured.Unstructured) error {
	live := c.live(object.KeyOf(obj))
	if live == nil || !hasClientSide(live) {
		return nil
	}
	r, err := c.resource(obj.GroupVersionKind(), obj.GetNamespace())
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	fresh, err := r.Get(bounded, obj.GetName(), metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("migrate ownership of %s: %w", object.KeyOf(obj), err)
	}
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(fresh, clientSideManagers, diff.Manager)
	if err != nil || patch == nil {
		return err
	}
	if _, err := r.Patch(bounded, obj.GetName(), types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: diff.Manager}); err != nil {
		return fmt.Errorf("migrate ownership of %s: %w", object.KeyOf(obj), err)
	}
	return nil
}

func hasClientSide(live *unstructured.Unstructured) bool {
	for _, f := range live.GetManagedFields() {
		if f.Operation == metav1.ManagedFieldsOperationUpdate && clientSideManagers.Has(f.Manager) {
			return true
		}
	}
	return false
}

func (c *Connection) live(key object.Key) *unstructured.Unstructured {
	c.store.mu.RLock()
	defer c.store.mu.RUnlock()
	if n := c.store.byKey[key]; n != nil {
		return n.full
	}
	return nil
}

// prediction is a remembered answer of the API server.
type prediction struct {
	object *unstructured.Unstructured
	err    error
}

// maxPredictions bounds the remembered answers of one cluster.
const maxPredictions = 4096

// Predict asks what the object would be after an apply. The answer is
// remembered for this desired object and this live version.
func (c *Connection) Predict(ctx context.Context, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	raw, err := json.Marshal(obj)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", object.KeyOf(obj), err)
	}
	version := ""
	live := c.live(object.KeyOf(obj))
	if live != nil {
		version = live.GetResourceVersion()
	}
	sum := sha256.Sum256(raw)
	key := hex.EncodeToString(sum[:]) + version
	c.mu.Lock()
	found, ok := c.predicted[key]
	c.mu.Unlock()
	if ok {
		return found.object, found.err
	}
	answer, err := c.apply(ctx, obj, true)
	c.count("dry-run", err)
	if Unreachable(err) || live == nil {
		return answer, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.predicted) >= maxPredictions {
		clear(c.predicted)
	}
	c.predicted[key] = prediction{answer, err}
	return answer, err
}

// Create creates an object; an existing one is an AlreadyExists error.
func (c *Connection) Create(ctx context.Context, obj *unstructured.Unstructured) error {
	r, err := c.resource(obj.GroupVersionKind(), obj.GetNamespace())
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	created, err := r.Create(bounded, obj, metav1.CreateOptions{FieldManager: diff.Manager})
	c.count("create", err)
	if err != nil {
		return err
	}
	c.remember(created)
	return nil
}

// Delete deletes exactly this object, not another one of the same name; one
// that is gone is fine.
func (c *Connection) Delete(ctx context.Context, live *unstructured.Unstructured, propagation metav1.DeletionPropagation) error {
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

// RemoveFinalizer takes one finalizer off exactly this object.
func (c *Connection) RemoveFinalizer(ctx context.Context, live *unstructured.Unstructured, finalizer string) error {
	r, err := c.resource(live.GroupVersionKind(), live.GetNamespace())
	if err != nil {
		return err
	}
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
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": rest, "resourceVersion": fresh.GetResourceVersion()}})
	if err != nil {
		return fmt.Errorf("%s: %w", object.KeyOf(live), err)
	}
	updated, err := r.Patch(bounded, live.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: diff.Manager})
	c.count("release", err)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err == nil {
		c.remember(updated)
	}
	return err
}

// NamespaceExists reads live, because namespaces are not always watched.
func (c *Connection) NamespaceExists(ctx context.Context, name string) (bool, error) {
	r, err := c.resource(schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}, "")
	if err != nil {
		return false, err
	}
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err = r.Get(bounded, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}
