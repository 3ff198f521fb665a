package application

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

// projectQueue holds names of AppProjects that may be let go.
type projectQueue = workqueue.TypedRateLimitingInterface[string]

// letProjectsGo lets AppProjects that carry the finalizer of resources be
// deleted once no Application refers to them (spec/application.md §12). It
// returns when it hears of all changes, and works until ctx ends.
func (c *Controller) letProjectsGo(ctx context.Context, apps, projects cache.Informer) error {
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](100*time.Millisecond, 30*time.Second))
	left := func(o any) {
		if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
			o = gone.Obj
		}
		if app, ok := o.(*v1alpha1.Application); ok {
			queue.Add(policy.ProjectName(app))
		}
	}
	if _, err := apps.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		DeleteFunc: left,
		UpdateFunc: func(before, after any) {
			a, okA := before.(*v1alpha1.Application)
			b, okB := after.(*v1alpha1.Application)
			if okA && okB && policy.ProjectName(a) != policy.ProjectName(b) {
				left(before)
			}
		},
	}); err != nil {
		return fmt.Errorf("watch Applications: %w", err)
	}
	ends := func(o any) {
		if project, ok := o.(*v1alpha1.AppProject); ok && project.Namespace == c.Namespace && bound(project) {
			queue.Add(project.Name)
		}
	}
	if _, err := projects.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: ends, UpdateFunc: func(_, o any) { ends(o) }}); err != nil {
		return fmt.Errorf("watch AppProjects: %w", err)
	}
	go func() {
		<-ctx.Done()
		queue.ShutDown()
	}()
	go c.freeProjects(ctx, queue)
	return nil
}

// bound says that a project which is being deleted waits for us.
func bound(project *v1alpha1.AppProject) bool {
	return project.DeletionTimestamp != nil && slices.Contains(project.Finalizers, v1alpha1.FinalizerResources)
}

func (c *Controller) freeProjects(ctx context.Context, queue projectQueue) {
	for {
		name, shutdown := queue.Get()
		if shutdown {
			return
		}
		if err := c.freeProject(ctx, name); err != nil {
			c.Log.Warn("AppProject not let go", "project", name, "error", err.Error())
			queue.AddRateLimited(name)
		} else {
			queue.Forget(name)
		}
		queue.Done(name)
	}
}

// freeProject takes the finalizer off a project that waits for us and that no
// Application refers to.
func (c *Controller) freeProject(ctx context.Context, name string) error {
	var project v1alpha1.AppProject
	err := c.Cache.Get(ctx, types.NamespacedName{Namespace: c.Namespace, Name: name}, &project)
	if apierrors.IsNotFound(err) || err == nil && !bound(&project) {
		return nil
	}
	if err != nil {
		return err
	}
	var apps v1alpha1.ApplicationList
	if err := c.Cache.List(ctx, &apps); err != nil {
		return err
	}
	if slices.ContainsFunc(apps.Items, func(a v1alpha1.Application) bool { return policy.ProjectName(&a) == name }) {
		return nil // the last of them will tell
	}
	next := project.DeepCopy()
	next.Finalizers = without(next.Finalizers, v1alpha1.FinalizerResources)
	err = c.Client.Patch(ctx, next, client.MergeFromWithOptions(&project, client.MergeFromWithOptimisticLock{}))
	return client.IgnoreNotFound(err)
}
