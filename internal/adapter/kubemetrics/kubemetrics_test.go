package kubemetrics

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clientmetrics "k8s.io/client-go/tools/metrics"
)

// before counts what reaches the measurement that was there already.
type before struct{ n int }

func (b *before) Increment(context.Context, string, string, string) { b.n++ }

// TestInstall: a request of a real client is measured under the known names and
// by the measurement that was there before; no name is taken twice.
func TestInstall(t *testing.T) {
	first, registry := &before{}, prometheus.NewRegistry()
	clientmetrics.RequestResult = first
	if err := Install(registry); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"x"}}`))
	}))
	defer server.Close()
	clients, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := clients.CoreV1().Namespaces().Get(t.Context(), "x", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(server.URL, "http://")
	want := `# HELP argocd_kubectl_requests_total Requests by answer.
# TYPE argocd_kubectl_requests_total counter
argocd_kubectl_requests_total{code="200",host="` + host + `",method="GET"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "argocd_kubectl_requests_total"); err != nil || first.n != 1 {
		t.Errorf("%v, %d reached the measurement before", err, first.n)
	}
	clientmetrics.RateLimiterLatency.Observe(t.Context(), "GET", url.URL{Host: host}, time.Second)
	clientmetrics.ResolverLatency.Observe(t.Context(), host, time.Second)
	clientmetrics.RequestRetry.IncrementRetry(t.Context(), "429", "GET", host)
	clientmetrics.ExecPluginCalls.Increment(1, "plugin_execution_error")
	clientmetrics.ClientCertRotationAge.Observe(time.Hour)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		if len(f.GetMetric()) > 0 {
			names = append(names, strings.TrimPrefix(f.GetName(), prefix))
		}
	}
	for _, name := range []string{
		"client_cert_rotation_age_seconds", "dns_resolution_duration_seconds", "exec_plugin_call_total", "rate_limiter_duration_seconds", "request_duration_seconds",
		"request_retries_total", "request_size_bytes", "requests_total", "response_size_bytes", "transport_cache_entries", "transport_create_calls_total",
	} {
		if !slices.Contains(names, name) {
			t.Errorf("%s is not published, only %v", name, names)
		}
	}
	if Install(registry) == nil {
		t.Error("names are taken twice")
	}
}
