package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/sluice-cd/sluice/internal/domain/diff"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

// annotated is the object with the annotation in which client-side tools keep
// what they applied.
func (w *write) annotated() (*unstructured.Unstructured, error) {
	out := w.obj.DeepCopy()
	annotations := out.GetAnnotations()
	delete(annotations, corev1.LastAppliedConfigAnnotation)
	out.SetAnnotations(annotations)
	raw, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", object.KeyOf(w.obj), err)
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[corev1.LastAppliedConfigAnnotation] = string(raw)
	out.SetAnnotations(annotations)
	return out, nil
}

func (w *write) get(ctx context.Context) (*unstructured.Unstructured, error) {
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return w.resource.Get(bounded, w.obj.GetName(), metav1.GetOptions{})
}

func (w *write) create(ctx context.Context, obj *unstructured.Unstructured) (*unstructured.Unstructured, string, error) {
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	done, err := w.resource.Create(bounded, obj, metav1.CreateOptions{FieldManager: diff.Manager, DryRun: w.dryRunOption(), FieldValidation: w.validation()})
	return done, "created", err
}

// clientSide is the three-way apply of client-side tools: what the last apply
// had and this one has not is removed, what others added stays.
func (w *write) clientSide(ctx context.Context) (*unstructured.Unstructured, string, error) {
	wanted, err := w.annotated()
	if err != nil {
		return nil, "", err
	}
	live, err := w.get(ctx)
	if apierrors.IsNotFound(err) {
		return w.create(ctx, wanted)
	}
	if err != nil {
		return nil, "", err
	}
	if w.rebound(live) {
		return w.recreate(ctx, wanted, live)
	}
	kind, patch, err := threeWay(wanted, live)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", w.name(), err)
	}
	if string(patch) == "{}" {
		return live, "unchanged", nil
	}
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	done, err := w.resource.Patch(bounded, w.obj.GetName(), kind, patch, metav1.PatchOptions{
		FieldManager: diff.Manager, DryRun: w.dryRunOption(), FieldValidation: w.validation(),
	})
	if w.manner.Force && (apierrors.IsInvalid(err) || apierrors.IsConflict(err)) {
		return w.recreate(ctx, wanted, live)
	}
	return done, "configured", err
}

// rebound says that a binding points to another role, which the API server
// only allows for a new object.
func (w *write) rebound(live *unstructured.Unstructured) bool {
	if w.obj.GroupVersionKind().Group != "rbac.authorization.k8s.io" || live == nil {
		return false
	}
	want, bound := w.obj.Object["roleRef"].(map[string]any)
	have, _ := live.Object["roleRef"].(map[string]any)
	return bound && have != nil && (want["kind"] != have["kind"] || want["name"] != have["name"])
}

// BuiltIn is what is known of a kind of Kubernetes itself, nothing of others.
func BuiltIn(gvk schema.GroupVersionKind) diff.Kind {
	typed, err := scheme.Scheme.New(gvk)
	if err != nil {
		return diff.Kind{}
	}
	lists, err := strategicpatch.NewPatchMetaFromStruct(typed)
	if err != nil {
		return diff.Kind{}
	}
	return diff.Kind{Lists: lists, New: func() any { return typed.DeepCopyObject() }}
}

// threeWay computes the patch from what was applied last, what is wanted and
// what is live. Built-in kinds have lists that merge by key.
func threeWay(wanted, live *unstructured.Unstructured) (types.PatchType, []byte, error) {
	original := []byte(live.GetAnnotations()[corev1.LastAppliedConfigAnnotation])
	if !json.Valid(original) {
		original = nil
	}
	modified, err := json.Marshal(wanted)
	if err != nil {
		return "", nil, err
	}
	current, err := json.Marshal(live)
	if err != nil {
		return "", nil, err
	}
	lists := BuiltIn(wanted.GroupVersionKind()).Lists
	if lists == nil {
		if original == nil {
			original = []byte("{}")
		}
		patch, err := jsonmergepatch.CreateThreeWayJSONMergePatch(original, modified, current)
		return types.MergePatchType, patch, err
	}
	patch, err := strategicpatch.CreateThreeWayMergePatch(original, modified, current, lists, true)
	return types.StrategicMergePatchType, patch, err
}

