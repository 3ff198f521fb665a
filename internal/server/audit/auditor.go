package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/eventlog"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// Options of an Auditor.
type Options struct {
	// Client writes events; nil writes none.
	Client client.Client
	// Namespace is that of the control plane.
	Namespace string
	// Reasons of which events are made: all, none or a list; none at all, and
	// nil, is all.
	Reasons func() []string
	// Project finds an AppProject, whose labels go on the events of its
	// Applications; nil finds none.
	Project func(name string) (*v1alpha1.AppProject, bool)
	// Config is argocd-cm.
	Config func() map[string]string
	// Log takes the entries.
	Log        *slog.Logger
	Clock      clock.PassiveClock
	Registerer prometheus.Registerer
}

// Auditor records calls.
type Auditor struct {
	Options
	events  chan *corev1.Event
	dropped prometheus.Counter
	// queued counts the events that are still to be written.
	queued atomic.Int64

	mu   sync.Mutex
	last string
}

var _ route.Auditor = (*Auditor)(nil)

// Bounds of events.
const (
	maxQueue     = 1000
	writers      = 4
	writeTimeout = 10 * time.Second
)

// New makes an Auditor; Run writes its events.
func New(o Options) (*Auditor, error) {
	a := &Auditor{Options: o, events: make(chan *corev1.Event, maxQueue), dropped: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sluice_audit_events_dropped_total", Help: "Number of audit events that are in the log only, because the hub took no more.",
	})}
	if o.Registerer != nil {
		if err := o.Registerer.Register(a.dropped); err != nil {
			return nil, fmt.Errorf("metrics of the audit: %w", err)
		}
	}
	return a, nil
}

// Record takes a finished call over; it does not wait for anybody.
func (a *Auditor) Record(ctx context.Context, r route.Record) {
	now := a.Clock.Now()
	for i, e := range Entries(r, now) {
		a.write(ctx, e)
		if a.Client == nil || !e.done() || absent(e.object) || !a.wanted(e.Reason) {
			continue
		}
		a.queued.Add(1)
		select {
		case a.events <- a.event(e, now.Add(time.Duration(i))): // names of events are times
		default:
			a.queued.Add(-1)
			a.dropped.Inc()
		}
	}
}

// write logs an entry. Each line holds a digest of itself and of the line
// before, so that a line that is taken away or changed is noticed.
func (a *Auditor) write(ctx context.Context, e Entry) {
	raw, err := json.Marshal(e)
	if err != nil {
		a.Log.ErrorContext(ctx, "an audit entry cannot be encoded", "call", e.Call, "error", err.Error())
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.last
	a.last = seal(before, raw)
	a.Log.InfoContext(ctx, "audit", "entry", json.RawMessage(raw), "before", before, "seal", a.last)
}

// seal is the digest of a line and the one before.
func seal(before string, raw []byte) string {
	sum := sha256.Sum256(append([]byte(before+"\n"), raw...))
	return hex.EncodeToString(sum[:16])
}

func (a *Auditor) wanted(reason string) bool {
	return a.Reasons == nil || eventlog.Wanted(a.Reasons(), reason)
}

// labels are those that an event about an object carries.
func (a *Auditor) labels(o client.Object) map[string]string {
	sets := []map[string]string{o.GetLabels()}
	if app, ok := o.(*v1alpha1.Application); ok && a.Project != nil {
		if project, ok := a.Project(policy.ProjectName(app)); ok {
			sets = append(sets, project.GetLabels())
		}
	}
	return eventlog.Labels(a.Config(), sets...)
}

// event is the Kubernetes event of an entry (spec/observability.md §3).
func (a *Auditor) event(e Entry, now time.Time) *corev1.Event {
	o := e.object
	namespace := o.GetNamespace()
	if namespace == "" {
		namespace = a.Namespace
	}
	group := "argoproj.io/v1alpha1"
	if kind(o) == "Secret" || kind(o) == "ConfigMap" {
		group = "v1"
	}
	at := metav1.NewTime(now)
	out := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: fmt.Sprintf("%s.%x", o.GetName(), now.UnixNano()), Labels: a.labels(o),
			Annotations: map[string]string{"user": e.User},
		},
		InvolvedObject: corev1.ObjectReference{APIVersion: group, Kind: kind(o), Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion()},
		Reason:         e.Reason, Message: e.Message, Type: corev1.EventTypeNormal, Count: 1, FirstTimestamp: at, LastTimestamp: at,
		Source: corev1.EventSource{Component: "argocd-server"},
	}
	if kind(o) == "AppProject" {
		out.Annotations = nil
	}
	return out
}

// Run writes events until ctx ends.
func (a *Auditor) Run(ctx context.Context) {
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case e := <-a.events:
					a.create(ctx, e)
					a.queued.Add(-1)
				}
			}
		})
	}
	all.Wait()
}

// flushPause is how often a Flush looks.
const flushPause = 5 * time.Millisecond

// Flush waits until the events of calls that have ended are written, or ctx
// ends. Run must still run.
func (a *Auditor) Flush(ctx context.Context) {
	for a.queued.Load() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(flushPause):
		}
	}
}

func (a *Auditor) create(ctx context.Context, e *corev1.Event) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := a.Client.Create(ctx, e); err != nil {
		a.dropped.Inc()
		a.Log.WarnContext(ctx, "an audit event is not written", "object", e.InvolvedObject.Kind+"/"+e.InvolvedObject.Namespace+"/"+e.InvolvedObject.Name, "reason", e.Reason, "error", err.Error())
	}
}
