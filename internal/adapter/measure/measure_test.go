package measure_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/measure"
	"github.com/sluice-cd/sluice/internal/domain/analysis"
)

// newClient makes a client whose log is looked through for secrets at the end.
func newClient(t *testing.T, providers analysis.Providers) *measure.Client {
	t.Helper()
	var log bytes.Buffer
	t.Cleanup(func() {
		if strings.Contains(log.String(), password) {
			t.Errorf("the password is in the log: %s", log.String())
		}
	})
	return measure.New(measure.Options{
		Providers: providers, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), Clock: clock.RealClock{}, Registerer: prometheus.NewRegistry(),
	})
}

func metric(t *testing.T, address, query string, change func(*v1alpha1.AnalysisMetric)) analysis.Metric {
	t.Helper()
	m := v1alpha1.AnalysisMetric{Name: "errors", Provider: v1alpha1.AnalysisProvider{Prometheus: &v1alpha1.PrometheusProvider{Address: address, Query: query}}}
	if change != nil {
		change(&m)
	}
	out, err := analysis.Parse("analysis", &v1alpha1.StepAnalysis{Metrics: []v1alpha1.AnalysisMetric{m}}, analysis.Providers{Any: true})
	if err != nil {
		t.Fatal(err)
	}
	return out[0]
}

func conditions(success, failure string) func(*v1alpha1.AnalysisMetric) {
	return func(m *v1alpha1.AnalysisMetric) { m.SuccessCondition, m.FailureCondition = success, failure }
}

func check(t *testing.T, name string, got analysis.Measurement, outcome analysis.Outcome, value, words string) {
	t.Helper()
	if got.Outcome != outcome || got.Value != value || !strings.Contains(got.Message, words) || (words == "") != (got.Message == "") {
		t.Errorf("%s: %+v, want %s %q %q", name, got, outcome, value, words)
	}
	if strings.Contains(got.Message, password) || strings.Contains(got.Message, base64.StdEncoding.EncodeToString([]byte("sluice:"+password))) {
		t.Errorf("%s: the password is in %q", name, got.Message)
	}
}

// TestPrometheus measures at a real server.
func TestPrometheus(t *testing.T) {
	s := startPrometheus(t, options{})
	c := newClient(t, analysis.Providers{Allowed: []string{s.address}})
	subject := func(cluster string) analysis.Subject {
		return analysis.Subject{ApplicationSet: "payment", Namespace: "argocd", RolloutID: 3, Step: 1, Application: "payment-" + cluster, Cluster: cluster}
	}
	below := conditions("result[0] < 0.05", "")
	for _, x := range []struct {
		name, query string
		change      func(*v1alpha1.AnalysisMetric)
		cluster     string
		outcome     analysis.Outcome
		value       string
		words       string
	}{
		{"a healthy cluster", `errors_ratio{cluster="{{args.cluster}}"}`, below, "eu", analysis.Successful, "[0.01]", ""},
		{"a failing cluster", `errors_ratio{cluster="{{args.cluster}}"}`, below, "us", analysis.Failed, "[0.5]", `[0.5] does not meet successCondition`},
		{"between two conditions", `errors_ratio{cluster="us"}`, conditions("result[0] < 0.05", "result[0] > 0.9"), "", analysis.Inconclusive, "[0.5]", "neither"},
		{"nothing", `errors_ratio{cluster="mars"}`, below, "", analysis.Inconclusive, "[]", "returned nothing"},
		{"an argument that would break out", `errors_ratio{cluster="{{args.cluster}}"}`, below, `x"} or errors_ratio{cluster="eu`, analysis.Inconclusive, "[]", "returned nothing"},
		{"an argument that would match all", `errors_ratio{cluster=~"{{args.cluster}}"}`, below, `.*`, analysis.Inconclusive, "[]", "returned nothing"},
		{"a list", `sort(errors_ratio)`, conditions("all(result, # < 0.6) && len(result) == 2", ""), "", analysis.Successful, "[0.01 0.5]", ""},
		{"a number", `scalar(sum(errors_ratio))`, conditions("result > 0.5", ""), "", analysis.Successful, "0.51", ""},
		{"not a number", `sum(errors_ratio) * NaN`, conditions("isNaN(result[0])", ""), "", analysis.Successful, "[NaN]", ""},
		{"a range", `errors_ratio[1m]`, below, "", analysis.Error, "", "returns a matrix"},
		{"a query that is none", `sum(`, below, "", analysis.Error, "", "bad_data: "},
		{"a condition that does not fit", `errors_ratio{cluster="eu"}`, conditions("result[3] < 1", ""), "", analysis.Error, "[0.01]", "result[3]"},
	} {
		check(t, x.name, c.Measure(t.Context(), measure.Request{Metric: metric(t, s.address, x.query, x.change), Subject: subject(x.cluster)}), x.outcome, x.value, x.words)
	}
	other := newClient(t, analysis.Providers{Allowed: []string{"http://elsewhere:9090"}})
	check(t, "an address that is not allowed", other.Measure(t.Context(), measure.Request{Metric: metric(t, s.address, "up", nil)}), analysis.Error, "", "--allowed-analysis-providers")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	check(t, "a call that is over", c.Measure(ctx, measure.Request{Metric: metric(t, s.address, "up", nil)}), analysis.Error, "", "canceled")
}

