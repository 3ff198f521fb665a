package relay_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/authority"
	"github.com/sluice-cd/sluice/internal/controller/manifest/transport"
	"github.com/sluice-cd/sluice/internal/domain/action"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
	"github.com/sluice-cd/sluice/internal/server/application"
	"github.com/sluice-cd/sluice/internal/server/applicationset"
	"github.com/sluice-cd/sluice/internal/server/cluster"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/relay"
)

// fleet is an engine and a desk that answer what the test says and note what
// they were asked.
type fleet struct {
	application.Engine
	applicationset.Desk
	err     error
	changed chan struct{}
	log     io.ReadCloser

	mu    sync.Mutex
	asked []string
}

func (f *fleet) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, what)
}

func configMap(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name}, "count": int64(9007199254740993), "share": 0.5,
	}}
}

func (f *fleet) Capabilities(string) (string, []string, error) { return "1.36", []string{"v1"}, f.err }

func (f *fleet) Managed(context.Context, *v1alpha1.Application) ([]application.Managed, error) {
	return []application.Managed{{Kind: "ConfigMap", Name: "a", Target: configMap("a"), Modified: true}}, f.err
}

func (f *fleet) Tree(_ context.Context, app *v1alpha1.Application) (*application.Tree, error) {
	if len(app.Status.Conditions) > 0 || len(app.ManagedFields) > 0 {
		return nil, errors.New("more was sent than is needed")
	}
	return &application.Tree{Nodes: []application.Node{{ResourceRef: application.ResourceRef{Kind: "Pod", Name: app.Name}}}}, f.err
}

func (f *fleet) Changes(*v1alpha1.Application) (<-chan struct{}, func()) {
	return f.changed, func() { f.note("stopped") }
}

func (f *fleet) Live(_ context.Context, _ *v1alpha1.Application, r application.Ref) (*unstructured.Unstructured, error) {
	if r.Name == "foreign" {
		return nil, nil
	}
	return configMap(r.Name), f.err
}

func (f *fleet) Patch(_ context.Context, _ *v1alpha1.Application, live *unstructured.Unstructured, kind types.PatchType, patch []byte) (*unstructured.Unstructured, error) {
	f.note("patch " + live.GetName() + " " + string(kind) + " " + string(patch))
	return live, f.err
}

func (f *fleet) Delete(_ context.Context, _ *v1alpha1.Application, live *unstructured.Unstructured, how application.Deletion) error {
	if how.Orphan {
		f.note("orphan " + live.GetName())
	}
	return f.err
}

func (f *fleet) Actions(context.Context, *v1alpha1.Application, *unstructured.Unstructured) ([]action.Action, error) {
	return []action.Action{{Name: "restart"}}, f.err
}

func (f *fleet) Act(_ context.Context, _ *v1alpha1.Application, _ *unstructured.Unstructured, a application.Action) error {
	f.note("act " + a.Name + " in " + a.Project.Name + " " + a.Params["x"])
	return f.err
}

func (f *fleet) Events(_ context.Context, _ *v1alpha1.Application, about corev1.ObjectReference) (*corev1.EventList, error) {
	return &corev1.EventList{Items: []corev1.Event{{Reason: about.Name}}}, f.err
}

func (f *fleet) Logs(_ context.Context, _ *v1alpha1.Application, q application.LogSource) (io.ReadCloser, error) {
	if f.err != nil {
		return nil, f.err
	}
	f.note("log " + q.Pod)
	return f.log, nil
}

func (f *fleet) Predict(_ context.Context, _ *v1alpha1.Application, target *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	return target, f.err
}

func (f *fleet) View(_ context.Context, key types.NamespacedName) (*rollout.View, error) {
	if key.Name == "none" {
		return nil, nil
	}
	return &rollout.View{Summary: key.Name, ID: 7}, f.err
}

func (f *fleet) Plan(context.Context, types.NamespacedName) (*rollout.Plan, error) {
	return &rollout.Plan{Minimum: 3}, f.err
}

func (f *fleet) PlanOf(_ context.Context, set *v1alpha1.ApplicationSet) (*rollout.Plan, error) {
	return &rollout.Plan{Problem: set.Name}, f.err
}

func (f *fleet) Ask(_ context.Context, _ types.NamespacedName, ask rollout.Ask, user string) (string, error) {
	return user + " " + string(ask.Verb), f.err
}

// place is a directory with one entry.
type place struct {
	mu      sync.Mutex
	address string
	looks   int
}

