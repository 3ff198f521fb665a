package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	clientcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/sluice-cd/sluice/internal/domain/object"
)

// UserManager is the field manager of what people change through the API.
const UserManager = "argocd-server"

// Patch sends a patch of a person to exactly this object, not to another one of
// the same name.
func (c *Connection) Patch(ctx context.Context, live *unstructured.Unstructured, kind types.PatchType, patch []byte) (*unstructured.Unstructured, error) {
	r, err := c.resource(live.GroupVersionKind(), live.GetNamespace())
	if err != nil {
		return nil, err
	}
	if patch, err = pinned(kind, patch, live.GetUID()); err != nil {
		return nil, fmt.Errorf("%s: %w", object.KeyOf(live), err)
	}
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	updated, err := r.Patch(bounded, live.GetName(), kind, patch, metav1.PatchOptions{FieldManager: UserManager})
	c.count("patch", err)
	if err != nil {
		return nil, err
	}
	c.remember(updated)
	return updated, nil
}

// pinned makes a patch fail on an object with another UID.
func pinned(kind types.PatchType, patch []byte, uid types.UID) ([]byte, error) {
	if kind == types.JSONPatchType {
		var ops []json.RawMessage
		if err := json.Unmarshal(patch, &ops); err != nil {
			return nil, fmt.Errorf("the patch is no list of operations in JSON")
		}
		test, err := json.Marshal(map[string]any{"op": "test", "path": "/metadata/uid", "value": uid})
		if err != nil {
			return nil, err
		}
		return json.Marshal(append([]json.RawMessage{test}, ops...))
	}
	var body map[string]any
	if err := json.Unmarshal(patch, &body); err != nil {
		return nil, fmt.Errorf("the patch is no object in JSON")
	}
	meta, _ := body["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
	}
	meta["uid"] = uid
	body["metadata"] = meta
	return json.Marshal(body)
}

// Kill deletes exactly this object without waiting for its grace.
func (c *Connection) Kill(ctx context.Context, live *unstructured.Unstructured) error {
	r, err := c.resource(live.GroupVersionKind(), live.GetNamespace())
	if err != nil {
		return err
	}
	uid, grace, propagation := live.GetUID(), int64(0), metav1.DeletePropagationBackground
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err = r.Delete(bounded, live.GetName(), metav1.DeleteOptions{
		GracePeriodSeconds: &grace, PropagationPolicy: &propagation, Preconditions: &metav1.Preconditions{UID: &uid},
	})
	c.count("delete", err)
	return err
}

// maxEvents bounds one list of events.
const maxEvents = 500

// Events lists the events about an object.
func (c *Connection) Events(ctx context.Context, about corev1.ObjectReference) (*corev1.EventList, error) {
	core, err := c.core()
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	set := fields.Set{"involvedObject.name": about.Name, "involvedObject.namespace": about.Namespace}
	if about.UID != "" {
		set["involvedObject.uid"] = string(about.UID)
	}
	return core.Events(about.Namespace).List(bounded, metav1.ListOptions{FieldSelector: fields.SelectorFromSet(set).String(), Limit: maxEvents})
}

// Logs opens the log of a container until ctx ends.
func (c *Connection) Logs(ctx context.Context, namespace, pod string, o corev1.PodLogOptions) (io.ReadCloser, error) {
	core, err := c.core()
	if err != nil {
		return nil, err
	}
	return core.Pods(namespace).GetLogs(pod, &o).Stream(ctx)
}

func (c *Connection) core() (*clientcorev1.CoreV1Client, error) {
	cfg, err := restConfig(c.cluster, c.fleet.options.Hub)
	if err != nil {
		return nil, err
	}
	core, err := clientcorev1.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", c.cluster.Name, err)
	}
	return core, nil
}
