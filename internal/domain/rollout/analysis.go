package rollout

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/analysis"
)

// When metrics are measured, and for what.
const (
	AnalyzeAfterHealthy = "AfterHealthy"
	AnalyzeDuringBake   = "DuringBake"
	ScopeStep           = "Step"
	ScopeApplication    = "Application"
)

// Phases of a metric.
const (
	MetricRunning    = "Running"
	MetricSuccessful = "Successful"
	MetricFailed     = "Failed"
)

// analyzed says that the metrics of a healthy step speak for it. It takes in
// what was measured and lists what is due (L16).
func (p *planner) analyzed(k int, baked bool) bool {
	s, c := &p.mem.Steps[k-1], &p.steps[k-1]
	if c.analysis == nil || s.Skipped {
		return true
	}
	if !baked && c.analysis.When != AnalyzeDuringBake {
		return false
	}
	if s.Measures == 0 {
		s.Measures = p.now
		s.Analysis = p.subjects(k)
	}
	good := true
	for j := range s.Analysis {
		a := &s.Analysis[j]
		metric := metricNamed(c.analysis, a.Name)
		if metric == nil {
			continue
		}
		p.takeIn(k, a, metric)
		judge(a, metric)
		good = good && a.Phase == MetricSuccessful
	}
	return good
}

// measure lists due measurements and acts on failed metrics.
func (p *planner) measure() {
	k := p.current
	if k == 0 || p.steps[k-1].analysis == nil {
		return
	}
	s, c := &p.mem.Steps[k-1], &p.steps[k-1]
	if s.Measures == 0 || s.Skipped || p.mem.Mode != "" || p.invalid != "" || !p.settledStep(k) || p.stats[k-1].unwell {
		return
	}
	if c.analysis.When != AnalyzeDuringBake && s.Baked < max(c.bake, c.batchBake).Milliseconds() {
		return // it bakes again, answers would not be taken in
	}
	for j := range s.Analysis {
		a := &s.Analysis[j]
		metric := metricNamed(c.analysis, a.Name)
		if metric == nil {
			continue
		}
		if a.Phase == MetricFailed {
			p.analysisFailed(k, a)
			return
		}
		if a.Phase != MetricSuccessful {
			p.due(k, a, metric)
		}
	}
}

func (p *planner) due(k int, a *v1alpha1.RolloutAnalysis, metric *v1alpha1.AnalysisMetric) {
	if rest := pauseOf(a, metric, p.mem.Steps[k-1].Measures, p.now); rest > 0 {
		p.wakeIn(rest)
		return
	}
	p.out.Measurements = append(p.out.Measurements, Measurement{
		Rollout: p.id, Step: k, StepName: p.title(k), Metric: *metric, Application: a.Application, Number: answers(a),
	})
}

// errorPause is the pause after an error of a metric without an interval: a
// server that is away for a moment must not use up all errors in a moment.
const errorPause = 10 * time.Second

// pauseOf is how long to wait until the next measurement, in milliseconds. A
// clock that was set back never makes the wait longer than one pause.
func pauseOf(a *v1alpha1.RolloutAnalysis, metric *v1alpha1.AnalysisMetric, started, now int64) int64 {
	since, pause := started, span(metric.InitialDelay)
	if a.MeasuredAt != nil {
		since, pause = a.MeasuredAt.UnixMilli(), span(metric.Interval)
		if a.ConsecutiveErrors > 0 && pause == 0 {
			pause = errorPause
		}
	}
	return pause.Milliseconds() - max(0, now-since)
}

// answers counts what has been measured, errors too.
func answers(a *v1alpha1.RolloutAnalysis) int32 {
	return a.Successful + a.Failed + a.Inconclusive + a.Errors
}

func metricNamed(a *v1alpha1.StepAnalysis, name string) *v1alpha1.AnalysisMetric {
	for i := range a.Metrics {
		if a.Metrics[i].Name == name {
			return &a.Metrics[i]
		}
	}
	return nil
}

