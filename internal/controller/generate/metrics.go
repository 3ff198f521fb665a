package generate

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
)

type metrics struct {
	seconds                          *prometheus.HistogramVec
	guardedDeletions, stuckDeletions *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) metrics {
	labels := []string{"namespace", "name"}
	m := metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "argocd_appset_reconcile", Help: "Duration of evaluations in seconds.", Buckets: []float64{.25, .5, 1, 2, 4, 8, 16},
		}, labels),
		guardedDeletions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "argocd_appset_guarded_deletions", Help: "Applications that are no longer generated and kept until a person confirms.",
		}, labels),
		stuckDeletions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "argocd_appset_stuck_deletions", Help: "Applications of a set being deleted that take more than two minutes to go.",
		}, labels),
	}
	r.MustRegister(m.seconds, m.guardedDeletions, m.stuckDeletions)
	return m
}

func (m metrics) forget(key types.NamespacedName) {
	m.guardedDeletions.DeleteLabelValues(key.Namespace, key.Name)
	m.stuckDeletions.DeleteLabelValues(key.Namespace, key.Name)
}
