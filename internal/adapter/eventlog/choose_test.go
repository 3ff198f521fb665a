package eventlog

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
)

// stores hands over what is stored.
type stores chan *corev1.Event

func (s stores) Create(e *corev1.Event) (*corev1.Event, error)          { s <- e; return e, nil }
func (s stores) Update(e *corev1.Event) (*corev1.Event, error)          { s <- e; return e, nil }
func (s stores) Patch(e *corev1.Event, _ []byte) (*corev1.Event, error) { s <- e; return e, nil }

// TestEventsCarryLabels records events as controllers do: what is stored has the
// labels that argocd-cm lists, the annotations it had, and only wanted reasons.
func TestEventsCarryLabels(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	defer end()
	b := NewBroadcaster(ctx, slog.New(slog.NewTextHandler(io.Discard, nil)), prometheus.NewRegistry())
	stored := make(stores, 10)
	b.StartRecordingToSink(stored)
	defer b.Shutdown()
	r := b.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "c"})
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "argocd", UID: "u", Labels: map[string]string{"team": "x", "secret-a": "y", "other": "z"}}}
	next := func() *corev1.Event {
		t.Helper()
		select {
		case e := <-stored:
			return e
		case <-time.After(20 * time.Second):
			t.Fatal("no event was stored")
			return nil
		}
	}
	r.Event(object, corev1.EventTypeNormal, "Synced", "before 100% is known")
	if e := next(); len(e.Labels) != 0 || e.Message != "before 100% is known" {
		t.Errorf("%q with labels %v", e.Message, e.Labels)
	}
	var chosen atomic.Pointer[[]string]
	chosen.Store(&[]string{"Healthy", "Synced"})
	b.Choose(func(component string) []string {
		if component != "c" {
			t.Errorf("asked for the reasons of %q", component)
		}
		return *chosen.Load()
	})
	b.Use(func(o corev1.ObjectReference) map[string]string {
		if o.UID != object.UID || o.Kind != "ConfigMap" {
			t.Errorf("asked for the labels of %v", o)
		}
		return Labels(map[string]string{"resource.includeEventLabelKeys": "team, secret*", "resource.excludeEventLabelKeys": "secret-*"}, object.Labels)
	})
	r.Event(object, corev1.EventTypeNormal, "Noise", "nobody wants it")
	r.AnnotatedEventf(object, map[string]string{"dest-server": "s"}, corev1.EventTypeNormal, "Healthy", "after %d", 1)
	e := next()
	if e.Reason != "Healthy" || e.Message != "after 1" || !maps.Equal(e.Labels, map[string]string{"team": "x"}) || !maps.Equal(e.Annotations, map[string]string{"dest-server": "s"}) {
		t.Errorf("%s %q with labels %v, annotations %v", e.Reason, e.Message, e.Labels, e.Annotations)
	}
	chosen.Store(&[]string{"all"})
	r.Event(object, corev1.EventTypeNormal, "Noise", "somebody wants it now")
	if e := next(); e.Reason != "Noise" || e.Message != "somebody wants it now" {
		t.Errorf("%s %q, want what the changed choice lets through", e.Reason, e.Message)
	}
}

func TestLabels(t *testing.T) {
	config := map[string]string{"resource.includeEventLabelKeys": "team, cost-*,env", "resource.excludeEventLabelKeys": "cost-secret"}
	app := map[string]string{"team": "shop", "other": "x"}
	project := map[string]string{"team": "all", "cost-centre": "7", "cost-secret": "s", "else": "y"}
	for name, c := range map[string]struct {
		config map[string]string
		sets   []map[string]string
		want   map[string]string
	}{
		"the application wins":  {config, []map[string]string{app, project}, map[string]string{"team": "shop", "cost-centre": "7"}},
		"of the project alone":  {config, []map[string]string{nil, project}, map[string]string{"team": "all", "cost-centre": "7"}},
		"of nobody":             {config, nil, nil},
		"nothing is to be seen": {nil, []map[string]string{app, project}, nil},
	} {
		if got := Labels(c.config, c.sets...); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestWanted(t *testing.T) {
	for _, c := range []struct {
		reasons []string
		want    bool
	}{{nil, true}, {[]string{"all"}, true}, {[]string{"none"}, false}, {[]string{"none", "all"}, false}, {[]string{"X"}, true}, {[]string{"Y"}, false}, {[]string{"Y", "all"}, true}} {
		if got := Wanted(c.reasons, "X"); got != c.want {
			t.Errorf("%v: %t", c.reasons, got)
		}
	}
}
