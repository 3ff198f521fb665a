package application

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/adapter/jq"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/domain/health"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// Judge says how a live object is; pods are the records of its pods.
type Judge interface {
	Assess(ctx context.Context, o *unstructured.Unstructured, pods []object.Pod) health.Verdict
	// Scripted says that a script judges the object.
	Scripted(o *unstructured.Unstructured) bool
}

// Options of a Controller.
type Options struct {
	// Client writes to the hub, Cache reads from it.
	Client client.Client
	Cache  cache.Cache
	// Namespace is that of the control plane; Watches says whether Applications
	// of another one are looked at, nil is no other.
	Namespace string
	Watches   func(namespace string) bool
	Settings  *settings.Store
	Clusters  *cluster.Fleet
	Manifests manifest.Renderer
	// Health judges live objects.
	Health Judge
	// Queries evaluates jq expressions of users where their memory is bounded.
	Queries    jq.Caller
	Recorder   record.EventRecorder
	Log        *slog.Logger
	Clock      clock.Clock
	Registerer prometheus.Registerer
	// SyncTimeout bounds operations for which neither Application nor project
	// say otherwise; 0 leaves it to controller.sync.timeout.seconds.
	SyncTimeout time.Duration
	// NewID names operations that do not come with an id.
	NewID func() string
}

// Controller reconciles Applications.
type Controller struct {
	Options
	lanes    *lanes
	journal  *journal
	metrics  *metrics
	watchers *watchers
	// arrivals tells what the cache of the hub has caught up with.
	arrivals *watchers

	mu sync.Mutex
	// written is what this process wrote last, for as long as the cache has
	// not caught up with it.
	written map[types.NamespacedName]*v1alpha1.Application
	// byInstance finds the Application of a tracked object.
	byInstance map[string]types.NamespacedName
	following  map[types.NamespacedName]following
	// deferred are Applications whose status is to be written when nothing
	// else is to be done.
	deferred map[types.NamespacedName]bool
	// unwritten is what is to be written with what comes next.
	unwritten map[types.NamespacedName]unwritten
	// ends are those of operations that their Applications do not show yet.
	ends map[types.NamespacedName]end
	// compared is the last comparison of each Application.
	compared map[slot]memory
	// own are the compiled rules of each Application.
	own map[types.NamespacedName]ownRules
	// kept is the state of each history of which the renderer keeps the
	// manifests.
	kept map[types.NamespacedName]string
	// rules are those of the newest settings.
	rules atomic.Pointer[systemRules]
	// answersOnly says that nothing is reconciled here (Answers).
	answersOnly bool
}

// New makes a controller.
func New(o Options) *Controller {
	c := &Controller{
		Options: o, written: map[types.NamespacedName]*v1alpha1.Application{},
		byInstance: map[string]types.NamespacedName{}, following: map[types.NamespacedName]following{}, watchers: newWatchers(), arrivals: newWatchers(),
		deferred: map[types.NamespacedName]bool{}, unwritten: map[types.NamespacedName]unwritten{}, ends: map[types.NamespacedName]end{}, compared: map[slot]memory{},
		own:  map[types.NamespacedName]ownRules{},
		kept: map[types.NamespacedName]string{},
	}
	c.metrics = newMetrics(o.Registerer)
	c.journal = newJournal(o.Client, o.Namespace, o.Registerer)
	c.lanes = newLanes(c.reconcile)
	return c
}

