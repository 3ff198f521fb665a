package generate

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/teardown"
)

// going is what this process remembers of a set that is being deleted: since
// when it sees Applications going, and of which it has warned.
type going struct {
	seen   map[types.UID]time.Time
	warned map[types.UID]bool
	// begun says that the set was looked at before; old are those that had been
	// going for long by then, such as before a restart.
	begun bool
	old   map[types.UID]bool
}

func newGoing() *going {
	return &going{seen: map[types.UID]time.Time{}, warned: map[types.UID]bool{}, old: map[types.UID]bool{}}
}

// observe notes since when Applications are going. What may be deleted next is
// decided by the time that this process has seen; only for a warning is the
// time taken that the API server has noted, so that a restart does not put it
// off.
func (g *going) observe(apps []*v1alpha1.Application, now time.Time) {
	for _, app := range apps {
		if _, known := g.seen[app.UID]; app.DeletionTimestamp == nil || known {
			continue
		}
		g.seen[app.UID] = now
		if !g.begun && now.Sub(app.DeletionTimestamp.Time) >= teardown.StuckAfter {
			g.old[app.UID] = true
		}
	}
	g.begun = true
}

// stuck are those that have been going for long.
func (g *going) stuck(apps, seen []*v1alpha1.Application) []*v1alpha1.Application {
	out := slices.Clone(seen)
	for _, app := range apps {
		if app.DeletionTimestamp != nil && g.old[app.UID] && !slices.Contains(out, app) {
			out = append(out, app)
		}
	}
	return out
}

// unwarned are those that nobody was told of yet; it notes them as told.
func (g *going) unwarned(stuck []*v1alpha1.Application) []*v1alpha1.Application {
	var out []*v1alpha1.Application
	for _, app := range stuck {
		if !g.warned[app.UID] {
			g.warned[app.UID] = true
			out = append(out, app)
		}
	}
	return out
}

// finalizer makes sure that a set whose Applications are to go in order waits
// for them.
func (e *evaluation) finalizer(ctx context.Context) error {
	if !teardown.Ordered(e.set, e.Gate) || slices.Contains(e.set.Finalizers, v1alpha1.FinalizerResources) {
		return nil
	}
	next := e.set.DeepCopy()
	next.Finalizers = append(next.Finalizers, v1alpha1.FinalizerResources)
	if err := e.Client.Patch(ctx, next, client.MergeFromWithOptions(e.set, client.MergeFromWithOptimisticLock{})); err != nil {
		return client.IgnoreNotFound(err)
	}
	e.set = next
	return nil
}

// release lets a set go that is being deleted. What survives it gets its
// automated sync back first; what is to go in order goes first.
func (e *evaluation) release(ctx context.Context) (time.Duration, error) {
	orphans := slices.Contains(e.set.Finalizers, metav1.FinalizerOrphanDependents)
	ours := slices.Contains(e.set.Finalizers, v1alpha1.FinalizerResources)
	if !ours && !orphans {
		return 0, nil
	}
	owned, err := e.related(ctx)
	if err != nil {
		return 0, err
	}
	if !ours { // garbage collection is at work already: be quick
		return 0, e.letAllGo(ctx, owned)
	}
	p, policyErr := e.rules().policy(e.set)
	if policyErr != nil {
		e.log.Warn("the policy counts as create-only", "error", policyErr.Error())
	}
	preserve := e.set.Spec.SyncPolicy != nil && e.set.Spec.SyncPolicy.PreserveResourcesOnDeletion
	switch {
	case p == createOnly || p == createUpdate:
		err = e.orphan(ctx, owned)
	case orphans:
		err = e.letAllGo(ctx, owned)
	case teardown.Ordered(e.set, e.Gate):
		if done, wake, err := e.inOrder(ctx, owned); !done || err != nil {
			return wake, err
		}
	case preserve:
		err = e.letAllGo(ctx, owned)
	}
	if err != nil {
		return 0, err
	}
	next := e.set.DeepCopy()
	next.Finalizers = slices.DeleteFunc(next.Finalizers, func(f string) bool { return f == v1alpha1.FinalizerResources })
	if err := e.Client.Patch(ctx, next, client.MergeFromWithOptions(e.set, client.MergeFromWithOptimisticLock{})); err != nil {
		return 0, client.IgnoreNotFound(err)
	}
	e.forgetDeletion()
	return 0, nil
}

