package gate_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/measure"
	"github.com/sluice-cd/sluice/internal/controller/gate"
	"github.com/sluice-cd/sluice/internal/domain/analysis"
)

const password = "s3cret-header"

// options answer "Successful" with the query and header that arrived.
func options(change func(*gate.Options)) gate.Options {
	o := gate.Options{
		Measure: func(_ context.Context, r measure.Request) analysis.Measurement {
			query, err := r.Metric.Query.Fill(r.Subject.Arguments())
			if err != nil {
				return analysis.Measurement{Outcome: analysis.Error, Message: err.Error()}
			}
			return analysis.Measurement{Outcome: analysis.Successful, Value: query + " " + r.Secrets["X-Token"]}
		},
		Secret: func(_ context.Context, namespace, name string) (gate.Secret, error) {
			if namespace != "argocd" || name == "lost" {
				return gate.Secret{}, errors.New("not found, and " + password)
			}
			return gate.Secret{Labels: map[string]string{v1alpha1.LabelSecretType: map[bool]string{true: "scm-creds"}[name == "labelled"]}, Data: map[string][]byte{"token": []byte(password)}}, nil
		},
		ClusterName: func(d v1alpha1.ApplicationDestination) (string, error) {
			if d.Server == "" {
				return "", errors.New("no cluster")
			}
			return "eu", nil
		},
		Providers: analysis.Providers{Any: true},
	}
	if change != nil {
		change(&o)
	}
	return o
}

func due(query, secret, key string, app *v1alpha1.Application) gate.Due {
	set := &v1alpha1.ApplicationSet{}
	set.Name, set.Namespace = "payment", "argocd"
	p := &v1alpha1.PrometheusProvider{Address: "http://prometheus", Query: query}
	if secret != "" {
		p.Headers = []v1alpha1.AnalysisHeader{{Key: "X-Token", ValueFrom: &v1alpha1.SecretRef{SecretName: secret, Key: key}}}
	}
	return gate.Due{Set: set, Rollout: 7, Step: 2, StepName: "eu", Application: app, Metric: v1alpha1.AnalysisMetric{Name: "m", Provider: v1alpha1.AnalysisProvider{Prometheus: p}}}
}

func run(t *testing.T, o gate.Options, d gate.Due) analysis.Measurement {
	t.Helper()
	answer := make(chan analysis.Measurement, 2)
	gate.New(o).Start(t.Context(), d, func(m analysis.Measurement) { answer <- m })
	return <-answer
}

func TestGate(t *testing.T) {
	app := &v1alpha1.Application{}
	app.Name, app.Labels = "payment-eu", map[string]string{"team": "a"}
	app.Spec.Destination = v1alpha1.ApplicationDestination{Server: "https://eu", Namespace: "pay"}
	homeless := app.DeepCopy()
	homeless.Spec.Destination.Server = ""
	for _, c := range []struct {
		name   string
		change func(*gate.Options)
		due    gate.Due
		value  string
		words  string
	}{
		{"for a step", nil, due(`up{r="{{args.rollout-id}}",s="{{args.step-name}}"}`, "", "", nil), `up{r="7",s="eu"} `, ""},
		{"for an Application", nil, due(`up{c="{{args.cluster}}",n="{{args.destination-namespace}}",t="{{args.labels.team}}"}`, "", "", app), `up{c="eu",n="pay",t="a"} `, ""},
		{"with a header", nil, due(`up`, "any", "token", nil), "up " + password, ""},
		{"strict, labelled", func(o *gate.Options) { o.Strict = true }, due(`up`, "labelled", "token", nil), "up " + password, ""},
		{"strict, not labelled", func(o *gate.Options) { o.Strict = true }, due(`up`, "any", "token", nil), "", "does not carry label argocd.argoproj.io/secret-type=scm-creds"},
		{"a Secret that is not there", nil, due(`up`, "lost", "token", nil), "", "Secret lost of namespace argocd cannot be read"},
		{"a key that is not there", nil, due(`up`, "any", "other", nil), "", "Secret any has no key other"},
		{"a cluster that is not there", nil, due(`up{c="{{args.cluster}}"}`, "", "", homeless), "", "no cluster"},
		{"an address that may not be asked", func(o *gate.Options) { o.Providers = analysis.Providers{} }, due(`up`, "", "", nil), "", "--allowed-analysis-providers"},
		{"a measurement that panics", func(o *gate.Options) {
			o.Measure = func(context.Context, measure.Request) analysis.Measurement { panic("boom") }
		}, due(`up`, "", "", nil), "", "failed unexpectedly"},
	} {
		got := run(t, options(c.change), c.due)
		want := analysis.Successful
		if c.words != "" {
			want = analysis.Error
		}
		if got.Outcome != want || got.Value != c.value || !strings.Contains(got.Message, c.words) || strings.Contains(got.Message, password) {
			t.Errorf("%s: %+v, want %q, %q", c.name, got, c.value, c.words)
		}
	}
}

// TestAtOnce: no more than sixteen run at a time, and nobody waits for those
// that come too late.
func TestAtOnce(t *testing.T) {
	var running, most atomic.Int32
	release := make(chan struct{})
	started := make(chan struct{}, 100)
	g := gate.New(options(func(o *gate.Options) {
		o.Measure = func(context.Context, measure.Request) analysis.Measurement {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			started <- struct{}{}
			<-release
			running.Add(-1)
			return analysis.Measurement{Outcome: analysis.Successful}
		}
	}))
	answers := make(chan analysis.Measurement, 100)
	for range 40 {
		g.Start(t.Context(), due("up", "", "", nil), func(m analysis.Measurement) { answers <- m })
	}
	for range 16 {
		<-started
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	g.Start(over, due("up", "", "", nil), func(analysis.Measurement) { t.Error("an answer for a call that is over") })
	close(release)
	for range 40 {
		<-answers
	}
	if most.Load() > 16 {
		t.Errorf("%d at once", most.Load())
	}
}
