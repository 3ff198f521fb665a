package application

import (
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

type metrics struct {
	reconcile *prometheus.HistogramVec
	syncs     *prometheus.CounterVec
	seconds   *prometheus.CounterVec
	info      *prometheus.GaugeVec
	windowed  *prometheus.GaugeVec
	held      *prometheus.GaugeVec
	unchanged prometheus.Counter

	mu    sync.Mutex
	shown map[types.NamespacedName]series
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		shown: map[types.NamespacedName]series{},
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
		held: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "argocd_app_held", Help: "1 while the Application holds what was deployed against its target.",
		}, []string{"namespace", "name", "project", "reason"}),
		unchanged: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "argocd_app_unchanged_revisions_total", Help: "New revisions that changed nothing of an Application, which was not compared again.",
		}),
	}
	r.MustRegister(m.reconcile, m.syncs, m.seconds, m.info, m.windowed, m.held, m.unchanged)
	return m
}

// series are the label values of what is shown of one Application.
type series struct{ info, windowed, held []string }

// describe replaces the info series of an Application. Which ones it has is
// remembered, for to search among those of all Applications takes long.
func (m *metrics) describe(app *v1alpha1.Application, server string) {
	key := types.NamespacedName{Namespace: app.Namespace, Name: app.Name}
	operation := ""
	if app.Operation != nil {
		operation = "sync"
	}
	if app.DeletionTimestamp != nil {
		operation = "delete"
	}
	next := series{info: []string{
		app.Namespace, app.Name, app.Spec.Project, server, app.Spec.Destination.Namespace,
		string(app.Status.Sync.Status), string(app.Status.Health.Status), operation,
	}}
	if slices.ContainsFunc(app.Status.Conditions, func(c v1alpha1.ApplicationCondition) bool { return c.Type == v1alpha1.ConditionSyncWindowClosed }) {
		next.windowed = []string{app.Namespace, app.Name, app.Spec.Project}
	}
	if h := app.Status.Hold; h != nil {
		next.held = []string{app.Namespace, app.Name, app.Spec.Project, h.Reason}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(key)
	m.shown[key] = next
	m.info.WithLabelValues(next.info...).Set(1)
	if next.windowed != nil {
		m.windowed.WithLabelValues(next.windowed...).Set(1)
	}
	if next.held != nil {
		m.held.WithLabelValues(next.held...).Set(1)
	}
}

// forget takes away the series of an Application that is gone.
func (m *metrics) forget(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(key)
}

func (m *metrics) drop(key types.NamespacedName) {
	old, known := m.shown[key]
	if !known {
		return
	}
	m.info.DeleteLabelValues(old.info...)
	if old.windowed != nil {
		m.windowed.DeleteLabelValues(old.windowed...)
	}
	if old.held != nil {
		m.held.DeleteLabelValues(old.held...)
	}
	delete(m.shown, key)
}
