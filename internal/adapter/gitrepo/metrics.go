package gitrepo

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// metrics counts what is asked of remotes.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	labels := []string{"repo", "request_type"}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argocd_git_request_total", Help: "Requests to Git remotes.",
		}, labels),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "argocd_git_request_duration_seconds", Help: "Duration of requests to Git remotes.",
			Buckets: []float64{.1, .25, .5, 1, 2, 4, 10, 20},
		}, labels),
	}
	r.MustRegister(m.requests, m.duration)
	return m
}

// observe counts one request; url is redacted already.
func (m *metrics) observe(url, kind string, took time.Duration) {
	name := repo.Normalize(url)
	m.requests.WithLabelValues(name, kind).Inc()
	m.duration.WithLabelValues(name, kind).Observe(took.Seconds())
}
