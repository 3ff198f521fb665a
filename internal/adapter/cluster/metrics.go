package cluster

import "github.com/prometheus/client_golang/prometheus"

// metrics of all connections; names and labels are those of
// spec/observability.md.
type metrics struct {
	status, info             *prometheus.GaugeVec
	kinds, objects, cacheAge *prometheus.GaugeVec
	events                   *prometheus.CounterVec
	requests                 *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		status:   gauge("argocd_cluster_connection_status", "1 while the cluster answers, else 0.", "server", "k8s_version"),
		info:     gauge("argocd_cluster_info", "1 for each registered cluster.", "server", "k8s_version", "name"),
		kinds:    gauge("argocd_cluster_api_resources", "Kinds that are watched.", "server"),
		objects:  gauge("argocd_cluster_api_resource_objects", "Objects of which something is kept.", "server"),
		cacheAge: gauge("argocd_cluster_cache_age_seconds", "Time since the kinds of the cluster were read, -1 before.", "server"),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argocd_cluster_events_total", Help: "Watch events processed.",
		}, []string{"server", "group", "kind"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argocd_cluster_requests_total", Help: "Writes and dry runs sent to target clusters.",
		}, []string{"server", "verb", "result"}),
	}
	r.MustRegister(m.status, m.info, m.kinds, m.objects, m.cacheAge, m.events, m.requests)
	return m
}

// forget removes the gauges of a server that is no longer registered, or that
// gets a new connection.
func (m *metrics) forget(server string) {
	for _, g := range []*prometheus.GaugeVec{m.status, m.info, m.kinds, m.objects, m.cacheAge} {
		g.DeletePartialMatch(prometheus.Labels{"server": server})
	}
}

// describe sets the gauges of the cluster after a heartbeat. Gauges of another
// version are taken away.
func (c *Connection) describe(version string, answers float64) {
	if c.ctx.Err() != nil {
		return
	}
	m, server := c.fleet.metrics, c.cluster.Server
	c.mu.Lock()
	kinds, learnt, before := c.watched(), c.learnt, c.described
	c.described = version
	c.mu.Unlock()
	if before != version {
		m.forget(server)
	}
	c.store.mu.RLock()
	objects := len(c.store.byKey)
	c.store.mu.RUnlock()
	age := -1.0
	if !learnt.IsZero() {
		age = c.fleet.options.Clock.Since(learnt).Seconds()
	}
	m.status.WithLabelValues(server, version).Set(answers)
	m.info.WithLabelValues(server, version, c.cluster.Name).Set(1)
	m.kinds.WithLabelValues(server).Set(float64(kinds))
	m.objects.WithLabelValues(server).Set(float64(objects))
	m.cacheAge.WithLabelValues(server).Set(age)
}
