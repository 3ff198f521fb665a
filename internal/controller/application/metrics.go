package application

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

type metrics struct {
	reconcile *prometheus.HistogramVec
	syncs     *prometheus.CounterVec
	seconds   *prometheus.CounterVec
	info      *prometheus.GaugeVec
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
	}
	r.MustRegister(m.reconcile, m.syncs, m.seconds, m.info)
	return m
}

// describe replaces the info series of an Application.
func (m *metrics) describe(app *v1alpha1.Application, server string) {
	m.info.DeletePartialMatch(prometheus.Labels{"namespace": app.Namespace, "name": app.Name})
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
