package advance

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// metrics of rollouts (spec/progressive-sync.md §7.8).
type metrics struct {
	info, owned, rollout, step, applications, paused, halted, stalled, bytes, ignored *prometheus.GaugeVec
	operations, rollouts, rollbacks, analysis                                         *prometheus.CounterVec
	stepSeconds, seconds                                                              *prometheus.HistogramVec
	conflicts                                                                         prometheus.Counter
	advance                                                                           prometheus.Histogram
}

var setLabels = []string{"namespace", "name"}

func labelled(labels ...string) []string {
	return append(append([]string(nil), setLabels...), labels...)
}

func newMetrics(r prometheus.Registerer, gate bool) *metrics {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "argocd_appset_" + name, Help: help}, labelled(labels...))
		r.MustRegister(g)
		return g
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "argocd_appset_" + name, Help: help}, labelled(labels...))
		r.MustRegister(c)
		return c
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "argocd_appset_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(1, 4, 10)}, labelled(labels...))
		r.MustRegister(h)
		return h
	}
	m := &metrics{
		info:         gauge("info", "One series per ApplicationSet.", "resource_update_status"),
		owned:        gauge("owned_applications", "Applications of the set."),
		rollout:      gauge("rollout_info", "The rollout of the set.", "rollout_id", "phase"),
		step:         gauge("rollout_current_step", "The current step, 0 for none."),
		applications: gauge("rollout_step_applications", "Applications by step and state.", "step", "state"),
		paused:       gauge("rollout_paused", "1 while paused.", "source"),
		halted:       gauge("rollout_halted", "1 while halted.", "reason"),
		stalled:      gauge("rollout_stalled_seconds", "Time since an Application of an unfinished rollout last advanced, at the last look."),
		bytes:        gauge("rollout_status_bytes", "Estimated size of the stored status."),
		ignored:      gauge("strategy_ignored", "1 while a strategy has no effect.", "reason"),
		operations:   counter("rollout_operations_total", "Operations of rollouts: issued, selfheal, rollback, foreign, conflict, refused; timeout is one whose Application was not Healthy in time.", "result"),
		rollouts:     counter("rollouts_total", "Rollouts that ended.", "result"),
		rollbacks:    counter("rollout_rollbacks_total", "Rollbacks that have begun."),
		analysis:     counter("rollout_analysis_total", "Measurements taken in.", "metric", "result"),
		stepSeconds:  histogram("rollout_step_duration_seconds", "Duration of steps.", "step"),
		seconds:      histogram("rollout_duration_seconds", "Duration of rollouts.", "result"),
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
	r.MustRegister(m.conflicts, m.advance, enabled)
	return m
}

// forget drops the gauges of a set.
func (m *metrics) forget(key types.NamespacedName) {
	for _, g := range []*prometheus.GaugeVec{m.info, m.owned, m.rollout, m.step, m.applications, m.paused, m.halted, m.stalled, m.bytes, m.ignored} {
		g.DeletePartialMatch(prometheus.Labels{"namespace": key.Namespace, "name": key.Name})
	}
}

// description is what a status does not say itself.
type description struct {
	ignored string
	now     time.Time
	bytes   int
	// manual counts the members without automated sync, by step.
	manual []int
}

// describe replaces the gauges of a set.
func (m *metrics) describe(key types.NamespacedName, s *v1alpha1.ApplicationSetStatus, d description) {
	m.forget(key)
	reason := "Unknown"
	if c := conditionOf(*s, v1alpha1.AppSetResourcesUpToDate); c != nil {
		reason = c.Reason
	}
	set := func(g *prometheus.GaugeVec, value float64, labels ...string) {
		g.WithLabelValues(append([]string{key.Namespace, key.Name}, labels...)...).Set(value)
	}
	set(m.info, 1, reason)
	set(m.owned, float64(s.ResourcesCount))
	set(m.bytes, float64(d.bytes))
	if d.ignored != "" {
		set(m.ignored, 1, d.ignored)
	}
	r := s.Rollout
	if r == nil {
		return
	}
	set(m.rollout, 1, fmt.Sprint(r.ID), r.Phase)
	set(m.step, float64(r.CurrentStep))
	for _, st := range r.Steps {
		for state, n := range map[string]int32{
			"waiting": st.Waiting, "pending": st.Pending, "progressing": st.Progressing, "healthy": st.Healthy, "failed": st.Failed, "blocked": st.Blocked,
		} {
			set(m.applications, float64(n), fmt.Sprint(st.Index), state)
		}
	}
	if r.Counts != nil {
		set(m.applications, float64(r.Counts.Unmatched), "-1", "unmatched")
	}
	for k, n := range d.manual {
		set(m.applications, float64(n), fmt.Sprint(k+1), "manual")
	}
	if r.Pause != nil {
		for _, source := range r.Pause.Sources {
			set(m.paused, 1, source)
		}
	}
	if r.Halt != nil {
		set(m.halted, 1, r.Halt.Reason)
	}
	set(m.stalled, stalled(s, d.now))
}