// related are the Applications that the set owns by its uid, and those that it
// holds although garbage collection has taken it off as their owner already.
func (e *evaluation) related(ctx context.Context) ([]*v1alpha1.Application, error) {
	live, err := e.live(ctx, e.key.Namespace)
	if err != nil {
		return nil, err
	}
	var out []*v1alpha1.Application
	for _, app := range live {
		owner := metav1.GetControllerOf(app)
		ours := owner != nil && owner.UID == e.set.UID
		if ours || (owner == nil && app.Annotations[v1alpha1.AnnotationRolloutHeldBy] == e.set.Name) {
			out = append(out, app)
		}
	}
	return out, nil
}

// lastRendered is what was last generated for an Application; nil when this
// process does not know.
func (e *evaluation) lastRendered(name string) *v1alpha1.Application {
	e.mu.Lock()
	defer e.mu.Unlock()
	apps := e.last[e.key].Applications
	for i := range apps {
		if apps[i].Name == name {
			return &apps[i]
		}
	}
	return nil
}

func (e *evaluation) letAllGo(ctx context.Context, apps []*v1alpha1.Application) error {
	for _, app := range apps {
		if err := e.letGo(ctx, app, e.lastRendered(app.Name)); err != nil {
			return fmt.Errorf("application %s: %w", app.Name, err)
		}
	}
	return nil
}

// orphan takes the set off as owner, in the same write that gives automated
// sync back: at no moment is an Application owned by nobody and synced by
// nobody.
func (e *evaluation) orphan(ctx context.Context, apps []*v1alpha1.Application) error {
	for _, app := range apps {
		free, _ := appset.LetGo(e.set, app, e.lastRendered(app.Name))
		free = free.DeepCopy()
		free.OwnerReferences = slices.DeleteFunc(free.OwnerReferences, func(r metav1.OwnerReference) bool { return r.UID == e.set.UID })
		if err := e.Client.Patch(ctx, free, client.MergeFromWithOptions(app, client.MergeFromWithOptimisticLock{})); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("application %s: %w", app.Name, err)
		}
	}
	return nil
}

// inOrder deletes what may go now; done says that nothing is left.
func (e *evaluation) inOrder(ctx context.Context, apps []*v1alpha1.Application) (done bool, wake time.Duration, err error) {
	apps = slices.DeleteFunc(apps, func(a *v1alpha1.Application) bool { return metav1.GetControllerOf(a) == nil })
	now := e.Clock.Now()
	e.mu.Lock()
	g := e.deletions[e.key]
	if g == nil {
		g = newGoing()
		e.deletions[e.key] = g
	}
	e.mu.Unlock()
	g.observe(apps, now)
	d := teardown.Next(teardown.Input{Set: e.set, Applications: apps, Seen: g.seen, Now: now})
	stuck := g.stuck(apps, d.Stuck)
	e.stuckDeletions.WithLabelValues(e.key.Namespace, e.key.Name).Set(float64(len(stuck)))
	for _, app := range g.unwarned(stuck) {
		message := fmt.Sprintf("Application %q has been going for more than %s and holds the deletion of the steps before its own: see its conditions and finalizers", app.Name, teardown.StuckAfter)
		e.Recorder.Event(e.set, corev1.EventTypeWarning, "ApplicationDeletionStuck", message)
		e.log.Warn(message)
	}
	for _, app := range d.Delete {
		if err := e.remove(ctx, app); err != nil {
			return false, 0, fmt.Errorf("application %s: %w", app.Name, err)
		}
	}
	return d.Done, d.Wake, nil
}

// forgetDeletion drops what is remembered of a set that is gone.
func (e *evaluation) forgetDeletion() {
	e.mu.Lock()
	delete(e.deletions, e.key)
	e.mu.Unlock()
	e.stuckDeletions.DeleteLabelValues(e.key.Namespace, e.key.Name)
}
