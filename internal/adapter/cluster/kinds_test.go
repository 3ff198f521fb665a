package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocks "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/diff"
)

// kindServer is an API server that has nothing but kinds of example.com/v1.
type kindServer struct {
	mu sync.Mutex
	// kinds are served, true are those in namespaces.
	kinds map[string]bool
	// modes are the words that a schema permits, all when it is empty.
	modes []string
	// marks says that it marks what it serves; asked counts the full answers.
	marks bool
	asked int
}

func (s *kindServer) set(kinds map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kinds = kinds
}

func (s *kindServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	give := func(o any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(o)
	}
	version := metav1.GroupVersionForDiscovery{GroupVersion: "example.com/v1", Version: "v1"}
	switch r.URL.Path {
	case "/version":
		give(map[string]string{"gitVersion": "v1.34.0"})
	case "/api":
		give(metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}})
	case "/apis":
		if mark := fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, s.kinds)))); s.marks {
			w.Header().Set("ETag", mark)
			if r.Header.Get("If-None-Match") == mark {
				w.WriteHeader(http.StatusNotModified)
				return
			}
		}
		give(metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList"}, Groups: []metav1.APIGroup{
			{Name: "example.com", Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version},
		}})
	case "/apis/example.com/v1":
		s.asked++
		list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList"}, GroupVersion: version.GroupVersion}
		for kind, namespaced := range s.kinds {
			list.APIResources = append(list.APIResources, metav1.APIResource{Name: strings.ToLower(kind) + "s", Kind: kind, Namespaced: namespaced, Verbs: []string{"get"}})
		}
		give(list)
	case "/openapi/v3":
		give(map[string]any{"paths": map[string]any{"apis/example.com/v1": map[string]any{"serverRelativeURL": "/openapi/v3/apis/example.com/v1"}}})
	case "/openapi/v3/apis/example.com/v1":
		text, mode := map[string]any{"type": "string"}, map[string]any{"type": "string", "enum": s.modes}
		metadata := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
		give(map[string]any{"openapi": "3.0.0", "components": map[string]any{"schemas": map[string]any{"Old": map[string]any{
			"type": "object", "properties": map[string]any{"apiVersion": text, "kind": text, "metadata": metadata, "mode": mode},
			"x-kubernetes-group-version-kind": []any{map[string]any{"group": "example.com", "version": "v1", "kind": "Old"}},
		}}}})
	default:
		http.NotFound(w, r)
	}
}

func thing(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: kind}
}