// stalled is the time since a member of an unfinished rollout last changed.
func stalled(s *v1alpha1.ApplicationSetStatus, now time.Time) float64 {
	if s.Rollout.CompletedAt != nil || s.Rollout.StartedAt == nil {
		return 0
	}
	last := s.Rollout.StartedAt.Time
	for i := range s.ApplicationStatus {
		if at := s.ApplicationStatus[i].LastTransitionTime; at != nil && at.After(last) {
			last = at.Time
		}
	}
	return max(0, now.Sub(last).Seconds())
}

// observe counts what ended between two stored rollouts.
func (m *metrics) observe(key types.NamespacedName, before, after *v1alpha1.RolloutStatus, now time.Time) {
	if after == nil {
		return
	}
	for _, ended := range endings(before, after) {
		m.rollouts.WithLabelValues(key.Namespace, key.Name, ended.result).Inc()
		if started := ended.rollout.StartedAt; started != nil {
			m.seconds.WithLabelValues(key.Namespace, key.Name, ended.result).Observe(max(0, now.Sub(started.Time).Seconds()))
		}
	}
	if before == nil || before.ID != after.ID {
		return
	}
	for i := range after.Steps {
		s := &after.Steps[i]
		if i >= len(before.Steps) {
			continue
		}
		if was := &before.Steps[i]; s.CompletedAt != nil && was.CompletedAt == nil && s.StartedAt != nil {
			m.stepSeconds.WithLabelValues(key.Namespace, key.Name, fmt.Sprint(s.Index)).Observe(now.Sub(s.StartedAt.Time).Seconds())
		}
		m.measured(key, before.Steps[i].Analysis, s.Analysis)
	}
}

// ending is a rollout that has ended.
type ending struct {
	rollout *v1alpha1.RolloutStatus
	result  string
}

// endings are the rollouts that ended between two stored ones, whether the
// history keeps them or not (historyLimit).
func endings(before, after *v1alpha1.RolloutStatus) []ending {
	var out []ending
	if before != nil && before.ID > 0 && before.ID != after.ID && before.CompletedAt == nil {
		result := "superseded"
		switch before.Phase {
		case rollout.PhaseRolledBack:
			result = "rolledback"
		case rollout.PhaseAborted:
			result = "aborted"
		}
		out = append(out, ending{before, result})
	}
	if after.CompletedAt != nil && (before == nil || before.ID != after.ID || before.CompletedAt == nil) {
		result := "nochange"
		if after.Phase == rollout.PhaseCompleted {
			result = "completed"
		}
		out = append(out, ending{after, result})
	}
	return out
}

// measured counts the measurements taken in between two stored steps.
func (m *metrics) measured(key types.NamespacedName, before, after []v1alpha1.RolloutAnalysis) {
	for j := range after {
		a := &after[j]
		was := v1alpha1.RolloutAnalysis{}
		if j < len(before) && before[j].Name == a.Name && before[j].Application == a.Application {
			was = before[j]
		}
		for result, n := range map[string]int32{
			"successful": a.Successful - was.Successful, "failed": a.Failed - was.Failed,
			"inconclusive": a.Inconclusive - was.Inconclusive, "error": a.Errors - was.Errors,
		} {
			if n > 0 {
				m.analysis.WithLabelValues(key.Namespace, key.Name, a.Name, result).Add(float64(n))
			}
		}
	}
}
