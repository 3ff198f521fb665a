package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-cd/sluice/fleet/internal/component"
	"github.com/sluice-cd/sluice/fleet/internal/credential"
	"github.com/sluice-cd/sluice/fleet/internal/faultproxy"
)

// Supervisor runs one fleet.
type Supervisor struct {
	options  Options
	spawn    *spawner
	etcdURL  string
	etcd     *child
	clusters []*cluster
	created  bool // the folder did not exist before
	lock     *os.File

	mu    sync.Mutex
	state State
}

func (s *Supervisor) path(name string) string { return filepath.Join(s.options.Dir, name) }

// Run starts the fleet, serves requests until ctx ends or it is told to go
// down, and removes everything it made.
func Run(ctx context.Context, o Options) error {
	s := &Supervisor{options: o, spawn: newSpawner(o.Memory)}
	if err := s.claim(); err != nil {
		return err
	}
	defer s.cleanup()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop, err := s.serve(ctx, cancel)
	if err != nil {
		return err
	}
	defer stop()
	if err := s.start(ctx); err != nil {
		s.fail(err)
		return err
	}
	<-ctx.Done()
	return nil
}

// claim takes the folder; a folder with a living fleet or foreign files is
// refused.
func (s *Supervisor) claim() error {
	dir := s.options.Dir
	s.created = s.options.OwnsFolder
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		s.created = true
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("folder %s: %w", dir, err)
	}
	lock, err := os.OpenFile(s.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("folder %s: %w", dir, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return fmt.Errorf("folder %s is in use by another fleet: choose another with --dir, or run fleet down --dir %s", dir, dir)
	}
	s.lock = lock
	return s.removeFiles()
}

// removeFiles deletes what a fleet leaves in its folder.
func (s *Supervisor) removeFiles() error {
	for _, name := range []string{"state.json", "control.sock", "ca.crt", "ca.key", "etcd.crt", "etcd.key", "etcd", "etcd.log"} {
		if err := os.RemoveAll(s.path(name)); err != nil {
			return fmt.Errorf("clean folder: %w", err)
		}
	}
	for _, c := range s.options.Clusters {
		if err := os.RemoveAll(s.path(c.Name)); err != nil {
			return fmt.Errorf("clean folder: %w", err)
		}
	}
	return nil
}

func (s *Supervisor) start(ctx context.Context) error {
	begin := time.Now()
	s.state.PID = os.Getpid()
	ca, err := credential.NewAuthority(begin)
	if err != nil {
		return err
	}
	server, err := ca.Server(begin)
	if err != nil {
		return err
	}
	if err := errors.Join(ca.Save(s.options.Dir), server.Write(s.options.Dir, "etcd")); err != nil {
		return err
	}
	if err := s.startEtcd(ctx); err != nil {
		return err
	}
	for i, spec := range s.options.Clusters {
		if err := s.add(ca, server, spec, i); err != nil {
			return err
		}
	}
	if err := s.save(); err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	group, gctx := errgroup.WithContext(limit)
	group.SetLimit(3)
	for _, c := range s.clusters {
		group.Go(func() error {
			if err := c.up(gctx); err != nil {
				return err
			}
			s.options.Progress(fmt.Sprintf("cluster %s ready after %.1fs", c.spec.Name, time.Since(begin).Seconds()))
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	s.mu.Lock()
	s.state.Ready, s.state.ReadyIn = true, time.Since(begin).Seconds()
	s.mu.Unlock()
	if err := s.save(); err != nil {
		return err
	}
	s.options.Progress(fmt.Sprintf("%d clusters ready in %.1fs, %.0f MiB per cluster", len(s.clusters), s.state.ReadyIn, s.state.MiB))
	return nil
}

func (s *Supervisor) startEtcd(ctx context.Context) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	peer, err := freeAddress()
	if err != nil {
		return err
	}
	s.etcdURL = "https://" + address
	args := []string{s.path("etcd"), s.etcdURL, "https://" + peer, s.path("ca.crt"), s.path("etcd.crt"), s.path("etcd.key")}
	if s.etcd, err = s.spawn.start(s.path("etcd.log"), component.Etcd, args); err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return nil
		}
		if !s.etcd.alive() {
			return fmt.Errorf("etcd ended: see %s", s.path("etcd.log"))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (s *Supervisor) add(ca *credential.Authority, server credential.Pair, spec ClusterSpec, i int) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	proxy, err := faultproxy.Start(address)
	if err != nil {
		return err
	}
	c := &cluster{spec: spec, index: i, dir: s.path(spec.Name), address: address, proxy: proxy, fleet: s, children: map[string]*child{}, state: "starting"}
	s.clusters = append(s.clusters, c)
	return c.prepare(ca, server, time.Now())
}

func (s *Supervisor) find(name string) (*cluster, error) {
	for _, c := range s.clusters {
		if c.spec.Name == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("no cluster %q in this fleet: see fleet status", name)
}

// Snapshot is the present state with fresh memory figures.
func (s *Supervisor) Snapshot() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Clusters = nil
	total := 0.0
	if s.etcd != nil {
		s.state.EtcdPID = s.etcd.pid()
		total = residentMiB(s.etcd.pid())
	}
	for _, c := range s.clusters {
		snap := c.snapshot()
		total += snap.MiB
		s.state.Clusters = append(s.state.Clusters, snap)
	}
	if n := len(s.clusters); n > 0 {
		s.state.MiB = total / float64(n)
	}
	return s.state
}

func (s *Supervisor) save() error {
	raw, err := json.MarshalIndent(s.Snapshot(), "", "  ")
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	next := s.path("state.json.new")
	if err := os.WriteFile(next, raw, 0o600); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return os.Rename(next, s.path("state.json"))
}

func (s *Supervisor) fail(err error) {
	s.mu.Lock()
	s.state.Error = err.Error()
	s.mu.Unlock()
	_ = s.save()
}

func (s *Supervisor) cleanup() {
	for _, c := range s.clusters {
		c.kill()
	}
	if s.etcd != nil {
		s.etcd.kill()
	}
	if s.state.Error == "" {
		_ = s.removeFiles()
		_ = os.Remove(s.path("lock"))
		if s.created {
			_ = os.Remove(s.path("supervisor.log"))
			_ = os.Remove(s.options.Dir)
		}
	}
	_ = s.lock.Close()
}
