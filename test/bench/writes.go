package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logging "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/controller/advance"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
	"github.com/sluice-cd/sluice/test/rig"
)

// The simulated fleet: a real hub and the real loop that advances rollouts,
// with 2,000 Applications whose syncs take a moment and do nothing.
const (
	simulated     = 2000
	simulatedStep = 5
	simulators    = 16
	longestSync   = 800 * time.Millisecond
	maxWrites     = 2
)

// simulation plays the controller of Applications.
type simulation struct {
	*rig.Rig
	cache cache.Cache
	set   *v1alpha1.ApplicationSet
	// revision is what Git has, moved tells the loop that it has changed.
	revision atomic.Value
	moved    atomic.Value
}

// measureWrites is the part "rollout.writes_": how often the status of a busy
// set is written.
func measureWrites(ctx context.Context, _ size) (figures []Figure, err error) {
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	logging.SetLogger(logr.Discard()) // of the machinery, not of the loop
	r, err := rig.Start(ctx, rig.Options{Bin: filepath.Dir(self), Dir: dir, Progress: os.Stderr})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Stop(context.WithoutCancel(ctx))) }()
	inner, stop := context.WithCancel(ctx)
	group, inner := errgroup.WithContext(inner)
	s := &simulation{Rig: r}
	begin, took, err := s.play(inner, group)
	stop()
	if ended := group.Wait(); err == nil && !errors.Is(ended, context.Canceled) {
		err = ended
	}
	if err != nil {
		return nil, err
	}
	return s.figures(begin, took)
}

// play brings one change to all Applications.
func (s *simulation) play(ctx context.Context, group *errgroup.Group) (begin time.Time, took time.Duration, err error) {
	s.revision.Store("1111111111111111111111111111111111111111")
	outcome, err := s.create(ctx)
	if err != nil {
		return begin, 0, err
	}
	loop, err := s.loop(ctx, group)
	if err != nil {
		return begin, 0, err
	}
	loop.Offer(outcome)
	if err := s.until(ctx, "1111111111111111111111111111111111111111"); err != nil {
		return begin, 0, err
	}
	begin = time.Now()
	s.revision.Store("2222222222222222222222222222222222222222")
	if moved, ok := s.moved.Load().(func()); ok {
		moved()
	}
	if err := s.all(ctx, outcome.Applications, func(ctx context.Context, app *v1alpha1.Application) error { return s.compare(ctx, app.Name, false) }); err != nil {
		return begin, 0, err
	}
	err = s.until(ctx, "2222222222222222222222222222222222222222")
	return begin, time.Since(begin), err
}

func (s *simulation) until(ctx context.Context, revision string) error {
	return rig.Until(ctx, 10*time.Minute, "the simulated fleet at "+revision, func(ctx context.Context) (bool, error) {
		var set v1alpha1.ApplicationSet
		if err := s.Hub.Get(ctx, client.ObjectKeyFromObject(s.set), &set); err != nil {
			return false, err
		}
		r := set.Status.Rollout
		if r == nil {
			return false, errors.New("no rollout yet")
		}
		if r.CompletedAt == nil || r.Target == nil || len(r.Target.Sources) != 1 || r.Target.Sources[0].Revision != revision {
			return false, fmt.Errorf("step %d, phase %s", r.CurrentStep, r.Phase)
		}
		return true, nil
	})
}