// meet connects to a server of kinds, which was asked once; nothing happens by
// itself, and the clock stands still.
func meet(t *testing.T, s *kindServer) (*Connection, *clocks.FakeClock, func() []Change) {
	t.Helper()
	at := httptest.NewServer(s)
	t.Cleanup(at.Close)
	clock := clocks.NewFakeClock(time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC))
	f := NewFleet(t.Context(), Options{Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Clock: clock})
	var mu sync.Mutex
	var told []Change
	f.OnChange(func(c Change) { mu.Lock(); told = append(told, c); mu.Unlock() })
	c, err := connect(f, destination.Cluster{Name: "far", Server: at.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.beat(); c.State().Status != StatusSuccessful {
		t.Fatalf("%+v", c.State())
	}
	return c, clock, func() []Change {
		mu.Lock()
		defer mu.Unlock()
		out := told
		told = nil
		return out
	}
}

// TestMappings: a kind is mapped once, and anew when it came, went or changed
// its scope.
func TestMappings(t *testing.T) {
	t.Parallel()
	s := &kindServer{kinds: map[string]bool{"Old": true, "Moved": true}}
	c, clock, _ := meet(t, s)
	scope := func(kind string, namespaced, known bool) {
		t.Helper()
		if n, k := c.Scope(thing(kind)); n != namespaced || k != known {
			t.Errorf("%s: in namespaces %t, known %t; want %t, %t", kind, n, k, namespaced, known)
		}
	}
	first, err := c.mapping(thing("Old"))
	if err != nil {
		t.Fatal(err)
	}
	if second, err := c.mapping(thing("Old")); err != nil || second != first {
		t.Errorf("mapped twice: %v, %v", second, err)
	}
	scope("Moved", true, true)
	scope("New", true, false)
	s.set(map[string]bool{"Moved": false, "New": false})
	scope("New", true, false) // it was looked for a moment ago
	before := s.asked
	scope("Old", true, true)
	if s.asked != before {
		t.Error("a kind that is mapped was looked for")
	}
	clock.SetTime(clock.Now().Add(relearnPause))
	scope("New", false, true)
	scope("Moved", false, true)
	scope("Old", true, false)
	if _, err := c.mapping(thing("Old")); !meta.IsNoMatchError(err) {
		t.Errorf("of a kind that is gone: %v", err)
	}
}

// TestARefusalLearnsTheKindsAnew: the first write that meets a kind which is
// gone is told so, and what was mapped of it is forgotten.
func TestARefusalLearnsTheKindsAnew(t *testing.T) {
	t.Parallel()
	s := &kindServer{kinds: map[string]bool{"Old": true}}
	c, _, _ := meet(t, s)
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(thing("Old"))
	o.SetNamespace("shop")
	o.SetName("a")
	if _, known := c.Scope(o.GroupVersionKind()); !known {
		t.Fatal("not known")
	}
	s.set(map[string]bool{"Other": true})
	err := c.Create(t.Context(), o)
	const want = `The Kubernetes API could not find example.com/Old for requested resource shop/a. Make sure the "Old" CRD is installed on the destination cluster.`
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if _, known := c.Scope(o.GroupVersionKind()); known {
		t.Error("the kind is still known")
	}
}

// TestChangedKindsAreNoticed: what somebody else does to definitions is known
// seconds later, for charts that ask for kinds, and costs no discovery before.
func TestChangedKindsAreNoticed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		marks bool
		then  map[string]bool
		want  []string
		news  bool
	}{
		"it comes":             {true, map[string]bool{"Old": true, "New": true}, []string{"example.com/v1", "example.com/v1/New", "example.com/v1/Old"}, true},
		"it goes":              {true, map[string]bool{"Other": true}, []string{"example.com/v1", "example.com/v1/Other"}, true},
		"it changes its scope": {true, map[string]bool{"Old": false}, []string{"example.com/v1", "example.com/v1/Old"}, true},
		"nothing changes":      {true, map[string]bool{"Old": true}, []string{"example.com/v1", "example.com/v1/Old"}, false},
		"an old API server":    {false, map[string]bool{"New": true}, []string{"example.com/v1", "example.com/v1/Old"}, false},
	} {
		s := &kindServer{kinds: map[string]bool{"Old": true}, marks: c.marks}
		conn, clock, told := meet(t, s)
		told()
		s.set(c.then)
		before := s.asked
		conn.beat()
		if s.asked != before {
			t.Errorf("%s: asked again at once", name)
		}
		clock.SetTime(clock.Now().Add(noticePause))
		conn.beat()
		if got := conn.APIVersions(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		if namespaced, known := conn.Scope(thing("Old")); c.news && known && namespaced != c.then["Old"] {
			t.Errorf("%s: the kind is mapped as before", name)
		}
		if news := told(); slices.Contains(news, Change{Server: conn.cluster.Server}) != c.news {
			t.Errorf("%s: told %v", name, news)
		}
		if (s.asked != before) != c.news {
			t.Errorf("%s: %d discoveries", name, s.asked-before)
		}
	}
}

// TestFreshSchema: what somebody else has changed in a definition is known when
// the schema is asked for anew, which costs one look in a while.
func TestFreshSchema(t *testing.T) {
	t.Parallel()
	s := &kindServer{kinds: map[string]bool{"Old": true}, modes: []string{"slow"}}
	c, clock, _ := meet(t, s)
	o := &unstructured.Unstructured{Object: map[string]any{"mode": "fast"}}
	o.SetGroupVersionKind(thing("Old"))
	o.SetName("a")
	refused := func(why string, ask func(context.Context, schema.GroupVersionKind) (diff.Schema, error), want bool) {
		t.Helper()
		known, err := ask(t.Context(), o.GroupVersionKind())
		if err != nil {
			t.Fatal(err)
		}
		if got := len(known.Problems(o, true)) > 0; got != want {
			t.Errorf("%s: refused %t, want %t", why, got, want)
		}
	}
	refused("at first", c.Schema, true)
	s.mu.Lock()
	s.modes = []string{"slow", "fast"}
	s.mu.Unlock()
	refused("a moment later", c.FreshSchema, true)
	clock.SetTime(clock.Now().Add(schemaAge))
	refused("as remembered", c.Schema, true)
	refused("asked anew", c.FreshSchema, false)
	refused("remembered again", c.Schema, false)
}

// TestKindsThatASyncHasLearnt: others hear of the kinds that somebody here has
// learnt on his own behalf, from a definition that he applied.
func TestKindsThatASyncHasLearnt(t *testing.T) {
	t.Parallel()
	for _, marks := range []bool{true, false} {
		s := &kindServer{kinds: map[string]bool{"Old": true}, marks: marks}
		c, clock, told := meet(t, s)
		told()
		s.set(map[string]bool{"Old": true, "New": true})
		if err := c.learn(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, want := range []bool{true, false} {
			clock.SetTime(clock.Now().Add(noticePause))
			c.beat()
			if got := slices.Contains(told(), Change{Server: c.cluster.Server}); got != want {
				t.Errorf("with marks %t: told %t, want %t", marks, got, want)
			}
		}
	}
}
