package generate

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
)

// write creates and updates what differs; one failure does not stop others.
func (e *evaluation) write(ctx context.Context, r *appset.Rendered, live map[string]*v1alpha1.Application) error {
	var guard sync.Mutex
	failures := map[string]error{}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(writersAtOnce)
	for i := range r.Applications {
		app := &r.Applications[i]
		if r.Invalid[app.Name] != "" {
			continue
		}
		group.Go(func() error {
			if err := e.one(gctx, app, live[app.Name]); err != nil && !apierrors.IsConflict(err) {
				guard.Lock()
				failures[app.Name] = err
				guard.Unlock()
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if len(failures) == 0 {
		return nil
	}
	names := make([]string, 0, len(failures))
	for name := range failures {
		names = append(names, name)
	}
	slices.Sort(names)
	return fmt.Errorf("application %s: %w", names[0], failures[names[0]])
}

func (e *evaluation) one(ctx context.Context, rendered, live *v1alpha1.Application) error {
	if live == nil {
		app, err := Desired(e.set, e.Gate, rendered, nil)
		if err != nil {
			return err
		}
		if err := e.Client.Create(ctx, app); err != nil {
			return client.IgnoreAlreadyExists(err) // the cache lags behind: look again on the watch event
		}
		e.Recorder.Event(e.set, corev1.EventTypeNormal, "created", fmt.Sprintf("created Application %q", app.Name))
		e.log.Info("created Application", "application", app.Name)
		return nil
	}
	if ref := metav1.GetControllerOf(live); ref != nil && !ownedBy(live, e.set) {
		return fmt.Errorf("is owned by %s %s: give it another name in spec.template.metadata.name", ref.Kind, ref.Name)
	}
	if live.DeletionTimestamp != nil {
		return nil
	}
	if p := e.policy(); p == createOnly || p == createDelete {
		return e.letGo(ctx, live, rendered) // nobody else would switch its automation on again
	}
	app, err := Desired(e.set, e.Gate, rendered, live)
	if err != nil {
		return err
	}
	if equal(app, live) {
		return nil
	}
	patch := client.MergeFrom(live)
	if err := e.Client.Patch(ctx, app, patch); err != nil {
		return client.IgnoreNotFound(err)
	}
	e.Recorder.Event(e.set, corev1.EventTypeNormal, "updated", fmt.Sprintf("updated Application %q", app.Name))
	e.log.Info("updated Application", "application", app.Name)
	return nil
}

// letGo gives automation back to an Application that this set holds.
func (e *evaluation) letGo(ctx context.Context, live, rendered *v1alpha1.Application) error {
	free, held := appset.LetGo(e.set, live, rendered)
	if !held {
		return nil
	}
	if err := e.Client.Patch(ctx, free, client.MergeFrom(live)); err != nil {
		return client.IgnoreNotFound(err)
	}
	e.Recorder.Event(e.set, corev1.EventTypeNormal, "RolloutLetGo", fmt.Sprintf("gave automated sync back to Application %q", live.Name))
	e.log.Info("gave automated sync back", "application", live.Name)
	return nil
}

func (e *evaluation) unmark(ctx context.Context, annotation string) error {
	next := e.set.DeepCopy()
	delete(next.Annotations, annotation)
	return client.IgnoreNotFound(e.Client.Patch(ctx, next, client.MergeFrom(e.set)))
}
