package manifest_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/plugin"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// sidecar runs the plugin "shell" in this process and waits for its socket.
func sidecar(t *testing.T, sockets, text string) {
	t.Helper()
	configs := t.TempDir()
	if err := os.WriteFile(filepath.Join(configs, "plugin.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := plugin.LoadConfig(configs)
	if err != nil {
		t.Fatal(err)
	}
	server := &plugin.Server{Config: config, SocketDir: sockets, WorkDir: filepath.Join(configs, "work"), Log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	for deadline := time.After(time.Minute); ; {
		if c, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(sockets, "shell.sock")); err == nil {
			_ = c.Close()
			break
		}
		select {
		case <-deadline:
			t.Fatal("the plugin did not start")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestPlugin renders by a sidecar that is named, and by one that is found.
func TestPlugin(t *testing.T) {
	w := start(t)
	sockets := t.TempDir()
	sidecar(t, sockets, `
kind: ConfigManagementPlugin
metadata: {name: shell}
spec:
  discover: {fileName: shell.conf}
  generate:
    command: [sh, -c]
    args: ['printf "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {env: %s, p: %s, l: %s, shared: %s}\n" "$ARGOCD_APP_NAME" "$ARGOCD_ENV_X" "$PARAM_A_B" "$PARAM_LIST_1" "$(cat ../shared.txt)"']
`)
	o := w.options
	w.registry = prometheus.NewRegistry()
	o.Plugins, o.Registerer = plugin.NewClient(plugin.Options{Dir: sockets}), w.registry
	w.Service = manifest.New(t.Context(), o)
	w.commit(t, gitserver.Files{"found/shell.conf": "", "named/x": "", "other/c.yaml": configMap("c", "x"), "shared.txt": "one"})
	one, list := "b", v1alpha1.PluginParameter{Name: "list", Array: []string{"x", "z"}}
	named := v1alpha1.ApplicationSource{RepoURL: w.url, Path: "found", TargetRevision: "main", Plugin: &v1alpha1.SourcePlugin{
		Name: "shell", Env: []v1alpha1.EnvEntry{{Name: "X", Value: "$ARGOCD_APP_NAMESPACE-$$"}}, Parameters: []v1alpha1.PluginParameter{{Name: "a.b", String: &one}, list},
	}}
	m, err := w.sources(t, manifest.Query{}, named)
	if err != nil || m.SourceTypes[0] != "Plugin" || m.Objects[0].GetName() != "shop" || data(t, m, 0) != `{"env":"prod-$","l":"z","p":"b","shared":"one"}` {
		t.Fatalf("%v %s, %v", m, data(t, m, 0), err)
	}
	found := v1alpha1.ApplicationSource{RepoURL: w.url, Path: "found", TargetRevision: "main"}
	if m, err = w.sources(t, manifest.Query{}, found); err != nil || m.SourceTypes[0] != "Plugin" {
		t.Errorf("%v, %v", m, err)
	}
	other := v1alpha1.ApplicationSource{RepoURL: w.url, Path: "other", TargetRevision: "main"}
	if m, err = w.sources(t, manifest.Query{}, other); err != nil || m.SourceTypes[0] != "Directory" {
		t.Errorf("%v, %v", m, err)
	}
	w.renders(t, "rendered")
	if _, err = w.sources(t, manifest.Query{}, found); err != nil || w.renders(t, "rendered") != 0 {
		t.Errorf("the plugin ran again for the same commit: %v", err)
	}
	w.commit(t, gitserver.Files{"README.md": "anything may have been read"})
	if _, err = w.sources(t, manifest.Query{}, found); err != nil || w.renders(t, "rendered") != 1 {
		t.Errorf("the plugin did not run for a new commit: %v", err)
	}
	bound := manifest.Query{GeneratePaths: ".;/shared.txt;/base/*.yaml"}
	if _, err = w.sources(t, bound, found); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"README.md": 0, "other/d.yaml": 0, "base/a.yaml": 1, "shared.txt": 1, "found/x": 1} {
		w.commit(t, gitserver.Files{path: "changed " + path})
		w.renders(t, "rendered")
		if _, err = w.sources(t, bound, found); err != nil {
			t.Fatal(err)
		}
		if got := w.renders(t, "rendered"); got != want {
			t.Errorf("with manifest-generate-paths, after a change of %s: %d renders, want %d", path, got, want)
		}
	}
	named.Plugin.Name = "gone"
	if _, err = w.sources(t, manifest.Query{}, named); err == nil || !strings.Contains(err.Error(), `CMP processing failed for application "shop": could not find cmp-server plugin with name "gone" supporting the given repository`) {
		t.Errorf("error %v", err)
	}
}

// TestPluginReadsItsRepository: git in the sidecar opens the repository of the
// source with credentials that are lent to it.
func TestPluginReadsItsRepository(t *testing.T) {
	server, err := gitserver.New(t.TempDir(), gitserver.Options{Username: "bot", Password: "s3cret-word"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	repository, err := server.Create("private")
	if err != nil {
		t.Fatal(err)
	}
	id, err := repository.Commit("one", gitserver.Files{"app/x": "x"})
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin, sockets := t.TempDir(), t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "argocd")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	sidecar(t, sockets, `
kind: ConfigManagementPlugin
metadata: {name: shell}
spec:
  provideGitCreds: true
  generate: {command: [sh, -c], args: ['printf "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {head: \"%s\"}\n" "$(git -c credential.helper= ls-remote "$ARGOCD_APP_SOURCE_REPO_URL" refs/heads/main | cut -c1-40)"']}
`)
	w := start(t)
	lender := plugin.NewLender(filepath.Join(sockets, "ask"), rand.Reader)
	t.Cleanup(lender.Close)
	o := w.options
	o.Registerer = prometheus.NewRegistry()
	o.Plugins = plugin.NewClient(plugin.Options{Dir: sockets, Lender: lender})
	o.Repository = func(url, _ string) repo.Repository {
		return repo.Repository{URL: url, Username: "bot", Password: "s3cret-word"}
	}
	w.Service = manifest.New(t.Context(), o)
	m, err := w.sources(t, manifest.Query{}, v1alpha1.ApplicationSource{RepoURL: server.URL("private"), Path: "app", TargetRevision: "main", Plugin: &v1alpha1.SourcePlugin{Name: "shell"}})
	if err != nil || data(t, m, 0) != `{"head":"`+id+`"}` {
		t.Errorf("%+v, %v; want %s", m, err, id)
	}
}

// TestTwoHundredAtTenRevisions renders everything in parallel and compares
// with one after the other.
func TestTwoHundredAtTenRevisions(t *testing.T) {
	w := start(t)
	paths := []string{"plain", "overlay", "chart", "json"}
	var revisions []string
	for i := range 10 {
		n := fmt.Sprint(i)
		w.commit(t, gitserver.Files{
			"plain/c.yaml": configMap("c", n), "base/kustomization.yaml": "resources: [c.yaml]\n", "base/c.yaml": configMap("c", n),
			"overlay/kustomization.yaml": "resources: [../base]\nnamePrefix: p" + n + "-\n",
			"chart/Chart.yaml":           "{apiVersion: v2, name: c, version: 1.0." + n + "}", "chart/templates/c.yaml": configMap("{{ .Release.Name }}", "{{ .Chart.Version }}"),
			"json/c.jsonnet": "{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'c'}, data: {n: '" + n + "'}}",
		})
		id, err := w.Resolve(t.Context(), "default", v1alpha1.ApplicationSource{RepoURL: w.url, Path: "plain", TargetRevision: "main"}, true)
		if err != nil {
			t.Fatal(err)
		}
		revisions = append(revisions, id)
	}
	one := func(i int) (string, error) {
		name := fmt.Sprint("app-", i%5)
		m, err := w.Generate(t.Context(), manifest.Query{
			App:     render.App{Name: name, Instance: name, Namespace: "n", Project: "default"},
			Sources: []v1alpha1.ApplicationSource{{RepoURL: w.url, Path: paths[i%len(paths)]}}, KubeVersion: "1.36.3", Hard: i%3 == 0,
		}, []string{revisions[i%len(revisions)]})
		if err != nil {
			return "", err
		}
		raw, err := json.Marshal(m.Objects)
		return m.Digest + string(raw), err
	}
	const all = 200
	parallel, errs := make([]string, all), make([]error, all)
	var wait sync.WaitGroup
	for i := range all {
		wait.Go(func() { parallel[i], errs[i] = one(i) })
	}
	wait.Wait()
	w.Forget()
	for i := range all {
		serial, err := one(i)
		if err != nil || errs[i] != nil || serial != parallel[i] {
			t.Fatalf("render %d: %v %s\nin parallel %v %s", i, err, serial, errs[i], parallel[i])
		}
	}
}
