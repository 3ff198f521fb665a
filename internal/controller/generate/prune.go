package generate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
)

// guardSetting switches the deletion guard of sets that say nothing; its value
// is on, the default, or off.
const guardSetting = "applicationsetcontroller.deletion.guard"

// prune deletes Applications that are no longer generated, unless the drop is
// held back; then it says so and deletes nothing.
func (e *evaluation) prune(ctx context.Context, got *evaluated, d decider, live map[string]*v1alpha1.Application) (appset.Ruling, error) {
	surplus, owned := d.surplus(got.rendered, live)
	if d.keepsSurplus() {
		for _, name := range surplus { // kept by policy: then nobody may hold it
			if err := e.letGo(ctx, live[name], nil); err != nil {
				return appset.Ruling{}, fmt.Errorf("application %s: %w", name, err)
			}
		}
		return appset.Ruling{}, nil
	}
	drop := e.newDrop(got, surplus, owned)
	drop.Held = e.held()
	e.mu.Lock()
	drop.Confirmed = e.confirmed[e.key]
	e.mu.Unlock()
	ruling := appset.Rule(drop)
	return ruling, e.carryOut(ctx, ruling, surplus, live)
}

// carryOut does what the guard ruled.
func (e *evaluation) carryOut(ctx context.Context, ruling appset.Ruling, surplus []string, live map[string]*v1alpha1.Application) error {
	e.announceGuard(ruling, len(surplus))
	if ruling.Refused != "" {
		e.Recorder.Event(e.set, corev1.EventTypeWarning, "DeletionConfirmationRefused", ruling.Refused)
		if err := e.unmark(ctx, v1alpha1.AnnotationConfirmDeletion); err != nil {
			return err
		}
	}
	if ruling.Confirmed && len(surplus) > 0 {
		e.mu.Lock()
		e.confirmed[e.key] = surplus
		e.mu.Unlock()
	}
	if ruling.Delete {
		for _, name := range surplus {
			if err := e.remove(ctx, live[name]); err != nil {
				return fmt.Errorf("application %s: %w", name, err)
			}
		}
	}
	if !ruling.Confirmed {
		return nil
	}
	if err := e.unmark(ctx, v1alpha1.AnnotationConfirmDeletion); err != nil {
		return err
	}
	e.mu.Lock()
	delete(e.confirmed, e.key)
	e.mu.Unlock()
	return nil
}

// held are the messages by which people know of a drop that is held back.
func (e *evaluation) held() []string {
	var out []string
	e.mu.Lock()
	if m := e.guarded[e.key]; m != "" {
		out = append(out, m)
	}
	e.mu.Unlock()
	for _, c := range e.set.Status.Conditions {
		if c.Type == v1alpha1.AppSetDeletionGuarded && c.Status == "True" {
			out = append(out, c.Message)
		}
	}
	return out
}

// announceGuard tells people of a drop that is held back, once for each
// distinct one.
func (e *evaluation) announceGuard(ruling appset.Ruling, surplus int) {
	gauge := e.guardedDeletions.WithLabelValues(e.key.Namespace, e.key.Name)
	e.mu.Lock()
	e.guarded[e.key] = ruling.Guarded
	e.mu.Unlock()
	if ruling.Guarded == "" {
		gauge.Set(0)
		return
	}
	gauge.Set(float64(surplus))
	if ruling.New {
		e.Recorder.Event(e.set, corev1.EventTypeWarning, "DeletionGuarded", ruling.Guarded)
		e.log.Warn(ruling.Guarded)
	}
}

// remove deletes one Application; when its cluster is gone, without waiting
// for its resources, and when they are to be preserved, without touching them.
func (e *evaluation) remove(ctx context.Context, app *v1alpha1.Application) error {
	d := app.Spec.Destination
	_, err := e.Settings.Snapshot().Clusters.Resolve(d.Server, d.Name)
	if finalizers := finalizersToGo(e.set, app, err == nil); len(finalizers) != len(app.Finalizers) {
		bare := app.DeepCopy()
		bare.Finalizers = finalizers
		if err := e.Client.Patch(ctx, bare, client.MergeFromWithOptions(app, client.MergeFromWithOptimisticLock{})); err != nil {
			return client.IgnoreNotFound(err)
		}
	}
	uid := app.UID
	if err := e.Client.Delete(ctx, app, client.Preconditions{UID: &uid}); err != nil {
		return client.IgnoreNotFound(err)
	}
	e.Recorder.Event(e.set, corev1.EventTypeNormal, "Deleted", fmt.Sprintf("Deleted Application %q", app.Name))
	e.log.Info("deleted Application", "application", app.Name)
	return nil
}

// finalizersToGo are the finalizers with which an Application is deleted:
// without those that delete its resources, when its cluster is not registered,
// so that deletion cannot hang, or when the set preserves resources and does
// not itself ask for a finalizer.
func finalizersToGo(set *v1alpha1.ApplicationSet, app *v1alpha1.Application, registered bool) []string {
	preserve := set.Spec.SyncPolicy != nil && set.Spec.SyncPolicy.PreserveResourcesOnDeletion && len(set.Spec.Template.Finalizers) == 0
	if registered && !preserve {
		return app.Finalizers
	}
	return slices.DeleteFunc(slices.Clone(app.Finalizers), func(f string) bool { return strings.HasPrefix(f, v1alpha1.FinalizerResources) })
}
