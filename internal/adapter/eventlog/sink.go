package eventlog

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"
)

const (
	// perSecond is the steady rate of events, atOnce how many pass without
	// waiting after a quiet time.
	perSecond = 20
	atOnce    = 100
	// kept bounds how many events of a sort wait. An event is about a
	// kilobyte.
	kept = 10_000
)

// Pace lets an event pass when there is room for it; it returns early, with
// an error, when the context ends.
type Pace interface {
	Wait(ctx context.Context) error
}

// write is an event that is still to be stored; patch is what to change of an
// event that was stored before.
type write struct {
	event *corev1.Event
	patch []byte
}

// Sink stores events later, in the order of their sort: warnings go before
// all others. It is a record.EventSink.
type Sink struct {
	inner record.EventSink
	pace  Pace
	log   *slog.Logger
	// dropped counts events that nobody will read.
	dropped *prometheus.CounterVec
	waiting prometheus.Gauge

	mu              sync.Mutex
	warnings, other []write
	some            chan struct{}
}

// NewSink makes a sink that writes into inner. Its metrics are
// sluice_events_waiting and sluice_events_dropped_total.
func NewSink(inner record.EventSink, pace Pace, log *slog.Logger, r prometheus.Registerer) *Sink {
	s := &Sink{
		inner: inner, pace: pace, log: log, some: make(chan struct{}, 1),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_events_dropped_total", Help: "Kubernetes events that were not stored, by reason: full or refused.",
		}, []string{"reason"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{Name: "sluice_events_waiting", Help: "Kubernetes events that are still to be stored."}),
	}
	r.MustRegister(s.dropped, s.waiting)
	return s
}

// Create takes an event that is to be stored.
func (s *Sink) Create(e *corev1.Event) (*corev1.Event, error) {
	return e, s.add(write{event: e})
}

// Update takes an event that is to be stored anew.
func (s *Sink) Update(e *corev1.Event) (*corev1.Event, error) {
	return e, s.add(write{event: e})
}

// Patch takes a change of an event: that it happened again.
func (s *Sink) Patch(e *corev1.Event, data []byte) (*corev1.Event, error) {
	return e, s.add(write{event: e, patch: data})
}

func (s *Sink) add(w write) error {
	s.mu.Lock()
	queue := &s.other
	if w.event.Type == corev1.EventTypeWarning {
		queue = &s.warnings
	}
	if len(*queue) >= kept { // the oldest is the one that tells least
		*queue = (*queue)[1:]
		s.dropped.WithLabelValues("full").Inc()
	}
	*queue = append(*queue, w)
	s.waiting.Set(float64(len(s.warnings) + len(s.other)))
	s.mu.Unlock()
	select {
	case s.some <- struct{}{}:
	default:
	}
	return nil
}

func (s *Sink) next() (w write, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	queue := &s.warnings
	if len(*queue) == 0 {
		queue = &s.other
	}
	if len(*queue) == 0 {
		return w, false
	}
	w = (*queue)[0]
	(*queue)[0] = write{}
	*queue = (*queue)[1:]
	s.waiting.Set(float64(len(s.warnings) + len(s.other)))
	return w, true
}

// Run stores events until ctx ends; what waits then is lost. While the hub does
// not answer, the oldest event is tried again, at the same pace.
func (s *Sink) Run(ctx context.Context) {
	var again *write
	for ctx.Err() == nil {
		if again == nil && !s.any() {
			select {
			case <-ctx.Done():
			case <-s.some:
			}
			continue
		}
		if s.pace.Wait(ctx) != nil {
			return
		}
		if again == nil {
			w, _ := s.next()
			again = &w
		}
		if s.store(*again) {
			again = nil
		}
	}
}

func (s *Sink) any() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.warnings)+len(s.other) > 0
}

// store writes one event and says whether that is settled: an API server that
// does not answer, or has no time, is asked again, one that refuses is not.
func (s *Sink) store(w write) (settled bool) {
	var err error
	if w.patch != nil {
		_, err = s.inner.Patch(w.event, w.patch)
	}
	if w.patch == nil || apierrors.IsNotFound(err) { // it has been forgotten since
		event := *w.event
		event.ResourceVersion = ""
		_, err = s.inner.Create(&event)
	}
	switch {
	case err == nil, apierrors.IsAlreadyExists(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return true
	case passing(err):
		return false
	}
	s.dropped.WithLabelValues("refused").Inc()
	s.log.Warn("event not stored", "event", w.event.Namespace+"/"+w.event.Name, "reason", w.event.Reason, "error", err.Error())
	return true
}

func passing(err error) bool {
	var status apierrors.APIStatus
	return !errors.As(err, &status) || apierrors.IsTooManyRequests(err) || apierrors.IsInternalError(err) ||
		apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsServiceUnavailable(err)
}

// Broadcaster is client-go's broadcaster whose sinks are paced.
type Broadcaster struct {
	record.EventBroadcaster
	run     func(record.EventSink) *Sink
	reasons atomic.Pointer[Reasons]
	labels  atomic.Pointer[Labeller]
	begun   atomic.Bool
}

// NewBroadcaster makes a broadcaster for one manager; it ends with ctx.
func NewBroadcaster(ctx context.Context, log *slog.Logger, r prometheus.Registerer) *Broadcaster {
	return &Broadcaster{
		EventBroadcaster: record.NewBroadcaster(record.WithContext(ctx), record.WithCorrelatorOptions(correlation())),
		run: func(inner record.EventSink) *Sink {
			s := NewSink(inner, flowcontrol.NewTokenBucketRateLimiter(perSecond, atOnce), log, r)
			go s.Run(ctx)
			return s
		},
	}
}

// StartRecordingToSink makes events go to a sink, at its pace. The first one is
// the only one: a manager asks for one more while it ends, which would store
// every event twice.
func (b *Broadcaster) StartRecordingToSink(inner record.EventSink) watch.Interface {
	if b.begun.Swap(true) {
		return watch.NewEmptyWatch()
	}
	return b.EventBroadcaster.StartRecordingToSink(&chooser{b.run(inner), &b.reasons, &b.labels})
}

// Choose makes only events with some reasons be stored from now on.
func (b *Broadcaster) Choose(reasons Reasons) { b.reasons.Store(&reasons) }

// Use puts labels on events from now on.
func (b *Broadcaster) Use(labels Labeller) { b.labels.Store(&labels) }
