package advance

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// Options of a Controller.
type Options struct {
	Client client.Client
	Cache  cache.Cache
	Facts
	// Subscribe calls notify when a source resolves differently.
	Subscribe func(project string, src v1alpha1.ApplicationSource, notify func()) (func(), error)
	// Measure starts a measurement and calls answer once, from any goroutine;
	// nil refuses strategies with an analysis.
	Measure func(set *v1alpha1.ApplicationSet, due rollout.Measurement, answer func(rollout.Measured))
	// Safety is the pause after which a running rollout is looked at without
	// cause; zero is never.
	Safety     time.Duration
	Recorder   record.EventRecorder
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Controller advances ApplicationSets.
type Controller struct {
	Options
	queue   workqueue.TypedRateLimitingInterface[types.NamespacedName]
	metrics *metrics

	mu       sync.Mutex
	outcomes map[types.NamespacedName]appset.Outcome
	states   map[types.NamespacedName]*state
}

// state is what this process remembers of a set: nothing that a restart must
// not forget.
type state struct {
	written   *v1alpha1.ApplicationSet
	pace      pace
	since     time.Time // it has been observed without a gap
	alone     time.Time // until when it is left alone
	sent      map[string]sent
	hashes    map[string]hashed
	following map[source]func()
	measured  []rollout.Measured
	measuring map[measurement]bool
}

// hashed is the digest of a rendered Application.
type hashed struct {
	of   *v1alpha1.Application
	text string
}

// source is a subscription.
type source struct{ project, repoURL, chart, revision string }

// workers bounds the sets advanced at once.
const workers = 4

// New makes a controller.
func New(o Options) *Controller {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](10*time.Millisecond, 30*time.Second)
	return &Controller{
		Options: o, queue: workqueue.NewTypedRateLimitingQueue(limiter), metrics: newMetrics(o.Registerer, o.Gate),
		outcomes: map[types.NamespacedName]appset.Outcome{}, states: map[types.NamespacedName]*state{},
	}
}

// Offer takes the outcome of an evaluation.
func (c *Controller) Offer(o appset.Outcome) {
	c.mu.Lock()
	c.outcomes[o.Set] = o
	c.mu.Unlock()
	c.queue.Add(o.Set)
}

// LookAgain advances every known set once more: something that all of them may
// depend on, such as a project's sync windows, has changed.
func (c *Controller) LookAgain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key := range c.outcomes {
		c.queue.Add(key)
	}
}

// Start runs until ctx ends.
func (c *Controller) Start(ctx context.Context) error {
	sets, err := c.Cache.GetInformer(ctx, &v1alpha1.ApplicationSet{})
	if err != nil {
		return fmt.Errorf("watch ApplicationSets: %w", err)
	}
	add := func(o any) {
		if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
			o = gone.Obj
		}
		if obj, ok := o.(client.Object); ok {
			c.queue.Add(client.ObjectKeyFromObject(obj))
		}
	}
	if _, err := sets.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: add, DeleteFunc: add,
		UpdateFunc: func(before, after any) {
			a, okA := before.(*v1alpha1.ApplicationSet)
			b, okB := after.(*v1alpha1.ApplicationSet)
			if okA && okB && a.Generation == b.Generation && reflect.DeepEqual(a.Annotations, b.Annotations) {
				return
			}
			add(after)
		},
	}); err != nil {
		return fmt.Errorf("watch ApplicationSets: %w", err)
	}
	if err := c.Cache.IndexField(ctx, &v1alpha1.Application{}, ownerIndex, ownerNames); err != nil {
		return fmt.Errorf("index Applications: %w", err)
	}
	apps, err := c.Cache.GetInformer(ctx, &v1alpha1.Application{})
	if err != nil {
		return fmt.Errorf("watch Applications: %w", err)
	}
	if _, err := apps.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: c.owner, DeleteFunc: c.owner, UpdateFunc: func(_, after any) { c.owner(after) },
	}); err != nil {
		return fmt.Errorf("watch Applications: %w", err)
	}
	var wait sync.WaitGroup
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

// ownerIndex finds the Applications of a set without a look at all others: a
// turn costs what its own set weighs.
const ownerIndex = "metadata.ownerReferences.applicationset"

