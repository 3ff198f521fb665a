package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// usage watches a running sluice from outside.
type usage struct {
	pid     int
	metrics string
	cancel  context.CancelFunc
	done    chan struct{}
	kib     int64
}

func watchUsage(ctx context.Context, pid int, metrics string) *usage {
	ctx, cancel := context.WithCancel(ctx)
	u := &usage{pid: pid, metrics: metrics, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(u.done)
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		for {
			u.kib = max(u.kib, residentOf(u.pid))
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
	return u
}

// stop ends watching and gives the largest memory of the process and its
// workers together, in MiB.
func (u *usage) stop() float64 {
	u.cancel()
	<-u.done
	return float64(u.kib) / 1024
}

// reading is what a process has used up to a moment.
type reading struct {
	// cpu seconds of the process and of everything it started, git included.
	cpu float64
	// requests to API servers by HTTP method, starts of watches included.
	requests map[string]float64
	// dryRuns are those of the requests that changed nothing.
	dryRuns float64
}

func (u *usage) read(ctx context.Context) (reading, error) {
	m, err := u.scrape(ctx)
	if err != nil {
		return reading{}, err
	}
	out := reading{cpu: processorSeconds(u.pid), requests: map[string]float64{}}
	for name, v := range m {
		if method, ok := strings.CutPrefix(name, "rest_client_requests_total/"); ok {
			out.requests[method] = v
		}
	}
	out.dryRuns = m["argocd_cluster_requests_total/dry-run"]
	return out, nil
}

func (r reading) since(before reading) reading {
	out := reading{cpu: r.cpu - before.cpu, dryRuns: r.dryRuns - before.dryRuns, requests: map[string]float64{}}
	for m, n := range r.requests {
		out.requests[m] = n - before.requests[m]
	}
	return out
}

func (r reading) total() (sum float64) {
	for _, n := range r.requests {
		sum += n
	}
	return sum
}

func (r reading) verbs() []string { return slices.Sorted(maps.Keys(r.requests)) }

// scrape sums the metrics by name, or by name and the label "method" or "verb".
func (u *usage) scrape(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.metrics, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics: %s", resp.Status)
	}
	out := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, rest, labelled := strings.Cut(lines.Text(), "{")
		if !labelled {
			continue
		}
		labels, value, _ := strings.Cut(rest, "} ")
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue
		}
		out[name] += n
		for _, label := range []string{`method="`, `verb="`} {
			if _, after, ok := strings.Cut(labels, label); ok {
				word, _, _ := strings.Cut(after, `"`)
				out[name+"/"+word] += n
			}
		}
	}
	return out, lines.Err()
}

// download writes what a URL answers into a file.
func download(ctx context.Context, url, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, resp.Body)
	return errors.Join(err, file.Close())
}

// family lists a process and all below it.
func family(pid int) []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		if fields := statFields(path); len(fields) > 1 {
			parent, _ := strconv.Atoi(fields[1])
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			children[parent] = append(children[parent], child)
		}
	}
	out := []int{pid}
	for i := 0; i < len(out); i++ {
		out = append(out, children[out[i]]...)
	}
	return out
}

// statFields are the fields of /proc/PID/stat behind the name: state, parent, ...
func statFields(path string) []string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	i := strings.LastIndex(string(raw), ")")
	return strings.Fields(string(raw[i+1:]))
}

// ticksPerSecond is the unit of times in /proc on Linux.
const ticksPerSecond = 100

// processorSeconds is the CPU time of a process and all below it, those that
// have ended included.
func processorSeconds(pid int) float64 {
	ticks := 0
	for _, p := range family(pid) {
		fields := statFields(fmt.Sprintf("/proc/%d/stat", p))
		if len(fields) < 15 {
			continue
		}
		for _, f := range fields[11:15] { // its own user and system time, and that of ended children
			n, _ := strconv.Atoi(f)
			ticks += n
		}
	}
	return float64(ticks) / ticksPerSecond
}

// residentOf sums the memory of a sluice process and its workers, as the
// kernel shares it out; git is not part of the figure.
func residentOf(pid int) (kib int64) {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	for _, p := range family(pid) {
		if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p)); string(comm) == string(name) {
			kib += proportional(p)
		}
	}
	return kib
}

// proportional is the memory of one process in KiB: a page that two map counts
// half for each.
func proportional(pid int) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0 // it has ended
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return n
		}
	}
	return 0
}
