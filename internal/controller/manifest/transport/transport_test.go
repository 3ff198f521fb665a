package transport_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/authority"
	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/adapter/remote"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/adapter/render/worker"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/controller/manifest/transport"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/signature"
	"github.com/sluice-cd/sluice/internal/domain/tree"
	"github.com/sluice-cd/sluice/test/gitserver"
)

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
	os.Exit(m.Run())
}

// world is a service and a client of it over the network.
type world struct {
	local      *manifest.Service
	remote     *transport.Client
	repository *gitserver.Repository
	url        string
	address    string
	authority  *authority.Authority
	mirrors    *gitrepo.Mirrors
}

func start(t *testing.T, store manifest.Store) *world {
	t.Helper()
	git, err := gitserver.New(t.TempDir(), gitserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = git.Close() })
	repository, err := git.Create("fleet")
	if err != nil {
		t.Fatal(err)
	}
	mirrors, err := gitrepo.New(t.Context(), gitrepo.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mirrors.Close)
	pool, err := worker.NewPool(worker.Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	fetcher, err := remote.New(remote.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	none := func() map[string]string { return nil }
	w := &world{repository: repository, url: git.URL("fleet"), mirrors: mirrors}
	w.local = manifest.New(t.Context(), manifest.Options{
		Mirrors: mirrors, Pool: pool, Fetcher: fetcher, Store: store, Clock: clock.RealClock{}, Registerer: prometheus.NewRegistry(),
		Repository: func(url, _ string) repo.Repository { return repo.Repository{URL: url} },
		ByName:     func(string, string) (repo.Repository, bool) { return repo.Repository{}, false },
		Permitted:  func(string, string) bool { return true }, Config: none, Params: none,
	})
	if w.authority, _, err = authority.Make(rand.Reader, time.Now()); err != nil {
		t.Fatal(err)
	}
	config, err := w.authority.Server(transport.RoleRepoServer, time.Now, transport.Callers...)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.address = listener.Addr().String()
	server := &http.Server{Handler: (&transport.Handler{Renderer: w.local, Keys: func() []signature.Key { return nil }, Clock: clock.RealClock{}}).Mux(), TLSConfig: config}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { _ = server.Close() })
	w.remote = w.client(t, transport.RoleController)
	return w
}

func (w *world) client(t *testing.T, role string) *transport.Client {
	t.Helper()
	config, err := w.authority.Client(role, time.Now, transport.RoleRepoServer)
	if err != nil {
		t.Fatal(err)
	}
	return transport.NewClient(t.Context(), transport.Options{Address: w.address, TLS: config, Clock: clock.RealClock{}})
}

func (w *world) source(path string) v1alpha1.ApplicationSource {
	return v1alpha1.ApplicationSource{RepoURL: w.url, Path: path, TargetRevision: "main"}
}

// TestTheSameAsInProcess asks both ways and compares.
func TestTheSameAsInProcess(t *testing.T) {
	w := start(t, nil)
	files := gitserver.Files{
		"plain/c.yaml":     "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {n: \"1\"}\n---\napiVersion: x/v1\nkind: X\nmetadata: {name: x}\nspec: {i: 3, f: 1.5}\n",
		"chart/Chart.yaml": "{apiVersion: v2, name: c, version: 1.0.0}", "chart/templates/c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n",
		"broken/c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: [\n",
	}
	if _, err := w.repository.Commit("all", files); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"plain", "chart", "broken", "gone"} {
		src := w.source(path)
		a, errA := w.local.Resolve(t.Context(), "default", src, true)
		b, errB := w.remote.Resolve(t.Context(), "default", src, true)
		if a != b || errA != nil || errB != nil {
			t.Fatalf("%s: %s %v, %s %v", path, a, errA, b, errB)
		}
		q := manifest.Query{App: render.App{Name: "a", Instance: "a", Namespace: "n", Project: "default"}, Sources: []v1alpha1.ApplicationSource{src}, KubeVersion: "1.36.0"}
		want, errA := w.local.Generate(t.Context(), q, []string{a})
		got, errB := w.remote.Generate(t.Context(), q, []string{a})
		if fmt.Sprint(errA) != fmt.Sprint(errB) {
			t.Errorf("%s: error %v, in process %v", path, errB, errA)
		}
		if errA != nil {
			continue
		}
		x, _ := worker.Encode(want.Objects)
		y, _ := worker.Encode(got.Objects)
		if !bytes.Equal(x, y) || want.Digest != got.Digest || fmt.Sprint(want.SourceTypes) != fmt.Sprint(got.SourceTypes) {
			t.Errorf("%s:\n%s\nin process\n%s", path, y, x)
		}
	}
	id, err := w.local.Resolve(t.Context(), "default", w.source("plain"), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range [][]v1alpha1.SignatureKey{nil, {{KeyID: "4AEE18F83AFDEB23"}}} {
		project := &v1alpha1.AppProject{Spec: v1alpha1.AppProjectSpec{SignatureKeys: keys}}
		errA := w.local.Verify(t.Context(), project, []v1alpha1.ApplicationSource{w.source("plain")}, []string{id}, nil)
		errB := w.remote.Verify(t.Context(), project, []v1alpha1.ApplicationSource{w.source("plain")}, []string{id}, nil)
		if fmt.Sprint(errA) != fmt.Sprint(errB) || (errA != nil) != (keys != nil) {
			t.Errorf("verify with %v: %v, in process %v", keys, errB, errA)
		}
	}
	said, errA := w.local.Describe(t.Context(), "default", w.source("plain"), id, nil)
	heard, errB := w.remote.Describe(t.Context(), "default", w.source("plain"), id, nil)
	if errA != nil || errB != nil || said.Commit.Message != "all" || heard.Commit == nil || heard.Commit.Message != "all" || heard.Commit.Author.Name != said.Commit.Author.Name {
		t.Errorf("%+v %v, in process %+v %v", heard, errB, said, errA)
	}
	far, err := w.remote.Tree(t.Context(), "default", w.url, "main", true)
	if err != nil {
		t.Fatal(err)
	}
	near, err := w.local.Tree(t.Context(), "default", w.url, "main", true)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{".", "plain", "plain/c.yaml", "gone", "../x"} {
		a, errA := near.Stat(path)
		b, errB := far.Stat(path)
		if a != b || fmt.Sprint(errA) != fmt.Sprint(errB) || errors.Is(errA, tree.ErrNotExist) != errors.Is(errB, tree.ErrNotExist) {
			t.Errorf("stat %s: %v %v, in process %v %v", path, b, errB, a, errA)
		}
		x, errA := near.ReadFile(path)
		y, errB := far.ReadFile(path)
		if !bytes.Equal(x, y) || (errA == nil) != (errB == nil) {
			t.Errorf("read %s: %s %v, in process %s %v", path, y, errB, x, errA)
		}
		c, errA := near.ReadDir(path)
		d, errB := far.ReadDir(path)
		if fmt.Sprint(c) != fmt.Sprint(d) || (errA == nil) != (errB == nil) {
			t.Errorf("list %s: %v %v, in process %v %v", path, d, errB, c, errA)
		}
	}
}