// subjects lists what is measured in a step.
func (p *planner) subjects(k int) []v1alpha1.RolloutAnalysis {
	var out []v1alpha1.RolloutAnalysis
	for i := range p.steps[k-1].analysis.Metrics {
		m := &p.steps[k-1].analysis.Metrics[i]
		if analysis.ScopeOf(*m) != analysis.Application {
			out = append(out, v1alpha1.RolloutAnalysis{Name: m.Name, Phase: MetricRunning})
			continue
		}
		for j := range p.entries {
			if e := &p.entries[j]; e.Step == k && e.Flags.has(touched) && e.Status == Healthy {
				out = append(out, v1alpha1.RolloutAnalysis{Name: m.Name, Application: e.Name, Phase: MetricRunning})
			}
		}
	}
	return out
}

// takeIn counts the answer to the measurement that was asked for; an answer
// that comes twice counts once.
func (p *planner) takeIn(k int, a *v1alpha1.RolloutAnalysis, metric *v1alpha1.AnalysisMetric) {
	if a.Phase != MetricRunning {
		return
	}
	for i := range p.Measured {
		r := &p.Measured[i]
		if r.Rollout != p.id || r.Step != k || r.Metric.Name != metric.Name || r.Application != a.Application || r.Number != answers(a) {
			continue
		}
		switch r.Outcome {
		case OutcomeSuccessful:
			a.Successful++
		case OutcomeFailed:
			a.Failed++
		case OutcomeInconclusive:
			a.Inconclusive++
		default:
			a.Errors++
			a.ConsecutiveErrors++
		}
		if r.Outcome != OutcomeError {
			a.ConsecutiveErrors = 0
		}
		a.Value, a.Message, a.MeasuredAt = cut(r.Value), clip(r.Message, 256), stamp(p.Now.Unix())
		return
	}
}

// judge says what the counters of a metric mean.
func judge(a *v1alpha1.RolloutAnalysis, m *v1alpha1.AnalysisMetric) {
	switch {
	case a.Failed > whole(m.FailureLimit, 0), a.Inconclusive > whole(m.InconclusiveLimit, 0), a.ConsecutiveErrors > whole(m.ConsecutiveErrorLimit, 4):
		a.Phase = MetricFailed
	case a.Successful+a.Failed+a.Inconclusive >= whole(m.Count, 1):
		a.Phase = MetricSuccessful
	}
}

func whole(v *intstr.IntOrString, def int32) int32 {
	if v == nil {
		return def
	}
	n, err := Share(v, 100)
	if err != nil {
		return def
	}
	return int32(min(n, maxNumber)) //nolint:gosec // bounded
}

// judged says that nothing of the analysis is missing.
func (p *planner) judged(k int) bool {
	s := &p.mem.Steps[k-1]
	if p.steps[k-1].analysis == nil || s.Skipped {
		return true
	}
	for i := range s.Analysis {
		if s.Analysis[i].Phase != MetricSuccessful {
			return false
		}
	}
	return s.Measures > 0
}

func (p *planner) analysisFailed(k int, a *v1alpha1.RolloutAnalysis) {
	s, c := &p.mem.Steps[k-1], &p.steps[k-1]
	if p.mem.Sticky != "" {
		return
	}
	subject := a.Name
	if a.Application != "" {
		subject += " of " + a.Application
	}
	text := fmt.Sprintf("rollout %d: metric %s of %s failed: %d failed, %d inconclusive, %d errors, last value %q", p.id, subject, p.label(k), a.Failed, a.Inconclusive, a.Errors, a.Value)
	switch c.onFailure {
	case OnFailureContinue:
		s.Skipped = true
		p.event(true, "RolloutAnalysisFailed", text)
		p.wake(0)
	case OnFailureRollback:
		if !p.mayTurn(k) {
			return // once the pause is over
		}
		p.event(true, "RolloutAnalysisFailed", text)
		p.turnBack("metric " + subject + " failed")
		p.wake(0)
	default:
		p.event(true, "RolloutAnalysisFailed", text)
		p.stick(HaltAnalysisFailed, k)
		p.halts(p.stop())
	}
}
