package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/action"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
	"github.com/sluice-cd/sluice/internal/server/application"
	"github.com/sluice-cd/sluice/internal/server/applicationset"
	"github.com/sluice-cd/sluice/internal/server/cluster"
	"github.com/sluice-cd/sluice/internal/server/fault"
)

// Handler answers servers from the controllers of this process. It must be
// reached over TLS with the configuration of authority.Server only. A part that
// this process does not have, or not yet, is nil.
type Handler struct {
	Engine   func() application.Engine
	Clusters func() map[string]cluster.Info
	Desk     func() applicationset.Desk
	Preview  func() func(context.Context, *v1alpha1.ApplicationSet) ([]v1alpha1.Application, error)

	Clock      clock.Clock
	Log        *slog.Logger
	Registerer prometheus.Registerer

	calls *prometheus.CounterVec
	slots chan struct{}
}

// Mux has all methods. It must be called once.
func (h *Handler) Mux() (http.Handler, error) {
	h.slots = make(chan struct{}, maxCalls)
	h.calls = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_controller_calls_total", Help: "Calls of servers to this controller by method and code.",
	}, []string{"method", "code"})
	if h.Registerer != nil {
		if err := h.Registerer.Register(h.calls); err != nil {
			return nil, fmt.Errorf("metrics of the internal transport: %w", err)
		}
	}
	mux := http.NewServeMux()
	for path, serve := range map[string]http.HandlerFunc{
		pathClusters: unary(h, h.clusters), pathVersions: unary(h, h.versions), pathManaged: unary(h, h.managed), pathTree: unary(h, h.tree),
		pathLive: unary(h, h.live), pathPatch: unary(h, h.patch), pathDelete: unary(h, h.delete), pathActions: unary(h, h.actions), pathAct: unary(h, h.act),
		pathEvents: unary(h, h.events), pathPredict: unary(h, h.predict), pathChanges: h.changes, pathLogs: h.logs,
		pathView: unary(h, h.view), pathPlan: unary(h, h.plan), pathPlanOf: unary(h, h.planOf), pathAsk: unary(h, h.ask), pathPreview: unary(h, h.preview),
	} {
		mux.HandleFunc("POST "+path, serve)
	}
	return mux, nil
}

// unary turns a function into a method.
func unary[Q, A any](h *Handler, f func(context.Context, Q) (A, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q, ok := read[Q](w, r)
		if !ok {
			return
		}
		select {
		case h.slots <- struct{}{}:
			defer func() { <-h.slots }()
		case <-r.Context().Done():
			return
		}
		answer, err := guarded(r.Context(), q, f)
		if err != nil {
			h.refuse(w, r, err)
			return
		}
		h.calls.WithLabelValues(r.URL.Path, fault.Code(0).String()).Inc()
		reply(w, http.StatusOK, answer)
	}
}

// guarded keeps a panic in one call.
func guarded[Q, A any](ctx context.Context, q Q, f func(context.Context, Q) (A, error)) (answer A, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f(ctx, q)
}

// read takes a request apart.
func read[Q any](w http.ResponseWriter, r *http.Request) (q Q, ok bool) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		reply(w, http.StatusUnauthorized, &failure{Code: fault.Unauthenticated, Message: "a certificate of this installation is required"})
		return q, false
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		reply(w, http.StatusBadRequest, &failure{Code: fault.Unimplemented, Message: "the controller does not understand the server: are both of the same version?"})
		return q, false
	}
	return q, true
}

// refuse answers an error; what the caller may not read stays in the log.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := asFailure(err)
	h.calls.WithLabelValues(r.URL.Path, f.Code.String()).Inc()
	if f.Code == fault.Unknown || f.Code == fault.Internal {
		h.Log.Error("a call of a server failed", "method", r.URL.Path, "error", err.Error())
	}
	reply(w, http.StatusUnprocessableEntity, f)
}

func reply(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // the caller sees a cut answer
}

// has gives a part of the process; nil when there is none, or not yet.
func has[T any](get func() T) (t T) {
	if get != nil {
		t = get()
	}
	return t
}

// present is the error of a part that is not there.
func present(there bool, duty string) error {
	if there {
		return nil
	}
	return fault.New(fault.Unavailable, "the controller that answers cannot %s: it may be starting, ask again in a moment", duty)
}

func (h *Handler) engine(q question) (application.Engine, error) {
	e := has(h.Engine)
	err := present(e != nil, "look at clusters")
	if err == nil && q.App == nil && q.Server == "" {
		err = fault.New(fault.InvalidArgument, "the question names no Application")
	}
	return e, err
}

func (h *Handler) desk() (applicationset.Desk, error) {
	d := has(h.Desk)
	return d, present(d != nil, "advance rollouts")
}

func (h *Handler) clusters(context.Context, struct{}) (clusterStates, error) {
	if h.Clusters == nil {
		return nil, nil
	}
	return h.Clusters(), nil
}

