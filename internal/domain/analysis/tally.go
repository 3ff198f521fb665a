package analysis

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// Outcome is what one measurement says.
type Outcome string

// The outcomes. Error means that nothing was measured.
const (
	Successful   Outcome = "Successful"
	Failed       Outcome = "Failed"
	Inconclusive Outcome = "Inconclusive"
	Error        Outcome = "Error"
)

// Sample is what a server answered: a list of values, or one value.
type Sample struct {
	Values []float64
	// Scalar says that the answer was one number and not a list of one.
	Scalar bool
}

// result is the sample as conditions see it.
func (s Sample) result() any {
	if s.Scalar && len(s.Values) == 1 {
		return s.Values[0]
	}
	return s.Values
}

// maxShown bounds how many values are shown to a person.
const maxShown = 10

// String shows the sample, shortened.
func (s Sample) String() string {
	if s.Scalar && len(s.Values) == 1 {
		return format(s.Values[0])
	}
	var out []string
	for _, v := range s.Values[:min(len(s.Values), maxShown)] {
		out = append(out, format(v))
	}
	if n := len(s.Values) - maxShown; n > 0 {
		out = append(out, fmt.Sprintf("and %d more", n))
	}
	return "[" + strings.Join(out, " ") + "]"
}

func format(v float64) string { return strconv.FormatFloat(v, 'g', 8, 64) }

// Measurement is one measurement, judged. Message says why an outcome is not
// Successful.
type Measurement struct {
	Outcome Outcome
	Value   string
	Message string
}

// Judge applies the conditions of the metric to a sample. With one condition
// its opposite is the other outcome; with both, a sample that meets neither is
// inconclusive, and one that meets both has failed; with none, any answer is a
// success. An empty answer is inconclusive: nobody knows.
func (m Metric) Judge(s Sample) Measurement {
	out := Measurement{Value: s.String()}
	if len(s.Values) == 0 {
		out.Outcome, out.Message = Inconclusive, "the query returned nothing"
		return out
	}
	if len(s.Values) > MaxSamples {
		out.Outcome, out.Message = Error, fmt.Sprintf("the query returned %d samples, at most %d are judged: aggregate them, for example with sum()", len(s.Values), MaxSamples)
		return out
	}
	succeeded, failed := m.success == nil, false
	var err error
	if m.failure != nil {
		failed, err = m.failure.holds(s.result())
	}
	if err == nil && m.success != nil {
		succeeded, err = m.success.holds(s.result())
	}
	switch {
	case err != nil:
		out.Outcome, out.Message = Error, err.Error()
	case failed:
		out.Outcome, out.Message = Failed, fmt.Sprintf("%s meets failureCondition %q", out.Value, m.failure.text)
	case succeeded:
		out.Outcome = Successful
	case m.failure == nil:
		out.Outcome, out.Message = Failed, fmt.Sprintf("%s does not meet successCondition %q", out.Value, m.success.text)
	default:
		out.Outcome, out.Message = Inconclusive, fmt.Sprintf("%s meets neither condition", out.Value)
	}
	return out
}

// Tally is what is remembered of a metric while it is measured, for one
// subject. Times are those of the process that measured.
type Tally struct {
	Successful        int32     `json:"s,omitempty"`
	Failed            int32     `json:"f,omitempty"`
	Inconclusive      int32     `json:"i,omitempty"`
	Errors            int32     `json:"e,omitempty"`
	ConsecutiveErrors int32     `json:"c,omitempty"`
	StartedAt         time.Time `json:"b,omitzero"`
	MeasuredAt        time.Time `json:"m,omitzero"`
	Value             string    `json:"v,omitempty"`
	Message           string    `json:"w,omitempty"`
}

