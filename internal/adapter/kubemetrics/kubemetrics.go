// Package kubemetrics measures what this process asks of Kubernetes, under the
// names that dashboards know (spec/observability.md §2.6). The client library
// keeps its measurements in variables of the process; they are set here, once,
// before the first client is made.
package kubemetrics

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientmetrics "k8s.io/client-go/tools/metrics"
)

// prefix of all names.
const prefix = "argocd_kubectl_"

// Buckets of times in seconds, and of sizes in bytes.
var (
	times = []float64{.005, .1, .5, 2, 8, 30}
	sizes = prometheus.ExponentialBuckets(64, 4, 10) // to 16 MiB
)

// Install publishes the measurements of the client library; what measured
// requests before goes on to. It must be called before clients are made.
func Install(registerer prometheus.Registerer) error {
	seconds := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: times}, labels)
	}
	bytes := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: sizes}, []string{"host", "method"})
	}
	count := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + name, Help: help})
	}
	latency, limiter := seconds("request_duration_seconds", "Time that requests took.", "host", "verb"), seconds("rate_limiter_duration_seconds", "Time that requests waited for the rate limit.", "host", "verb")
	resolver := seconds("dns_resolution_duration_seconds", "Time that names took to resolve.", "host")
	sent, received := bytes("request_size_bytes", "Size of requests."), bytes("response_size_bytes", "Size of answers.")
	requests, retries := count("requests_total", "Requests by answer.", "host", "method", "code"), count("request_retries_total", "Requests that were sent again.", "host", "method", "code")
	plugins, transports := count("exec_plugin_call_total", "Calls of credential plugins.", "code", "call_status"), count("transport_create_calls_total", "Transports asked for, by whether there was one.", "result")
	age, entries := gauge("client_cert_rotation_age_seconds", "Age of the client certificate that was replaced last."), gauge("transport_cache_entries", "Transports that are kept.")
	for _, c := range []prometheus.Collector{latency, limiter, resolver, sent, received, requests, retries, plugins, transports, age, entries} {
		if err := registerer.Register(c); err != nil {
			return fmt.Errorf("metrics of clients: %w", err)
		}
	}
	clientmetrics.RequestLatency, clientmetrics.RateLimiterLatency = timed{latency}, timed{limiter}
	clientmetrics.ResolverLatency = resolved{resolver}
	clientmetrics.RequestSize, clientmetrics.ResponseSize = sized{sent}, sized{received}
	clientmetrics.RequestResult = answered{requests, clientmetrics.RequestResult}
	clientmetrics.RequestRetry = retried{retries}
	clientmetrics.ExecPluginCalls = called{plugins}
	clientmetrics.TransportCreateCalls = created{transports}
	clientmetrics.ClientCertRotationAge, clientmetrics.TransportCacheEntries = aged{age}, kept{entries}
	return nil
}

type timed struct{ of *prometheus.HistogramVec }

// Observe takes one request.
func (t timed) Observe(_ context.Context, verb string, u url.URL, d time.Duration) {
	t.of.WithLabelValues(u.Host, verb).Observe(d.Seconds())
}

type resolved struct{ of *prometheus.HistogramVec }

// Observe takes one name.
func (r resolved) Observe(_ context.Context, host string, d time.Duration) {
	r.of.WithLabelValues(host).Observe(d.Seconds())
}

type sized struct{ of *prometheus.HistogramVec }

// Observe takes one request or answer.
func (s sized) Observe(_ context.Context, verb, host string, size float64) {
	s.of.WithLabelValues(host, verb).Observe(size)
}

type answered struct {
	of   *prometheus.CounterVec
	next clientmetrics.ResultMetric
}

// Increment counts one answer.
func (a answered) Increment(ctx context.Context, code, method, host string) {
	a.of.WithLabelValues(host, method, code).Inc()
	a.next.Increment(ctx, code, method, host)
}

type retried struct{ of *prometheus.CounterVec }

// IncrementRetry counts one repetition.
func (r retried) IncrementRetry(_ context.Context, code, method, host string) {
	r.of.WithLabelValues(host, method, code).Inc()
}

type called struct{ of *prometheus.CounterVec }

// Increment counts one call of a plugin.
func (c called) Increment(code int, status string) {
	c.of.WithLabelValues(strconv.Itoa(code), status).Inc()
}

type created struct{ of *prometheus.CounterVec }

// Increment counts one question for a transport.
func (c created) Increment(result string) { c.of.WithLabelValues(result).Inc() }

type aged struct{ of prometheus.Gauge }

// Observe takes the age of a certificate.
func (a aged) Observe(d time.Duration) { a.of.Set(d.Seconds()) }

type kept struct{ of prometheus.Gauge }

// Observe takes the number of transports.
func (k kept) Observe(n int) { k.of.Set(float64(n)) }
