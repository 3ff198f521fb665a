package analysis_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/analysis"
)

const place = "spec.strategy.rollingSync.steps[0].analysis"

func metric(change func(*v1alpha1.AnalysisMetric)) v1alpha1.AnalysisMetric {
	m := v1alpha1.AnalysisMetric{
		Name: "error-rate", SuccessCondition: "result[0] < 0.05",
		Provider: v1alpha1.AnalysisProvider{Prometheus: &v1alpha1.PrometheusProvider{Address: "http://prometheus.monitoring.svc:9090", Query: "up"}},
	}
	if change != nil {
		change(&m)
	}
	return m
}

func parse(t *testing.T, m v1alpha1.AnalysisMetric) analysis.Metric {
	t.Helper()
	out, err := analysis.Parse(place, &v1alpha1.StepAnalysis{Metrics: []v1alpha1.AnalysisMetric{m}}, analysis.Providers{Any: true})
	if err != nil {
		t.Fatal(err)
	}
	return out[0]
}

func n(i int) *intstr.IntOrString { v := intstr.FromInt32(int32(i)); return &v } //nolint:gosec // small numbers of tests

func TestDefaults(t *testing.T) {
	m := parse(t, metric(nil))
	if m.Count != 1 || m.FailureLimit != 0 || m.InconclusiveLimit != 0 || m.ConsecutiveErrorLimit != 4 || m.Timeout != 30*time.Second || m.Scope != analysis.Step {
		t.Errorf("defaults: %+v", m)
	}
}

