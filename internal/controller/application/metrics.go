package application

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

type metrics struct {
	reconcile *prometheus.HistogramVec
	syncs     *prometheus.CounterVec
	seconds   *prometheus.CounterVec
	info      *prometheus.GaugeVec
	windowed  *prometheus.GaugeVec
	unchanged prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		reconcile: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "argocd_app_reconcile", Help: "Duration of reconciles in seconds.", Buckets: []float64{.25, .5, 1, 2, 4, 8, 16},
		}, []string{"namespace", "dest_server"}),
		syncs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argocd_app_sync_total", Help: "Completed operations.",
		}, []string{"namespace", "name", "project", "dest_server", "phase", "dry_run"}),
		seconds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argocd_app_sync_duration_seconds_total", Help: "Time spent in completed operations.",
		}, []string{"namespace", "name", "project", "dest_server"}),
		info: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "argocd_app_info", Help: "One series per Application.",
		}, []string{"namespace", "name", "project", "dest_server", "dest_namespace", "sync_status", "health_status", "operation"}),
		windowed: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "argocd_app_sync_window_blocked", Help: "1 while a sync window holds a sync of the Application back.",
		}, []string{"namespace", "name", "project"}),
		unchanged: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "argocd_app_unchanged_revisions_total", Help: "New revisions that changed nothing of an Application, which was not compared again.",
		}),
	}
	r.MustRegister(m.reconcile, m.syncs, m.seconds, m.info, m.windowed, m.unchanged)
	return m
}

// describe replaces the info series of an Application.
func (m *metrics) describe(app *v1alpha1.Application, server string) {
	for _, g := range []*prometheus.GaugeVec{m.info, m.windowed} {
		g.DeletePartialMatch(prometheus.Labels{"namespace": app.Namespace, "name": app.Name})
	}
	if slices.ContainsFunc(app.Status.Conditions, func(c v1alpha1.ApplicationCondition) bool { return c.Type == v1alpha1.ConditionSyncWindowClosed }) {
		m.windowed.WithLabelValues(app.Namespace, app.Name, app.Spec.Project).Set(1)
	}
	operation := ""
	if app.Operation != nil {
		operation = "sync"
	}
	if app.DeletionTimestamp != nil {
		operation = "delete"
	}
	m.info.WithLabelValues(app.Namespace, app.Name, app.Spec.Project, server, app.Spec.Destination.Namespace,
		string(app.Status.Sync.Status), string(app.Status.Health.Status), operation).Set(1)
}
