package analysis

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// When a step is judged.
const (
	AfterHealthy = "AfterHealthy"
	DuringBake   = "DuringBake"
)

// Scope says what a metric is measured for.
type Scope string

// The scopes: once for the step, or for each of its Applications.
const (
	Step        Scope = "Step"
	Application Scope = "Application"
)

// Bounds of settings.
const (
	defaultTimeout = 30 * time.Second
	maxTimeout     = 10 * time.Minute
	maxMetrics     = 20
	maxHeaders     = 20
	maxNumber      = 100_000
)

// Metric is one parsed metric with its defaults filled in.
type Metric struct {
	Name  string
	Scope Scope
	// Interval is the pause between measurements, InitialDelay that before
	// the first.
	Interval, InitialDelay time.Duration
	// Measured Count times the metric passes, unless a limit is exceeded
	// before. Errors are not counted; only consecutive ones end it.
	Count, FailureLimit, InconclusiveLimit, ConsecutiveErrorLimit int32

	Address  string
	Query    Query
	Timeout  time.Duration
	Insecure bool
	Headers  []v1alpha1.AnalysisHeader

	success, failure *Condition
}

// Providers says which servers may be asked.
type Providers struct {
	// Allowed lists addresses; they must agree exactly.
	Allowed []string
	// Any permits every address when the list is empty: only for an
	// installation that watches no namespace but its own.
	Any bool
}

// Permits says whether the address may be asked.
func (p Providers) Permits(address string) bool {
	if len(p.Allowed) == 0 {
		return p.Any
	}
	return slices.Contains(p.Allowed, address)
}

// Parse reads the analysis of a step; at is where it stands, for example
// spec.strategy.rollingSync.steps[0].analysis. The error names the first
// wrong field.
func Parse(at string, a *v1alpha1.StepAnalysis, providers Providers) ([]Metric, error) {
	if a.When != "" && a.When != AfterHealthy && a.When != DuringBake {
		return nil, fmt.Errorf("%s.when: %q is neither AfterHealthy nor DuringBake", at, a.When)
	}
	if len(a.Metrics) == 0 {
		return nil, fmt.Errorf("%s.metrics: is empty: add a metric or remove the analysis", at)
	}
	if len(a.Metrics) > maxMetrics {
		return nil, fmt.Errorf("%s.metrics: has %d metrics, at most %d are allowed", at, len(a.Metrics), maxMetrics)
	}
	var out []Metric
	for i, m := range a.Metrics {
		field := fmt.Sprintf("%s.metrics[%d]", at, i)
		parsed, err := ParseMetric(field, m, providers)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(o Metric) bool { return o.Name == m.Name }) {
			return nil, fmt.Errorf("%s.name: %q is used twice: names of metrics are unique", field, m.Name)
		}
		out = append(out, parsed)
	}
	return out, nil
}

// Check reads the analyses of all steps of a strategy. The error names the
// first wrong field, an address that may not be asked included.
func Check(r *v1alpha1.RollingSync, providers Providers) error {
	for i, s := range r.Steps {
		if s.Analysis == nil {
			continue
		}
		if _, err := Parse(fmt.Sprintf("spec.strategy.rollingSync.steps[%d].analysis", i), s.Analysis, providers); err != nil {
			return err
		}
	}
	return nil
}

// ParseMetric reads one metric; at is where it stands. The error names the first
// wrong field.
func ParseMetric(at string, m v1alpha1.AnalysisMetric, providers Providers) (Metric, error) {
	out := Metric{Name: m.Name}
	if m.Name == "" {
		return out, fmt.Errorf("%s.name: is empty: name the metric", at)
	}
	var err error
	for _, d := range []struct {
		field, text string
		into        *time.Duration
	}{{"interval", m.Interval, &out.Interval}, {"initialDelay", m.InitialDelay, &out.InitialDelay}} {
		if *d.into, err = duration(d.text, 0); err != nil {
			return out, fmt.Errorf("%s.%s: %w", at, d.field, err)
		}
	}
	for _, n := range []struct {
		field    string
		value    *intstr.IntOrString
		fallback int32
		into     *int32
	}{
		{"count", m.Count, 1, &out.Count}, {"failureLimit", m.FailureLimit, 0, &out.FailureLimit},
		{"inconclusiveLimit", m.InconclusiveLimit, 0, &out.InconclusiveLimit},
		{"consecutiveErrorLimit", m.ConsecutiveErrorLimit, 4, &out.ConsecutiveErrorLimit},
	} {
		if *n.into, err = number(n.value, n.fallback); err != nil {
			return out, fmt.Errorf("%s.%s: %w", at, n.field, err)
		}
	}
	if out.Count == 0 {
		return out, fmt.Errorf("%s.count: is 0: measure at least once", at)
	}
	if out.Count > 1 && out.Interval == 0 {
		return out, fmt.Errorf("%s.interval: is empty: a count of %d needs a pause between measurements, for example 60s", at, out.Count)
	}
	if out.success, err = compile(m.SuccessCondition); err != nil {
		return out, fmt.Errorf("%s.successCondition: %w", at, err)
	}
	if out.failure, err = compile(m.FailureCondition); err != nil {
		return out, fmt.Errorf("%s.failureCondition: %w", at, err)
	}
	return out.withProvider(at, m, providers)
}

