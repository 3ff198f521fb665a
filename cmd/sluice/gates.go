package main

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/measure"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/controller/advance"
	"github.com/sluice-cd/sluice/internal/controller/gate"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/domain/analysis"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
	"github.com/sluice-cd/sluice/internal/domain/window"
)

// Flags of rollouts that a variable or argocd-cmd-params-cm may set too.
const (
	gateFlag   = "enable-progressive-syncs"
	safetyFlag = "applicationset-controller-requeue-after"
)

// gateParams are the keys of argocd-cmd-params-cm that speak where neither a
// flag nor its variable is given (spec/applicationset.md §12).
var gateParams = map[string]string{
	gateFlag: "applicationsetcontroller.enable.progressive.syncs", safetyFlag: "applicationsetcontroller.rollout.requeue.after",
}

// gateFromParams reads them, once: a change of them needs a restart.
func (f *allFlags) gateFromParams(ctx context.Context, hub client.Reader) error {
	params, err := paramsAt(ctx, hub, f.namespace)
	if err != nil {
		return err
	}
	value := func(flag string) string {
		if f.sets.given != nil && f.sets.given(flag) {
			return ""
		}
		return params[gateParams[flag]]
	}
	if v := value(gateFlag); v != "" {
		if f.progressive, err = strconv.ParseBool(v); err != nil {
			return fmt.Errorf("ConfigMap/%s: %s=%q: write true or false", settings.ParamsName, gateParams[gateFlag], v)
		}
	}
	if v := value(safetyFlag); v != "" {
		if f.safety, err = time.ParseDuration(v); err != nil {
			return fmt.Errorf("ConfigMap/%s: %s=%q: write a duration such as 10s, or 0", settings.ParamsName, gateParams[safetyFlag], v)
		}
	}
	return f.validate()
}

// providers are the servers that analyses may ask. Without a list all may be
// asked, unless other namespaces than our own hold ApplicationSets: whoever
// may write there must not make this process ask what only it can reach.
func (f *allFlags) providers() analysis.Providers {
	return analysis.Providers{Allowed: f.analysisProviders, Any: len(f.sets.rules.Namespaces) == 0}
}

// rolloutParts are what the advancing loop is made of.
type rolloutParts struct {
	mgr       manager.Manager
	store     *settings.Store
	manifests manifest.Renderer
	log       *slog.Logger
	registry  prometheus.Registerer
	clock     clock.Clock
}

// rollouts makes the loop that advances ApplicationSets; the facts are what it
// decides by.
func (f *allFlags) rollouts(ctx context.Context, p rolloutParts) (*advance.Controller, advance.Facts, error) {
	meter := measure.New(measure.Options{
		Providers: f.providers(),
		Log:       p.log.With("component", "measure"), Clock: p.clock, Registerer: p.registry,
	})
	asked := newGates(p.mgr.GetCache(), p.store, meter, f.strictTokens)
	options := advance.Options{
		Facts: advance.Facts{
			Gate: f.progressive, Clock: p.clock,
			Resolve: func(ctx context.Context, project string, src v1alpha1.ApplicationSource) (string, error) {
				return p.manifests.Resolve(ctx, project, src, false)
			},
		},
		Client: p.mgr.GetClient(), Cache: p.mgr.GetCache(), Safety: f.safety,
		Subscribe: p.manifests.Subscribe,
		Recorder:  p.mgr.GetEventRecorderFor("applicationset-controller"), Log: p.log.With("component", "rollout"), //nolint:staticcheck // core v1 events are what users read
		Registerer: p.registry,
	}
	asked.attach(ctx, &options)
	steps := advance.New(options)
	var err error
	inherited := func(project *v1alpha1.AppProject, find func(string) *v1alpha1.AppProject) *v1alpha1.AppProject {
		return p.store.Snapshot().Effective(project, find)
	}
	p.store.OnChange(func(*settings.Snapshot) { steps.LookAgain() })
	asked.projects, err = gate.Follow(ctx, p.mgr.GetCache(), f.namespace, inherited, steps.LookAgain)
	return steps, options.Facts, err
}

// gates answers what rollouts ask of windows, projects and metric servers.
type gates struct {
	cache     cache.Cache
	store     *settings.Store
	providers analysis.Providers
	projects  *gate.Projects
	metrics   *gate.Gate
}

func newGates(c cache.Cache, store *settings.Store, client *measure.Client, strict bool) *gates {
	g := &gates{cache: c, store: store, providers: client.Providers}
	g.metrics = gate.New(gate.Options{
		Measure: client.Measure, Secret: g.secret, Providers: g.providers, Strict: strict,
		ClusterName: func(d v1alpha1.ApplicationDestination) (string, error) {
			found, err := store.Snapshot().Clusters.Resolve(d.Server, d.Name)
			return found.Name, err
		},
	})
	return g
}

func (g *gates) secret(ctx context.Context, namespace, name string) (gate.Secret, error) {
	var s corev1.Secret
	if err := g.cache.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &s); err != nil {
		return gate.Secret{}, fmt.Errorf("secret %s: %w", name, err)
	}
	return gate.Secret{Labels: s.Labels, Data: s.Data}, nil
}

// attach gives the advancing loop its answers; measurements end with ctx.
func (g *gates) attach(ctx context.Context, o *advance.Options) {
	o.Windows = func(set *v1alpha1.ApplicationSet, now time.Time) ([]rollout.Closure, error) {
		states, err := window.Steps(set.Spec.Strategy.RollingSync, now)
		out := make([]rollout.Closure, len(states))
		for i, s := range states {
			out[i] = rollout.Closure{Closed: s.Closed, Until: s.Until}
		}
		return out, err
	}
	o.SyncWindow = func(app *v1alpha1.Application, now time.Time) rollout.Closure {
		v := g.projects.SyncWindow(app, now)
		return rollout.Closure{Closed: !v.Allowed, Until: v.Until}
	}
	o.Allowed = func(set *v1alpha1.ApplicationSet) error {
		return analysis.Check(set.Spec.Strategy.RollingSync, g.providers)
	}
	o.Measure = func(set *v1alpha1.ApplicationSet, m rollout.Measurement, answer func(rollout.Measured)) {
		due := gate.Due{Set: set, Rollout: m.Rollout, Step: m.Step, StepName: m.StepName, Metric: m.Metric}
		if m.Application != "" {
			app := &v1alpha1.Application{}
			if err := g.cache.Get(ctx, client.ObjectKey{Namespace: set.Namespace, Name: m.Application}, app); err != nil {
				answer(rollout.Measured{Measurement: m, Outcome: rollout.OutcomeError, Message: err.Error()})
				return
			}
			due.Application = app
		}
		g.metrics.Start(ctx, due, func(a analysis.Measurement) {
			answer(rollout.Measured{Measurement: m, Outcome: rollout.Outcome(a.Outcome), Value: a.Value, Message: a.Message})
		})
	}
}
