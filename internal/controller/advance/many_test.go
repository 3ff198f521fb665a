package advance

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// crowd is a hub in memory with many sets, whose Applications are synced as
// soon as they are asked to.
type crowd struct {
	client.Client
	cache.Cache
	revision atomic.Value

	mu      sync.Mutex
	version int
	sets    map[string]*v1alpha1.ApplicationSet
	apps    map[string]map[string]*v1alpha1.Application
	// running is how many operations of each set run, most the most there were.
	running, most map[string]int
	operations    int
	// wanted names sets that have operations to end, done says that one has
	// completed its rollout.
	wanted, done chan string
}

func (h *crowd) Get(_ context.Context, k client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	set, ok := into.(*v1alpha1.ApplicationSet)
	if !ok || h.sets[k.Name] == nil {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "applicationsets"}, k.Name)
	}
	h.sets[k.Name].DeepCopyInto(set)
	return nil
}

func (h *crowd) List(_ context.Context, into client.ObjectList, options ...client.ListOption) error {
	var all client.ListOptions
	all.ApplyOptions(options)
	list, ok := into.(*v1alpha1.ApplicationList)
	name, indexed := "", false
	if all.FieldSelector != nil {
		name, indexed = all.FieldSelector.RequiresExactMatch(ownerIndex)
	}
	if !ok || !indexed {
		return fmt.Errorf("a turn lists %T by %v, want the Applications of its set only", into, all.FieldSelector)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, app := range h.apps[name] {
		list.Items = append(list.Items, *app.DeepCopy())
	}
	return nil
}

func (h *crowd) Status() client.SubResourceWriter { return &crowdStatus{hub: h} }

type crowdStatus struct {
	client.SubResourceWriter
	hub *crowd
}

func (s *crowdStatus) Update(_ context.Context, o client.Object, _ ...client.SubResourceUpdateOption) error {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	set, ok := o.(*v1alpha1.ApplicationSet)
	if !ok || h.sets[set.Name].ResourceVersion != set.ResourceVersion {
		return apierrors.NewConflict(schema.GroupResource{Resource: "applicationsets"}, o.GetName(), fmt.Errorf("version %s", o.GetResourceVersion()))
	}
	h.version++
	set.ResourceVersion = fmt.Sprint(h.version)
	if before := h.sets[set.Name].Status.Rollout; set.Status.Rollout.CompletedAt != nil && (before == nil || before.CompletedAt == nil) {
		h.done <- set.Name
	}
	h.sets[set.Name] = set.DeepCopy()
	return nil
}

// Patch takes an operation and carries it out with the next turn of the set.
func (h *crowd) Patch(_ context.Context, o client.Object, _ client.Patch, _ ...client.PatchOption) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	app, ok := o.(*v1alpha1.Application)
	if !ok {
		return fmt.Errorf("patch of %T", o)
	}
	name := metav1.GetControllerOf(app).Name
	h.version++
	app.ResourceVersion = fmt.Sprint(h.version)
	h.apps[name][app.Name] = app.DeepCopy()
	if app.Operation != nil {
		h.operations++
		h.running[name]++
		h.most[name] = max(h.most[name], h.running[name])
		h.wanted <- name
	}
	return nil
}

// serve ends the operations of a set, and compares all its Applications.
func (h *crowd) serve(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	revision, _ := h.revision.Load().(string)
	for _, app := range h.apps[name] {
		s := &app.Status
		h.version++
		app.ResourceVersion = fmt.Sprint(h.version)
		synced := s.Sync.Revision == revision && s.Sync.Status == v1alpha1.SyncStatusSynced
		if app.Operation != nil {
			now := metav1.Unix(1_800_000_000, 0)
			s.OperationState = &v1alpha1.OperationState{
				Operation: *app.Operation, Phase: v1alpha1.OperationSucceeded, ID: app.Operation.Info[1].Value, StartedAt: now, FinishedAt: &now,
				SyncResult: &v1alpha1.SyncOperationResult{Revision: app.Operation.Sync.Revision, Source: *app.Spec.Source},
			}
			synced = app.Operation.Sync.Revision == revision
			app.Operation = nil
			h.running[name]--
		}
		delete(app.Annotations, v1alpha1.AnnotationRefresh)
		s.Health.Status = v1alpha1.HealthHealthy
		s.Sync = v1alpha1.SyncStatus{Status: v1alpha1.SyncStatusOutOfSync, Revision: revision, Digest: "digest-of-" + revision}
		s.Sync.ComparedTo.Source = *app.Spec.Source
		if s.OperationState != nil {
			s.Sync.AfterOperation = s.OperationState.ID
		}
		if synced {
			s.Sync.Status = v1alpha1.SyncStatusSynced
		}
	}
}

