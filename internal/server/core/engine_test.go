package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/inspect"
	"github.com/sluice-cd/sluice/internal/server/fault"
)

// reader knows of a tree with one object.
type reader struct{ inspect.Reader }

func (r reader) Tree(_ context.Context, key inspect.Seen) (inspect.Tree, error) {
	return inspect.Tree{Nodes: []inspect.Node{{Object: inspect.Object{Kind: "Seen", Name: key.Name}}}}, nil
}

func (reader) Reconciled(_ context.Context, key inspect.Seen) (*v1alpha1.ApplicationStatus, error) {
	if key.Name == "gone" {
		return nil, inspect.ErrNoApplication
	}
	return &v1alpha1.ApplicationStatus{Sync: v1alpha1.SyncStatus{Revision: key.Name}}, nil
}

type world struct {
	engine   *Engine
	clusters *Clusters
	settings settings.Snapshot
	made     atomic.Int32
}

func newWorld(t *testing.T, all ...destination.Cluster) *world {
	t.Helper()
	w := &world{}
	w.settings.Clusters = all
	how := cluster.Options{Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Clock: clock.RealClock{}, Programs: []string{}, ProgramsFrom: "THE_VARIABLE"}
	current := func() *settings.Snapshot { return &w.settings }
	w.clusters = NewClusters(cluster.NewFleet(t.Context(), how), current)
	w.engine = New(t.Context(), Options{Settings: current, Clusters: w.clusters, Connections: how, Reader: func(*cluster.Fleet) Reader {
		w.made.Add(1)
		return reader{}
	}})
	return w
}

func app(name, server, namespace string, others ...string) *v1alpha1.Application {
	a := &v1alpha1.Application{}
	a.Name, a.Spec.Destination = name, v1alpha1.ApplicationDestination{Server: server, Namespace: namespace}
	a.Status.ReconciledAt = &metav1.Time{}
	for _, n := range others {
		a.Status.Resources = append(a.Status.Resources, v1alpha1.ResourceStatus{Kind: "ConfigMap", Namespace: n, Name: "x"})
	}
	return a
}

// dead is the address of a server that is gone.
func dead(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	return s.URL
}

// TestConnections: one for each Application, made anew only when it has to see
// more, and bounded.
func TestConnections(t *testing.T) {
	t.Parallel()
	gone := dead(t)
	w := newWorld(t, destination.Cluster{Name: "c", Server: gone})
	look := func(a *v1alpha1.Application, want int32) {
		t.Helper()
		if _, err := w.engine.Tree(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if got := w.made.Load(); got != want {
			t.Errorf("%s: %d connections, want %d", a.Name, got, want)
		}
	}
	look(app("one", gone, "shop", "shop", "other"), 1)
	look(app("one", gone, "shop", "shop"), 1)
	look(app("two", gone, "shop"), 2)
	look(app("one", gone, "shop", "third"), 3)
	w.settings.Clusters = destination.Clusters{{Name: "c", Server: gone, Config: []byte(`{"bearerToken":"new"}`)}}
	look(app("two", gone, "shop"), 4)
	for i := range maxOpen {
		look(app(fmt.Sprint("many-", i), gone, "shop"), int32(5+i))
	}
	if len(w.engine.open) != maxOpen {
		t.Errorf("%d connections are open, want %d", len(w.engine.open), maxOpen)
	}
	look(app("two", gone, "shop"), 5+maxOpen)
}

func TestNarrow(t *testing.T) {
	t.Parallel()
	whole, one := destination.Cluster{Server: "https://c"}, app("a", "https://c", "shop", "b")
	if c := narrow(whole, one); strings.Join(c.Namespaces, ",") != "b,shop" || !c.ClusterResources {
		t.Errorf("narrowed to %v, with what has no namespace: %v", c.Namespaces, c.ClusterResources)
	}
	if c := narrow(destination.Cluster{Namespaces: []string{"x"}}, one); strings.Join(c.Namespaces, ",") != "x" || c.ClusterResources {
		t.Errorf("a cluster that is restricted already: %+v", c)
	}
	one.Status.ReconciledAt = nil
	if c := narrow(whole, one); c.Namespaces != nil {
		t.Errorf("an Application that nobody has looked at: %v", c.Namespaces)
	}
}

// TestWhatCannotBeReached says so, with the code that the server would give.
func TestWhatCannotBeReached(t *testing.T) {
	t.Parallel()
	gone := dead(t)
	w := newWorld(t, destination.Cluster{Name: "gone", Server: gone}, destination.Cluster{Name: "program", Server: "https://p", Config: []byte(`{"execProviderConfig":{"command":"/tmp/run-me"}}`)})
	coded := func(err error, code fault.Code, text string) {
		t.Helper()
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != code || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want code %v and %q", err, code, text)
		}
	}
	_, err := w.engine.Predict(t.Context(), app("a", gone, "x"), nil)
	coded(err, fault.Unavailable, "cluster gone does not answer")
	_, err = w.engine.Tree(t.Context(), app("a", "https://absent", "x"))
	coded(err, fault.FailedPrecondition, "not registered")
	_, err = w.engine.Predict(t.Context(), app("a", "https://p", "x"), nil)
	coded(err, fault.FailedPrecondition, `"/tmp/run-me"`)
	if !strings.Contains(err.Error(), "THE_VARIABLE") {
		t.Errorf("no remedy: %v", err)
	}
	if _, _, err := w.engine.Capabilities(gone); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("versions of a dead cluster: %v", err)
	}
	if _, _, err := w.engine.Capabilities("https://p"); err == nil || !strings.Contains(err.Error(), "run-me") {
		t.Errorf("versions of a cluster that wants a program: %v", err)
	}
}

