package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/adapter/heartbeat"
	"github.com/sluice-cd/sluice/internal/adapter/render/worker"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/domain/signature"
)

// Handler serves a renderer. It must be reached over TLS with the
// configuration of authority.Server only.
type Handler struct {
	Renderer manifest.Renderer
	// Keys are those that are known to this process: a caller cannot bring
	// its own.
	Keys  func() []signature.Key
	Clock clock.Clock
}

// Mux has all methods.
func (h *Handler) Mux() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathResolve, handle(h.resolve))
	mux.HandleFunc("POST "+pathVerify, handle(h.verify))
	mux.HandleFunc("POST "+pathDescribe, handle(h.describe))
	mux.HandleFunc("POST "+pathGenerate, handle(h.generate))
	mux.HandleFunc("POST "+pathUpload, h.uploaded)
	mux.HandleFunc("POST "+pathDecide, handle(h.decide))
	mux.HandleFunc("POST "+pathKeep, handle(h.keep))
	mux.HandleFunc("POST "+pathOpen, handle(h.open))
	mux.HandleFunc("POST "+pathRead, handle(h.read))
	mux.HandleFunc("POST "+pathWatch, h.watch)
	return mux
}

// handle turns a function into an HTTP handler.
func handle[Q, A any](f func(context.Context, Q) (A, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q, ok := request[Q](w, r)
		if !ok {
			return
		}
		answer, err := guarded(r.Context(), q, f)
		if err != nil {
			reply(w, http.StatusUnprocessableEntity, asFailure(err))
			return
		}
		reply(w, http.StatusOK, answer)
	}
}

// guarded keeps a panic in one call.
func guarded[Q, A any](ctx context.Context, q Q, f func(context.Context, Q) (A, error)) (answer A, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the repo-server failed unexpectedly: %v", p)
		}
	}()
	return f(ctx, q)
}

// known says whether the caller is one of the installation.
func known(w http.ResponseWriter, r *http.Request) bool {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		reply(w, http.StatusUnauthorized, &failure{Message: "a certificate of this installation is required"})
		return false
	}
	return true
}

func request[Q any](w http.ResponseWriter, r *http.Request) (q Q, ok bool) {
	if !known(w, r) {
		return q, false
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		reply(w, http.StatusBadRequest, &failure{Message: "the request is not understood: are both components of the same version?"})
		return q, false
	}
	return q, true
}

func reply(w http.ResponseWriter, code int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer) // the caller sees a cut answer
}

func (h *Handler) resolve(ctx context.Context, q resolveRequest) (resolveAnswer, error) {
	revision, err := h.Renderer.Resolve(ctx, q.Project, q.Source, q.Fresh)
	return resolveAnswer{revision}, err
}

func (h *Handler) verify(ctx context.Context, q verifyRequest) (struct{}, error) {
	if q.Project == nil {
		return struct{}{}, errors.New("no project is named")
	}
	return struct{}{}, h.Renderer.Verify(ctx, q.Project, q.Sources, q.Revisions, h.Keys())
}

func (h *Handler) describe(ctx context.Context, q describeRequest) (manifest.Description, error) {
	return h.Renderer.Describe(ctx, q.Project, q.Source, q.Revision, h.Keys())
}

func (h *Handler) generate(ctx context.Context, q generateRequest) (generateAnswer, error) {
	m, err := h.Renderer.Generate(ctx, q.Query, q.Revisions)
	if err != nil {
		return generateAnswer{}, err
	}
	objects, err := worker.Encode(m.Objects)
	return generateAnswer{m.Warnings, objects, m.Revisions, m.SourceTypes, m.Digest}, err
}

func (h *Handler) decide(ctx context.Context, q generateRequest) (a decideAnswer, err error) {
	a.Digest, a.Known, err = h.Renderer.Decide(ctx, q.Query, q.Revisions)
	return a, err
}

func (h *Handler) keep(ctx context.Context, q keepRequest) (struct{}, error) {
	return struct{}{}, h.Renderer.Keep(ctx, q.Holder, q.Past)
}

func (h *Handler) open(ctx context.Context, q openRequest) (resolveAnswer, error) {
	t, err := h.Renderer.Tree(ctx, q.Project, q.URL, q.Revision, q.Fresh)
	if err != nil {
		return resolveAnswer{}, err
	}
	return resolveAnswer{t.Revision()}, nil
}

func (h *Handler) read(ctx context.Context, q readRequest) (a readAnswer, err error) {
	t, err := h.Renderer.Tree(ctx, q.Project, q.URL, q.Revision, false)
	if err != nil {
		return a, err
	}
	switch q.Op {
	case opStat:
		a.Entry, err = t.Stat(q.Path)
	case opFile:
		a.Content, err = t.ReadFile(q.Path)
	case opDir:
		a.Entries, err = t.ReadDir(q.Path)
	default:
		err = errors.New("the question is not known")
	}
	return a, err
}

// watch writes a line for every change until the caller goes.
func (h *Handler) watch(w http.ResponseWriter, r *http.Request) {
	q, ok := request[resolveRequest](w, r)
	if !ok {
		return
	}
	changed := make(chan struct{}, 1)
	notify := func() {
		select {
		case changed <- struct{}{}:
		default: // a sign is waiting already
		}
	}
	cancel, err := h.Renderer.Subscribe(q.Project, q.Source, notify)
	if err != nil {
		reply(w, http.StatusUnprocessableEntity, asFailure(err))
		return
	}
	defer cancel()
	heartbeat.Write(w, r, h.Clock, changed)
}
