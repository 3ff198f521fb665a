package generate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/domain/appset"
)

// Options of a Controller.
type Options struct {
	Sources
	Client client.Client
	// Cache watches what sets, Applications and projects do; Reader of Sources is
	// the cache when it is not given.
	Cache cache.Cache
	// Subscribe calls notify when a revision of a repository moves.
	Subscribe func(project string, src v1alpha1.ApplicationSource, notify func()) (func(), error)
	// Offer hands the outcome to the loop that advances the set.
	Offer      func(appset.Outcome)
	Recorder   record.EventRecorder
	Registerer prometheus.Registerer
	// Labels of sets that metric argocd_appset_labels shows.
	Labels []string
}

// Controller evaluates ApplicationSets.
type Controller struct {
	*Evaluator
	Client    client.Client
	Cache     cache.Cache
	Subscribe func(project string, src v1alpha1.ApplicationSource, notify func()) (func(), error)
	Offer     func(appset.Outcome)
	Recorder  record.EventRecorder
	queue     workqueue.TypedRateLimitingInterface[types.NamespacedName]
	metrics

	mu        sync.Mutex
	last      map[types.NamespacedName]appset.Outcome
	following map[types.NamespacedName]following
	// lastAt is when the last complete answer came, guarded the message of the
	// drop that people were told of, templated that of a templated project,
	// confirmed the Applications of a
	// confirmation that is being carried out.
	lastAt    map[types.NamespacedName]time.Time
	guarded   map[types.NamespacedName]string
	templated map[types.NamespacedName]string
	confirmed map[types.NamespacedName][]string
	deletions map[types.NamespacedName]*going
}

type following struct {
	sources []v1alpha1.ApplicationSource
	project string
	cancels []func()
}

// New makes a controller.
func New(o Options) *Controller {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](200*time.Millisecond, 3*time.Minute)
	if o.Reader == nil && o.Cache != nil {
		o.Reader = o.Cache
	}
	c := &Controller{
		Evaluator: NewEvaluator(o.Sources), Client: o.Client, Cache: o.Cache, Subscribe: o.Subscribe, Offer: o.Offer, Recorder: o.Recorder,
		queue: workqueue.NewTypedRateLimitingQueue(limiter),
		last:  map[types.NamespacedName]appset.Outcome{}, following: map[types.NamespacedName]following{},
		guarded: map[types.NamespacedName]string{}, templated: map[types.NamespacedName]string{},
		lastAt: map[types.NamespacedName]time.Time{}, confirmed: map[types.NamespacedName][]string{}, deletions: map[types.NamespacedName]*going{},
		metrics: newMetrics(o.Registerer, o.Labels),
	}
	return c
}

// Start runs until ctx ends.
func (c *Controller) Start(ctx context.Context) error {
	sets, err := c.Cache.GetInformer(ctx, &v1alpha1.ApplicationSet{})
	if err != nil {
		return fmt.Errorf("watch ApplicationSets: %w", err)
	}
	if _, err := sets.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: c.add, DeleteFunc: c.add,
		UpdateFunc: func(before, after any) {
			if asksAnew(before, after) {
				c.add(after)
			}
		},
	}); err != nil {
		return fmt.Errorf("watch ApplicationSets: %w", err)
	}
	if err := c.watchApplications(ctx); err != nil {
		return err
	}
	c.Settings.OnChange(func(*settings.Snapshot) { c.all(ctx) })
	var wait sync.WaitGroup
	c.inventory.follow(ctx, c)
	workers := c.rules().Workers
	if workers == 0 {
		workers = DefaultWorkers
	}
	for range workers {
		wait.Go(func() {
			for c.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	c.queue.ShutDown()
	wait.Wait()
	return nil
}

// watchApplications hears of owned Applications that somebody changed, and of
// projects that Applications need.
func (c *Controller) watchApplications(ctx context.Context) error {
	apps, err := c.Cache.GetInformer(ctx, &v1alpha1.Application{})
	if err != nil {
		return fmt.Errorf("watch Applications: %w", err)
	}
	if _, err := apps.AddEventHandler(c.applicationEvents()); err != nil {
		return fmt.Errorf("watch Applications: %w", err)
	}
	projects, err := c.Cache.GetInformer(ctx, &v1alpha1.AppProject{})
	if err != nil {
		return fmt.Errorf("watch AppProjects: %w", err)
	}
	all := func(any) { c.all(ctx) }
	if _, err := projects.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: all, DeleteFunc: all}); err != nil {
		return fmt.Errorf("watch AppProjects: %w", err)
	}
	return nil
}

// asksAnew says whether a change of a set can change what it generates: its
// status, which the rollout writes, cannot.
func asksAnew(before, after any) bool {
	a, okA := before.(*v1alpha1.ApplicationSet)
	b, okB := after.(*v1alpha1.ApplicationSet)
	return !okA || !okB || a.Generation != b.Generation || !reflect.DeepEqual(telling(a, b), b.Annotations) || !reflect.DeepEqual(a.Labels, b.Labels) ||
		(a.DeletionTimestamp == nil) != (b.DeletionTimestamp == nil)
}

// telling are the annotations of the older set, without a refresh that is over:
// its end asks for nothing.
func telling(a, b *v1alpha1.ApplicationSet) map[string]string {
	if _, again := b.Annotations[v1alpha1.AnnotationAppSetRefresh]; again || a.Annotations[v1alpha1.AnnotationAppSetRefresh] == "" {
		return a.Annotations
	}
	out := maps.Clone(a.Annotations)
	delete(out, v1alpha1.AnnotationAppSetRefresh)
	if len(out) == 0 && len(b.Annotations) == 0 {
		return b.Annotations // nil and empty are alike
	}
	return out
}

