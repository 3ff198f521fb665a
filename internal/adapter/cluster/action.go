package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/internal/domain/diff"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// TryCreate asks the API server whether it would create an object.
func (c *Connection) TryCreate(ctx context.Context, obj *unstructured.Unstructured) error {
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
	_, err = r.Create(bounded, obj, metav1.CreateOptions{FieldManager: diff.Manager, DryRun: []string{metav1.DryRunAll}})
	c.count("dry-run", err)
	return err
}

// Merge sends a JSON merge patch to exactly this object, not to another one of
// the same name, or to a subresource of it such as "status".
func (c *Connection) Merge(ctx context.Context, live *unstructured.Unstructured, patch []byte, subresource ...string) error {
	release, err := c.slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	r, err := c.resource(live.GroupVersionKind(), live.GetNamespace())
	if err != nil {
		return err
	}
	var body map[string]any
	if err := json.Unmarshal(patch, &body); err != nil {
		return fmt.Errorf("%s: patch: %w", object.KeyOf(live), err)
	}
	meta, _ := body["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
	}
	meta["uid"] = live.GetUID() // the server refuses another one
	body["metadata"] = meta
	if patch, err = json.Marshal(body); err != nil {
		return fmt.Errorf("%s: patch: %w", object.KeyOf(live), err)
	}
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	updated, err := r.Patch(bounded, live.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: diff.Manager}, subresource...)
	c.count("patch", err)
	if err == nil {
		c.remember(updated)
	}
	return err
}
