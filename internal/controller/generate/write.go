package generate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
)

// write creates and updates what differs; one failure does not stop others.
func (e *evaluation) write(ctx context.Context, got *evaluated, d decider, live map[string]*v1alpha1.Application) error {
	var guard sync.Mutex
	failures := map[string]error{}
	fail := func(name string, err error) {
		if err != nil && !apierrors.IsConflict(err) {
			guard.Lock()
			failures[name] = err
			guard.Unlock()
		}
	}
	group, inner := errgroup.WithContext(ctx)
	writers := got.rules.Writers
	if writers == 0 {
		writers = DefaultWorkers
	}
	group.SetLimit(writers)
	for i := range got.rendered.Applications {
		app := &got.rendered.Applications[i]
		if got.rendered.Invalid[app.Name] != "" {
			continue
		}
		c := d.written(app, live[app.Name], "")
		switch c.Action {
		case Refuse:
			fail(app.Name, errors.New(c.Reason))
		case Create, Update:
			group.Go(func() error { fail(c.Name, e.carry(inner, c)); return nil })
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if len(failures) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(failures))
	return fmt.Errorf("application %s: %w", names[0], failures[names[0]])
}

// carry writes one Application.
func (e *evaluation) carry(ctx context.Context, c Change) error {
	switch {
	case c.Action == Create:
		if err := e.Client.Create(ctx, c.After); err != nil {
			return client.IgnoreAlreadyExists(err) // the cache lags behind: look again on the watch event
		}
		e.Recorder.Event(e.set, corev1.EventTypeNormal, "created", fmt.Sprintf("created Application %q", c.Name))
		e.log.Info("created Application", "application", c.Name)
		return nil
	case c.letsGo:
		return e.freed(ctx, c.Before, c.After)
	}
	after := c.After.DeepCopy() // the answer is read into it, and the cache's own status is shared
	if err := e.Client.Patch(ctx, after, client.MergeFrom(c.Before)); err != nil {
		return client.IgnoreNotFound(err)
	}
	e.Recorder.Event(e.set, corev1.EventTypeNormal, "updated", fmt.Sprintf("updated Application %q", c.Name))
	e.log.Info("updated Application", "application", c.Name)
	return nil
}

// letGo gives automation back to an Application that this set holds.
func (e *evaluation) letGo(ctx context.Context, live, rendered *v1alpha1.Application) error {
	free, held := appset.LetGo(e.set, live, rendered)
	if !held {
		return nil
	}
	return e.freed(ctx, live, free)
}

// freed writes that automation is given back.
func (e *evaluation) freed(ctx context.Context, live, free *v1alpha1.Application) error {
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

// refreshed takes the refresh annotation off, unless it was given anew
// meanwhile: then the change of it has started another evaluation.
func (e *evaluation) refreshed(ctx context.Context, value string) error {
	at := "/metadata/annotations/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(v1alpha1.AnnotationAppSetRefresh)
	patch, err := json.Marshal([]map[string]string{{"op": "test", "path": at, "value": value}, {"op": "remove", "path": at}})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	set := &v1alpha1.ApplicationSet{}
	set.Namespace, set.Name = e.key.Namespace, e.key.Name
	if err := e.Client.Patch(ctx, set, client.RawPatch(types.JSONPatchType, patch)); err != nil && !apierrors.IsInvalid(err) && !apierrors.IsNotFound(err) {
		return fmt.Errorf("take annotation %s off: %w", v1alpha1.AnnotationAppSetRefresh, err)
	}
	return nil
}
