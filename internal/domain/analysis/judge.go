package analysis

import (
	"fmt"
	"strconv"
	"strings"
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
