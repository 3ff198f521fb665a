package relay

import (
	"errors"
	"io"
	"net/http"

	"github.com/sluice-cd/sluice/internal/adapter/heartbeat"
	"github.com/sluice-cd/sluice/internal/server/fault"
)

// trailer tells why a log was cut short.
const trailer = "Sluice-Error"

// changes writes a line for every change of a tree until the caller goes.
func (h *Handler) changes(w http.ResponseWriter, r *http.Request) {
	q, ok := read[question](w, r)
	if !ok {
		return
	}
	e, err := h.engine(q)
	if err == nil && q.App == nil {
		err = fault.New(fault.InvalidArgument, "the question names no Application")
	}
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	changed, stop := e.Changes(q.App)
	defer stop()
	h.calls.WithLabelValues(r.URL.Path, fault.Code(0).String()).Inc()
	heartbeat.Write(w, r, h.Clock, changed)
}

// logs passes a log on until it ends or the caller goes.
func (h *Handler) logs(w http.ResponseWriter, r *http.Request) {
	q, ok := read[question](w, r)
	if !ok {
		return
	}
	e, err := h.engine(q)
	if err == nil && (q.App == nil || q.Logs == nil) {
		err = fault.New(fault.InvalidArgument, "the question names no container")
	}
	var log io.ReadCloser
	if err == nil {
		log, err = e.Logs(r.Context(), q.App, *q.Logs)
	}
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	defer func() { _ = log.Close() }()
	h.calls.WithLabelValues(r.URL.Path, fault.Code(0).String()).Inc()
	w.Header().Set("Trailer", trailer)
	w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(w)
	if err := out.Flush(); err != nil { // the caller waits for the first byte of a quiet log otherwise
		return
	}
	buffer := make([]byte, 32<<10)
	for {
		n, err := log.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return
			}
			if err := out.Flush(); err != nil {
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			h.Log.Info("a log was cut short", "application", q.App.Namespace+"/"+q.App.Name, "pod", q.Logs.Namespace+"/"+q.Logs.Pod, "error", err.Error())
			w.Header().Set(trailer, "cut")
			return
		}
	}
}

// whole is a log that says when it was cut short.
type whole struct {
	response *http.Response
	role     string
}

// Read reads on.
func (l *whole) Read(p []byte) (int, error) {
	n, err := l.response.Body.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		if l.response.Trailer.Get(trailer) != "" {
			return n, fault.New(fault.Unavailable, "the cluster cut the log short: ask again")
		}
	case err != nil:
		return n, fault.Hide(err, fault.Unavailable, "the "+l.role+" went while it read the log: ask again")
	}
	return n, err
}

// Close lets the log go.
func (l *whole) Close() error { return l.response.Body.Close() }
