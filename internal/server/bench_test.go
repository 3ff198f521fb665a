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
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/rbac"
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
	policies := rbac.NewLive()
	if _, err := policies.Load(map[string]string{"policy.csv": teams(1000)}); err != nil {
		b.Fatal(err)
	}
	s, err := server.New(b.Context(), server.Options{
		Config: server.Config{Gzip: true}, Who: member{}, Decide: policies, Hub: hub, Log: slog.New(slog.DiscardHandler), Clock: clock.RealClock{},
	})
	if err != nil {
		b.Fatal(err)
	}
	h := httptest.NewServer(s.Handler())
	b.Cleanup(h.Close)
	return hub, h
}

// member is who asks: one of many teams, who sees everything by one of his
// groups.
type member struct{}

// Authenticate admits.
func (member) Authenticate(*http.Request) (access.Principal, error) {
	return access.Principal{Subject: "somebody@example.com", Issuer: "https://idp", Groups: []string{"everyone", "group-2", "readers"}}, nil
}

// teams is a policy of n lines as large installations have it.
func teams(n int) string {
	var out strings.Builder
	for i := range n / 5 {
		for _, line := range []string{"applications, get, team-%d/*, allow", "applications, sync, team-%d/*, allow", "applications, delete/*/Pod/*/*, team-%d/*, allow", "applications, *, team-%d/frozen-*, deny"} {
			fmt.Fprintf(&out, "p, role:team-%d, "+line+"\n", i, i)
		}
		fmt.Fprintf(&out, "g, group-%d, role:team-%d\n", i, i)
	}
	return out.String() + "p, role:readers, applications, get, */*, allow\ng, readers, role:readers\n"
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
	for _, c := range []struct{ name, query string }{{"name", "offset=4000"}, {"column", "offset=4000&sort=-created"}, {"search", "sort=-project&search=team-1"}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				read(b, h.URL+"/api/v1/applications?limit=50&"+c.query+"&fields="+benchFields)
			}
		})
	}
}

// BenchmarkFanOut is one change on its way to five hundred clients.
func BenchmarkFanOut(b *testing.B) {
	hub, h := benchServer(b)
	const watchers = 500
	plain := http.Client{Transport: &http.Transport{DisableCompression: true}} // the cost of unpacking is that of the clients
	arrived := make(chan string, watchers)
	for range watchers {
		resp, err := plain.Get(h.URL + "/api/v1/stream/applications?resourceVersion=1&fields=result.type,result.application.metadata.name,result.application.status.sync") //nolint:bodyclose // the reader below closes it
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
