package advance

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

type metrics struct {
	info, owned, rollout, step, applications, paused, halted, ignored *prometheus.GaugeVec
	operations                                                        *prometheus.CounterVec
	conflicts                                                         prometheus.Counter
	advance                                                           prometheus.Histogram
}

func newMetrics(r prometheus.Registerer, gate bool) *metrics {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "argocd_appset_" + name, Help: help}, append([]string{"namespace", "name"}, labels...))
		r.MustRegister(g)
		return g
	}
	m := &metrics{
		info:         gauge("info", "One series per ApplicationSet.", "resource_update_status"),
		owned:        gauge("owned_applications", "Applications of the set."),
		rollout:      gauge("rollout_info", "The rollout of the set.", "rollout_id", "phase"),
		step:         gauge("rollout_current_step", "The current step, 0 for none."),
		applications: gauge("rollout_step_applications", "Applications by step and state.", "step", "state"),
		paused:       gauge("rollout_paused", "1 while paused.", "source"),
		halted:       gauge("rollout_halted", "1 while halted.", "reason"),
		ignored:      gauge("strategy_ignored", "1 while a strategy has no effect.", "reason"),
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argocd_appset_rollout_operations_total", Help: "Operations requested by rollouts.",
		}, []string{"namespace", "name", "result"}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "argocd_appset_rollout_status_conflicts_total", Help: "Status writes that found a newer version.",
		}),
		advance: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "argocd_appset_rollout_advance_seconds", Help: "Duration of one advance.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}),
	}
	enabled := prometheus.NewGauge(prometheus.GaugeOpts{Name: "argocd_appset_progressive_syncs_enabled", Help: "1 when rolling strategies have effect."})
	if gate {
		enabled.Set(1)
	}
	r.MustRegister(m.operations, m.conflicts, m.advance, enabled)
	return m
}

func (m *metrics) forget(key types.NamespacedName) {
	for _, g := range []*prometheus.GaugeVec{m.info, m.owned, m.rollout, m.step, m.applications, m.paused, m.halted, m.ignored} {
		g.DeletePartialMatch(prometheus.Labels{"namespace": key.Namespace, "name": key.Name})
	}
}

// describe replaces the series of a set.
func (m *metrics) describe(key types.NamespacedName, s *v1alpha1.ApplicationSetStatus, ignored string) {
	m.forget(key)
	reason := "Unknown"
	for _, c := range s.Conditions {
		if c.Type == v1alpha1.AppSetResourcesUpToDate {
			reason = c.Reason
		}
	}
	m.info.WithLabelValues(key.Namespace, key.Name, reason).Set(1)
	m.owned.WithLabelValues(key.Namespace, key.Name).Set(float64(s.ResourcesCount))
	if ignored != "" {
		m.ignored.WithLabelValues(key.Namespace, key.Name, ignored).Set(1)
	}
	r := s.Rollout
	if r == nil {
		return
	}
	m.rollout.WithLabelValues(key.Namespace, key.Name, fmt.Sprint(r.ID), r.Phase).Set(1)
	m.step.WithLabelValues(key.Namespace, key.Name).Set(float64(r.CurrentStep))
	for _, st := range r.Steps {
		for state, n := range map[string]int32{"waiting": st.Waiting, "pending": st.Pending, "progressing": st.Progressing, "healthy": st.Healthy, "failed": st.Failed} {
			m.applications.WithLabelValues(key.Namespace, key.Name, fmt.Sprint(st.Index), state).Set(float64(n))
		}
	}
	if r.Pause != nil {
		for _, source := range r.Pause.Sources {
			m.paused.WithLabelValues(key.Namespace, key.Name, source).Set(1)
		}
	}
	if r.Halt != nil {
		m.halted.WithLabelValues(key.Namespace, key.Name, r.Halt.Reason).Set(1)
	}
}
