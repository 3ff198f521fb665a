package manifest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/adapter/render/worker"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/hostile"
)

// hostileCommit has links and URLs of every kind; paths are the folders that
// use them.
func hostileCommit(t *testing.T, trap *hostile.Trap) (change gitserver.Change, paths []string) {
	t.Helper()
	files, links := gitserver.Files{}, gitserver.Files{}
	add := func(path string, content gitserver.Files) {
		paths = append(paths, path)
		for name, text := range content {
			files[path+"/"+name] = text
		}
	}
	object := configMap("c", "x")
	for i, target := range hostile.Links(trap.File) {
		if strings.Contains(target, "\x00") || target == "" || len(target) > 4000 {
			continue // git itself has no such link
		}
		at := fmt.Sprintf("links/%d", i)
		add(at+"/plain", gitserver.Files{"c.yaml": object})
		add(at+"/chart", gitserver.Files{"Chart.yaml": "{apiVersion: v2, name: c, version: 1.0.0}", "templates/c.yaml": object})
		add(at+"/app", gitserver.Files{"kustomization.yaml": "resources: [c.yaml, l.yaml]\n", "c.yaml": object})
		for _, link := range []string{"/plain/l.yaml", "/plain/l.json", "/plain/l.jsonnet", "/chart/values.yaml", "/chart/charts", "/chart/templates/l.yaml", "/app/l.yaml"} {
			links[at+link] = target
		}
	}
	for i, url := range hostile.URLs(trap.File, trap.Program) {
		quoted, err := json.Marshal(url)
		if err != nil {
			t.Fatal(err)
		}
		at := fmt.Sprintf("urls/%d", i)
		add(at+"/chart", gitserver.Files{"Chart.yaml": fmt.Sprintf("{apiVersion: v2, name: c, version: 1.0.0, dependencies: [{name: d, version: \">0\", repository: %s}]}", quoted), "templates/c.yaml": object})
		add(at+"/app", gitserver.Files{"kustomization.yaml": fmt.Sprintf("resources: [%s]\n", quoted)})
		add(at+"/inflate", gitserver.Files{"kustomization.yaml": fmt.Sprintf("helmCharts: [{name: d, version: 1.0.0, repo: %s}]\n", quoted)})
	}
	return gitserver.Change{Message: "hostile", Write: files, Links: links}, paths
}

// TestHostileRepositoriesReachNothing commits links and URLs of every kind to a
// real repository, and renders it as production does: git, a virtual tree and
// workers. Nothing outside is opened, nothing is run, and nobody is called
// whom a project does not permit.
func TestHostileRepositoriesReachNothing(t *testing.T) {
	trap := hostile.Set(t)
	w := start(t)
	w.config["kustomize.buildOptions"], w.config["kustomize.remoteBases.enable"] = "--enable-helm --load-restrictor LoadRestrictionsNone", "true"
	change, paths := hostileCommit(t, trap)
	if _, err := w.repository.Apply(change); err != nil {
		t.Fatal(err)
	}
	var called []string
	w.permitted = func(_, url string) bool {
		return strings.HasPrefix(url, "https://host/permitted") || !strings.Contains(url, "host")
	}
	o := w.options
	o.Registerer = prometheus.NewRegistry()
	o.Inside = func(_ context.Context, _, _, url string) error {
		called = append(called, url)
		return errors.New("is not called")
	}
	w.Service = manifest.New(t.Context(), o)
	id, err := w.Resolve(t.Context(), "default", v1alpha1.ApplicationSource{RepoURL: w.url, Path: ".", TargetRevision: "main"}, true)
	if err != nil {
		t.Fatal(err)
	}
	query := func(src v1alpha1.ApplicationSource) manifest.Query {
		return manifest.Query{App: render.App{Name: "a", Instance: "a", Namespace: "n", Project: "default"}, Sources: []v1alpha1.ApplicationSource{src}, KubeVersion: "1.36.0"}
	}
	for _, path := range paths {
		m, err := w.Generate(t.Context(), query(v1alpha1.ApplicationSource{RepoURL: w.url, Path: path}), []string{id})
		shown := fmt.Sprint(err)
		if err == nil {
			raw, encodeErr := worker.Encode(m.Objects)
			if encodeErr != nil {
				t.Fatal(encodeErr)
			}
			shown = string(raw)
		}
		if strings.Contains(shown, hostile.Secret) || strings.Contains(shown, "root:x:0") || strings.Contains(shown, "failed unexpectedly") {
			t.Errorf("%s: %s", path, shown)
		}
		if strings.HasPrefix(path, "urls/") && err == nil {
			t.Errorf("%s was rendered", path)
		}
	}
	if len(called) == 0 {
		t.Error("no URL came as far as the question whether it may be called")
	}
	trap.Check(t, "a commit")
	payloads := slices.Concat(hostile.URLs(trap.File, trap.Program), hostile.Arguments(trap.File, trap.Program))
	w.permitted = func(string, string) bool { return true }
	for i, p := range payloads {
		for _, src := range []v1alpha1.ApplicationSource{ // a repoURL is tried in package gitrepo
			{RepoURL: w.url, Chart: p, TargetRevision: "1.0.0"}, {RepoURL: w.url, Chart: "c", TargetRevision: p}, {RepoURL: w.url, Path: "links/0/chart", Helm: &v1alpha1.SourceHelm{ValueFiles: []string{p}}},
		} {
			if i%3 > 0 && src.Helm != nil {
				continue
			}
			if _, err := w.Generate(t.Context(), query(src), []string{id}); err == nil {
				t.Errorf("%+v was rendered", src)
			}
		}
	}
	trap.Check(t, "a source")
}