func ownerNames(o client.Object) []string {
	if ref := metav1.GetControllerOf(o); ref != nil && ref.Kind == v1alpha1.ApplicationSetKind {
		return []string{ref.Name}
	}
	return nil
}

func (c *Controller) owner(o any) {
	if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	obj, ok := o.(client.Object)
	if !ok {
		return
	}
	if ref := metav1.GetControllerOf(obj); ref != nil && ref.Kind == v1alpha1.ApplicationSetKind {
		c.queue.Add(types.NamespacedName{Namespace: obj.GetNamespace(), Name: ref.Name})
	}
}

func (c *Controller) next(ctx context.Context) bool {
	key, shutdown := c.queue.Get()
	if shutdown {
		return false
	}
	defer c.queue.Done(key)
	again, err := c.reconcile(ctx, key)
	switch {
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

// reconcile advances one set; no panic leaves it.
func (c *Controller) reconcile(ctx context.Context, key types.NamespacedName) (again time.Duration, err error) {
	log := c.Log.With("applicationset", key.String())
	defer func() {
		if p := recover(); p != nil {
			log.Error("advance failed unexpectedly", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("advance of ApplicationSet %s failed unexpectedly: %v", key, p)
		}
	}()
	begin := c.Clock.Now()
	c.mu.Lock()
	outcome, known := c.outcomes[key]
	s := c.states[key]
	if s == nil {
		s = &state{
			since: begin, sent: map[string]sent{}, hashes: map[string]hashed{}, following: map[source]func(){}, measuring: map[measurement]bool{},
		}
		c.states[key] = s
	}
	c.mu.Unlock()
	set, err := c.load(ctx, key, s)
	if apierrors.IsNotFound(err) {
		c.forget(key)
		return 0, nil
	}
	if err != nil || !known || set.DeletionTimestamp != nil {
		return 0, err // without an outcome nothing is decided
	}
	if rest := s.alone.Sub(begin); rest > 0 {
		return rest, nil
	}
	outcome.Apply(set)
	t := &turn{Controller: c, key: key, set: set, state: s, outcome: outcome, log: log}
	again, err = t.run(ctx)
	c.metrics.advance.Observe(c.Clock.Since(begin).Seconds())
	if apierrors.IsConflict(err) {
		c.metrics.conflicts.Inc()
		s.written = nil
		return 20 * time.Millisecond, nil
	}
	if err != nil {
		log.Warn("advance incomplete", "error", err.Error())
	}
	return again, err
}

// load reads the set, newer than the cache when we wrote it last.
func (c *Controller) load(ctx context.Context, key types.NamespacedName, s *state) (*v1alpha1.ApplicationSet, error) {
	var set v1alpha1.ApplicationSet
	if err := c.Cache.Get(ctx, key, &set); err != nil {
		return nil, err
	}
	if s.written != nil && s.written.UID == set.UID && version(s.written) > version(&set) {
		return s.written.DeepCopy(), nil
	}
	if lost(s.written, &set) {
		c.Log.Error(notStored, "applicationset", key.String())
		c.Recorder.Event(&set, corev1.EventTypeWarning, "RolloutNotStored", notStored)
		s.alone = c.Clock.Now().Add(anew)
	}
	s.written = nil
	return &set, nil
}

// anew is when a set whose rollout the hub did not keep is tried again.
const anew = 30 * time.Second

// notStored is what another program's CustomResourceDefinition, or one of an
// older version, does to a rollout. Without its record nothing may be synced.
const notStored = "the hub does not keep status.rollout, so nothing is synced: its CustomResourceDefinition applicationsets.argoproj.io is not that of this version: apply it with sluice install"

// lost says that the hub has dropped the rollout that was written: what it shows
// now is that version or a later one, without a record.
func lost(written, shown *v1alpha1.ApplicationSet) bool {
	return written != nil && written.UID == shown.UID && written.Status.Rollout != nil && written.Status.Rollout.Record != "" &&
		(shown.Status.Rollout == nil || shown.Status.Rollout.Record == "")
}

func version(o client.Object) uint64 {
	n, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (c *Controller) forget(key types.NamespacedName) {
	c.mu.Lock()
	s := c.states[key]
	delete(c.states, key)
	delete(c.outcomes, key)
	c.mu.Unlock()
	if s != nil {
		for _, cancel := range s.following {
			cancel()
		}
	}
	c.metrics.forget(key)
}
