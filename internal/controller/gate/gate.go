// Package gate carries out the measurements that a rollout asks for: it reads
// the Secrets of their headers, names what they are about, and answers once,
// whatever happens. It keeps nothing: what has been counted is the rollout's.
package gate

import (
	"context"
	"fmt"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/measure"
	"github.com/sluice-cd/sluice/internal/domain/analysis"
)

// credentials is the value of the label secret-type that a Secret needs in
// strict mode.
const credentials = "scm-creds"

// atOnce bounds the measurements that run at a time.
const atOnce = 16

// Secret is what a header may come from.
type Secret struct {
	Labels map[string]string
	Data   map[string][]byte
}

// Options of a Gate.
type Options struct {
	// Measure makes one measurement.
	Measure func(context.Context, measure.Request) analysis.Measurement
	// Secret reads a Secret of a namespace.
	Secret func(ctx context.Context, namespace, name string) (Secret, error)
	// ClusterName is the name of the cluster of a destination.
	ClusterName func(v1alpha1.ApplicationDestination) (string, error)
	Providers   analysis.Providers
	// Strict is --token-ref-strict-mode: only Secrets that carry the label
	// secret-type: scm-creds may be used.
	Strict bool
}

// Gate measures. It may be used by several goroutines.
type Gate struct {
	Options
	slots chan struct{}
}

// New makes a gate.
func New(o Options) *Gate { return &Gate{Options: o, slots: make(chan struct{}, atOnce)} }

// Due is a measurement that is to be made now.
type Due struct {
	Set      *v1alpha1.ApplicationSet
	Rollout  int64
	Step     int
	StepName string
	Metric   v1alpha1.AnalysisMetric
	// Application is nil for a metric of scope Step.
	Application *v1alpha1.Application
}

// Start makes the measurement in the background and calls answer once, unless
// ctx ends before there is room: then nobody waits for it any more.
func (g *Gate) Start(ctx context.Context, due Due, answer func(analysis.Measurement)) {
	go func() {
		select {
		case g.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		defer func() { <-g.slots }()
		if ctx.Err() != nil {
			return
		}
		answer(g.measure(ctx, due))
	}()
}

// measure makes the measurement; no panic leaves it.
func (g *Gate) measure(ctx context.Context, due Due) (m analysis.Measurement) {
	failed := func(err error) analysis.Measurement {
		return analysis.Measurement{Outcome: analysis.Error, Message: err.Error()}
	}
	defer func() {
		if p := recover(); p != nil {
			m = failed(fmt.Errorf("metric %s failed unexpectedly: %v", due.Metric.Name, p))
		}
	}()
	metric, err := analysis.ParseMetric("metric "+due.Metric.Name, due.Metric, g.Providers)
	if err != nil {
		return failed(err)
	}
	request := measure.Request{Metric: metric, Subject: analysis.Subject{
		ApplicationSet: due.Set.Name, Namespace: due.Set.Namespace, RolloutID: due.Rollout, Step: due.Step, StepName: due.StepName,
	}}
	if app := due.Application; app != nil {
		s := &request.Subject
		s.Application, s.DestinationNamespace, s.Labels = app.Name, app.Spec.Destination.Namespace, app.Labels
		if s.Cluster, err = g.ClusterName(app.Spec.Destination); err != nil {
			return failed(err)
		}
	}
	if request.Secrets, err = g.secrets(ctx, due.Set.Namespace, metric); err != nil {
		return failed(err)
	}
	return g.Measure(ctx, request)
}

// secrets reads what the headers of a metric need. Errors name Secret and key,
// never a value.
func (g *Gate) secrets(ctx context.Context, namespace string, metric analysis.Metric) (map[string]string, error) {
	out := map[string]string{}
	for _, h := range metric.Headers {
		if h.ValueFrom == nil {
			continue
		}
		secret, err := g.Secret(ctx, namespace, h.ValueFrom.SecretName)
		if err != nil {
			return nil, fmt.Errorf("header %s: Secret %s of namespace %s cannot be read", h.Key, h.ValueFrom.SecretName, namespace)
		}
		if g.Strict && secret.Labels[v1alpha1.LabelSecretType] != credentials {
			return nil, fmt.Errorf("header %s: Secret %s does not carry label %s=%s, which strict mode asks for", h.Key, h.ValueFrom.SecretName, v1alpha1.LabelSecretType, credentials)
		}
		value, ok := secret.Data[h.ValueFrom.Key]
		if !ok {
			return nil, fmt.Errorf("header %s: Secret %s has no key %s", h.Key, h.ValueFrom.SecretName, h.ValueFrom.Key)
		}
		out[h.Key] = string(value)
	}
	return out, nil
}