// TestNobodyElseCalls tries every method without a certificate, with one of
// another installation, and in a role that may not call.
func TestNobodyElseCalls(t *testing.T) {
	w := start(t, nil)
	strange, _, err := authority.Make(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := strange.Client(transport.RoleController, time.Now, transport.RoleRepoServer)
	if err != nil {
		t.Fatal(err)
	}
	foreign.InsecureSkipVerify, foreign.VerifyConnection = true, nil
	wrongRole, err := w.authority.Client("notifications-controller", time.Now, transport.RoleRepoServer)
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]*tls.Config{
		"no certificate": {InsecureSkipVerify: true, NextProtos: []string{"h2"}}, "another installation": foreign, "another role": wrongRole, //nolint:gosec // what an attacker does
	} {
		for _, path := range []string{"/v1/resolve", "/v1/generate", "/v1/decide", "/v1/keep", "/v1/verify", "/v1/describe", "/v1/watch", "/v1/tree/open", "/v1/tree/read", "/", "//v1/resolve", "/debug/pprof/"} {
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
			response, err := client.Post("https://"+w.address+path, "application/json", strings.NewReader("{}"))
			if err == nil {
				_ = response.Body.Close()
				t.Errorf("%s: %s answered %d", name, path, response.StatusCode)
			}
		}
	}
	if response, err := http.Post("http://"+w.address+"/v1/resolve", "application/json", strings.NewReader("{}")); err == nil {
		_ = response.Body.Close()
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("without TLS: %d", response.StatusCode)
		}
	}
}

func TestChangesArrive(t *testing.T) {
	w := start(t, nil)
	if _, err := w.repository.Commit("one", gitserver.Files{"a.yaml": "x"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.remote.Resolve(t.Context(), "default", w.source("."), true); err != nil {
		t.Fatal(err)
	}
	heard := make(chan struct{}, 10)
	cancel, err := w.remote.Subscribe("default", w.source("."), func() { heard <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer cancel()
	timeout := time.After(20 * time.Second)
	for n := 0; ; n++ {
		if _, err := w.repository.Commit("next", gitserver.Files{"a.yaml": fmt.Sprint(n)}); err != nil {
			t.Fatal(err)
		}
		if err := w.mirrors.Refresh(t.Context(), repo.Repository{URL: w.url}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-heard:
			return
		case <-timeout:
			t.Fatal("no change arrived")
		case <-time.After(50 * time.Millisecond): // the stream may not be open yet
		}
	}
}

func TestAbsentRepoServer(t *testing.T) {
	w := start(t, nil)
	config, err := w.authority.Client(transport.RoleController, time.Now, transport.RoleRepoServer)
	if err != nil {
		t.Fatal(err)
	}
	c := transport.NewClient(t.Context(), transport.Options{Address: "127.0.0.1:1", TLS: config, Clock: clock.RealClock{}})
	if _, err := c.Resolve(t.Context(), "default", w.source("."), false); err == nil || !strings.Contains(err.Error(), "repo-server 127.0.0.1:1 does not answer") {
		t.Errorf("error %v, want who does not answer", err)
	}
}
