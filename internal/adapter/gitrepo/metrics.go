package gitrepo

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// metrics count what is asked of remotes and what the mirrors cost
// (spec/observability.md §2.3; those named sluice_ are ours).
type metrics struct {
	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	failures  map[string]*prometheus.CounterVec
	pending   *prometheus.GaugeVec
	bytes     prometheus.Gauge
	count     prometheus.Gauge
	rebuilds  prometheus.Counter
	cleanings prometheus.Counter
	evictions prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		requests: counter("argocd_git_request_total", "Requests to Git remotes.", "repo", "request_type"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "argocd_git_request_duration_seconds", Help: "Duration of requests to Git remotes.",
			Buckets: []float64{.1, .25, .5, 1, 2, 4, 10, 20},
		}, []string{"repo", "request_type"}),
		failures: map[string]*prometheus.CounterVec{
			"ls-remote": counter("argocd_git_lsremote_fail_total", "Questions to Git remotes that failed; one question is for all revisions, so revision is empty.", "repo", "revision"),
			"fetch":     counter("argocd_git_fetch_fail_total", "Fetches that failed; revision is empty for all branches and \"commit\" for a single commit.", "repo", "revision"),
		},
		pending:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "argocd_repo_pending_request_total", Help: "Requests that wait for others to the same host."}, []string{"repo"}),
		bytes:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "sluice_git_mirror_bytes", Help: "Disk use of all mirrors."}),
		count:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "sluice_git_mirrors", Help: "Mirrors on disk."}),
		rebuilds:  prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_git_mirror_rebuilds_total", Help: "Mirrors found damaged and fetched anew."}),
		cleanings: prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_git_mirror_cleanings_total", Help: "Garbage collections of mirrors."}),
		evictions: prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_git_mirror_evictions_total", Help: "Mirrors removed because nobody used them or the disk budget was exceeded."}),
	}
	r.MustRegister(m.requests, m.duration, m.failures["ls-remote"], m.failures["fetch"], m.pending, m.bytes, m.count, m.rebuilds, m.cleanings, m.evictions)
	return m
}

// observe counts one request; url is redacted already.
func (m *metrics) observe(url, kind string, took time.Duration) {
	name := repo.Normalize(url)
	m.requests.WithLabelValues(name, kind).Inc()
	m.duration.WithLabelValues(name, kind).Observe(took.Seconds())
}

// failed counts a failure. Commit ids are no labels: there are too many.
func (m *metrics) failed(url, kind, revision string) {
	if revision != "" {
		revision = "commit"
	}
	if c, ok := m.failures[kind]; ok {
		c.WithLabelValues(repo.Normalize(url), revision).Inc()
	}
}

func (m *metrics) waiting(url string, by float64) {
	m.pending.WithLabelValues(repo.Normalize(url)).Add(by)
}
