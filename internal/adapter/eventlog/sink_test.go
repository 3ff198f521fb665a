package eventlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var events = schema.GroupResource{Resource: "events"}

// hub answers writes of events with what the test says; a write that it does
// not refuse is noted.
type hub struct {
	answers []error
	stored  []string
}

func (h *hub) answer(what string, e *corev1.Event) (*corev1.Event, error) {
	var err error
	if len(h.answers) > 0 {
		err, h.answers = h.answers[0], h.answers[1:]
	}
	if err == nil {
		h.stored = append(h.stored, what+" "+e.Name)
	}
	return e, err
}

func (h *hub) Create(e *corev1.Event) (*corev1.Event, error) { return h.answer("create", e) }
func (h *hub) Update(e *corev1.Event) (*corev1.Event, error) { return h.answer("update", e) }
func (h *hub) Patch(e *corev1.Event, _ []byte) (*corev1.Event, error) {
	return h.answer("patch", e)
}

// turns lets so many events pass; the last one ends the sink.
type turns struct {
	left int
	end  func()
}

func (p *turns) Wait(context.Context) error {
	if p.left--; p.left == 0 {
		p.end()
	}
	return nil
}

func event(kind, name string) *corev1.Event {
	return &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "argocd"}, Type: kind}
}

// play adds events and runs the sink for some turns.
func play(t *testing.T, h *hub, n int, add func(s *Sink)) *Sink {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	s := NewSink(h, &turns{n, end}, slog.New(slog.NewTextHandler(io.Discard, nil)), prometheus.NewRegistry())
	add(s)
	s.Run(ctx)
	return s
}

func stored(t *testing.T, h *hub, want ...string) {
	t.Helper()
	if !reflect.DeepEqual(h.stored, want) {
		t.Errorf("stored %q, want %q", h.stored, want)
	}
}

func TestWarningsGoFirst(t *testing.T) {
	h := &hub{}
	s := play(t, h, 3, func(s *Sink) {
		for _, e := range []*corev1.Event{
			event(corev1.EventTypeNormal, "a"), event(corev1.EventTypeNormal, "b"), event(corev1.EventTypeWarning, "c"), event(corev1.EventTypeNormal, "d"),
		} {
			if _, err := s.Create(e); err != nil {
				t.Fatal(err)
			}
		}
	})
	stored(t, h, "create c", "create a", "create b")
	if got := testutil.ToFloat64(s.waiting); got != 1 {
		t.Errorf("%v events wait, want 1", got)
	}
}

func TestAHubThatIsAwayIsAskedAgain(t *testing.T) {
	h := &hub{answers: []error{
		errors.New("connection refused"), apierrors.NewTooManyRequests("later", 1), apierrors.NewInternalError(errors.New("no leader")),
	}}
	s := play(t, h, 5, func(s *Sink) {
		_, _ = s.Create(event(corev1.EventTypeNormal, "a"))
		_, _ = s.Create(event(corev1.EventTypeWarning, "b"))
	})
	stored(t, h, "create b", "create a")
	if got := testutil.ToFloat64(s.dropped.WithLabelValues("refused")); got != 0 {
		t.Errorf("%v events were dropped", got)
	}
}

func TestWhatIsRefusedIsCounted(t *testing.T) {
	h := &hub{answers: []error{apierrors.NewForbidden(events, "a", errors.New("no"))}}
	s := play(t, h, 2, func(s *Sink) {
		_, _ = s.Create(event(corev1.EventTypeNormal, "a"))
		_, _ = s.Create(event(corev1.EventTypeNormal, "b"))
	})
	stored(t, h, "create b")
	if got := testutil.ToFloat64(s.dropped.WithLabelValues("refused")); got != 1 {
		t.Errorf("%v events were refused, want 1", got)
	}
}

func TestARepetitionOfAForgottenEventIsANewEvent(t *testing.T) {
	h := &hub{answers: []error{nil, apierrors.NewNotFound(events, "b")}}
	play(t, h, 2, func(s *Sink) {
		_, _ = s.Patch(event(corev1.EventTypeNormal, "a"), []byte("{}"))
		_, _ = s.Patch(event(corev1.EventTypeNormal, "b"), []byte("{}"))
	})
	stored(t, h, "patch a", "create b")
}

func TestTheOldestEventsMakeRoom(t *testing.T) {
	h := &hub{}
	s := play(t, h, 1, func(s *Sink) {
		for i := range kept + 2 {
			_, _ = s.Create(event(corev1.EventTypeNormal, fmt.Sprint(i)))
		}
	})
	stored(t, h, "create 2")
	if got := testutil.ToFloat64(s.dropped.WithLabelValues("full")); got != 2 {
		t.Errorf("%v events were dropped, want 2", got)
	}
}

// TestOneSink: a manager starts the recording once more while it ends.
func TestOneSink(t *testing.T) {
	b := NewBroadcaster(t.Context(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	b.StartRecordingToSink(&hub{})
	b.StartRecordingToSink(&hub{}).Stop()
	b.Shutdown()
}
