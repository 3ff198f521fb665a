package server_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/server"
	"github.com/sluice-cd/sluice/internal/server/store"
)

const benchApps = 10_000

func benchApp(i, version int) *v1alpha1.Application {
	a := &v1alpha1.Application{}
	a.Name, a.Namespace, a.ResourceVersion = fmt.Sprintf("app-%05d", i), "argocd", fmt.Sprint(version)
	a.Labels = map[string]string{"team": fmt.Sprint("team-", i%50)}
	a.Spec.Project = "default"
	a.Spec.Source = &v1alpha1.ApplicationSource{RepoURL: fmt.Sprintf("https://git.example/team-%d/config", i%50), Path: "apps/prod", TargetRevision: "main"}
	a.Spec.Destination = v1alpha1.ApplicationDestination{Server: "https://cluster.example:6443", Namespace: "x"}
	a.Status.Sync = v1alpha1.SyncStatus{Status: v1alpha1.SyncStatusSynced, Revision: fmt.Sprintf("%040x", version)}
	a.Status.Health.Status = v1alpha1.HealthHealthy
	for j := range 10 {
		a.Status.Resources = append(a.Status.Resources, v1alpha1.ResourceStatus{Version: "v1", Kind: "ConfigMap", Namespace: "x", Name: fmt.Sprint("c", j), Status: v1alpha1.SyncStatusSynced})
	}
	return a
}

func benchServer(b *testing.B) (*store.Hub, *httptest.Server) {
	b.Helper()
	hub, err := store.NewHub("argocd", nil)
	if err != nil {
		b.Fatal(err)
	}
	for i := range benchApps {
		hub.Apps.Put(benchApp(i, i+1))
	}
	s, err := server.New(b.Context(), server.Options{Config: server.Config{DisableAuth: true}, Hub: hub, Log: slog.New(slog.DiscardHandler), Clock: clock.RealClock{}})
	if err != nil {
		b.Fatal(err)
	}
	h := httptest.NewServer(s.Handler())
	b.Cleanup(h.Close)
	return hub, h
}

func read(b *testing.B, url string) {
	b.Helper()
	resp, err := http.Get(url)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n < 1000 {
		b.Fatalf("%d bytes, %v", n, err)
	}
}

const benchFields = "items.metadata.name,items.metadata.labels,items.spec.destination,items.spec.source,items.status.sync.status,items.status.health"

func BenchmarkListAll(b *testing.B) {
	_, h := benchServer(b)
	for b.Loop() {
		read(b, h.URL+"/api/v1/applications?fields="+benchFields)
	}
}

func BenchmarkListPage(b *testing.B) {
	_, h := benchServer(b)
	for b.Loop() {
		read(b, h.URL+"/api/v1/applications?limit=50&offset=500&sort=-project&search=team-1&fields="+benchFields)
	}
}

// BenchmarkFanOut is one change on its way to five hundred clients.
func BenchmarkFanOut(b *testing.B) {
	hub, h := benchServer(b)
	const watchers = 500
	arrived := make(chan string, watchers)
	for range watchers {
		resp, err := http.Get(h.URL + "/api/v1/stream/applications?resourceVersion=1&fields=result.type,result.application.metadata.name,result.application.status.sync") //nolint:bodyclose // the reader below closes it
		if err != nil {
			b.Fatal(err)
		}
		defer resp.Body.Close()
		go func() {
			for lines := bufio.NewReader(resp.Body); ; {
				line, err := lines.ReadString('\n')
				if err != nil {
					return
				}
				arrived <- line
			}
		}()
	}
	version := benchApps
	for b.Loop() {
		version++
		hub.Apps.Put(benchApp(version%benchApps, version))
		want := fmt.Sprintf("%040x", version)
		for range watchers {
			if line := <-arrived; !strings.Contains(line, want) {
				b.Fatalf("got %s, want %s", line, want)
			}
		}
	}
}