// TestClusters knows those that were asked about, and nothing of others.
func TestClusters(t *testing.T) {
	t.Parallel()
	gone := dead(t)
	w := newWorld(t, destination.Cluster{Name: "gone", Server: gone}, destination.Cluster{Name: "other", Server: "https://other.invalid"})
	if _, known := w.clusters.State(gone); known {
		t.Error("known before anybody asked")
	}
	w.clusters.Meet(t.Context(), []string{gone, "https://absent"})
	if info, known := w.clusters.State(gone); !known || info.ConnectionState.Status != cluster.StatusFailed || info.ConnectionState.Message == "" {
		t.Errorf("%+v, %v", info, known)
	}
	for _, server := range []string{"https://other.invalid", "https://absent"} {
		if _, known := w.clusters.State(server); known {
			t.Errorf("%s is known", server)
		}
	}
	w.settings.Clusters = nil
	w.clusters.Reload(&w.settings)
	if _, known := w.clusters.State(gone); known {
		t.Error("a cluster that is no longer declared is known")
	}
}

// TestReconcile: one connection for each cluster, answers in the order of the
// Applications, those without a cluster included.
func TestReconcile(t *testing.T) {
	t.Parallel()
	one, two := dead(t), dead(t)
	w := newWorld(t, destination.Cluster{Name: "one", Server: one}, destination.Cluster{Name: "two", Server: two})
	apps := []v1alpha1.Application{*app("a", two, "x"), *app("b", one, "x"), *app("c", "https://absent", "x"), *app("d", two, "y")}
	got, err := w.engine.Reconcile(t.Context(), apps)
	if err != nil {
		t.Fatal(err)
	}
	for i := range apps {
		if got[i].Sync.Revision != apps[i].Name {
			t.Errorf("%s: the answer is of %s", apps[i].Name, got[i].Sync.Revision)
		}
	}
	if n := w.made.Load(); n != 3 {
		t.Errorf("%d connections, want one for each cluster and one for what has none", n)
	}
	if _, err := w.engine.Reconcile(t.Context(), []v1alpha1.Application{*app("gone", one, "x")}); !errors.Is(err, inspect.ErrNoApplication) || !strings.Contains(err.Error(), "/gone") {
		t.Errorf("an Application that is gone: %v", err)
	}
}