// withProvider adds what is asked and where.
func (m Metric) withProvider(at string, given v1alpha1.AnalysisMetric, providers Providers) (Metric, error) {
	p := given.Provider.Prometheus
	if p == nil {
		return m, fmt.Errorf("%s.provider: names no provider: set provider.prometheus", at)
	}
	at += ".provider.prometheus"
	if !address.MatchString(p.Address) {
		return m, fmt.Errorf("%s.address: is not an address such as http://prometheus.monitoring.svc:9090 (credentials belong into headers)", at)
	}
	if !providers.Permits(p.Address) {
		return m, fmt.Errorf("%s.address: %s is not on the list of --allowed-analysis-providers: an administrator must add it", at, p.Address)
	}
	m.Address, m.Insecure, m.Headers = p.Address, p.Insecure, p.Headers
	var err error
	if m.Timeout, err = duration(p.Timeout, defaultTimeout); err == nil && (m.Timeout == 0 || m.Timeout > maxTimeout) {
		err = fmt.Errorf("%q is not between 1ms and %s", p.Timeout, maxTimeout)
	}
	if err != nil {
		return m, fmt.Errorf("%s.timeout: %w", at, err)
	}
	if err := headers(at, p.Headers); err != nil {
		return m, err
	}
	query, scope, err := parseQuery(p.Query, Scope(given.Scope))
	if err != nil {
		return m, fmt.Errorf("%s.query: %w", at, err)
	}
	if given.Scope != "" && given.Scope != string(Step) && given.Scope != string(Application) {
		return m, fmt.Errorf("%s.scope: %q is neither Step nor Application", strings.TrimSuffix(at, ".provider.prometheus"), given.Scope)
	}
	m.Query, m.Scope = query, scope
	return m, nil
}

var (
	address    = regexp.MustCompile(`^https?://[A-Za-z0-9.\-_:\[\]]+(/[A-Za-z0-9.\-_~/%]*)?$`)
	headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
	// ownHeaders are set by the transport.
	ownHeaders = []string{"host", "content-length", "transfer-encoding", "connection", "content-type"}
)

func headers(at string, list []v1alpha1.AnalysisHeader) error {
	if len(list) > maxHeaders {
		return fmt.Errorf("%s.headers: has %d headers, at most %d are allowed", at, len(list), maxHeaders)
	}
	for i, h := range list {
		field := fmt.Sprintf("%s.headers[%d]", at, i)
		switch {
		case !headerName.MatchString(h.Key) || slices.Contains(ownHeaders, strings.ToLower(h.Key)):
			return fmt.Errorf("%s.key: %q is not a header that may be set", field, h.Key)
		case h.Value != "" && h.ValueFrom != nil:
			return fmt.Errorf("%s: value and valueFrom are both set: keep one", field)
		case h.Value == "" && h.ValueFrom == nil:
			return fmt.Errorf("%s: neither value nor valueFrom is set", field)
		case h.ValueFrom != nil && (h.ValueFrom.SecretName == "" || h.ValueFrom.Key == ""):
			return fmt.Errorf("%s.valueFrom: secretName and key are both needed", field)
		}
	}
	return nil
}

func duration(text string, fallback time.Duration) (time.Duration, error) {
	if text == "" {
		return fallback, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a duration such as 60s", text)
	}
	return d, nil
}

func number(v *intstr.IntOrString, fallback int32) (int32, error) {
	if v == nil {
		return fallback, nil
	}
	n, err := strconv.ParseInt(v.String(), 10, 32)
	if err != nil || n < 0 || n > maxNumber {
		return 0, fmt.Errorf("%q is not a whole number from 0 to %d", v.String(), maxNumber)
	}
	return int32(n), nil
}