// create makes the set and its Applications, in order at the first revision.
func (s *simulation) create(ctx context.Context) (appset.Outcome, error) {
	quarter := intstr.FromString("25%")
	s.set = &v1alpha1.ApplicationSet{ObjectMeta: metav1.ObjectMeta{Name: "simulated", Namespace: rig.Namespace}}
	rolling := &v1alpha1.RollingSync{Batching: "Sliding"} // each end of a sync admits another: the most writes
	for k := range simulatedStep {
		rolling.Steps = append(rolling.Steps, v1alpha1.RolloutStep{MaxUpdate: &quarter, MatchExpressions: []v1alpha1.StepMatchExpression{{Key: "stage", Operator: "In", Values: []string{fmt.Sprint(k)}}}})
	}
	s.set.Spec.Strategy = &v1alpha1.ApplicationSetStrategy{Type: rollout.TypeRollingSync, RollingSync: rolling}
	s.set.Spec.Generators = []v1alpha1.ApplicationSetGenerator{{List: &v1alpha1.ListGenerator{}}}
	s.set.Spec.Template.Name = "simulated"
	s.set.Spec.Template.Spec.Project = "default"
	if err := s.Hub.Create(ctx, s.set); err != nil {
		return appset.Outcome{}, fmt.Errorf("create the set: %w", err)
	}
	yes := true
	o := appset.Outcome{Set: client.ObjectKeyFromObject(s.set), Complete: true, Invalid: map[string]string{}}
	for i := range simulated {
		app := v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("payment-service-eu-west-%04d", i), Namespace: rig.Namespace, Labels: map[string]string{"stage": fmt.Sprint(i * simulatedStep / simulated)},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.ApplicationSetKind, Name: s.set.Name, UID: s.set.UID, Controller: &yes}},
		}}
		app.Spec.Project = "default"
		app.Spec.Source = &v1alpha1.ApplicationSource{RepoURL: "https://git.example.com/fleet.git", Path: "apps", TargetRevision: "main"}
		app.Spec.Destination = v1alpha1.ApplicationDestination{Name: fmt.Sprintf("cluster-%04d", i), Namespace: "payments"}
		app.Spec.SyncPolicy = &v1alpha1.SyncPolicy{Automated: &v1alpha1.SyncPolicyAutomated{}}
		o.Applications = append(o.Applications, app)
	}
	return o, s.all(ctx, o.Applications, func(ctx context.Context, app *v1alpha1.Application) error {
		live := app.DeepCopy()
		live.Status.Health.Status = v1alpha1.HealthHealthy
		s.observe(live, true)
		return s.Hub.Create(ctx, live)
	})
}

// all does something to many Applications, some at a time.
func (s *simulation) all(ctx context.Context, apps []v1alpha1.Application, do func(context.Context, *v1alpha1.Application) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(simulators)
	for i := range apps {
		group.Go(func() error { return do(ctx, &apps[i]) })
	}
	return group.Wait()
}

// observe compares an Application with what Git has.
func (s *simulation) observe(app *v1alpha1.Application, synced bool) {
	revision, _ := s.revision.Load().(string)
	app.Status.Sync = v1alpha1.SyncStatus{
		Status: v1alpha1.SyncStatusOutOfSync, Revision: revision, Digest: strings.Repeat(revision[:4], 16), ComparedTo: v1alpha1.ComparedTo{Source: *app.Spec.Source, Destination: app.Spec.Destination},
	}
	if synced {
		app.Status.Sync.Status = v1alpha1.SyncStatusSynced
	}
	if state := app.Status.OperationState; state != nil {
		app.Status.Sync.AfterOperation = state.ID
	}
}

// compare writes what an Application shows; with an operation it ends that.
func (s *simulation) compare(ctx context.Context, name string, end bool) error {
	var app v1alpha1.Application
	if err := s.Hub.Get(ctx, types.NamespacedName{Namespace: rig.Namespace, Name: name}, &app); err != nil {
		return err
	}
	if end != (app.Operation != nil) {
		return nil
	}
	next := app.DeepCopy()
	if end {
		now := metav1.Now().Rfc3339Copy()
		state := &v1alpha1.OperationState{Operation: *app.Operation, Phase: v1alpha1.OperationSucceeded, StartedAt: now, FinishedAt: &now}
		for _, info := range app.Operation.Info {
			if info.Name == rollout.OperationInfo {
				state.ID = info.Value
			}
		}
		state.SyncResult = &v1alpha1.SyncOperationResult{Revision: app.Operation.Sync.Revision, Source: *app.Spec.Source}
		next.Operation, next.Status.OperationState = nil, state
		next.Status.History = []v1alpha1.RevisionHistory{{Revision: state.SyncResult.Revision, Source: *app.Spec.Source, DeployedAt: now}}
	}
	delete(next.Annotations, v1alpha1.AnnotationRefresh)
	s.observe(next, end)
	return s.Hub.Patch(ctx, next, client.MergeFrom(&app))
}