// drifts says whether a change of an Application can make it differ from what
// is generated: its status and its operation cannot, so that health never
// costs a look at Git.
func drifts(before, after any) bool {
	a, okA := before.(*v1alpha1.Application)
	b, okB := after.(*v1alpha1.Application)
	return !okA || !okB || !reflect.DeepEqual(a.Spec, b.Spec) || !reflect.DeepEqual(a.Labels, b.Labels) ||
		!reflect.DeepEqual(a.Annotations, b.Annotations) || !reflect.DeepEqual(a.Finalizers, b.Finalizers)
}

// applicationEvents evaluates the owner again. An Application that comes
// counts, too: an evaluation that ran before the cache had it could not change
// it.
func (c *Controller) applicationEvents() toolscache.ResourceEventHandlerFuncs {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: c.owner, DeleteFunc: c.owner,
		UpdateFunc: func(before, after any) {
			if drifts(before, after) {
				c.owner(after)
			}
		},
	}
}

func object(o any) (client.Object, bool) {
	if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	obj, ok := o.(client.Object)
	return obj, ok
}

func (c *Controller) add(o any) {
	if obj, ok := object(o); ok {
		c.queue.Add(client.ObjectKeyFromObject(obj))
	}
}

func (c *Controller) owner(o any) {
	if obj, ok := object(o); ok {
		if ref := metav1.GetControllerOf(obj); ref != nil && ref.Kind == v1alpha1.ApplicationSetKind {
			c.queue.Add(types.NamespacedName{Namespace: obj.GetNamespace(), Name: ref.Name})
		}
	}
}

func (c *Controller) all(ctx context.Context) {
	var list v1alpha1.ApplicationSetList
	if err := c.Reader.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		c.Log.Warn("ApplicationSets not listed", "error", err.Error())
		return
	}
	for i := range list.Items {
		c.queue.Add(client.ObjectKeyFromObject(&list.Items[i]))
	}
}

func (c *Controller) next(ctx context.Context) bool {
	key, shutdown := c.queue.Get()
	if shutdown {
		return false
	}
	defer c.queue.Done(key)
	again, err := c.reconcile(ctx, key)
	at, later := RetryAt(err)
	switch {
	case later:
		c.queue.Forget(key)
		c.queue.AddAfter(key, max(at.Sub(c.Clock.Now()), time.Second))
	case err != nil:
		c.queue.AddRateLimited(key)
	case again > 0:
		c.queue.Forget(key)
		c.queue.AddAfter(key, again)
	default:
		c.queue.Forget(key)
	}
	return true
}

// RetryAt is when an error says that its cause may be asked again: a host that
// asks for fewer requests.
func RetryAt(err error) (time.Time, bool) {
	var later interface{ RetryAt() time.Time }
	if errors.As(err, &later) {
		return later.RetryAt(), true
	}
	return time.Time{}, false
}

// reconcile evaluates one set; no panic leaves it.
func (c *Controller) reconcile(ctx context.Context, key types.NamespacedName) (again time.Duration, err error) {
	log := c.Log.With("applicationset", key.String())
	defer func() {
		if p := recover(); p != nil {
			log.Error("evaluation failed unexpectedly", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("evaluation of ApplicationSet %s failed unexpectedly: %v", key, p)
		}
	}()
	begin := c.Clock.Now()
	if rules := c.rules(); !rules.Watches(key.Namespace, c.Namespace) {
		return 0, nil
	}
	var set v1alpha1.ApplicationSet
	if err := c.Reader.Get(ctx, key, &set); err != nil {
		if apierrors.IsNotFound(err) {
			c.forget(key)
			return 0, nil
		}
		return 0, err
	}
	e := &evaluation{Controller: c, set: &set, key: key, log: log}
	if set.DeletionTimestamp != nil {
		return e.release(ctx)
	}
	again, err = e.run(ctx)
	c.seconds.WithLabelValues(key.Namespace, key.Name).Observe(c.Clock.Since(begin).Seconds())
	if err != nil {
		log.Warn("evaluation incomplete", "error", err.Error())
	}
	return again, err
}

func (c *Controller) forget(key types.NamespacedName) {
	c.drop(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cancel := range c.following[key].cancels {
		cancel()
	}
	delete(c.following, key)
	delete(c.last, key)
	delete(c.lastAt, key)
	delete(c.guarded, key)
	delete(c.templated, key)
	delete(c.confirmed, key)
	delete(c.deletions, key)
	c.metrics.forget(key)
}

// follow subscribes the set to the revisions its git generators read.
func (c *Controller) follow(key types.NamespacedName, project string, sources []v1alpha1.ApplicationSource) {
	c.mu.Lock()
	old := c.following[key]
	c.mu.Unlock()
	if old.project == project && reflect.DeepEqual(old.sources, sources) {
		return
	}
	next := following{sources: sources, project: project}
	for _, src := range sources {
		cancel, err := c.Subscribe(project, src, func() { c.queue.Add(key) })
		if err == nil {
			next.cancels = append(next.cancels, cancel)
		}
	}
	c.mu.Lock()
	c.following[key] = next
	c.mu.Unlock()
	for _, cancel := range old.cancels {
		cancel()
	}
}
