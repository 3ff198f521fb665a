package main

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/measure"
	"github.com/sluice-cd/sluice/internal/adapter/scm"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/controller/advance"
	"github.com/sluice-cd/sluice/internal/controller/generate"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

// TestMetricsOfSetsHaveNamesOfTheirOwn: what runs in one process can register.
func TestMetricsOfSetsHaveNamesOfTheirOwn(t *testing.T) {
	r := prometheus.NewRegistry()
	advance.New(advance.Options{Registerer: r, Facts: advance.Facts{Gate: true}})
	generate.New(generate.Options{Registerer: r, Labels: []string{"team", "a.b/c"}})
	scm.New(scm.Options{Registerer: r, GitHubMetrics: true, Clock: clock.RealClock{}, Log: slog.New(slog.DiscardHandler)})
	measure.New(measure.Options{Registerer: r})
	if _, err := r.Gather(); err != nil {
		t.Error(err)
	}
}

// setsOf is what a command line, an environment and a config map give.
func setsOf(t *testing.T, arguments []string, environment, params map[string]string) (*setFlags, error) {
	t.Helper()
	f := &allFlags{}
	c := f.command("x", "", nil)
	if err := c.ParseFlags(arguments); err != nil {
		t.Fatal(err)
	}
	if err := f.sets.complete(c.Flags(), func(name string) (string, bool) { v, ok := environment[name]; return v, ok }); err != nil {
		return nil, err
	}
	hub := fake.NewClientBuilder().WithObjects(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "argocd", Name: settings.ParamsName}, Data: params}).Build()
	return &f.sets, f.sets.fromParams(t.Context(), hub, "argocd")
}

// TestSetFlags: flags win over variables, these over argocd-cmd-params-cm.
func TestSetFlags(t *testing.T) {
	const prefix = "ARGOCD_APPLICATIONSET_CONTROLLER_"
	f, err := setsOf(t, []string{"--policy=create-only", "--enable-policy-override", "--allowed-scm-providers=https://a,https://b"},
		map[string]string{prefix + "POLICY": "sync", prefix + "DRY_RUN": "true", prefix + "REQUEUE_AFTER": "1m", prefix + "NAMESPACES": "team-*,argocd", prefix + "ENABLE_SCM_PROVIDERS": "false"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := f.rules
	if r.Policy != "create-only" || r.PolicyOverride == nil || !*r.PolicyOverride || !r.DryRun || r.Interval != time.Minute || !slices.Equal(r.Namespaces, []string{"team-*"}) ||
		r.SCMProviders == nil || *r.SCMProviders || !slices.Equal(r.AllowedSCM, []string{"https://a", "https://b"}) {
		t.Errorf("%+v", r)
	}
	f, err = setsOf(t, nil, nil, map[string]string{"applicationsetcontroller.namespaces": "argocd, team-a", "applicationsetcontroller.allowed.scm.providers": "https://a", "applicationsetcontroller.enable.github.api.metrics": "true"})
	if err != nil || !slices.Equal(f.rules.Namespaces, []string{"team-a"}) || !f.githubMetrics || f.rules.PolicyOverride != nil {
		t.Errorf("%v, %+v", err, f)
	}
	for want, c := range map[string]struct {
		arguments           []string
		environment, params map[string]string
	}{
		"--policy=never":              {[]string{"--policy=never"}, nil, nil},
		prefix + "DRY_RUN":            {nil, map[string]string{prefix + "DRY_RUN": "maybe"}, nil},
		prefix + "REQUEUE_AFTER=soon": {nil, map[string]string{prefix + "REQUEUE_AFTER": "soon"}, nil},
		"not from 1s":                 {nil, map[string]string{prefix + "REQUEUE_AFTER": "1ms"}, nil},
		"--applicationset-namespaces": {nil, nil, map[string]string{"applicationsetcontroller.namespaces": "team-a"}},
		"want 1 to 200":               {[]string{"--concurrent-application-updates=1000"}, nil, nil},
	} {
		if _, err := setsOf(t, c.arguments, c.environment, c.params); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestWhatOfTheHubIsWatched: Secrets and projects of the control plane alone,
// sets and Applications of all namespaces that are asked for.
func TestWhatOfTheHubIsWatched(t *testing.T) {
	watched := func(namespaces ...string) map[string]cache.Config {
		f := &setFlags{}
		f.rules.Namespaces = namespaces
		o := f.hubCache("argocd", policy.Namespaces{})
		if len(o.DefaultNamespaces) != 1 {
			t.Errorf("watches everything of %v", o.DefaultNamespaces)
		}
		for object, by := range o.ByObject {
			if _, ok := object.(*v1alpha1.Application); ok {
				return by.Namespaces
			}
		}
		return nil
	}
	if got := watched(); got != nil {
		t.Errorf("%v", got)
	}
	if got := watched("a", "b"); len(got) != 3 {
		t.Errorf("%v", got)
	}
	if _, all := watched("a", "team-*")[cache.AllNamespaces]; !all {
		t.Error("a pattern does not watch all namespaces")
	}
	if _, all := watched("{a,b}")[cache.AllNamespaces]; !all {
		t.Error("a pattern does not watch all namespaces")
	}
}