func (p *place) Find(context.Context, string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.looks++; p.address == "" {
		return "", errors.New("nobody")
	}
	return p.address, nil
}

func (p *place) set(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.address = address
}

type world struct {
	t         *testing.T
	authority *authority.Authority
	fleet     *fleet
	place     *place
	client    *relay.Client
	app       *v1alpha1.Application
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T) *world {
	t.Helper()
	a, _, err := authority.Make(rand.Reader, time.Now())
	must(t, err)
	w := &world{t: t, authority: a, fleet: &fleet{changed: make(chan struct{}, 1)}, place: &place{}, app: &v1alpha1.Application{}}
	w.app.Name, w.app.Namespace = "web", "argocd"
	w.app.Status.Conditions = []v1alpha1.ApplicationCondition{{Type: "x"}}
	w.serve(transport.RoleController)
	w.client = w.dial(a, transport.RoleServer)
	return w
}

// serve starts a controller and announces it; the function returned kills it.
func (w *world) serve(role string) (kill func()) {
	w.t.Helper()
	config, err := w.authority.Server(role, time.Now, transport.RoleServer)
	must(w.t, err)
	mux, err := (&relay.Handler{
		Engine: func() application.Engine { return w.fleet }, Desk: func() applicationset.Desk { return w.fleet },
		Preview: func() func(context.Context, *v1alpha1.ApplicationSet) ([]v1alpha1.Application, error) {
			return func(_ context.Context, set *v1alpha1.ApplicationSet) ([]v1alpha1.Application, error) {
				return []v1alpha1.Application{{Spec: v1alpha1.ApplicationSpec{Project: set.Name}}}, w.fleet.err
			}
		},
		Clusters: func() map[string]cluster.Info { return map[string]cluster.Info{"https://a": {ServerVersion: "1.36"}} },
		Clock:    clock.RealClock{}, Log: slog.New(slog.DiscardHandler),
	}).Mux()
	must(w.t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(w.t, err)
	server := &http.Server{Handler: mux, TLSConfig: config, ReadHeaderTimeout: time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	kill = func() { _ = server.Close() }
	w.t.Cleanup(kill)
	w.place.set(listener.Addr().String())
	return kill
}

func (w *world) dial(a *authority.Authority, role string) *relay.Client {
	w.t.Helper()
	config, err := a.Client(role, time.Now, transport.RoleController)
	must(w.t, err)
	return w.with(config)
}

func (w *world) with(config *tls.Config) *relay.Client {
	w.t.Helper()
	c, err := relay.NewClient(w.t.Context(), relay.Options{
		Directory: w.place, Role: transport.RoleController, TLS: config, Clock: clock.RealClock{}, Log: slog.New(slog.DiscardHandler),
	})
	must(w.t, err)
	return c
}

func isAway(err error) bool {
	return fault.Away(err) && strings.Contains(err.Error(), "Lease sluice-application-controller")
}

// TestEngine asks everything once and finds what was asked and answered.
func TestEngine(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx, c := t.Context(), w.client
	all, err := c.Managed(ctx, w.app)
	must(t, err)
	if m := all[0]; len(all) != 1 || !m.Modified || m.Live != nil || m.Target.Object["count"] != int64(9007199254740993) || m.Target.Object["share"] != 0.5 {
		t.Errorf("managed: %+v", all)
	}
	tree, err := c.Tree(ctx, w.app)
	must(t, err)
	if len(tree.Nodes) != 1 || tree.Nodes[0].Name != "web" {
		t.Errorf("tree: %+v", tree)
	}
	if live, err := c.Live(ctx, w.app, application.Ref{Kind: "ConfigMap", Name: "foreign"}); live != nil || err != nil {
		t.Errorf("an object of nobody: %v %v", live, err)
	}
	live, err := c.Live(ctx, w.app, application.Ref{Kind: "ConfigMap", Name: "a"})
	must(t, err)
	_, err = c.Patch(ctx, w.app, live, types.MergePatchType, []byte(`{"a":1}`))
	must(t, err)
	must(t, c.Delete(ctx, w.app, live, application.Deletion{Orphan: true}))
	project := &v1alpha1.AppProject{}
	project.Name = "p"
	must(t, c.Act(ctx, w.app, live, application.Action{Project: project, Name: "scale", Params: map[string]string{"x": "3"}}))
	actions, err := c.Actions(ctx, w.app, live)
	must(t, err)
	events, err := c.Events(ctx, w.app, corev1.ObjectReference{Name: "a"})
	must(t, err)
	predicted, err := c.Predict(ctx, w.app, live)
	must(t, err)
	kube, apis, err := c.Capabilities("https://a")
	must(t, err)
	if len(actions) != 1 || events.Items[0].Reason != "a" || predicted.GetName() != "a" || kube != "1.36" || len(apis) != 1 {
		t.Errorf("%v %v %v %s %v", actions, events, predicted, kube, apis)
	}
	if got, want := strings.Join(w.fleet.asked, "; "), `patch a application/merge-patch+json {"a":1}; orphan a; act scale in p 3`; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
	if info, ok := c.ClusterState("https://a"); !ok || info.ServerVersion != "1.36" {
		t.Errorf("state: %+v", info)
	}
	if _, ok := c.ClusterState("https://b"); ok {
		t.Error("a cluster of nobody has a state")
	}
}

// TestDesk asks about rollouts.
func TestDesk(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx, c := t.Context(), w.client
	set := &v1alpha1.ApplicationSet{}
	set.Name = "fleet"
	view, err := c.View(ctx, types.NamespacedName{Name: "fleet"})
	must(t, err)
	none, err := c.View(ctx, types.NamespacedName{Name: "none"})
	must(t, err)
	plan, err := c.Plan(ctx, types.NamespacedName{})
	must(t, err)
	of, err := c.PlanOf(ctx, set)
	must(t, err)
	note, err := c.Ask(ctx, types.NamespacedName{}, rollout.Ask{Verb: "pause"}, "ann")
	must(t, err)
	apps, err := c.Preview(ctx, set)
	must(t, err)
	if view.ID != 7 || view.Summary != "fleet" || none != nil || plan.Minimum != 3 || of.Problem != "fleet" || note != "ann pause" || apps[0].Spec.Project != "fleet" {
		t.Errorf("%+v %v %+v %+v %s %v", view, none, plan, of, note, apps)
	}
	w.fleet.err = &rollout.Refusal{Why: rollout.Stale, Text: "another one"}
	if _, err := c.Ask(ctx, types.NamespacedName{}, rollout.Ask{}, "ann"); rollout.WhyRefused(err) != rollout.Stale || err.Error() != "another one" {
		t.Errorf("refused: %v", err)
	}
	w.fleet.err = errors.New("step 2 is none")
	if _, err := c.PlanOf(ctx, set); err == nil || err.Error() != "step 2 is none" || fault.Away(err) {
		t.Errorf("a plan that is none: %v", err)
	}
}

// TestErrorsKeepTheirCodes: what a caller in the process would see, and no word
// of an error without a code.
func TestErrorsKeepTheirCodes(t *testing.T) {
	t.Parallel()
	w := start(t)
	pods := schema.GroupResource{Resource: "pods"}
	for name, c := range map[string]struct {
		err  error
		code fault.Code
		text string
	}{
		"coded":  {fault.New(fault.InvalidArgument, "no such object"), fault.InvalidArgument, "no such object"},
		"hidden": {fault.Hide(errors.New("password hunter2"), fault.FailedPrecondition, "it failed"), fault.FailedPrecondition, "it failed"},
		"absent": {apierrors.NewNotFound(pods, "x"), fault.NotFound, `pods "x" not found`},
		"ours":   {errors.New("password hunter2"), fault.Unknown, "internal error: see the log of the server"},
	} {
		w.fleet.err = c.err
		_, err := w.client.Tree(t.Context(), w.app)
		if code, text := fault.Of(err); code != c.code || text != c.text {
			t.Errorf("%s: %v %q, want %v %q", name, code, text, c.code, c.text)
		}
	}
	w.fleet.err = errors.New("it does not answer: refused")
	if _, _, err := w.client.Capabilities("https://a"); err == nil || err.Error() != "it does not answer: refused" {
		t.Errorf("the words about a cluster: %v", err)
	}
	huge := configMap("huge")
	huge.Object["data"] = strings.Repeat("x", 17<<20)
	w.fleet.err = nil
	if err := w.client.Delete(t.Context(), w.app, huge, application.Deletion{}); err == nil || !strings.Contains(err.Error(), "more than 16777216") {
		t.Errorf("a question that is too large: %v", err)
	}
}

// TestStrangers: only a server of this installation is answered, and only a
// controller of this installation is believed.
func TestStrangers(t *testing.T) {
	t.Parallel()
	w := start(t)
	other, _, err := authority.Make(rand.Reader, time.Now())
	must(t, err)
	for name, c := range map[string]*relay.Client{
		"another installation": w.dial(other, transport.RoleServer), "a repo-server": w.dial(w.authority, transport.RoleRepoServer),
		"no certificate": w.with(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}}), //nolint:gosec // the caller is the attacker
	} {
		if _, err := c.Tree(t.Context(), w.app); !isAway(err) {
			t.Errorf("%s is answered: %v", name, err)
		}
	}
	_, err = w.client.Tree(t.Context(), w.app)
	must(t, err)
	w.serve(transport.RoleRepoServer) // the directory names somebody who is no controller
	if _, err := w.dial(w.authority, transport.RoleServer).Tree(t.Context(), w.app); !isAway(err) {
		t.Errorf("a repo-server is believed: %v", err)
	}
}