func newCrowd(sets, apps int) (*crowd, []appset.Outcome) {
	h := &crowd{sets: map[string]*v1alpha1.ApplicationSet{}, apps: map[string]map[string]*v1alpha1.Application{}, running: map[string]int{}, most: map[string]int{},
		wanted: make(chan string, sets*apps), done: make(chan string, sets*apps)}
	yes, two := true, intstr.FromInt32(2)
	var outcomes []appset.Outcome
	for n := range sets {
		name := fmt.Sprintf("set-%03d", n)
		set := &v1alpha1.ApplicationSet{ObjectMeta: metav1.ObjectMeta{Namespace: "argocd", Name: name, UID: types.UID("uid-" + name), ResourceVersion: "1"}}
		set.Spec.Strategy = &v1alpha1.ApplicationSetStrategy{Type: rollout.TypeRollingSync, RollingSync: &v1alpha1.RollingSync{Steps: []v1alpha1.RolloutStep{{MaxUpdate: &two}}}}
		h.sets[name], h.apps[name] = set, map[string]*v1alpha1.Application{}
		o := appset.Outcome{Set: client.ObjectKeyFromObject(set), Complete: true}
		for i := range apps {
			app := v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "argocd", Name: fmt.Sprintf("%s-%d", name, i), UID: types.UID(fmt.Sprint(name, i))}}
			app.Spec.Source = &v1alpha1.ApplicationSource{RepoURL: "https://git.example.com/fleet.git", Path: "apps", TargetRevision: "main"}
			app.Spec.SyncPolicy = &v1alpha1.SyncPolicy{Automated: &v1alpha1.SyncPolicyAutomated{}}
			o.Applications = append(o.Applications, app)
			live := app.DeepCopy()
			live.OwnerReferences = []metav1.OwnerReference{{Kind: v1alpha1.ApplicationSetKind, Name: name, UID: set.UID, Controller: &yes}}
			h.apps[name][app.Name] = live
		}
		outcomes = append(outcomes, o)
	}
	return h, outcomes
}

// TestK6ManySets rolls 200 sets of ten Applications out at once while one of
// them is disturbed without end: all get their turns, each keeps its limit, and
// the one that is disturbed takes no turns from the others.
func TestK6ManySets(t *testing.T) {
	t.Parallel()
	const sets, apps = 200, 10
	h, outcomes := newCrowd(sets, apps)
	h.revision.Store("r1")
	c := New(Options{
		Client: h, Cache: h, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Recorder: &record.FakeRecorder{},
		Subscribe: func(string, v1alpha1.ApplicationSource, func()) (func(), error) { return func() {}, nil },
		Facts: Facts{Gate: true, Clock: clock.RealClock{}, Resolve: func(context.Context, string, v1alpha1.ApplicationSource) (string, error) {
			revision, _ := h.revision.Load().(string)
			return revision, nil
		}},
	})
	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	for range workers {
		wait.Go(func() {
			for c.next(ctx) {
			}
		})
	}
	defer wait.Wait()
	defer c.queue.ShutDown()
	defer stop()
	for _, o := range outcomes {
		h.serve(o.Set.Name)
		c.Offer(o)
	}
	limit := time.After(2 * time.Minute)
	for done := 0; done < sets; {
		select {
		case name := <-h.wanted:
			h.serve(name)
			c.queue.Add(types.NamespacedName{Namespace: "argocd", Name: name})
			c.queue.Add(outcomes[0].Set) // the noisy neighbour
		case <-h.done:
			done++
		case <-limit:
			t.Fatalf("%d of %d sets have completed", done, sets)
		}
	}
	if h.operations != sets*apps {
		t.Errorf("%d operations for %d Applications", h.operations, sets*apps)
	}
	for name, most := range h.most {
		if most > 2 {
			t.Errorf("%s: %d in flight, limit 2", name, most)
		}
	}
}
