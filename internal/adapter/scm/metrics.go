package scm

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	// github is nil unless switched on.
	github *githubMetrics
}

type githubMetrics struct {
	requests                       *prometheus.CounterVec
	seconds                        *prometheus.HistogramVec
	remaining, limit, reset, usage *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer, github bool) metrics {
	m := metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argocd_appset_host_requests_total", Help: "Requests of generators to hosts of source code; code is empty when none came back.",
		}, []string{"provider", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "argocd_appset_host_request_seconds", Help: "Duration of these requests in seconds.", Buckets: prometheus.ExponentialBuckets(.01, 3, 8),
		}, []string{"provider"}),
	}
	r.MustRegister(m.requests, m.seconds)
	if !github {
		return m
	}
	common := []string{"endpoint", "appset_namespace", "appset_name"}
	gauge := func(name, help string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "argocd_github_api_rate_limit_" + name, Help: help}, append([]string{"resource"}, common...))
		r.MustRegister(g)
		return g
	}
	m.github = &githubMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argocd_github_api_requests_total", Help: "Requests to the API of GitHub.",
		}, append([]string{"method", "status"}, common...)),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "argocd_github_api_request_duration_seconds", Help: "Duration of requests to the API of GitHub in seconds.", Buckets: []float64{.1, .25, .5, 1, 2, 5, 10},
		}, append([]string{"method"}, common...)),
		remaining: gauge("remaining", "Requests left in the window."), limit: gauge("limit", "Requests allowed in the window."),
		reset: gauge("reset_seconds", "Seconds until the window ends."), usage: gauge("used", "Requests made in the window."),
	}
	r.MustRegister(m.github.requests, m.github.seconds)
	return m
}

func (m metrics) observe(q *question, r *http.Request, response *http.Response, took time.Duration) {
	code := ""
	if response != nil {
		code = strconv.Itoa(response.StatusCode)
	}
	m.requests.WithLabelValues(q.provider, code).Inc()
	m.seconds.WithLabelValues(q.provider).Observe(took.Seconds())
	if m.github == nil || q.provider != "github" {
		return
	}
	endpoint := endpoint(r.URL.Path)
	m.github.requests.WithLabelValues(r.Method, code, endpoint, q.access.Namespace, q.access.Name).Inc()
	m.github.seconds.WithLabelValues(r.Method, endpoint, q.access.Namespace, q.access.Name).Observe(took.Seconds())
	if response == nil {
		return
	}
	resource := response.Header.Get("X-RateLimit-Resource")
	for header, g := range map[string]*prometheus.GaugeVec{
		"X-RateLimit-Remaining": m.github.remaining, "X-RateLimit-Limit": m.github.limit, "X-RateLimit-Used": m.github.usage, "X-RateLimit-Reset": m.github.reset,
	} {
		value, err := strconv.ParseFloat(response.Header.Get(header), 64)
		if err != nil {
			continue
		}
		if header == "X-RateLimit-Reset" {
			value = max(0, value-float64(q.Clock.Now().Unix()))
		}
		g.WithLabelValues(resource, endpoint, q.access.Namespace, q.access.Name).Set(value)
	}
}

// Forget drops what is counted for a set.
func (c *Client) Forget(namespace, name string) {
	if c.metrics.github == nil {
		return
	}
	of := prometheus.Labels{"appset_namespace": namespace, "appset_name": name}
	g := c.metrics.github
	g.requests.DeletePartialMatch(of)
	g.seconds.DeletePartialMatch(of)
	for _, v := range []*prometheus.GaugeVec{g.remaining, g.limit, g.reset, g.usage} {
		v.DeletePartialMatch(of)
	}
}

// endpoint is the shape of a path, without names: labels must not grow with
// the number of repositories.
func endpoint(path string) string {
	segments := strings.Split(strings.Trim(strings.TrimPrefix(path, "/api/v3"), "/"), "/")
	for i := range segments {
		switch {
		case i == 1 && segments[0] == "orgs":
			segments[i] = "{org}"
		case i == 1 && segments[0] == "users":
			segments[i] = "{user}"
		case i == 1 && segments[0] == "repos":
			segments[i] = "{owner}"
		case i == 2 && segments[0] == "repos":
			segments[i] = "{repo}"
		case i == 2 && segments[0] == "app":
			segments[i] = "{installation}"
		case i == 4 && segments[0] == "repos":
			segments[i] = "{" + segments[3] + "}"
		case i > 4 && segments[0] == "repos":
			return "/" + strings.Join(segments[:5], "/")
		}
	}
	return "/" + strings.Join(segments, "/")
}