// updated is what is said of kinds that are never created anew.
const updated = "updated"

// replace puts the object in the place of the live one; with Force it deletes
// that first.
func (w *write) replace(ctx context.Context) (*unstructured.Unstructured, string, error) {
	wanted, err := w.annotated()
	if err != nil {
		return nil, "", err
	}
	live, err := w.get(ctx)
	if apierrors.IsNotFound(err) {
		return w.create(ctx, wanted)
	}
	if err != nil {
		return nil, "", err
	}
	verb := "replaced"
	switch w.obj.GetKind() {
	case "CustomResourceDefinition", "Namespace":
		verb = updated
	default:
		if w.manner.Force {
			return w.recreate(ctx, wanted, live)
		}
	}
	wanted.SetResourceVersion(live.GetResourceVersion())
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	done, err := w.resource.Update(bounded, wanted, metav1.UpdateOptions{FieldManager: diff.Manager, DryRun: w.dryRunOption(), FieldValidation: w.validation()})
	return done, verb, err
}

// Times of a recreation: how often is looked whether the old object is gone,
// and how long.
const (
	gonePause = 50 * time.Millisecond
	goneLimit = 20 * time.Second
)

// recreate deletes exactly the object that was seen, waits until it is gone
// and creates the new one. In a dry run nothing can be said about it.
func (w *write) recreate(ctx context.Context, wanted, live *unstructured.Unstructured) (*unstructured.Unstructured, string, error) {
	if w.dryRun {
		return wanted, "recreated", nil
	}
	if live.GetDeletionTimestamp() == nil {
		if err := w.remove(ctx, live, metav1.DeletePropagationBackground); err != nil {
			return nil, "", err
		}
	}
	bounded, cancel := context.WithTimeout(ctx, goneLimit)
	defer cancel()
	for {
		found, err := w.get(bounded)
		if apierrors.IsNotFound(err) || err == nil && found.GetUID() != live.GetUID() {
			break
		}
		timer := w.fleet.options.Clock.NewTimer(gonePause)
		select {
		case <-timer.C():
		case <-bounded.Done():
			timer.Stop()
			return nil, "", fmt.Errorf("%s is still being deleted, its finalizers are %v: see what holds them", w.name(), live.GetFinalizers())
		}
	}
	w.store.drop(object.KeyOf(live), live.GetUID())
	if w.manner.Mode == syncplan.ServerSide && w.refused == nil {
		done, err := w.serverSide(ctx)
		return done, "recreated", err
	}
	done, _, err := w.create(ctx, wanted)
	return done, "recreated", err
}

// AwaitDefinition waits a little until a custom resource definition that was
// just applied is served, and learns the kind it defines.
func (c *Connection) AwaitDefinition(ctx context.Context, crd *unstructured.Unstructured) error {
	r, err := c.resource(crd.GroupVersionKind(), "")
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, establishedLimit)
	defer cancel()
	for {
		live, err := r.Get(bounded, crd.GetName(), metav1.GetOptions{})
		if err == nil && established(live) {
			return c.learn(ctx)
		}
		timer := c.fleet.options.Clock.NewTimer(establishedPause)
		select {
		case <-timer.C():
		case <-bounded.Done():
			timer.Stop()
			return fmt.Errorf("CustomResourceDefinition/%s is not established after %s", crd.GetName(), establishedLimit)
		}
	}
}

const (
	establishedPause = 100 * time.Millisecond
	establishedLimit = 3 * time.Second
)

func established(crd *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == "Established" && m["status"] == "True" {
			return true
		}
	}
	return false
}
