package manifest_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clocktest "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cache"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// charts is a Helm repository over HTTP.
type charts struct {
	*httptest.Server
	mu    sync.Mutex
	index string
	files map[string][]byte
}

func serveCharts(t *testing.T) *charts {
	t.Helper()
	c := &charts{index: "apiVersion: v1\nentries:\n  web:\n", files: map[string][]byte{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if r.URL.Path == "/index.yaml" {
			_, _ = io.WriteString(w, c.index)
		} else if raw, ok := c.files[r.URL.Path]; ok {
			_, _ = w.Write(raw)
		} else {
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *charts) publish(t *testing.T, version string) {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for name, content := range map[string]string{
		"Chart.yaml":       "apiVersion: v2\nname: web\nversion: " + version + "\nmaintainers: [{name: Ann, email: ann@example.com}]\n",
		"values.yaml":      "color: none\n",
		"templates/c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-web}\ndata: {version: {{ .Chart.Version | quote }}, color: {{ .Values.color }}}\n",
	} {
		if err := w.WriteHeader(&tar.Header{Name: "web/" + name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files["/web-"+version+".tgz"] = out.Bytes()
	c.index += fmt.Sprintf("  - name: web\n    version: %s\n    urls: [web-%s.tgz]\n", version, version)
}

// sources resolves and renders sources for Application "shop".
func (w *world) sources(t *testing.T, q manifest.Query, sources ...v1alpha1.ApplicationSource) (*manifest.Manifests, error) {
	t.Helper()
	q.App, q.Sources, q.KubeVersion = render.App{Name: "shop", Instance: "shop", Namespace: "prod", Project: "default"}, sources, "1.36.3"
	var revisions []string
	for _, src := range sources {
		id, err := w.Resolve(t.Context(), "default", src, true)
		if err != nil {
			return nil, err
		}
		revisions = append(revisions, id)
	}
	return w.Generate(t.Context(), q, revisions)
}

func data(t *testing.T, m *manifest.Manifests, n int) string {
	t.Helper()
	raw, err := json.Marshal(m.Objects[n].Object["data"])
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestChartOfARepositoryWithValuesFromGit(t *testing.T) {
	w, c := start(t), serveCharts(t)
	c.publish(t, "1.0.0")
	c.publish(t, "1.1.0")
	w.commit(t, gitserver.Files{"values/prod.yaml": "color: green\n", "plain/c.yaml": configMap("plain", "x")})
	chart := v1alpha1.ApplicationSource{RepoURL: c.URL, Chart: "web", TargetRevision: "1.0.x", Helm: &v1alpha1.SourceHelm{ValueFiles: []string{"$conf/values/prod.yaml"}}}
	conf := v1alpha1.ApplicationSource{RepoURL: w.url, TargetRevision: "main", Ref: "conf"}
	plain := v1alpha1.ApplicationSource{RepoURL: w.url, TargetRevision: "main", Path: "plain"}
	m, err := w.sources(t, manifest.Query{}, chart, conf, plain)
	if err != nil {
		t.Fatal(err)
	}
	if m.Revisions[0] != "1.0.0" || fmt.Sprint(m.SourceTypes) != "[Helm  Directory]" || len(m.Objects) != 2 || data(t, m, 0) != `{"color":"green","version":"1.0.0"}` {
		t.Errorf("revisions %v, types %q, objects %v", m.Revisions, m.SourceTypes, m.Objects)
	}
	said, err := w.Describe(t.Context(), "default", chart, "1.0.0", nil)
	if err != nil || said.Chart == nil || said.Chart.Version != "1.0.0" || fmt.Sprint(said.Chart.Maintainers) != "[Ann <ann@example.com>]" {
		t.Errorf("description %+v, %v", said.Chart, err)
	}
	w.renders(t, "rendered")
	for _, step := range []struct {
		change   gitserver.Files
		rendered int
	}{
		{gitserver.Files{"README.md": "x"}, 0}, {gitserver.Files{"values/other.yaml": "x"}, 0},
		{gitserver.Files{"values/prod.yaml": "color: blue\n"}, 1}, {gitserver.Files{"plain/c.yaml": configMap("plain", "y")}, 1},
	} {
		w.commit(t, step.change)
		if _, err := w.sources(t, manifest.Query{}, chart, conf, plain); err != nil {
			t.Fatal(err)
		}
		if got := w.renders(t, "rendered"); got != step.rendered {
			t.Errorf("after %v: %d renders, want %d", step.change, got, step.rendered)
		}
	}
	c.publish(t, "1.0.5")
	if m, err = w.sources(t, manifest.Query{}, chart, conf, plain); err != nil || m.Revisions[0] != "1.0.5" {
		t.Errorf("after a new version: %v, %v", m, err)
	}
	for _, bad := range []struct {
		change func(*v1alpha1.ApplicationSource)
		want   string
	}{
		{func(s *v1alpha1.ApplicationSource) { s.TargetRevision = "" }, "targetRevision is required"},
		{func(s *v1alpha1.ApplicationSource) { s.Ref = "x" }, "names a chart"},
		{func(s *v1alpha1.ApplicationSource) { s.TargetRevision = "^9" }, "version matching constraint"},
		{func(s *v1alpha1.ApplicationSource) { s.Chart = "gone" }, "no chart of this name"},
	} {
		src := chart
		bad.change(&src)
		if _, err := w.sources(t, manifest.Query{}, src); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("error %v, want %q", err, bad.want)
		}
	}
}

// TestDependenciesFromARepository: of the version that Chart.lock names, else
// of the newest in range, which counts as read.
func TestDependenciesFromARepository(t *testing.T) {
	w, c := start(t), serveCharts(t)
	c.publish(t, "1.0.0")
	chart := "apiVersion: v2\nname: top\nversion: 0.1.0\ndependencies: [{name: web, version: ^1.0.0, repository: \"" + c.URL + "\"}]\n"
	w.commit(t, gitserver.Files{
		"free/Chart.yaml": chart, "locked/Chart.yaml": chart,
		"locked/Chart.lock": "dependencies: [{name: web, version: 1.0.0, repository: \"" + c.URL + "\"}]\ndigest: x\ngenerated: \"2026-01-01T00:00:00Z\"\n",
	})
	version := func(path string) string {
		t.Helper()
		m, err := w.sources(t, manifest.Query{}, v1alpha1.ApplicationSource{RepoURL: w.url, Path: path, TargetRevision: "main"})
		if err != nil {
			t.Fatal(err)
		}
		return data(t, m, 0)
	}
	if got := version("free") + version("locked"); !strings.Contains(got, "1.0.0") {
		t.Errorf("versions %s", got)
	}
	c.publish(t, "1.2.0")
	w.options.Fetcher.Refresh(repo.Repository{URL: c.URL})
	if got := version("free"); !strings.Contains(got, "1.2.0") {
		t.Errorf("after a new version in range: %s", got)
	}
	if got := version("locked"); !strings.Contains(got, "1.0.0") {
		t.Errorf("locked, after a new version in range: %s", got)
	}
	w.permitted = func(_, url string) bool { return url != c.URL }
	_, err := w.sources(t, manifest.Query{Hard: true}, v1alpha1.ApplicationSource{RepoURL: w.url, Path: "free", TargetRevision: "main"})
	if err == nil || !strings.Contains(err.Error(), "helm repos "+c.URL+" are not permitted in project 'default'") {
		t.Errorf("error %v, want that the project may not", err)
	}
}

func TestRemoteBasesAreRefusedUnlessAllowed(t *testing.T) {
	w := start(t)
	w.commit(t, gitserver.Files{
		"base/kustomization.yaml": "resources: [c.yaml]\n", "base/c.yaml": configMap("c", "one"),
		"app/kustomization.yaml": "namePrefix: p-\nresources: [\"" + w.url + "//base?ref=main\"]\n",
	})
	src := v1alpha1.ApplicationSource{RepoURL: w.url, Path: "app", TargetRevision: "main"}
	if _, err := w.sources(t, manifest.Query{}, src); err == nil || !strings.Contains(err.Error(), "is remote, which is not allowed") {
		t.Errorf("error %v, want that it is remote", err)
	}
	w.config["kustomize.remoteBases.enable"] = "true"
	m, err := w.sources(t, manifest.Query{}, src)
	if err != nil || len(m.Objects) != 1 || m.Objects[0].GetName() != "p-c" {
		t.Fatalf("%v, %v", m, err)
	}
	w.commit(t, gitserver.Files{"base/c.yaml": configMap("c", "two")})
	if m, err = w.sources(t, manifest.Query{}, src); err != nil || !strings.Contains(data(t, m, 0), "two") {
		t.Errorf("after a change of the base: %v, %v", m, err)
	}
	w.permitted = func(string, string) bool { return false }
	if _, err := w.sources(t, manifest.Query{Hard: true}, src); err == nil || !strings.Contains(err.Error(), "not permitted in project 'default'") {
		t.Errorf("error %v, want that the project may not", err)
	}
}

func TestSettingsThatCannotBeUsed(t *testing.T) {
	w := start(t)
	w.commit(t, gitserver.Files{"app/kustomization.yaml": "resources: [c.yaml]\n", "app/c.yaml": configMap("c", "x")})
	src := v1alpha1.ApplicationSource{RepoURL: w.url, Path: "app", TargetRevision: "main"}
	w.config["kustomize.buildOptions"] = "--enable-exec"
	if _, err := w.sources(t, manifest.Query{}, src); err == nil || !strings.Contains(err.Error(), "--enable-exec is not allowed") {
		t.Errorf("error %v", err)
	}
	w.config["kustomize.buildOptions"] = ""
	src.Kustomize = &v1alpha1.SourceKustomize{Version: "v9"}
	if _, err := w.sources(t, manifest.Query{}, src); err == nil || err.Error() != "kustomize version v9 is not registered" {
		t.Errorf("error %v", err)
	}
	w.config["kustomize.path.v9"] = "/custom/kustomize"
	if _, err := w.sources(t, manifest.Query{}, src); err != nil {
		t.Error(err)
	}
}

// TestAnotherProcessStartsWarm: results on disk hold for a new process; a
// damaged one is rendered again.
func TestAnotherProcessStartsWarm(t *testing.T) {
	w := start(t)
	w.commit(t, gitserver.Files{"app/c.yaml": configMap("c", "one"), "chart/Chart.yaml": "{apiVersion: v2, name: c, version: 1.0.0}", "chart/templates/c.yaml": configMap("{{ .Release.Name }}", "one")})
	dir := t.TempDir()
	fresh := func() {
		t.Helper()
		store, err := cache.New(cache.Options{Key: bytes.Repeat([]byte("k"), 32), Random: rand.Reader, Disk: cache.DiskOptions{Dir: dir}, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		o := w.options
		w.registry, w.seen = prometheus.NewRegistry(), map[string]float64{}
		o.Store, o.Registerer = store, w.registry
		w.Service = manifest.New(t.Context(), o)
	}
	digests := func() (out []string) {
		t.Helper()
		for _, path := range []string{"app", "chart"} {
			m, err := w.generate(t, "a", path)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, m.Digest)
		}
		return out
	}
	fresh()
	first := digests()
	if got := w.renders(t, "rendered"); got != 2 {
		t.Fatalf("%d renders at first", got)
	}
	w.commit(t, gitserver.Files{"README.md": "x"})
	fresh()
	if got := digests(); fmt.Sprint(got) != fmt.Sprint(first) || w.renders(t, "rendered") != 0 {
		t.Errorf("a new process rendered again, or otherwise: %v, %v", got, first)
	}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return os.WriteFile(path, []byte("forged"), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	fresh()
	if got := digests(); fmt.Sprint(got) != fmt.Sprint(first) || w.renders(t, "rendered") != 2 {
		t.Errorf("after the cache was forged: %v, want %v, rendered again", got, first)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if got := digests(); fmt.Sprint(got) != fmt.Sprint(first) {
		t.Errorf("after the cache vanished: %v", got)
	}
}

// TestFailuresBackOff: a failure in one revision is tried again after ever
// longer pauses, and at once when asked to.
func TestFailuresBackOff(t *testing.T) {
	w := start(t)
	clk := clocktest.NewFakeClock(time.Unix(0, 0))
	o := w.options
	w.registry = prometheus.NewRegistry()
	o.Clock, o.Registerer = clk, w.registry
	w.Service = manifest.New(t.Context(), o)
	w.commit(t, gitserver.Files{"app/c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: [\n"})
	src := v1alpha1.ApplicationSource{RepoURL: w.url, Path: "app", TargetRevision: "main"}
	var pauses []time.Duration
	last := clk.Now()
	id, err := w.Resolve(t.Context(), "default", src, true)
	if err != nil {
		t.Fatal(err)
	}
	for range 600 {
		q := manifest.Query{App: render.App{Name: "shop", Instance: "shop", Namespace: "prod", Project: "default"}, Sources: []v1alpha1.ApplicationSource{src}, KubeVersion: "1.36.3"}
		if _, err := w.Generate(t.Context(), q, []string{id}); err == nil {
			t.Fatal("no error")
		}
		if w.renders(t, "failed") == 1 {
			pauses = append(pauses, clk.Since(last))
			last = clk.Now()
		}
		clk.Step(time.Second)
	}
	if got := fmt.Sprint(pauses); got != "[0s 5s 10s 20s 40s 1m20s 2m40s 3m0s]" {
		t.Errorf("pauses %s", got)
	}
	for _, q := range []manifest.Query{{Retry: true}, {Hard: true}} {
		if _, err := w.sources(t, q, src); err == nil || w.renders(t, "failed") != 1 {
			t.Errorf("%+v did not try again: %v", q, err)
		}
	}
	w.commit(t, gitserver.Files{"app/c.yaml": configMap("c", "x")})
	if _, err := w.sources(t, manifest.Query{}, src); err != nil {
		t.Errorf("after the repair: %v", err)
	}
}

// TestBranchesThatDiffer: two branches take turns without rendering again.
func TestBranchesThatDiffer(t *testing.T) {
	w := start(t)
	w.commit(t, gitserver.Files{"app/c.yaml": configMap("c", "one")})
	one, err := w.Resolve(t.Context(), "default", v1alpha1.ApplicationSource{RepoURL: w.url, Path: "app", TargetRevision: "main"}, true)
	if err != nil {
		t.Fatal(err)
	}
	w.commit(t, gitserver.Files{"app/c.yaml": configMap("c", "two")})
	two, err := w.Resolve(t.Context(), "default", v1alpha1.ApplicationSource{RepoURL: w.url, Path: "app", TargetRevision: "main"}, true)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		id, want := one, "one"
		if i%2 == 1 {
			id, want = two, "two"
		}
		m, err := w.Generate(t.Context(), manifest.Query{
			App: render.App{Name: "a", Instance: "a", Project: "default"}, Sources: []v1alpha1.ApplicationSource{{RepoURL: w.url, Path: "app"}},
		}, []string{id})
		if err != nil || !strings.Contains(data(t, m, 0), want) {
			t.Fatalf("%v, %v; want %s", m, err, want)
		}
	}
	if got := w.renders(t, "rendered"); got != 2 {
		t.Errorf("%d renders for two revisions", got)
	}
}

func TestUploadedFiles(t *testing.T) {
	w := start(t)
	w.commit(t, gitserver.Files{"app/c.yaml": configMap("c", "git")})
	b := tree.NewBuilder()
	if err := b.Add("app/c.yaml", []byte(configMap("c", "local"))); err != nil {
		t.Fatal(err)
	}
	src := v1alpha1.ApplicationSource{RepoURL: w.url, Path: "app", TargetRevision: "main"}
	for range 2 {
		m, err := w.sources(t, manifest.Query{Local: b.Build("streamed")}, src)
		if err != nil || !strings.Contains(data(t, m, 0), "local") {
			t.Fatalf("%v, %v", m, err)
		}
		if m, err = w.sources(t, manifest.Query{}, src); err != nil || !strings.Contains(data(t, m, 0), "git") {
			t.Fatalf("%v, %v", m, err)
		}
	}
}
