package rollout

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// TestCounting plays measurements: S, F, I, E for the outcomes.
func TestCounting(t *testing.T) {
	outcomes := map[rune]Outcome{'S': OutcomeSuccessful, 'F': OutcomeFailed, 'I': OutcomeInconclusive, 'E': OutcomeError}
	n := func(i int32) *intstr.IntOrString { v := intstr.FromInt32(i); return &v }
	for _, c := range []struct {
		count, failures, inconclusive, errors int32
		play, want                            string
	}{
		{1, 0, 0, 4, "", MetricRunning},
		{1, 0, 0, 4, "S", MetricSuccessful},
		{1, 0, 0, 4, "F", MetricFailed},
		{1, 0, 0, 4, "I", MetricFailed},
		{10, 2, 0, 4, "SSSSSSSSS", MetricRunning},
		{10, 2, 0, 4, "SFSFSSSSSS", MetricSuccessful},
		{10, 2, 0, 4, "FSFSF", MetricFailed},
		{10, 2, 1, 4, "ISSI", MetricFailed},
		{10, 0, 0, 4, "EEEE", MetricRunning},
		{10, 0, 0, 4, "EEEEE", MetricFailed},
		{2, 0, 0, 4, "EEEESEEEES", MetricSuccessful},
		{3, 0, 0, 0, "SE", MetricFailed},
		{2, 0, 0, 4, "SE", MetricRunning},
	} {
		m := &v1alpha1.AnalysisMetric{Name: "rate", Count: n(c.count), FailureLimit: n(c.failures), InconclusiveLimit: n(c.inconclusive), ConsecutiveErrorLimit: n(c.errors)}
		a := &v1alpha1.RolloutAnalysis{Name: "rate", Phase: MetricRunning}
		for i, r := range c.play {
			if a.Phase != MetricRunning {
				t.Errorf("%q: %s already after %d", c.play, a.Phase, i)
			}
			p := &planner{id: 3, Input: Input{Measured: []Measured{{Measurement: Measurement{Rollout: 3, Step: 1, Metric: *m, Number: answers(a)}, Outcome: outcomes[r]}}}}
			p.takeIn(1, a, m)
			judge(a, m)
		}
		if a.Phase != c.want {
			t.Errorf("%q: %s, want %s", c.play, a.Phase, c.want)
		}
	}
}

func TestPauseBetweenMeasurements(t *testing.T) {
	start := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	paced, single := &v1alpha1.AnalysisMetric{Interval: "60s", InitialDelay: "90s"}, &v1alpha1.AnalysisMetric{}
	at := func(d time.Duration, errors int32) *v1alpha1.RolloutAnalysis {
		when := metav1.NewTime(start.Add(d))
		return &v1alpha1.RolloutAnalysis{MeasuredAt: &when, ConsecutiveErrors: errors}
	}
	for _, c := range []struct {
		name   string
		metric *v1alpha1.AnalysisMetric
		seen   *v1alpha1.RolloutAnalysis
		now    time.Duration
		want   time.Duration
	}{
		{"initial delay", paced, &v1alpha1.RolloutAnalysis{}, time.Minute, 30 * time.Second},
		{"over", paced, &v1alpha1.RolloutAnalysis{}, 2 * time.Minute, -30 * time.Second},
		{"interval", paced, at(2*time.Minute, 0), 150 * time.Second, 30 * time.Second},
		{"clock set back", paced, at(2*time.Minute, 0), 0, 60 * time.Second},
		{"at once", single, &v1alpha1.RolloutAnalysis{}, 0, 0},
		{"after an error without interval", single, at(0, 1), 3 * time.Second, 7 * time.Second},
	} {
		if got := pauseOf(c.seen, c.metric, start.UnixMilli(), start.Add(c.now).UnixMilli()); got != c.want.Milliseconds() {
			t.Errorf("%s: %d ms, want %s", c.name, got, c.want)
		}
	}
}