// loop starts the loop that advances rollouts, and what plays syncs.
func (s *simulation) loop(ctx context.Context, group *errgroup.Group) (*advance.Controller, error) {
	cfg, err := s.HubPart.Config()
	if err != nil {
		return nil, err
	}
	cfg.UserAgent = "sluice-bench-advance"
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	if s.cache, err = cache.New(cfg, cache.Options{Scheme: scheme, DefaultNamespaces: map[string]cache.Config{rig.Namespace: {}}}); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	writer, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	group.Go(func() error { return s.cache.Start(ctx) })
	events := record.NewBroadcaster()
	loop := advance.New(advance.Options{
		Client: writer, Cache: s.cache, Safety: 10 * time.Second, Registerer: prometheus.NewRegistry(), Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Recorder: events.NewRecorder(scheme, corev1.EventSource{Component: "bench"}),
		Subscribe: func(_ string, _ v1alpha1.ApplicationSource, notify func()) (func(), error) {
			s.moved.Store(notify)
			return func() {}, nil
		},
		Facts: advance.Facts{Gate: true, Clock: clock.RealClock{}, Resolve: func(context.Context, string, v1alpha1.ApplicationSource) (string, error) {
			revision, _ := s.revision.Load().(string)
			return revision, nil
		}},
	})
	informer, err := s.cache.GetInformer(ctx, &v1alpha1.Application{})
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	wanted := make(chan string, simulated)
	if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{UpdateFunc: func(_, o any) {
		if app, ok := o.(*v1alpha1.Application); ok && (app.Operation != nil || app.Annotations[v1alpha1.AnnotationRefresh] != "") {
			name, op := app.Name, app.Operation != nil
			time.AfterFunc(rand.N(longestSync), func() { //nolint:gosec // how long a sync takes
				if ctx.Err() == nil {
					wanted <- name + map[bool]string{true: "!", false: ""}[op]
				}
			})
		}
	}}); err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	for range simulators {
		group.Go(func() error { return s.serve(ctx, wanted) })
	}
	group.Go(func() error { return loop.Start(ctx) })
	return loop, nil
}

// serve ends operations (marked with !) and answers refreshes.
func (s *simulation) serve(ctx context.Context, wanted <-chan string) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case name := <-wanted:
			name, end := strings.CutSuffix(name, "!")
			if err := s.compare(ctx, name, end); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// figures reads from the hub's audit log how often the status was written, and
// that each Application was synced once.
func (s *simulation) figures(begin time.Time, took time.Duration) ([]Figure, error) {
	lines, err := s.HubPart.AuditLines()
	if err != nil {
		return nil, err
	}
	var writes []time.Time
	var status, acts []float64
	operations, largest := 0, 0
	for i := range lines {
		a := &lines[i]
		if !a.Write() || a.Received.Before(begin) || a.UserAgent != "sluice-bench-advance" {
			continue
		}
		switch took := a.Done.Sub(a.Received).Seconds() * 1000; {
		case a.ObjectRef.Resource == "applicationsets" && a.ObjectRef.Subresource == "status":
			writes, status = append(writes, a.Received), append(status, took)
			var o struct{ Status json.RawMessage }
			if json.Unmarshal(a.RequestObject, &o) == nil {
				largest = max(largest, len(o.Status))
			}
		case a.ObjectRef.Resource == "applications" && bytes.Contains(a.RequestObject, []byte(rollout.OperationInfo)):
			operations, acts = operations+1, append(acts, took)
		}
	}
	if len(writes) == 0 || operations == 0 {
		return nil, errors.New("the hub's audit log tells of no writes")
	}
	slices.SortFunc(writes, time.Time.Compare)
	most := 0
	for i, first := 0, 0; i < len(writes); i++ {
		for writes[i].Sub(writes[first]) >= time.Second {
			first++
		}
		most = max(most, i-first+1)
	}
	once := figure("rollout.writes_operations_2000", "", float64(operations), simulated)
	once.OK = operations == simulated
	return []Figure{
		figure("rollout.writes_a_second_2000", "1/s", float64(most), maxWrites),
		figure("rollout.writes_2000", "", float64(len(writes)), 0),
		once,
		figure("rollout.writes_status_bytes_2000", "B", float64(largest), maxStatusBytes),
		figure("rollout.writes_status_ms_2000", "ms", percentile(status, 50), 0),
		figure("rollout.writes_operation_ms_2000", "ms", percentile(acts, 50), 0),
		figure("rollout.writes_wall_s_2000", "s", took.Seconds(), 0),
	}, nil
}
