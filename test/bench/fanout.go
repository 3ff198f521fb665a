package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/rig"
)

// seen is a change that arrived at a client.
type seen struct {
	change string
	at     time.Time
}

// fanOut changes Applications while many watch, and measures until the last
// client has the change; beside it, until a client of the API server itself has
// it.
func (s *serving) fanOut(ctx context.Context) ([]Figure, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	arrived, direct, failed := make(chan seen, serverWatchers*4), make(chan seen, 4), make(chan error, serverWatchers+1)
	if err := s.followHub(ctx, direct, failed); err != nil {
		return nil, err
	}
	var open sync.WaitGroup
	for range serverWatchers {
		open.Add(1)
		go func() {
			if err := s.follow(ctx, open.Done, arrived); err != nil && ctx.Err() == nil {
				failed <- err
			}
		}()
	}
	open.Wait()
	traced := s.profiles.begin(ctx, "fanout.trace", "/debug/pprof/trace?seconds=2")
	cpu := processorSeconds(s.process.Process.Pid)
	var all, floor []time.Duration
	for i := range serverChanges {
		mark := fmt.Sprintf("change-%d", i)
		begin := time.Now()
		app := &v1alpha1.Application{}
		app.Name, app.Namespace = fmt.Sprintf("app-%05d", i*37), rig.Namespace
		patch := []byte(`{"metadata":{"labels":{"mark":"` + mark + `"}}}`)
		if err := s.Hub.Patch(ctx, app, client.RawPatch(types.MergePatchType, patch)); err != nil {
			return nil, err
		}
		hub, err := lastOf(direct, failed, 1, mark)
		if err != nil {
			return nil, err
		}
		last, err := lastOf(arrived, failed, serverWatchers, mark)
		if err != nil {
			return nil, err
		}
		all, floor = append(all, last.Sub(begin)), append(floor, hub.Sub(begin))
	}
	cpu = processorSeconds(s.process.Process.Pid) - cpu
	traced()
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Fprintf(os.Stderr, "server: a change takes %s to the last of %d clients (half of them less than that), %s to a client of the API server; load %s",
		worstOf(all, 50), serverWatchers, worstOf(floor, 50), load)
	return []Figure{
		figure("server.fanout_p99_ms", "ms", ms(worstOf(all, 99)), 200), figure("server.fanout_p50_ms", "ms", ms(worstOf(all, 50)), 0),
		figure("server.fanout_floor_p99_ms", "ms", ms(worstOf(floor, 99)), 0), figure("server.fanout_floor_p50_ms", "ms", ms(worstOf(floor, 50)), 0),
		figure("server.fanout_cpu_ms", "ms", cpu*1000/serverChanges, 0),
	}, nil
}

// lastOf waits until n clients have a change, and says when the last of them
// got it.
func lastOf(arrived <-chan seen, failed <-chan error, n int, mark string) (last time.Time, err error) {
	for range n {
		select {
		case got := <-arrived:
			if got.change != mark {
				return last, fmt.Errorf("a client saw %s, want %s", got.change, mark)
			}
			if got.at.After(last) {
				last = got.at
			}
		case err := <-failed:
			return last, err
		case <-time.After(20 * time.Second):
			return last, fmt.Errorf("not every client saw %s", mark)
		}
	}
	return last, nil
}

// follow watches as one client.
func (s *serving) follow(ctx context.Context, opened func(), arrived chan<- seen) error {
	resp, err := s.get(ctx, "/api/v1/stream/applications?resourceVersion=1&fields=result.type,result.application.metadata.name,result.application.metadata.labels,result.application.status.health")
	opened()
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("watch: %s", resp.Status)
	}
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		at := time.Now()
		if _, rest, ok := strings.Cut(line, `"mark":"`); ok {
			mark, _, _ := strings.Cut(rest, `"`)
			arrived <- seen{mark, at}
		}
	}
}

// followHub watches the API server itself, from now on.
func (s *serving) followHub(ctx context.Context, arrived chan<- seen, failed chan<- error) error {
	l, err := newLoad(s.Rig)
	if err != nil {
		return err
	}
	now := &v1alpha1.ApplicationList{}
	if err := l.List(ctx, now, client.InNamespace(rig.Namespace), client.Limit(1)); err != nil {
		return err
	}
	from := &client.ListOptions{Namespace: rig.Namespace}
	from.Raw = from.AsListOptions()
	from.Raw.ResourceVersion = now.ResourceVersion
	w, err := l.Watch(ctx, &v1alpha1.ApplicationList{}, from)
	if err != nil {
		return err
	}
	go func() {
		defer w.Stop()
		for e := range w.ResultChan() {
			if app, ok := e.Object.(*v1alpha1.Application); ok && e.Type == watch.Modified && app.Labels["mark"] != "" {
				arrived <- seen{app.Labels["mark"], time.Now()}
			}
		}
		if ctx.Err() == nil {
			failed <- fmt.Errorf("the watch of the API server ended")
		}
	}()
	return nil
}