// TestProtectedPrometheus measures at a real server behind TLS and a password.
func TestProtectedPrometheus(t *testing.T) {
	s := startPrometheus(t, options{protected: true})
	c := newClient(t, analysis.Providers{Any: true})
	with := func(insecure bool) analysis.Metric {
		return metric(t, s.address, `errors_ratio{cluster="eu"}`, func(m *v1alpha1.AnalysisMetric) {
			m.SuccessCondition, m.Provider.Prometheus.Insecure = "result[0] < 0.05", insecure
			m.Provider.Prometheus.Headers = []v1alpha1.AnalysisHeader{{Key: "Authorization", ValueFrom: &v1alpha1.SecretRef{SecretName: "prometheus", Key: "header"}}}
		})
	}
	good := map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte("sluice:"+password)) + "\n"}
	bad := map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte("sluice:"+password+"x"))}
	check(t, "with the password", c.Measure(t.Context(), measure.Request{Metric: with(true), Secrets: good}), analysis.Successful, "[0.01]", "")
	check(t, "with another password", c.Measure(t.Context(), measure.Request{Metric: with(true), Secrets: bad}), analysis.Error, "", "client error: 401")
	check(t, "without the Secret", c.Measure(t.Context(), measure.Request{Metric: with(true)}), analysis.Error, "", "header Authorization: Secret prometheus has no key header")
	check(t, "with an unknown certificate", c.Measure(t.Context(), measure.Request{Metric: with(false), Secrets: good}), analysis.Error, "", "certificate")
	split := map[string]string{"Authorization": "Basic x\r\nX-Evil: " + password}
	check(t, "with a header that would split", c.Measure(t.Context(), measure.Request{Metric: with(true), Secrets: split}), analysis.Error, "", "line break")
}

// TestHostileServers meets servers that a real Prometheus never is.
func TestHostileServers(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a redirect was followed, with header %q", r.Header.Get("X-Token"))
	}))
	defer elsewhere.Close()
	vector := func(n int) string {
		one := `{"metric":{},"value":[1,"1"]},`
		return `{"status":"success","data":{"resultType":"vector","result":[` + strings.TrimSuffix(strings.Repeat(one, n), ",") + `]}}`
	}
	drained := func(next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm() // only then does the server notice that the client left
			next(w, r)
		}
	}
	for _, x := range []struct {
		name    string
		handler http.HandlerFunc
		words   string
	}{
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte("x"), 1<<16)); err != nil {
					return
				}
			}
		}, "larger than 4 MiB"},
		{"silent", func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		}, "no answer within the timeout"},
		{"redirecting", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, "redirect"},
		{"echoing", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusUnprocessableEntity)
			_, _ = fmt.Fprintf(w, `{"status":"error","errorType":"execution","error":"you said %s %s"}`, r.Header.Get("X-Token"), strings.Repeat("y", 1000))
		}, "execution: you said ***"},
		{"echoing in the body", func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "no: "+r.Header.Get("X-Token"), http.StatusForbidden)
		}, "client error: 403"},
		{"not speaking JSON", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, "bad_response"},
		{"too many samples", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(vector(1001))) }, "1001 samples"},
		{"a histogram", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"1","sum":"1","buckets":[]}]}]}}`))
		}, "histogram"},
		{"a text", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"string","result":[1,"x"]}}`))
		}, "string"},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := httptest.NewServer(drained(x.handler))
			defer s.Close()
			defer s.CloseClientConnections()
			m := metric(t, s.URL, "up", func(m *v1alpha1.AnalysisMetric) {
				m.Provider.Prometheus.Headers = []v1alpha1.AnalysisHeader{{Key: "X-Token", ValueFrom: &v1alpha1.SecretRef{SecretName: "a", Key: "b"}}}
				if x.name == "silent" {
					m.Provider.Prometheus.Timeout = "100ms"
				}
			})
			got := newClient(t, analysis.Providers{Any: true}).Measure(t.Context(), measure.Request{Metric: m, Secrets: map[string]string{"X-Token": password}})
			if got.Outcome != analysis.Error || !strings.Contains(got.Message, x.words) || strings.Contains(got.Message, password) || len(got.Message) > 500 {
				t.Errorf("%+v, want %q", got, x.words)
			}
		})
	}
}

func TestServerThatIsGone(t *testing.T) {
	m := metric(t, fmt.Sprintf("http://127.0.0.1:%d", freePort(t)), "up", func(m *v1alpha1.AnalysisMetric) { m.Provider.Prometheus.Timeout = "5s" })
	c := newClient(t, analysis.Providers{Any: true})
	got := c.Measure(t.Context(), measure.Request{Metric: m})
	if got.Outcome != analysis.Error || !strings.Contains(got.Message, "connection refused") {
		t.Errorf("%+v, want an error that says why", got)
	}
}