// Count adds a measurement that ended at now.
func (t Tally) Count(m Measurement, now time.Time) Tally {
	t.MeasuredAt, t.Message = now, m.Message
	if m.Outcome == Error {
		t.Errors++
		t.ConsecutiveErrors++
		return t
	}
	t.ConsecutiveErrors, t.Value = 0, m.Value
	switch m.Outcome {
	case Successful:
		t.Successful++
	case Failed:
		t.Failed++
	case Inconclusive:
		t.Inconclusive++
	}
	return t
}

// Phase is where a metric stands.
type Phase string

// The phases; all but Running are final. Only PhaseSuccessful passes the gate.
const (
	PhaseRunning      Phase = "Running"
	PhaseSuccessful   Phase = "Successful"
	PhaseFailed       Phase = "Failed"
	PhaseInconclusive Phase = "Inconclusive"
	PhaseError        Phase = "Error"
)

// Phase says where the metric stands, in words when it did not pass.
func (m Metric) Phase(t Tally) (Phase, string) {
	say := func(n int32, what string, limit int32) string {
		out := fmt.Sprintf("metric %s: %d %s, at most %d are tolerated", m.Name, n, what, limit)
		if t.Message != "" {
			out += ": " + t.Message
		}
		return out
	}
	switch {
	case t.Failed > m.FailureLimit:
		return PhaseFailed, say(t.Failed, "failed measurements", m.FailureLimit)
	case t.Inconclusive > m.InconclusiveLimit:
		return PhaseInconclusive, say(t.Inconclusive, "inconclusive measurements", m.InconclusiveLimit)
	case t.ConsecutiveErrors > m.ConsecutiveErrorLimit:
		return PhaseError, say(t.ConsecutiveErrors, "errors in a row", m.ConsecutiveErrorLimit)
	case t.Successful+t.Failed+t.Inconclusive >= m.Count:
		return PhaseSuccessful, ""
	}
	return PhaseRunning, ""
}

// errorPause is the pause after an error of a metric without interval.
const errorPause = 10 * time.Second

// Due says how long to wait until the next measurement: zero or less is now.
// A clock that was set back never makes the wait longer than one pause.
func (m Metric) Due(t Tally, now time.Time) time.Duration {
	since, pause := t.StartedAt, m.InitialDelay
	if !t.MeasuredAt.IsZero() {
		since, pause = t.MeasuredAt, m.Interval
		if t.ConsecutiveErrors > 0 && pause == 0 {
			pause = errorPause
		}
	}
	return pause - max(0, now.Sub(since))
}

// Status is the tally as the ApplicationSet shows it.
func (m Metric) Status(t Tally) v1alpha1.RolloutAnalysis {
	phase, _ := m.Phase(t)
	return v1alpha1.RolloutAnalysis{
		Name: m.Name, Phase: string(phase), Successful: t.Successful, Failed: t.Failed, Inconclusive: t.Inconclusive, Value: t.Value,
	}
}

// Run is one metric for one subject.
type Run struct {
	Metric Metric
	Tally  Tally
	// Application is empty in scope Step.
	Application string
}

// Verdict is where the analysis of a step stands.
type Verdict struct {
	// Phase is Running, Successful or, when any run did not pass, Failed.
	Phase Phase
	// Why says which run did not pass.
	Why string
	// Wait is how long until a run is to be measured again; zero when one is
	// due, or none ever.
	Wait time.Duration
}

// Assess puts the runs of a step together: all must pass, one is enough to
// fail.
func Assess(runs []Run, now time.Time) Verdict {
	out := Verdict{Phase: PhaseSuccessful}
	first := true
	for _, r := range runs {
		phase, why := r.Metric.Phase(r.Tally)
		switch phase {
		case PhaseSuccessful:
		case PhaseRunning:
			out.Phase = PhaseRunning
			if wait := max(0, r.Metric.Due(r.Tally, now)); first || wait < out.Wait {
				out.Wait, first = wait, false
			}
		default:
			if r.Application != "" {
				why = "application " + r.Application + ": " + why
			}
			return Verdict{Phase: PhaseFailed, Why: why}
		}
	}
	return out
}
