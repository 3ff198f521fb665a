package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

// Applications of the part "sync.*": so many are timed (all in the long form),
// and the memory is measured with the larger number.
const (
	syncApps     = 200
	syncAppsLong = 1000
	syncIdle     = time.Minute
)

// syncing is a run of the part: one cluster that is hub and target.
type syncing struct {
	*rig.Rig
	load  *load
	timed int
	usage *usage
	// profiles is the folder for profiles, empty for none; debug the address
	// they come from.
	profiles, debug string
	// firstFloor and changeFloor are what the cluster itself needs.
	firstFloor, changeFloor floor
	figures                 []Figure
}

// memoryOfOne is what the API server of a single, busy cluster may use: with
// the fleet's default for many small ones it collects garbage for a fifth of
// its time in the floor, and for two fifths in the change of all.
const memoryOfOne = "2GiB"

// measureSync compares Sluice with a plain server-side apply of the same
// objects to the same cluster, which is the hub too: its work for both counts.
func measureSync(ctx context.Context, how size) (figures []Figure, err error) {
	dir, err := os.MkdirTemp("", "sluice-sync-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r, err := rig.Start(ctx, rig.Options{Bin: filepath.Dir(self), Dir: dir, Memory: memoryOfOne, Progress: os.Stderr})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Stop(context.WithoutCancel(ctx))) }()
	s := &syncing{Rig: r, timed: syncApps, profiles: how.profiles}
	if how.long {
		s.timed = syncAppsLong
	}
	if s.load, err = newLoad(r); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{s.floors, s.launch, s.first, s.changeAll, s.changeOne, s.idle, s.grow} {
		if err := step(ctx); err != nil {
			return s.figures, err
		}
	}
	return s.figures, nil
}

func (s *syncing) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "sync: "+format+"\n", args...)
}

func (s *syncing) add(f ...Figure) { s.figures = append(s.figures, f...) }

// floors measures what the cluster needs for itself, and tidies up.
func (s *syncing) floors(ctx context.Context) (err error) {
	if err := s.load.namespaces(ctx, "floor", s.timed); err != nil {
		return err
	}
	if s.firstFloor, err = s.load.apply(ctx, "floor", s.timed, "v0"); err != nil {
		return err
	}
	if s.changeFloor, err = s.load.apply(ctx, "floor", s.timed, "v1"); err != nil {
		return err
	}
	s.say("floor: first %s (applied after %s), change %s (applied after %s)",
		s.firstFloor.ready.Round(time.Millisecond), s.firstFloor.apply.Round(time.Millisecond),
		s.changeFloor.ready.Round(time.Millisecond), s.changeFloor.apply.Round(time.Millisecond))
	s.add(figure("sync.floor_first_s", "s", s.firstFloor.ready.Seconds(), 0), figure("sync.floor_first_apply_s", "s", s.firstFloor.apply.Seconds(), 0),
		figure("sync.floor_change_s", "s", s.changeFloor.ready.Seconds(), 0), figure("sync.floor_change_apply_s", "s", s.changeFloor.apply.Seconds(), 0))
	return s.load.remove(ctx, "floor", s.timed)
}

// commit writes the folders of some Applications.
func (s *syncing) commit(message, value string, from, to int) (string, error) {
	files := gitserver.Files{}
	for i := from; i < to; i++ {
		files["apps/"+syncName(i)+"/all.yaml"] = syncManifests(syncName(i), value)
	}
	return s.Repo.Commit(message, files)
}