// Start runs until ctx ends. The caches of the hub are running already.
func (c *Controller) Start(ctx context.Context) error {
	if err := c.journal.read(ctx, c.Cache); err != nil {
		c.Log.Warn("begins of operations not read: those that their Applications do not show are forgotten", "error", err.Error())
	}
	c.lanes.start(ctx)
	defer c.lanes.stop()
	c.Clusters.OnChange(c.clusterChanged)
	c.Clusters.Weigh(func(ctx context.Context, before, after *unstructured.Unstructured) bool {
		return c.systemRules().updates.Matter(ctx, before, after, c.Health.Scripted(after))
	})
	c.Clusters.Leave(func(kind schema.GroupKind, server string) bool {
		return c.systemRules().filter.Excluded(kind.Group, kind.Kind, server)
	})
	c.Settings.OnChange(func(*settings.Snapshot) { c.enqueueAll(ctx) })
	apps, err := c.Cache.GetInformer(ctx, &v1alpha1.Application{})
	if err != nil {
		return fmt.Errorf("watch Applications: %w", err)
	}
	if _, err := apps.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { c.caughtUp(o); c.enqueue(o) }, DeleteFunc: func(o any) { c.enqueue(o) },
		UpdateFunc: func(before, after any) {
			c.caughtUp(after)
			if interesting(before, after) {
				c.enqueue(after)
			}
		},
	}); err != nil {
		return fmt.Errorf("watch Applications: %w", err)
	}
	projects, err := c.Cache.GetInformer(ctx, &v1alpha1.AppProject{})
	if err != nil {
		return fmt.Errorf("watch AppProjects: %w", err)
	}
	all := func(any) { c.enqueueAll(ctx) }
	if _, err := projects.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { c.warnOfWindows(o); all(o) }, DeleteFunc: all,
		UpdateFunc: func(before, after any) {
			a, okA := before.(*v1alpha1.AppProject)
			b, okB := after.(*v1alpha1.AppProject)
			if okA && okB && !(reflect.DeepEqual(a.Spec, b.Spec) && maps.Equal(a.Labels, b.Labels)) { // labels say which rules it inherits
				c.warnOfWindows(after)
				all(after)
			}
		},
	}); err != nil {
		return fmt.Errorf("watch AppProjects: %w", err)
	}
	if err := c.watchHolders(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func keyOf(o any) (types.NamespacedName, bool) {
	if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	obj, ok := o.(client.Object)
	if !ok {
		return types.NamespacedName{}, false
	}
	return client.ObjectKeyFromObject(obj), true
}

func (c *Controller) enqueue(o any) {
	if key, ok := keyOf(o); ok {
		c.lanes.add(key)
	}
}

func (c *Controller) enqueueAll(ctx context.Context) {
	var list v1alpha1.ApplicationList
	if err := c.Cache.List(ctx, &list); err != nil {
		return
	}
	for i := range list.Items {
		c.lanes.add(client.ObjectKeyFromObject(&list.Items[i]))
	}
}

func (c *Controller) clusterChanged(ch cluster.Change) {
	if ch.Instance == "" {
		for _, key := range c.lanes.on(ch.Server) {
			c.lanes.add(key)
			c.watchers.tell(key)
		}
		return
	}
	c.mu.Lock()
	key, ok := c.byInstance[ch.Instance]
	c.mu.Unlock()
	if ok {
		c.watchers.tell(key)
	}
	if ok && !ch.Shown {
		c.lanes.add(key)
	}
}

// interesting leaves out what only this controller itself writes.
func interesting(before, after any) bool {
	a, okA := before.(*v1alpha1.Application)
	b, okB := after.(*v1alpha1.Application)
	if !okA || !okB {
		return true
	}
	return !reflect.DeepEqual(a.Spec, b.Spec) || !reflect.DeepEqual(a.Operation, b.Operation) ||
		!reflect.DeepEqual(a.Annotations, b.Annotations) || !reflect.DeepEqual(a.Finalizers, b.Finalizers) ||
		(a.DeletionTimestamp == nil) != (b.DeletionTimestamp == nil) || terminating(a) != terminating(b)
}

func terminating(a *v1alpha1.Application) bool {
	return a.Status.OperationState != nil && a.Status.OperationState.Phase == v1alpha1.OperationTerminating
}

// reconcile handles one Application; no panic leaves it.
func (c *Controller) reconcile(ctx context.Context, a arrival) (out outcome, err error) {
	key := a.key
	log := c.Log.With("application", key.String())
	defer func() {
		if p := recover(); p != nil {
			log.Error("reconcile failed unexpectedly", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("reconcile of Application %s failed unexpectedly: %v", key, p)
		}
	}()
	if key.Namespace != c.Namespace && (c.Watches == nil || !c.Watches(key.Namespace)) {
		return outcome{}, nil
	}
	begin := c.Clock.Now()
	app, err := c.load(ctx, key)
	if apierrors.IsNotFound(err) {
		c.forget(key)
		c.letGo(ctx, key)
		return outcome{}, nil
	}
	if err != nil {
		return outcome{}, err
	}
	if skip, _ := strconv.ParseBool(app.Annotations[v1alpha1.AnnotationSkipReconcile]); skip {
		return outcome{}, nil
	}
	p := newPass(c, app, log)
	p.moved = a.moved
	p.goOn()
	out.again, err = p.run(ctx)
	out.later = p.later
	c.metrics.reconcile.WithLabelValues(key.Namespace, p.cluster.Server).Observe(c.Clock.Since(begin).Seconds())
	if apierrors.IsConflict(err) {
		return outcome{again: 10 * time.Millisecond}, nil // somebody else wrote: look again
	}
	if err != nil {
		log.Warn("reconcile incomplete", "error", err.Error())
	}
	return out, err
}

// load reads the Application, newer than the cache when we wrote it last. What
// we wrote is looked up first: between a read of the cache and a look-up the
// cache may catch up and let go of it, and what was read would be too old. An
// operation that has ended would be carried out once more.
func (c *Controller) load(ctx context.Context, key types.NamespacedName) (*v1alpha1.Application, error) {
	c.mu.Lock()
	own := c.written[key]
	c.mu.Unlock()
	var app v1alpha1.Application
	err := c.Cache.Get(ctx, key, &app)
	if err == nil && own != nil && own.UID == app.UID && version(own) > version(&app) {
		return own.DeepCopy(), nil
	}
	if own != nil {
		c.mu.Lock()
		delete(c.written, key)
		c.mu.Unlock()
	}
	if err != nil {
		return nil, err
	}
	return &app, nil
}

// caughtUp drops what this process wrote when the cache has it too, and tells
// who waits for it.
func (c *Controller) caughtUp(o any) {
	app, ok := o.(*v1alpha1.Application)
	if !ok {
		return
	}
	key := client.ObjectKeyFromObject(app)
	defer c.arrivals.tell(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if own := c.written[key]; own != nil && (own.UID != app.UID || version(own) <= version(app)) {
		delete(c.written, key)
	}
}

func version(a *v1alpha1.Application) uint64 {
	n, err := strconv.ParseUint(a.ResourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (c *Controller) forget(key types.NamespacedName) {
	var gone v1alpha1.Application
	gone.Namespace, gone.Name = key.Namespace, key.Name
	instance := object.Instance(&gone, c.Namespace)
	if conn, err := c.Clusters.Connection(c.lanes.unsettle(key)); err == nil {
		conn.Forget(instance)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.journal.drop(key)
	delete(c.byInstance, instance)
	for _, cancel := range c.following[key].cancels {
		cancel()
	}
	delete(c.following, key)
	delete(c.written, key)
	delete(c.deferred, key)
	delete(c.unwritten, key)
	delete(c.ends, key)
	delete(c.compared, slot{key, false})
	delete(c.compared, slot{key, true})
	delete(c.own, key)
	c.metrics.forget(key)
}

// following is the subscription of an Application to its sources.
type following struct {
	project string
	sources []v1alpha1.ApplicationSource
	cancels []func()
}

// follow makes the Application hear of new revisions of its sources.
func (c *Controller) follow(key types.NamespacedName, project string, sources []v1alpha1.ApplicationSource) error {
	c.mu.Lock()
	old := c.following[key]
	c.mu.Unlock()
	if old.project == project && reflect.DeepEqual(old.sources, sources) {
		return nil
	}
	next := following{project: project, sources: sources}
	for _, src := range sources {
		cancel, err := c.Manifests.Subscribe(project, src, func() { c.lanes.moved(key) })
		if err != nil {
			return err
		}
		next.cancels = append(next.cancels, cancel)
	}
	c.mu.Lock()
	c.following[key] = next
	c.mu.Unlock()
	for _, cancel := range old.cancels {
		cancel()
	}
	return nil
}
