package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/admin/backup"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// maxTries bounds how often a write is repeated when somebody else writes too.
const maxTries = 8

// put creates or updates an object.
func (h *hub) put(ctx context.Context, f *restoreFlags, s backup.Step) error {
	for try := 1; ; try++ {
		var err error
		if s.Live == nil {
			err = h.create(ctx, s.Want)
		} else {
			err = h.update(ctx, backup.Merged(s.Want, s.Live, f.Options))
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return err
		}
		if !f.override || try == maxTries {
			return fail.New("stop what writes there, or add --override-on-conflict; what was imported so far stays", "somebody else wrote it at the same time: %w", err)
		}
		s.Live = &unstructured.Unstructured{}
		s.Live.SetGroupVersionKind(s.ID.Kind)
		if err := h.client.Get(ctx, client.ObjectKey{Namespace: s.ID.Namespace, Name: s.ID.Name}, s.Live); err != nil {
			return err
		}
	}
}

// create makes an object with its status. ApplicationSets keep theirs in a
// subresource, which a creation does not write: one with a rollout is created
// paused, so that a controller that runs already begins nothing before it knows
// where the rollout stood.
func (h *hub) create(ctx context.Context, want *unstructured.Unstructured) error {
	o := want.DeepCopy()
	status, has := o.Object["status"]
	_, rolling, _ := unstructured.NestedFieldNoCopy(o.Object, "status", "rollout")
	was, paused := o.GetAnnotations()[v1alpha1.AnnotationPauseRollout]
	if o.GroupVersionKind() != backup.ApplicationSet || !has {
		return h.client.Create(ctx, o)
	}
	if rolling {
		annotations := o.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[v1alpha1.AnnotationPauseRollout] = "true"
		o.SetAnnotations(annotations)
	}
	if err := h.client.Create(ctx, o); err != nil {
		return err
	}
	if err := h.writeStatus(ctx, o, status); err != nil {
		return fmt.Errorf("it was created and is paused, but its status was not restored: delete it without its Applications, and import again: %w", err)
	}
	if !rolling || paused && was == "true" {
		return nil
	}
	var value any // none removes the annotation
	if paused {
		value = was
	}
	raw, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{v1alpha1.AnnotationPauseRollout: value}}})
	if err != nil {
		return err
	}
	return h.client.Patch(ctx, o, client.RawPatch(types.MergePatchType, raw))
}

// writeStatus writes a status whoever else does: it is what was there before.
func (h *hub) writeStatus(ctx context.Context, o *unstructured.Unstructured, status any) error {
	for try := 1; ; try++ {
		o.Object["status"] = status
		err := h.client.Status().Update(ctx, o)
		if !apierrors.IsConflict(err) || try == maxTries {
			return err
		}
		if err := h.client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
	}
}

// update writes an object, its status first: what is there must be known before
// anything can go on.
func (h *hub) update(ctx context.Context, o *unstructured.Unstructured) error {
	next := o.DeepCopy()
	if status, has := o.Object["status"]; has && o.GroupVersionKind() == backup.ApplicationSet {
		next.Object["status"] = status
		if err := h.client.Status().Update(ctx, next); err != nil {
			return err
		}
		o.SetResourceVersion(next.GetResourceVersion())
		next = o
	}
	return h.client.Update(ctx, next)
}

// goneTimeout bounds the wait for an ApplicationSet to be gone.
const goneTimeout = time.Minute

// prune deletes an object, and nothing else: without finalizers nobody takes down
// what it manages. That it has none when it is deleted is made sure by its
// version, since a controller may put them back.
func (h *hub) prune(ctx context.Context, live *unstructured.Unstructured) error {
	policy := metav1.DeletePropagationBackground
	if live.GroupVersionKind() == backup.ApplicationSet {
		policy = metav1.DeletePropagationOrphan // its Applications
	}
	uid := live.GetUID()
	for try := 1; ; try++ {
		o := live.DeepCopy()
		err := h.client.Patch(ctx, o, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
		if err == nil && o.GetUID() == uid {
			version := o.GetResourceVersion()
			err = h.client.Delete(ctx, o, client.PropagationPolicy(policy), client.Preconditions{UID: &uid, ResourceVersion: &version})
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		if apierrors.IsConflict(err) && try < maxTries {
			continue
		}
		if err != nil || live.GroupVersionKind() != backup.ApplicationSet {
			return err
		}
		break
	}
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, goneTimeout, true, func(ctx context.Context) (bool, error) {
		err := h.client.Get(ctx, client.ObjectKeyFromObject(live), live.DeepCopy())
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return false, err
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		return fail.New("look at its finalizers, and whether kube-controller-manager runs", "it is not gone after %s", goneTimeout)
	}
	return err
}
