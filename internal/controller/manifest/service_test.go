package manifest_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/adapter/plugin"
	"github.com/sluice-cd/sluice/internal/adapter/remote"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/adapter/render/worker"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// world is a service with a repository of its own.
type world struct {
	*manifest.Service
	repository *gitserver.Repository
	url        string
	registry   *prometheus.Registry
	options    manifest.Options
	config     map[string]string
	permitted  func(project, url string) bool
	seen       map[string]float64
}

// TestMain lets this binary be the render worker, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == worker.Command {
		limit, err := strconv.ParseInt(os.Args[2], 10, 64)
		if err == nil {
			err = worker.Serve(context.Background(), os.Stdin, os.Stdout, limit)
		}
		fmt.Fprintln(os.Stderr, "sluice:", err)
		os.Exit(1)
	}
	if os.Getenv(plugin.BinaryName) == plugin.AskPassBinary { // what git in a sidecar asks
		answer, err := plugin.AskPass(context.Background(), os.Getenv(plugin.AskPassSocket), os.Getenv(plugin.AskPassNonce), os.Args[1])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(answer)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func start(t testing.TB) *world {
	t.Helper()
	server, err := gitserver.New(t.TempDir(), gitserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	repository, err := server.Create("fleet")
	if err != nil {
		t.Fatal(err)
	}
	mirrors, err := gitrepo.New(t.Context(), gitrepo.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mirrors.Close)
	w := &world{repository: repository, url: server.URL("fleet"), registry: prometheus.NewRegistry(), seen: map[string]float64{}}
	pool, err := worker.NewPool(worker.Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	fetcher, err := remote.New(remote.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	w.config, w.permitted = map[string]string{}, func(string, string) bool { return true }
	w.options = manifest.Options{
		Mirrors: mirrors, Pool: pool, Fetcher: fetcher, Clock: clock.RealClock{}, Registerer: w.registry,
		Repository: func(url, _ string) repo.Repository { return repo.Repository{URL: url} },
		ByName:     func(string, string) (repo.Repository, bool) { return repo.Repository{}, false },
		Permitted:  func(project, url string) bool { return w.permitted(project, url) },
		Config:     func() map[string]string { return w.config }, Params: func() map[string]string { return nil },
	}
	w.Service = manifest.New(t.Context(), w.options)
	return w
}

func (w *world) commit(t testing.TB, files gitserver.Files) {
	t.Helper()
	if _, err := w.repository.Commit("change", files); err != nil {
		t.Fatal(err)
	}
}

// generate renders one folder for one Application at the newest commit.
func (w *world) generate(t *testing.T, app, path string) (*manifest.Manifests, error) {
	t.Helper()
	src := v1alpha1.ApplicationSource{RepoURL: w.url, Path: path, TargetRevision: "main"}
	id, err := w.Resolve(t.Context(), "default", src, true)
	if err != nil {
		t.Fatal(err)
	}
	return w.Generate(t.Context(), manifest.Query{
		App:     render.App{Name: app, Instance: app, Namespace: "shop", Project: "default"},
		Sources: []v1alpha1.ApplicationSource{src}, KubeVersion: "1.36.3",
	}, []string{id})
}

// renders counts the renders with a result since the last call.
func (w *world) renders(t *testing.T, result string) int {
	t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var now float64
	for _, f := range families {
		if f.GetName() != "argocd_app_manifest_renders_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if label(m) == result {
				now = m.GetCounter().GetValue()
			}
		}
	}
	n := int(now - w.seen[result])
	w.seen[result] = now
	return n
}

func label(m *dto.Metric) string { return m.GetLabel()[0].GetValue() }

func configMap(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {a: %s}\n", name, value)
}

func (w *world) all(t *testing.T, n int) (digests []string) {
	t.Helper()
	for i := range n {
		m, err := w.generate(t, fmt.Sprintf("app-%d", i), fmt.Sprintf("apps/%d", i))
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, m.Digest)
	}
	return digests
}

// TestOnlyWhatReadAChangeIsRendered is idea 3 of the design: recorded reads.
func TestOnlyWhatReadAChangeIsRendered(t *testing.T) {
	w := start(t)
	files := gitserver.Files{"base/kustomization.yaml": "resources: [c.yaml]\n", "base/c.yaml": configMap("c", "one")}
	for i := range 10 {
		if i%2 == 0 {
			files[fmt.Sprintf("apps/%d/c.yaml", i)] = configMap("c", "one")
		} else {
			files[fmt.Sprintf("apps/%d/kustomization.yaml", i)] = "resources: [../../base]\nnamePrefix: p-\n"
		}
	}
	w.commit(t, files)
	before := w.all(t, 10)
	for _, step := range []struct {
		what     string
		change   gitserver.Files
		rendered int
		moved    []int
	}{
		{"nothing", nil, 0, nil},
		{"an unrelated file", gitserver.Files{"README.md": "x"}, 0, nil},
		{"one Application", gitserver.Files{"apps/4/c.yaml": configMap("c", "two")}, 1, []int{4}},
		{"a base of five", gitserver.Files{"base/c.yaml": configMap("c", "two")}, 5, []int{1, 3, 5, 7, 9}},
		{"a manifest added", gitserver.Files{"apps/0/d.yaml": configMap("d", "one")}, 1, []int{0}},
	} {
		w.renders(t, "rendered")
		if step.change != nil {
			w.commit(t, step.change)
		}
		after := w.all(t, 10)
		if got := w.renders(t, "rendered"); got != step.rendered {
			t.Errorf("after a change of %s: %d renders, want %d", step.what, got, step.rendered)
		}
		var moved []int
		for i := range after {
			if after[i] != before[i] {
				moved = append(moved, i)
			}
		}
		if fmt.Sprint(moved) != fmt.Sprint(step.moved) {
			t.Errorf("after a change of %s the manifests of %v differ, want %v", step.what, moved, step.moved)
		}
		before = after
	}
}

// TestApplicationsShareWhatDoesNotNameThem: a folder that says nothing about
// the Application is rendered once for all.
func TestApplicationsShareWhatDoesNotNameThem(t *testing.T) {
	w := start(t)
	w.commit(t, gitserver.Files{
		"plain/c.yaml":     configMap("c", "one"),
		"chart/Chart.yaml": "apiVersion: v2\nname: c\nversion: 1.0.0\n", "chart/templates/c.yaml": configMap("{{ .Release.Name }}", "one"),
	})
	for path, want := range map[string]int{"plain": 1, "chart": 3} {
		w.renders(t, "rendered")
		for i := range 3 {
			if _, err := w.generate(t, fmt.Sprintf("app-%d", i), path); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.renders(t, "rendered"); got != want {
			t.Errorf("%s for three Applications: %d renders, want %d", path, got, want)
		}
	}
}

func TestFailureIsRememberedUntilTheNextCommit(t *testing.T) {
	w := start(t)
	w.commit(t, gitserver.Files{"app/c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: [\n"})
	for range 3 {
		if _, err := w.generate(t, "a", "app"); err == nil || !strings.Contains(err.Error(), "app/c.yaml: document 1") {
			t.Fatalf("error %v does not name the file", err)
		}
	}
	if got := w.renders(t, "failed"); got != 1 {
		t.Errorf("a broken folder was rendered %d times in a row, want once", got)
	}
	w.commit(t, gitserver.Files{"app/c.yaml": configMap("c", "one")})
	if _, err := w.generate(t, "a", "app"); err != nil {
		t.Errorf("after the repair: %v", err)
	}
}
