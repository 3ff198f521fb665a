package webhook

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// provider is one kind of sender.
type provider interface {
	name() string
	// sent says whether the headers are those of the provider.
	sent(http.Header) bool
	// verify says whether a secret is configured, and whether the event is
	// signed with it.
	verify(s Secrets, r *http.Request, body []byte) (configured bool, err error)
	// parse reads an event that was verified; an empty one is of no use.
	parse(h http.Header, body []byte) (Event, error)
}

// providers in the order in which they are recognised.
var providers = []provider{azure{}, gogs{}, github{}, gitlab{}, bitbucket{}, bitbucketServer{}, ghcr{}}

// Options of a Receiver.
type Options struct {
	// Secrets are the newest ones, Config is argocd-cm.
	Secrets func() Secrets
	Config  func() map[string]string
	// Accept takes an event over at once; false is no room.
	Accept func(Event) bool
	// Follows says whether anybody reads a repository: for the metric, whose
	// series nobody outside may multiply.
	Follows    func(url string) bool
	Log        *slog.Logger
	Clock      clock.PassiveClock
	Registerer prometheus.Registerer
}

// Receiver is the handler of /api/webhook.
type Receiver struct {
	Options
	reader   reader
	requests *prometheus.CounterVec
	events   *prometheus.CounterVec
	inFlight prometheus.Gauge

	mu     sync.Mutex
	seen   map[[32]byte]time.Time
	warned map[string]bool
}

// Bounds of a request.
const (
	defaultMegabytes = 50
	// patience is how long a sender may take for his body.
	patience = 30 * time.Second
	// replay is how long the same event counts as repeated.
	replay = 5 * time.Minute
	// maxSeen is how many events are remembered for that.
	maxSeen = 10000
)

// NewReceiver makes a Receiver.
func NewReceiver(o Options) (*Receiver, error) {
	r := &Receiver{
		Options: o, reader: newReader(), seen: map[[32]byte]time.Time{}, warned: map[string]bool{},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "argocd_webhook_requests_total", Help: "Number of webhook requests by repository; those that nothing follows have none."}, []string{"repo"}),
		events:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sluice_webhook_events_total", Help: "Number of webhook requests by provider and what became of them."}, []string{"provider", "result"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "argocd_webhook_handlers_in_flight", Help: "Number of webhook requests that are being answered."}),
	}
	if o.Registerer != nil {
		for _, c := range []prometheus.Collector{r.requests, r.events, r.inFlight} {
			if err := o.Registerer.Register(c); err != nil {
				return nil, fmt.Errorf("metrics of webhooks: %w", err)
			}
		}
	}
	return r, nil
}

// outcome is how a request ends.
type outcome struct {
	status       int
	text, result string
}

// ServeHTTP answers before any work begins.
func (v *Receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.inFlight.Inc()
	defer v.inFlight.Dec()
	name := "unknown"
	end := v.receive(w, r, &name)
	v.events.WithLabelValues(name, end.result).Inc()
	if end.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "10")
	}
	if end.status == http.StatusOK {
		w.WriteHeader(http.StatusOK)
		return
	}
	http.Error(w, end.text, end.status)
}

func (v *Receiver) receive(w http.ResponseWriter, r *http.Request, name *string) (end outcome) {
	defer func() {
		if p := recover(); p != nil {
			v.Log.Error("a webhook failed unexpectedly", "provider", *name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			end = outcome{http.StatusBadRequest, "Webhook processing failed", "failed"}
		}
	}()
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return outcome{http.StatusMethodNotAllowed, "use POST", "refused"}
	}
	from := sender(r.Header)
	if from == nil {
		return outcome{http.StatusBadRequest, "Unknown webhook event", "unknown"}
	}
	*name = from.name()
	megabytes := v.megabytes()
	large := outcome{http.StatusBadRequest, fmt.Sprintf("Webhook processing failed: payload must be valid JSON under %d MB", megabytes), "refused"}
	if kind := r.Header.Get("Content-Type"); r.ContentLength > megabytes<<20 || !isJSON(kind) {
		return large
	}
	_ = http.NewResponseController(w).SetReadDeadline(v.Clock.Now().Add(patience)) // not every writer has deadlines
	body, free, err := v.reader.read(r, megabytes<<20)
	defer free()
	switch {
	case errors.Is(err, errBusy):
		return outcome{http.StatusServiceUnavailable, "too many webhooks at a time: try again", "busy"}
	case err != nil:
		return large
	}
	return v.take(from, r, body)
}

func sender(h http.Header) provider {
	for _, p := range providers {
		if p.sent(h) {
			return p
		}
	}
	return nil
}

func isJSON(kind string) bool {
	if kind == "" {
		return true
	}
	media, _, err := mime.ParseMediaType(kind)
	return err == nil && (media == "application/json" || strings.HasSuffix(media, "+json"))
}

func (v *Receiver) megabytes() int64 {
	n, err := strconv.ParseInt(v.Config()["webhook.maxPayloadSizeMB"], 10, 32)
	if err != nil || n <= 0 {
		return defaultMegabytes
	}
	return min(n, budget>>20)
}

// take verifies and reads an event and hands it on.
func (v *Receiver) take(from provider, r *http.Request, body []byte) outcome {
	configured, err := from.verify(v.Secrets(), r, body)
	if err != nil {
		v.Log.Warn("a webhook is refused", "provider", from.name(), "reason", err.Error())
		if from.name() == (ghcr{}).name() {
			return outcome{http.StatusUnauthorized, "Unauthorized", "unsigned"}
		}
		return outcome{http.StatusBadRequest, "Webhook processing failed", "unsigned"}
	}
	v.warn(from, configured)
	event, err := from.parse(r.Header, body)
	if err != nil {
		v.Log.Warn("a webhook cannot be read", "provider", from.name(), "error", err.Error())
		return outcome{http.StatusBadRequest, "Webhook processing failed", "malformed"}
	}
	event.Provider = from.name()
	event = event.cut()
	v.count(event)
	switch {
	case event.empty():
		return outcome{http.StatusOK, "", "ignored"}
	case v.repeated(sha256.Sum256(body)):
		return outcome{http.StatusOK, "", "repeated"}
	case !v.Accept(event):
		v.forget(sha256.Sum256(body))
		return outcome{http.StatusServiceUnavailable, "Queue is full, discarding webhook payload", "full"}
	}
	return outcome{http.StatusOK, "", "accepted"}
}

// warn says once that events of a provider are not verified.
func (v *Receiver) warn(from provider, configured bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !configured && !v.warned[from.name()] {
		v.Log.Warn("webhooks are accepted from everybody", "provider", from.name(), "remedy", "set its webhook secret in Secret argocd-secret", "security", 3)
	}
	v.warned[from.name()] = !configured
}

// count counts one request for one repository.
func (v *Receiver) count(e Event) {
	if len(e.Pushes) == 0 {
		return
	}
	label := ""
	if v.Follows(e.Pushes[0].URL) {
		label = repo.Normalize(e.Pushes[0].URL)
	}
	v.requests.WithLabelValues(label).Inc()
}

// repeated says whether the same event came a moment ago.
func (v *Receiver) repeated(sum [32]byte) bool {
	now := v.Clock.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	if at, known := v.seen[sum]; known && now.Sub(at) < replay {
		return true
	}
	if len(v.seen) >= maxSeen {
		clear(v.seen)
	}
	v.seen[sum] = now
	return false
}

func (v *Receiver) forget(sum [32]byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.seen, sum)
}