// TestControllerMoves: nobody there, then one, then one elsewhere.
func TestControllerMoves(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.place.set("")
	if _, err := w.client.Tree(t.Context(), w.app); !isAway(err) {
		t.Errorf("nobody announced: %v", err)
	}
	if _, ok := w.client.ClusterState("https://a"); ok {
		t.Error("nobody knows a state")
	}
	kill := w.serve(transport.RoleController)
	_, err := w.client.Tree(t.Context(), w.app)
	must(t, err)
	_, err = w.client.Tree(t.Context(), w.app)
	must(t, err)
	if w.place.looks > 3 {
		t.Errorf("the directory was asked %d times", w.place.looks)
	}
	kill()
	if _, err := w.client.Tree(t.Context(), w.app); !isAway(err) {
		t.Errorf("the controller was killed: %v", err)
	}
	w.serve(transport.RoleController)
	_, err = w.client.Tree(t.Context(), w.app)
	must(t, err)
}

// broken is a log that ends with an error.
type broken struct{ io.Reader }

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = errors.New("the kubelet went: token hunter2")
	}
	return n, err
}

func (broken) Close() error { return nil }

// TestLogs passes logs on, and says when one was cut.
func TestLogs(t *testing.T) {
	t.Parallel()
	w := start(t)
	read := func() (string, error) {
		t.Helper()
		log, err := w.client.Logs(t.Context(), w.app, application.LogSource{Pod: "p"})
		must(t, err)
		defer func() { _ = log.Close() }()
		raw, err := io.ReadAll(log)
		return string(raw), err
	}
	w.fleet.log = io.NopCloser(strings.NewReader("one\ntwo\n"))
	if text, err := read(); text != "one\ntwo\n" || err != nil {
		t.Errorf("a log: %q %v", text, err)
	}
	w.fleet.log = broken{strings.NewReader("one\n")}
	if text, err := read(); text != "one\n" || !fault.Away(err) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a log that was cut: %q %v", text, err)
	}
	quiet, end := io.Pipe()
	w.fleet.log = quiet
	log, err := w.client.Logs(t.Context(), w.app, application.LogSource{Pod: "p"}) // comes back before the first line
	must(t, err)
	go func() { _, _ = end.Write([]byte("late\n")) }()
	line := make([]byte, 5)
	if _, err := io.ReadFull(log, line); err != nil || string(line) != "late\n" {
		t.Errorf("a line that came late: %q %v", line, err)
	}
	must(t, log.Close())
	must(t, end.Close())
	w.fleet.err = apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "p")
	if _, err := w.client.Logs(t.Context(), w.app, application.LogSource{}); err == nil || !strings.Contains(err.Error(), `pods "p" not found`) {
		t.Errorf("a pod that is not there: %v", err)
	}
}

// TestChanges follows a tree through the death of its controller.
func TestChanges(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.place.set("")
	kill := w.serve(transport.RoleController)
	changed, stop := w.client.Changes(w.app)
	defer stop()
	wait := func(what string) {
		t.Helper()
		select {
		case <-changed:
		case <-time.After(20 * time.Second):
			t.Fatal("not told: " + what)
		}
	}
	w.fleet.changed <- struct{}{}
	wait("a change")
	kill()
	wait("the controller went")
	late, end := w.client.Changes(w.app) // nobody is there from the start
	select {
	case <-late:
		end()
	case <-time.After(20 * time.Second):
		t.Fatal("not told: nobody is there")
	}
	w.serve(transport.RoleController)
	wait("another one came")
	w.fleet.changed <- struct{}{}
	wait("a change there")
}
