package generate_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/parameters"
	"github.com/sluice-cd/sluice/internal/adapter/scm"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/adapter/template"
	"github.com/sluice-cd/sluice/internal/controller/generate"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// declared are settings that do not change.
type declared struct{ snapshot *settings.Snapshot }

func (d *declared) Snapshot() *settings.Snapshot      { return d.snapshot }
func (d *declared) OnChange(func(*settings.Snapshot)) {}

// world is a hub in memory with a controller.
type world struct {
	t       *testing.T
	hub     client.Client
	clock   *testclock.FakePassiveClock
	sources generate.Sources
	events  *record.FakeRecorder

	*generate.Controller
	mu      sync.Mutex
	last    appset.Outcome
	offered int
	writes  []string
}

var start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

const controlPlane = "argocd"

// newWorld has project default and the cluster in-cluster, and what is given.
func newWorld(t *testing.T, rules generate.Rules, objects ...client.Object) *world {
	t.Helper()
	w := &world{t: t, clock: testclock.NewFakePassiveClock(start), events: record.NewFakeRecorder(10_000)}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	project := &v1alpha1.AppProject{ObjectMeta: metav1.ObjectMeta{Namespace: controlPlane, Name: "default"}}
	note := func(verb string, o client.Object) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.writes = append(w.writes, verb+" "+o.GetName())
	}
	w.hub = fake.NewClientBuilder().WithScheme(scheme).WithObjects(append(objects, project)...).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			note("create", o)
			return c.Create(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			note("patch", o)
			err := c.Patch(ctx, o, p, opts...)
			if p.Type() == types.JSONPatchType && err != nil { // the words of the API server
				return apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, true)
			}
			return err
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			note("delete", o)
			return c.Delete(ctx, o, opts...)
		},
	}).Build()
	w.sources = generate.Sources{
		Reader: w.hub, Settings: &declared{settings.Parse(nil, nil)}, Namespace: controlPlane, Engine: template.New(clock.RealClock{}), Rules: rules, Gate: true,
		Clock: w.clock, Log: slog.New(slog.DiscardHandler),
		Hosts:  scm.New(scm.Options{Log: slog.New(slog.DiscardHandler), Clock: w.clock, Registerer: prometheus.NewRegistry(), Timeout: 5 * time.Second}),
		Plugin: parameters.New(nil).Ask,
		Tree: func(context.Context, string, string, string, bool) (tree.Tree, error) {
			return nil, fmt.Errorf("repository: connection refused")
		},
		Resources: func(context.Context, schema.GroupVersionResource, string, labels.Selector) ([]map[string]any, error) {
			return nil, nil
		},
		Secret: func(ctx context.Context, namespace, name string) (generate.Object, error) {
			var s corev1.Secret
			err := w.hub.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &s)
			return generate.Object{Labels: s.Labels, Data: s.Data}, err
		},
		ConfigMap: func(ctx context.Context, namespace, name string) (generate.Object, error) {
			var m corev1.ConfigMap
			err := w.hub.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &m)
			out := generate.Object{Data: map[string][]byte{}}
			for k, v := range m.Data {
				out.Data[k] = []byte(v)
			}
			return out, err
		},
	}
	w.renew()
	return w
}

// renew is a restart, or a change of what sources were given.
func (w *world) renew() {
	w.Controller = generate.New(generate.Options{
		Sources: w.sources, Client: w.hub, Recorder: w.events, Registerer: prometheus.NewRegistry(),
		Subscribe: func(string, v1alpha1.ApplicationSource, func()) (func(), error) { return func() {}, nil },
		Offer: func(o appset.Outcome) {
			w.mu.Lock()
			w.last, w.offered = o, w.offered+1
			w.mu.Unlock()
		},
	})
}

// apply stores a set given as the YAML of its spec.
func (w *world) apply(name, spec string) {
	w.t.Helper()
	w.applyIn(controlPlane, name, spec)
}

func (w *world) applyIn(namespace, name, spec string) {
	w.t.Helper()
	next := &v1alpha1.ApplicationSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-" + name)}}
	if err := yaml.UnmarshalStrict([]byte(spec), &next.Spec); err != nil {
		w.t.Fatal(err)
	}
	var old v1alpha1.ApplicationSet
	if err := w.hub.Get(w.t.Context(), client.ObjectKeyFromObject(next), &old); err == nil {
		old.Spec = next.Spec
		if err := w.hub.Update(w.t.Context(), &old); err != nil {
			w.t.Fatal(err)
		}
		return
	}
	if err := w.hub.Create(w.t.Context(), next); err != nil {
		w.t.Fatal(err)
	}
}

// evaluate evaluates a set once; the writes are those of this time.
func (w *world) evaluate(name string) (time.Duration, error) {
	w.t.Helper()
	return w.evaluateIn(controlPlane, name)
}

func (w *world) evaluateIn(namespace, name string) (time.Duration, error) {
	w.t.Helper()
	w.writes = nil
	return w.Reconcile(w.t.Context(), types.NamespacedName{Namespace: namespace, Name: name})
}

// apps are the names of the Applications of a namespace that are not going.
func (w *world) apps(namespace string) []string {
	w.t.Helper()
	var list v1alpha1.ApplicationList
	if err := w.hub.List(w.t.Context(), &list, client.InNamespace(namespace)); err != nil {
		w.t.Fatal(err)
	}
	out := []string{}
	for _, a := range list.Items {
		if a.DeletionTimestamp == nil { // what is going is gone for a set
			out = append(out, a.Name)
		}
	}
	slices.Sort(out)
	return out
}

// condition is "STATUS REASON: message" of one condition of the last outcome.
func (w *world) condition(kind string) string {
	for _, c := range w.last.Conditions {
		if c.Type == kind {
			return c.Status + " " + c.Reason + ": " + c.Message
		}
	}
	return ""
}

func (w *world) wantApps(names ...string) {
	w.t.Helper()
	if got := w.apps(controlPlane); !slices.Equal(got, names) {
		w.t.Fatalf("Applications %v, want %v; last conditions %+v", got, names, w.last.Conditions)
	}
}

func (w *world) wantCondition(kind string, words ...string) {
	w.t.Helper()
	got := w.condition(kind)
	for _, want := range words {
		if !strings.Contains(got, want) {
			w.t.Errorf("condition %s is %q, want %q in it", kind, got, want)
		}
	}
}

// annotate sets or, with an empty value, removes an annotation of a set.
func (w *world) annotate(name, key, value string) {
	w.t.Helper()
	var set v1alpha1.ApplicationSet
	if err := w.hub.Get(w.t.Context(), client.ObjectKey{Namespace: controlPlane, Name: name}, &set); err != nil {
		w.t.Fatal(err)
	}
	set.Annotations = maps.Clone(set.Annotations)
	if set.Annotations == nil {
		set.Annotations = map[string]string{}
	}
	if set.Annotations[key] = value; value == "" {
		delete(set.Annotations, key)
	}
	if err := w.hub.Update(w.t.Context(), &set); err != nil {
		w.t.Fatal(err)
	}
}

const appTemplate = `
template:
  metadata: {name: '%s'}
  spec:
    project: default
    source: {repoURL: https://git.example/x, path: .}
    destination: {name: in-cluster, namespace: x}
`

func spec(generators, name string) string {
	return "generators: " + generators + fmt.Sprintf(appTemplate, name)
}