func (h *Handler) versions(_ context.Context, q question) (v versions, err error) {
	e, err := h.engine(q)
	if err != nil {
		return v, err
	}
	if v.Kube, v.APIs, err = e.Capabilities(q.Server); err != nil {
		return v, plain{err}
	}
	return v, nil
}

func (h *Handler) managed(ctx context.Context, q question) ([]managed, error) {
	e, err := h.engine(q)
	if err != nil {
		return nil, err
	}
	all, err := e.Managed(ctx, q.App)
	out := make([]managed, 0, len(all))
	for _, m := range all {
		out = append(out, toWire(m))
	}
	return out, err
}

func (h *Handler) tree(ctx context.Context, q question) (*application.Tree, error) {
	e, err := h.engine(q)
	if err != nil {
		return nil, err
	}
	return e.Tree(ctx, q.App)
}

func (h *Handler) live(ctx context.Context, q question) (object, error) {
	e, err := h.engine(q)
	if err != nil {
		return object{}, err
	}
	o, err := e.Live(ctx, q.App, q.Ref)
	return object{o}, err
}

// about takes the object of a question apart.
func (h *Handler) about(q question) (application.Engine, object, error) {
	var o object
	e, err := h.engine(q)
	if err != nil {
		return nil, o, err
	}
	if err := o.UnmarshalJSON(q.Object); err != nil || o.Unstructured == nil {
		return nil, o, fault.New(fault.InvalidArgument, "the question names no object")
	}
	return e, o, nil
}

func (h *Handler) patch(ctx context.Context, q question) (object, error) {
	e, o, err := h.about(q)
	if err != nil {
		return object{}, err
	}
	patched, err := e.Patch(ctx, q.App, o.Unstructured, q.PatchType, q.Patch)
	return object{patched}, err
}

func (h *Handler) delete(ctx context.Context, q question) (struct{}, error) {
	e, o, err := h.about(q)
	if err != nil {
		return struct{}{}, err
	}
	return struct{}{}, e.Delete(ctx, q.App, o.Unstructured, q.Deletion)
}

func (h *Handler) actions(ctx context.Context, q question) ([]action.Action, error) {
	e, o, err := h.about(q)
	if err != nil {
		return nil, err
	}
	return e.Actions(ctx, q.App, o.Unstructured)
}

func (h *Handler) act(ctx context.Context, q question) (struct{}, error) {
	e, o, err := h.about(q)
	if err == nil && q.Action == nil {
		err = fault.New(fault.InvalidArgument, "the question names no action")
	}
	if err != nil {
		return struct{}{}, err
	}
	return struct{}{}, e.Act(ctx, q.App, o.Unstructured, *q.Action)
}

func (h *Handler) events(ctx context.Context, q question) (*corev1.EventList, error) {
	e, err := h.engine(q)
	if err == nil && q.About == nil {
		err = fault.New(fault.InvalidArgument, "the question names no object")
	}
	if err != nil {
		return nil, err
	}
	return e.Events(ctx, q.App, *q.About)
}

func (h *Handler) predict(ctx context.Context, q question) (object, error) {
	e, o, err := h.about(q)
	if err != nil {
		return object{}, err
	}
	predicted, err := e.Predict(ctx, q.App, o.Unstructured)
	if err != nil {
		return object{}, plain{err}
	}
	return object{predicted}, nil
}

func (h *Handler) view(ctx context.Context, q setQuestion) (*rollout.View, error) {
	d, err := h.desk()
	if err != nil {
		return nil, err
	}
	return d.View(ctx, q.Key)
}

func (h *Handler) plan(ctx context.Context, q setQuestion) (*rollout.Plan, error) {
	d, err := h.desk()
	if err != nil {
		return nil, err
	}
	plan, err := d.Plan(ctx, q.Key)
	return plan, forPeople(err)
}

func (h *Handler) planOf(ctx context.Context, q setQuestion) (*rollout.Plan, error) {
	d, err := h.desk()
	if err == nil && q.Set == nil {
		err = fault.New(fault.InvalidArgument, "the question names no ApplicationSet")
	}
	if err != nil {
		return nil, err
	}
	plan, err := d.PlanOf(ctx, q.Set)
	return plan, forPeople(err)
}

func (h *Handler) ask(ctx context.Context, q setQuestion) (string, error) {
	d, err := h.desk()
	if err != nil {
		return "", err
	}
	return d.Ask(ctx, q.Key, q.Ask, q.User)
}

func (h *Handler) preview(ctx context.Context, q setQuestion) ([]v1alpha1.Application, error) {
	render := has(h.Preview)
	err := present(render != nil, "generate Applications")
	if err == nil && q.Set == nil {
		err = fault.New(fault.InvalidArgument, "the question names no ApplicationSet")
	}
	if err != nil {
		return nil, err
	}
	apps, err := render(ctx, q.Set)
	return apps, forPeople(err)
}