// launch starts Sluice and waits until it works.
func (s *syncing) launch(ctx context.Context) error {
	if _, err := s.commit("all", "v0", 0, syncAppsLong); err != nil {
		return err
	}
	if err := errors.Join(s.load.namespaces(ctx, "bench", syncAppsLong), s.Apply(ctx, syncProject, &v1alpha1.AppProject{})); err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	if s.debug, err = freeAddress(); err != nil {
		return err
	}
	// The pause between questions to the repository is that of the product.
	if err := s.Launch("--metrics-addr", address, "--pprof-addr", s.debug, "--repository-poll-interval", "15s"); err != nil {
		return err
	}
	s.usage = watchUsage(ctx, s.PID(), "http://"+address+"/metrics")
	return rig.Until(ctx, time.Minute, "Sluice leads", func(ctx context.Context) (bool, error) {
		m, err := s.usage.scrape(ctx)
		return m["argocd_cluster_connection_status"] == 1, err
	})
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// profile writes a profile of sluice, when profiles are wanted; the returned
// function waits until it is written.
func (s *syncing) profile(ctx context.Context, name, path string) func() {
	return profiler{s.profiles, s.debug}.begin(ctx, name, path)
}

// settled waits until n Applications are in step with a commit and healthy.
func (s *syncing) settled(ctx context.Context, n int, commit string) (func() error, error) {
	return s.load.await(ctx, &v1alpha1.ApplicationList{}, n, func(o client.Object) bool {
		a, ok := o.(*v1alpha1.Application)
		return ok && a.Status.Sync.Status == v1alpha1.SyncStatusSynced && a.Status.Health.Status == v1alpha1.HealthHealthy &&
			a.Status.Sync.Revision == commit && a.Operation == nil
	})
}

// create makes Applications and gives the time until they are settled.
func (s *syncing) create(ctx context.Context, from, to int) (time.Duration, error) {
	head, err := s.Repo.Git("rev-parse", "main")
	if err != nil {
		return 0, err
	}
	bounded, cancel := context.WithTimeout(ctx, syncLimit)
	defer cancel()
	done, err := s.settled(bounded, to, head)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	err = atOnce(to-from, syncWorkers, func(i int) error {
		return s.load.Create(ctx, application(from+i, s.Git.URL("gitops-fleet")))
	})
	if err != nil {
		return 0, err
	}
	err = done()
	return time.Since(begin), err
}

func (s *syncing) first(ctx context.Context) error {
	before, err := s.usage.read(ctx)
	if err != nil {
		return err
	}
	profiled := s.profile(ctx, "first.pprof", "/debug/pprof/profile?seconds=8")
	took, err := s.create(ctx, 0, s.timed)
	if err != nil {
		return err
	}
	profiled()
	after, err := s.usage.read(ctx)
	if err != nil {
		return err
	}
	d := after.since(before)
	s.say("first sync: %s, %.1f CPU seconds, requests %v", took.Round(time.Millisecond), d.cpu, d.requests)
	s.add(figure("sync.first_s", "s", took.Seconds(), 0), figure("sync.first_ratio", "x", took.Seconds()/s.firstFloor.ready.Seconds(), 2),
		figure("sync.first_cpu_s", "s", d.cpu, 0), figure("sync.requests_per_object", "requests", d.total()/float64(s.timed*syncObjects), 2.5),
		figure("sync.dry_runs_per_object", "requests", d.dryRuns/float64(s.timed*syncObjects), 0))
	for _, verb := range d.verbs() {
		s.add(figure("sync.first_requests_"+strings.ToLower(verb), "requests", d.requests[verb], 0))
	}
	return nil
}

// change commits a value for some Applications and gives the time from the
// moment at which Sluice asked the repository next until all are settled.
func (s *syncing) change(ctx context.Context, value string, from, to int) (time.Duration, error) {
	bounded, cancel := context.WithTimeout(ctx, syncLimit)
	defer cancel()
	id, err := s.commit(value, value, from, to)
	if err != nil {
		return 0, err
	}
	asked := s.Git.Count("ls-refs")
	done, err := s.settled(bounded, s.timed, id)
	if err != nil {
		return 0, err
	}
	if to-from < s.timed { // the others only take notice of the commit
		if done, err = s.one(bounded, from, value); err != nil {
			return 0, err
		}
	}
	var known time.Time
	ask := time.NewTicker(time.Millisecond)
	defer ask.Stop()
	for known.IsZero() {
		select {
		case <-bounded.Done():
			return 0, fmt.Errorf("commit %s: Sluice does not ask: %w", value, bounded.Err())
		case <-ask.C:
			if s.Git.Count("ls-refs") > asked {
				known = time.Now()
			}
		}
	}
	err = done()
	return time.Since(known), err
}

// one waits until the Deployment of one Application has been applied with the
// value and its Application is settled again.
func (s *syncing) one(ctx context.Context, n int, value string) (func() error, error) {
	head, err := s.Repo.Git("rev-parse", "main")
	if err != nil {
		return nil, err
	}
	return s.load.await(ctx, &v1alpha1.ApplicationList{}, 1, func(o client.Object) bool {
		a, ok := o.(*v1alpha1.Application)
		return ok && a.Name == syncName(n) && a.Status.Sync.Revision == head && a.Status.Sync.Status == v1alpha1.SyncStatusSynced &&
			a.Operation == nil && a.Status.OperationState != nil && a.Status.OperationState.SyncResult.Revision == head
	})
}

func (s *syncing) changeAll(ctx context.Context) error {
	before, err := s.usage.read(ctx)
	if err != nil {
		return err
	}
	profiled := s.profile(ctx, "change.pprof", "/debug/pprof/profile?seconds=8")
	took, err := s.change(ctx, "v1", 0, s.timed)
	if err != nil {
		return err
	}
	profiled()
	after, err := s.usage.read(ctx)
	if err != nil {
		return err
	}
	d := after.since(before)
	s.say("change of all: %s, %.1f CPU seconds, requests %v, dry runs %.0f", took.Round(time.Millisecond), d.cpu, d.requests, d.dryRuns)
	s.add(figure("sync.allchange_s", "s", took.Seconds(), 0), figure("sync.allchange_ratio", "x", took.Seconds()/s.changeFloor.ready.Seconds(), 2),
		figure("sync.allchange_cpu_s", "s", d.cpu, 0), figure("sync.allchange_requests_per_object", "requests", d.total()/float64(s.timed*syncObjects), 0))
	return nil
}

func (s *syncing) changeOne(ctx context.Context) error {
	var all []float64
	for i := range 5 {
		took, err := s.change(ctx, fmt.Sprintf("one-%d", i), 7*i, 7*i+1)
		if err != nil {
			return err
		}
		all = append(all, took.Seconds())
	}
	s.say("change of one: %.3f s", all)
	s.add(figure("sync.onechange_s", "s", median(all), 1))
	return nil
}

// idle measures a minute in which nothing changes. The first seconds are for
// what the changes left to do.
func (s *syncing) idle(ctx context.Context) error {
	pause := time.NewTimer(5 * time.Second)
	defer pause.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-pause.C:
	}
	before, err := s.usage.read(ctx)
	if err != nil {
		return err
	}
	defer s.profile(ctx, "idle.pprof", "/debug/pprof/profile?seconds=50")()
	pause.Reset(syncIdle)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-pause.C:
	}
	after, err := s.usage.read(ctx)
	if err != nil {
		return err
	}
	d := after.since(before)
	s.say("idle: %.2f CPU seconds in %s, requests %v", d.cpu, syncIdle, d.requests)
	f := figure("sync.idle_core_pct", "%", 100*d.cpu/syncIdle.Seconds(), 1)
	f.OK = f.Value < f.Bar
	s.add(f)
	return nil
}

// grow adds Applications up to the large number and tells the largest memory.
func (s *syncing) grow(ctx context.Context) error {
	if s.timed < syncAppsLong {
		took, err := s.create(ctx, s.timed, syncAppsLong)
		if err != nil {
			return err
		}
		s.say("%d more Applications: %s", syncAppsLong-s.timed, took.Round(time.Millisecond))
	}
	s.profile(ctx, "heap.pprof", "/debug/pprof/heap")()
	peak := s.usage.stop()
	s.say("largest memory with %d Applications: %.1f MiB", syncAppsLong, peak)
	s.add(figure("sync.peak_mib", "MiB", peak, 250))
	return nil
}
