package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/adapter/remote"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/adapter/render/worker"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// The generated monorepo: Applications in all, and those below one base.
const (
	monorepoApps  = 1000
	monorepoBase  = 50
	heavyApps     = 30
	heavyBytes    = 1 << 20
	renderThreads = 8
)

// monorepo renders one repository and counts.
type monorepo struct {
	*manifest.Service
	mirrors    *gitrepo.Mirrors
	repository *gitserver.Repository
	url        string
	registry   *prometheus.Registry
	peak       *peak
	close      func()
}

// measureRender is the part "render.*": no cluster, but this process, its
// workers, and git.
func measureRender(ctx context.Context, _ size) (figures []Figure, err error) {
	dir, err := os.MkdirTemp("", "sluice-render-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	m, err := newMonorepo(ctx, filepath.Join(dir, "many"), monorepoFiles())
	if err != nil {
		return nil, err
	}
	figures, err = m.scenario(ctx)
	m.close()
	if err != nil {
		return nil, err
	}
	heavy, err := newMonorepo(ctx, filepath.Join(dir, "heavy"), heavyFiles())
	if err != nil {
		return nil, err
	}
	defer heavy.close()
	if _, _, err := heavy.all(ctx, heavyApps); err != nil {
		return nil, err
	}
	return append(figures, figure("render.heavy_peak_mib", "MiB", heavy.peak.mib(), 400)), nil
}

func (m *monorepo) scenario(ctx context.Context) ([]Figure, error) {
	var figures []Figure
	exact := func(name string, got int, want int) {
		f := figure(name, "renders", float64(got), float64(want))
		f.OK = got == want
		figures = append(figures, f)
	}
	cold, took, err := m.all(ctx, monorepoApps)
	if err != nil {
		return nil, err
	}
	exact("render.executed_cold", cold, monorepoApps)
	rate := figure("render.cold_apps_per_s", "1/s", monorepoApps/took.Seconds(), 0)
	rate.Bar, rate.OK = 500, rate.Value >= 500
	figures = append(figures, rate)
	warm, _, err := m.all(ctx, monorepoApps)
	if err != nil {
		return nil, err
	}
	exact("render.executed_warm", warm, 0)
	for _, step := range []struct {
		name   string
		want   int
		change gitserver.Files
	}{
		{"render.executed_one", 1, gitserver.Files{"apps/0003/cm.yaml": benchConfigMap("changed", 0)}},
		{"render.executed_base", monorepoBase, gitserver.Files{"bases/0/deploy.yaml": benchDeployment("base-changed")}},
	} {
		if _, err := m.repository.Commit(step.name, step.change); err != nil {
			return nil, err
		}
		n, _, err := m.all(ctx, monorepoApps)
		if err != nil {
			return nil, err
		}
		exact(step.name, n, step.want)
	}
	noChange, err := m.noChange(ctx)
	if err != nil {
		return nil, err
	}
	commands, err := m.counter("argocd_git_request_total", "")
	if err != nil {
		return nil, err
	}
	return append(figures, figure("render.nochange_ms", "ms", noChange, 10), figure("render.peak_mib", "MiB", m.peak.mib(), 250),
		figure("render.git_commands", "commands", commands, 0)), nil
}

// noChange is the median time to decide for all Applications after a commit
// that changed nothing they read. The fetch does not count; nothing of Git's
// objects is in memory when the clock starts.
func (m *monorepo) noChange(ctx context.Context) (float64, error) {
	var all []float64
	for i := range 5 {
		if _, err := m.repository.Commit("docs", gitserver.Files{"docs/README.md": fmt.Sprint(i)}); err != nil {
			return 0, err
		}
		id, err := m.Resolve(ctx, "default", m.source(0), true)
		if err != nil {
			return 0, err
		}
		if _, err := m.Service.Tree(ctx, "default", m.url, id, false); err != nil { // the fetch
			return 0, err
		}
		m.mirrors.Forget()
		begin := time.Now()
		for n := range monorepoApps {
			_, known, err := m.Decide(ctx, m.query(n), []string{id})
			if err != nil || !known {
				return 0, errors.Join(err, fmt.Errorf("application %d would be rendered again", n))
			}
		}
		all = append(all, float64(time.Since(begin).Microseconds())/1000)
	}
	return median(all), nil
}

func newMonorepo(ctx context.Context, dir string, files gitserver.Files) (*monorepo, error) {
	server, err := gitserver.New(filepath.Join(dir, "server"), gitserver.Options{})
	if err != nil {
		return nil, err
	}
	repository, err := server.Create("fleet")
	if err != nil {
		return nil, err
	}
	if _, err := repository.Commit("all", files); err != nil {
		return nil, err
	}
	debug.FreeOSMemory() // making the files is not part of any figure
	registry := prometheus.NewRegistry()
	mirrors, err := gitrepo.New(ctx, gitrepo.Options{Dir: filepath.Join(dir, "mirrors"), Registerer: registry})
	if err != nil {
		return nil, err
	}
	pool, err := worker.NewPool(worker.Options{Registerer: registry})
	if err != nil {
		return nil, err
	}
	fetcher, err := remote.New(remote.Options{Dir: filepath.Join(dir, "charts"), Registerer: registry})
	if err != nil {
		return nil, err
	}
	m := &monorepo{mirrors: mirrors, repository: repository, url: server.URL("fleet"), registry: registry, peak: watchPeak(ctx)}
	m.Service = manifest.New(ctx, manifest.Options{
		Mirrors: mirrors, Pool: pool, Fetcher: fetcher, Clock: clock.RealClock{}, Registerer: registry,
		Repository: func(url, _ string) repo.Repository { return repo.Repository{URL: url} },
		ByName:     func(string, string) (repo.Repository, bool) { return repo.Repository{}, false },
		Permitted:  func(string, string) bool { return true },
		Config:     func() map[string]string { return nil }, Params: func() map[string]string { return nil },
	})
	m.close = func() {
		m.peak.stop()
		pool.Close()
		mirrors.Close()
		_ = server.Close()
	}
	return m, nil
}

func (m *monorepo) source(n int) v1alpha1.ApplicationSource {
	return v1alpha1.ApplicationSource{RepoURL: m.url, Path: fmt.Sprintf("apps/%04d", n), TargetRevision: "main"}
}

func (m *monorepo) query(n int) manifest.Query {
	name := fmt.Sprintf("app-%04d", n)
	return manifest.Query{
		App:     render.App{Name: name, Instance: name, Namespace: name, Project: "default"},
		Sources: []v1alpha1.ApplicationSource{m.source(n)}, KubeVersion: "1.36.3",
	}
}

// all generates the first n Applications at the newest commit.
func (m *monorepo) all(ctx context.Context, n int) (executed int, took time.Duration, err error) {
	before, err := m.counter("argocd_app_manifest_renders_total", "rendered")
	if err != nil {
		return 0, 0, err
	}
	id, err := m.Resolve(ctx, "default", m.source(0), true)
	if err != nil {
		return 0, 0, err
	}
	if _, err := m.Service.Tree(ctx, "default", m.url, id, false); err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	next, failed := make(chan int), make(chan error, n)
	var wait sync.WaitGroup
	for range renderThreads {
		wait.Go(func() {
			for i := range next {
				if _, err := m.Generate(ctx, m.query(i), []string{id}); err != nil {
					failed <- err
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wait.Wait()
	took = time.Since(begin)
	close(failed)
	if err := <-failed; err != nil {
		return 0, 0, err
	}
	after, err := m.counter("argocd_app_manifest_renders_total", "rendered")
	return int(after - before), took, err
}

// counter sums a counter, of one label value unless it is empty.
func (m *monorepo) counter(name, label string) (sum float64, err error) {
	families, err := m.registry.Gather()
	if err != nil {
		return 0, err
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, one := range f.GetMetric() {
			if label == "" || one.GetLabel()[0].GetValue() == label {
				sum += one.GetCounter().GetValue()
			}
		}
	}
	return sum, nil
}

// peak is the largest memory of this process and its render workers together.
type peak struct {
	cancel context.CancelFunc
	done   chan struct{}
	kib    int64
}

func watchPeak(ctx context.Context) *peak {
	ctx, cancel := context.WithCancel(ctx)
	p := &peak{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			p.kib = max(p.kib, residentOf(os.Getpid()))
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
	return p
}

func (p *peak) stop() {
	p.cancel()
	<-p.done
}

func (p *peak) mib() float64 {
	p.stop()
	return float64(p.kib) / 1024
}

func benchConfigMap(value string, n int) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings-%d\ndata:\n  value: %q\n  mode: production\n", n, value)
}

func benchDeployment(value string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: registry.example.com/web:1.0.0
        env: [{name: VALUE, value: %q}]
        ports: [{containerPort: 8080}]
        resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {memory: 64Mi}}
`, value)
}

const benchService = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}\n"

// monorepoFiles are 60 % folders, 30 % overlays of six shared bases, 10 % charts.
func monorepoFiles() gitserver.Files {
	files := gitserver.Files{}
	for b := range 6 {
		dir := fmt.Sprintf("bases/%d/", b)
		files[dir+"kustomization.yaml"] = "resources: [deploy.yaml, service.yaml]\n"
		files[dir+"deploy.yaml"], files[dir+"service.yaml"] = benchDeployment("base"), benchService
	}
	for n := range monorepoApps {
		dir := fmt.Sprintf("apps/%04d/", n)
		switch {
		case n%10 < 6:
			files[dir+"deploy.yaml"], files[dir+"service.yaml"], files[dir+"cm.yaml"] = benchDeployment(fmt.Sprint(n)), benchService, benchConfigMap("x", n)
		case n%10 < 9:
			overlay := (n/10)*3 + n%10 - 6
			files[dir+"kustomization.yaml"] = fmt.Sprintf(
				"resources: [../../bases/%d]\nnamePrefix: o%d-\nnamespace: app-%04d\nimages: [{name: registry.example.com/web, newTag: v%d}]\n", overlay/monorepoBase, n, n, n)
		default:
			files[dir+"Chart.yaml"] = "apiVersion: v2\nname: web\nversion: 1.0.0\n"
			files[dir+"values.yaml"] = fmt.Sprintf("n: %d\n", n)
			files[dir+"templates/deploy.yaml"] = strings.Replace(benchDeployment("chart"), "name: web\n", "name: {{ .Release.Name }}\n", 1)
			files[dir+"templates/service.yaml"] = benchService
		}
	}
	return files
}

// heavyFiles are folders with one large CustomResourceDefinition each.
func heavyFiles() gitserver.Files {
	files := gitserver.Files{}
	for n := range heavyApps {
		var b strings.Builder
		fmt.Fprintf(&b, "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things%d.example.com}\nspec:\n  versions:\n  - name: v1\n    schema:\n      openAPIV3Schema:\n        type: object\n        properties:\n", n)
		for i := 0; b.Len() < heavyBytes; i++ {
			fmt.Fprintf(&b, "          field%06d:\n            description: What this field is for, in a sentence of usual length.\n            type: object\n            properties:\n              name: {type: string}\n", i)
		}
		files[fmt.Sprintf("apps/%04d/crd.yaml", n)] = b.String()
	}
	return files
}