func TestSettingsErrors(t *testing.T) {
	prometheus := func(change func(*v1alpha1.PrometheusProvider)) func(*v1alpha1.AnalysisMetric) {
		return func(m *v1alpha1.AnalysisMetric) { change(m.Provider.Prometheus) }
	}
	header := func(h v1alpha1.AnalysisHeader) func(*v1alpha1.AnalysisMetric) {
		return prometheus(func(p *v1alpha1.PrometheusProvider) { p.Headers = []v1alpha1.AnalysisHeader{h} })
	}
	word := intstr.FromString("many")
	for _, c := range []struct {
		want   string
		change func(*v1alpha1.AnalysisMetric)
	}{
		{".name: ", func(m *v1alpha1.AnalysisMetric) { m.Name = "" }},
		{".interval: ", func(m *v1alpha1.AnalysisMetric) { m.Interval = "often" }},
		{".interval: is empty", func(m *v1alpha1.AnalysisMetric) { m.Count = n(2) }},
		{".initialDelay: ", func(m *v1alpha1.AnalysisMetric) { m.InitialDelay = "-1s" }},
		{".count: ", func(m *v1alpha1.AnalysisMetric) { m.Count = n(0) }},
		{".count: ", func(m *v1alpha1.AnalysisMetric) { m.Count = &word }},
		{".failureLimit: ", func(m *v1alpha1.AnalysisMetric) { m.FailureLimit = n(-1) }},
		{".consecutiveErrorLimit: ", func(m *v1alpha1.AnalysisMetric) { m.ConsecutiveErrorLimit = &word }},
		{".successCondition: is not an expression", func(m *v1alpha1.AnalysisMetric) { m.SuccessCondition = "result[0] <" }},
		{".successCondition: is not a condition", func(m *v1alpha1.AnalysisMetric) { m.SuccessCondition = "unknown < 1" }},
		{".successCondition: is not a condition", func(m *v1alpha1.AnalysisMetric) { m.SuccessCondition = "1 + 1" }},
		{".failureCondition: ranges", func(m *v1alpha1.AnalysisMetric) { m.FailureCondition = "all(1..1000000, # > 0)" }},
		{".failureCondition: variables", func(m *v1alpha1.AnalysisMetric) { m.FailureCondition = "let a = result + result; let b = a + a; b > 0" }},
		{".failureCondition: a function over a list", func(m *v1alpha1.AnalysisMetric) { m.FailureCondition = "all(result, all(result, # > 0))" }},
		{".failureCondition: is not a condition", func(m *v1alpha1.AnalysisMetric) { m.FailureCondition = `repeat("x", 1000000000) == ""` }},
		{".failureCondition: has", func(m *v1alpha1.AnalysisMetric) { m.FailureCondition = strings.Repeat(" ", 5000) + "true" }},
		{".failureCondition: is not a condition", func(m *v1alpha1.AnalysisMetric) {
			m.FailureCondition = strings.Repeat("true && ", 300) + "true"
		}},
		{".provider: ", func(m *v1alpha1.AnalysisMetric) { m.Provider.Prometheus = nil }},
		{".scope: ", func(m *v1alpha1.AnalysisMetric) { m.Scope = "Fleet" }},
		{".address: ", prometheus(func(p *v1alpha1.PrometheusProvider) { p.Address = "prometheus:9090" })},
		{".address: ", prometheus(func(p *v1alpha1.PrometheusProvider) { p.Address = "http://user:secret@prometheus" })},
		{".address: ", prometheus(func(p *v1alpha1.PrometheusProvider) { p.Address = "file:///etc/passwd" })},
		{".address: ", prometheus(func(p *v1alpha1.PrometheusProvider) { p.Address = "http://prometheus/?x=1" })},
		{".timeout: ", prometheus(func(p *v1alpha1.PrometheusProvider) { p.Timeout = "0s" })},
		{".timeout: ", prometheus(func(p *v1alpha1.PrometheusProvider) { p.Timeout = "1h" })},
		{".query: is empty", prometheus(func(p *v1alpha1.PrometheusProvider) { p.Query = " " })},
		{".query: {{args.color}} is not known", prometheus(func(p *v1alpha1.PrometheusProvider) { p.Query = `up{x="{{args.color}}"}` })},
		{`.query: "{{ .Values.x }}" is not an argument`, prometheus(func(p *v1alpha1.PrometheusProvider) { p.Query = `{{ .Values.x }}` })},
		{"is known only with scope: Application", func(m *v1alpha1.AnalysisMetric) {
			m.Scope, m.Provider.Prometheus.Query = "Step", `up{cluster="{{args.cluster}}"}`
		}},
		{".headers[0].key: ", header(v1alpha1.AnalysisHeader{Key: "X\nY", Value: "1"})},
		{".headers[0].key: ", header(v1alpha1.AnalysisHeader{Key: "Host", Value: "evil"})},
		{".headers[0]: neither", header(v1alpha1.AnalysisHeader{Key: "X"})},
		{".headers[0]: value and valueFrom", header(v1alpha1.AnalysisHeader{Key: "X", Value: "1", ValueFrom: &v1alpha1.SecretRef{SecretName: "a", Key: "b"}})},
		{".headers[0].valueFrom: ", header(v1alpha1.AnalysisHeader{Key: "X", ValueFrom: &v1alpha1.SecretRef{SecretName: "a"}})},
	} {
		_, err := analysis.Parse(place, &v1alpha1.StepAnalysis{Metrics: []v1alpha1.AnalysisMetric{metric(c.change)}}, analysis.Providers{Any: true})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), place+".metrics[0]") {
			t.Errorf("%v, want %s", err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret@") {
			t.Errorf("a secret in %v", err)
		}
	}
	for want, a := range map[string]*v1alpha1.StepAnalysis{
		place + ".when: ":           {When: "Later", Metrics: []v1alpha1.AnalysisMetric{metric(nil)}},
		place + ".metrics: ":        {},
		place + ".metrics[1].name:": {Metrics: []v1alpha1.AnalysisMetric{metric(nil), metric(nil)}},
	} {
		if _, err := analysis.Parse(place, a, analysis.Providers{Any: true}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestProviders(t *testing.T) {
	for _, c := range []struct {
		providers analysis.Providers
		want      bool
	}{
		{analysis.Providers{}, false},
		{analysis.Providers{Any: true}, true},
		{analysis.Providers{Any: true, Allowed: []string{"http://other:9090"}}, false},
		{analysis.Providers{Allowed: []string{"http://prometheus.monitoring.svc:9090"}}, true},
		{analysis.Providers{Allowed: []string{"http://prometheus.monitoring.svc:9090/"}}, false},
	} {
		_, err := analysis.Parse(place, &v1alpha1.StepAnalysis{Metrics: []v1alpha1.AnalysisMetric{metric(nil)}}, c.providers)
		if (err == nil) != c.want {
			t.Errorf("%+v: %v", c.providers, err)
		}
	}
}

// TestH31CheckOfAllSteps finds the step whose address may not be asked.
func TestH31CheckOfAllSteps(t *testing.T) {
	r := &v1alpha1.RollingSync{Steps: []v1alpha1.RolloutStep{{}, {Analysis: &v1alpha1.StepAnalysis{Metrics: []v1alpha1.AnalysisMetric{metric(nil)}}}}}
	if err := analysis.Check(r, analysis.Providers{Any: true}); err != nil {
		t.Error(err)
	}
	err := analysis.Check(r, analysis.Providers{Allowed: []string{"http://other"}})
	if err == nil || !strings.HasPrefix(err.Error(), "spec.strategy.rollingSync.steps[1].analysis.metrics[0].provider.prometheus.address: ") {
		t.Errorf("%v", err)
	}
}

func TestFill(t *testing.T) {
	arguments := analysis.Subject{
		ApplicationSet: "payment", Namespace: "argocd", RolloutID: 7, Step: 2, StepName: "eu", Application: "payment-eu",
		Cluster: `eu"} or vector(0) #`, Labels: map[string]string{"team": "a.b", "example.com/tier": "gold", "nasty": "a`b", "line": "a\nb"},
	}.Arguments()
	for _, c := range []struct{ query, want, err string }{
		{`up`, `up`, ""},
		{`up{s="{{args.applicationset}}",n="{{ args.namespace }}"}`, `up{s="payment",n="argocd"}`, ""},
		{`x{id="{{args.rollout-id}}",step="{{args.step}}/{{args.step-name}}"}`, `x{id="7",step="2/eu"}`, ""},
		{`up{c="{{args.cluster}}"}`, `up{c="eu\"} or vector(0) #"}`, ""},
		{`up{c='{{args.cluster}}'}`, `up{c='eu"} or vector(0) #'}`, ""},
		{`up{c=~"{{args.labels.team}}|x"}`, `up{c=~"a\\.b|x"}`, ""},
		{`up{c !~ "{{args.labels.team}}"}`, `up{c !~ "a\\.b"}`, ""},
		{`up{c=~"x",d="{{args.labels.team}}"}`, `up{c=~"x",d="a.b"}`, ""},
		{"up{c=~`{{args.labels.team}}`}", "up{c=~`a\\.b`}", ""},
		{`up{t="{{args.labels.example.com/tier}}"}`, `up{t="gold"}`, ""},
		{`up{x="\"",c="{{args.cluster}}"}`, `up{x="\"",c="eu\"} or vector(0) #"}`, ""},
		{"up # \" a comment\n + up{c=\"{{args.labels.team}}\"}", "up # \" a comment\n + up{c=\"a.b\"}", ""},
		{`{{args.applicationset}}_errors`, `payment_errors`, ""},
		{`{{args.labels.team}}_errors`, "", "argument labels.team: its value is not a plain name"},
		{`up{c={{args.cluster}}}`, "", "argument cluster: its value is not a plain name"},
		{"up{c=`{{args.labels.nasty}}`}", "", "holds a backquote"},
		{`up{c="{{args.labels.line}}"}`, "", "control characters"},
		{`up{c="{{args.labels.none}}"}`, "", "argument labels.none: the Application has no such label"},
		{`up{c="{{args.destination-namespace}}"}`, `up{c=""}`, ""},
	} {
		m := parse(t, metric(func(m *v1alpha1.AnalysisMetric) { m.Provider.Prometheus.Query = c.query }))
		got, err := m.Query.Fill(arguments)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got != c.want || (text == "") != (c.err == "") || !strings.Contains(text, c.err) {
			t.Errorf("%s: %q, %q; want %q, %q", c.query, got, text, c.want, c.err)
		}
		if strings.Contains(text, "vector(0)") || strings.Contains(text, "a`b") {
			t.Errorf("a value in the error %q", text)
		}
	}
}

func TestScopeFollowsTheArguments(t *testing.T) {
	m := parse(t, metric(func(m *v1alpha1.AnalysisMetric) { m.Provider.Prometheus.Query = `up{c="{{args.cluster}}"}` }))
	if m.Scope != analysis.Application {
		t.Errorf("scope %s", m.Scope)
	}
	for query, want := range map[string]analysis.Scope{`up{c="{{args.cluster}}"}`: analysis.Application, `up{c="{{args.step}}"}`: analysis.Step, `{{`: analysis.Step} {
		if got := analysis.ScopeOf(metric(func(m *v1alpha1.AnalysisMetric) { m.Provider.Prometheus.Query = query })); got != want {
			t.Errorf("%s: scope %s, want %s", query, got, want)
		}
	}
	if _, err := m.Query.Fill(analysis.Subject{ApplicationSet: "x"}.Arguments()); err == nil {
		t.Error("a query for an Application was filled without one")
	}
}

func TestJudge(t *testing.T) {
	many := analysis.Sample{Values: make([]float64, analysis.MaxSamples+1)}
	list := func(v ...float64) analysis.Sample { return analysis.Sample{Values: v} }
	for _, c := range []struct {
		success, failure string
		sample           analysis.Sample
		want             analysis.Outcome
		value            string
	}{
		{"result[0] < 0.05", "", list(0.01), analysis.Successful, "[0.01]"},
		{"result[0] < 0.05", "", list(0.05), analysis.Failed, "[0.05]"},
		{"", "result[0] >= 0.05", list(0.01), analysis.Successful, "[0.01]"},
		{"", "result[0] >= 0.05", list(0.5), analysis.Failed, "[0.5]"},
		{"result[0] < 1", "result[0] > 5", list(0), analysis.Successful, "[0]"},
		{"result[0] < 1", "result[0] > 5", list(3), analysis.Inconclusive, "[3]"},
		{"result[0] < 1", "result[0] > 5", list(6), analysis.Failed, "[6]"},
		{"result[0] < 9", "result[0] > 5", list(6), analysis.Failed, "[6]"},
		{"", "", list(1), analysis.Successful, "[1]"},
		{"result[0] < 0.05", "", list(), analysis.Inconclusive, "[]"},
		{"result[1] < 0.05", "", list(1), analysis.Error, "[1]"},
		{"all(result, # < 5)", "", list(1, 2, 3), analysis.Successful, "[1 2 3]"},
		{"all(result, {# < 5})", "", list(1, 2, 7), analysis.Failed, "[1 2 7]"},
		{"len(result) > 1 && sum(result) < 10", "", list(1, 2), analysis.Successful, "[1 2]"},
		{"max(result) < 5", "", list(1, 9), analysis.Failed, "[1 9]"},
		{"result < 0.05", "", analysis.Sample{Values: []float64{0.01}, Scalar: true}, analysis.Successful, "0.01"},
		{"result < 0.05", "", list(0.01), analysis.Error, "[0.01]"},
		{"!isNaN(result[0]) && result[0] < 1", "", list(math.NaN()), analysis.Failed, "[NaN]"},
		{"isInf(result[0])", "", list(math.Inf(1)), analysis.Successful, "[+Inf]"},
		{"asFloat(\"0.5\") > result[0]", "", list(0.2), analysis.Successful, "[0.2]"},
		{"asInt(result[0]) == 2", "", list(2.9), analysis.Successful, "[2.9]"},
		{"default(result[0], 3) == 2", "", list(2), analysis.Successful, "[2]"},
		{"isNil(nil) && !isNil(result[0]) && default(nil, 3) == 3", "", list(2), analysis.Successful, "[2]"},
		{"asInt(2) == 2 && asFloat(2) == 2.0", "", list(2), analysis.Successful, "[2]"},
		{"asFloat(result) > 1", "", list(2), analysis.Error, "[2]"},
		{"asFloat(\"x\") > 1", "", list(2), analysis.Error, "[2]"},
		{"result", "", list(2), analysis.Error, "[2]"},
		{"true", "", many, analysis.Error, "[0 0 0 0 0 0 0 0 0 0 and 991 more]"},
	} {
		m := parse(t, metric(func(m *v1alpha1.AnalysisMetric) { m.SuccessCondition, m.FailureCondition = c.success, c.failure }))
		got := m.Judge(c.sample)
		if got.Outcome != c.want || got.Value != c.value || (got.Message == "") != (got.Outcome == analysis.Successful) {
			t.Errorf("%q / %q on %s: %+v, want %s", c.success, c.failure, c.sample, got, c.want)
		}
	}
}

func TestMessagesAreShort(t *testing.T) {
	m := parse(t, metric(func(m *v1alpha1.AnalysisMetric) {
		m.SuccessCondition = "result[0] <\n  0 && " + strings.Repeat("true && ", 90) + "true"
	}))
	got := m.Judge(analysis.Sample{Values: []float64{1}})
	if len(got.Message) > 300 || strings.Contains(got.Message, "\n") || !strings.Contains(got.Message, "result[0] < 0 && true") {
		t.Errorf("message %q", got.Message)
	}
}

func FuzzFill(f *testing.F) {
	f.Add(`up{c="{{args.step-name}}"}`, `a"b\`)
	f.Add("up{c=~'{{args.step-name}}'}", "a.*'")
	f.Fuzz(func(t *testing.T, query, value string) {
		m := metric(func(m *v1alpha1.AnalysisMetric) { m.Provider.Prometheus.Query = query })
		parsed, err := analysis.Parse(place, &v1alpha1.StepAnalysis{Metrics: []v1alpha1.AnalysisMetric{m}}, analysis.Providers{Any: true})
		if err != nil {
			return
		}
		_, _ = parsed[0].Query.Fill(map[string]string{"step-name": value})
	})
}
