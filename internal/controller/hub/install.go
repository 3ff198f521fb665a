// Package hub prepares the cluster that Sluice manages from.
package hub

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/config"
)

// fieldManager owns what Install applies.
const fieldManager = "sluice-install"

// Install puts custom resource definitions, the namespace, the default project
// and empty settings on the hub. Settings and projects that exist are left as
// they are. progress is called with a line for people.
func Install(ctx context.Context, cfg *rest.Config, namespace string, progress func(string)) error {
	c, err := client.New(cfg, client.Options{})
	if err != nil {
		return fmt.Errorf("connect to the hub: %w", err)
	}
	crds, err := config.CRDs()
	if err != nil {
		return err
	}
	for _, crd := range crds {
		if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(crd), client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
			return fmt.Errorf("CustomResourceDefinition %s: %w", crd.GetName(), err)
		}
		progress("applied CustomResourceDefinition " + crd.GetName())
	}
	for _, crd := range crds {
		if err := established(ctx, c, crd.GetName()); err != nil {
			return err
		}
	}
	ns := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": namespace}}}
	if err := c.Create(ctx, ns); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("namespace %s: %w", namespace, err)
	}
	objects, err := config.Install()
	if err != nil {
		return err
	}
	fresh, err := client.New(cfg, client.Options{}) // knows the new kinds
	if err != nil {
		return fmt.Errorf("connect to the hub: %w", err)
	}
	for _, o := range objects {
		o.SetNamespace(namespace)
		err := retry(ctx, func() error { return fresh.Create(ctx, o.DeepCopy()) })
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
		}
		if err == nil {
			progress(fmt.Sprintf("created %s %s/%s", o.GetKind(), namespace, o.GetName()))
		}
	}
	return nil
}

// retry repeats while the API server has not caught up with new kinds.
func retry(ctx context.Context, do func() error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, 15*time.Second, true, func(context.Context) (bool, error) {
		last = do()
		if last == nil || apierrors.IsAlreadyExists(last) {
			return true, nil
		}
		if apierrors.IsNotFound(last) || meta.IsNoMatchError(last) {
			return false, nil
		}
		return false, last
	})
	if last != nil {
		return last
	}
	return err
}

func established(ctx context.Context, c client.Client, name string) error {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		if err := c.Get(ctx, client.ObjectKey{Name: name}, u); err != nil {
			return false, err
		}
		conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
		for _, item := range conditions {
			if m, ok := item.(map[string]any); ok && m["type"] == "Established" && m["status"] == string(metav1.ConditionTrue) {
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("CustomResourceDefinition %s is not established: %w", name, err)
	}
	return nil
}
