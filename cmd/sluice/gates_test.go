package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

// params is a hub with argocd-cmd-params-cm and nothing else; nil has none.
type params struct {
	client.Reader
	data map[string]string
}

func (p params) Get(_ context.Context, k client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	m, ok := into.(*corev1.ConfigMap)
	if !ok || k.Name != "argocd-cmd-params-cm" || k.Namespace != "argocd" {
		return errors.New("nothing else is read")
	}
	if p.data == nil {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, k.Name)
	}
	m.Data = p.data
	return nil
}

// TestA9GateFromEnvironmentAndParams: a flag beats its variable, which beats
// argocd-cmd-params-cm.
func TestA9GateFromEnvironmentAndParams(t *testing.T) {
	t.Parallel()
	const gate, safety = "applicationsetcontroller.enable.progressive.syncs", "applicationsetcontroller.rollout.requeue.after"
	for name, c := range map[string]struct {
		arguments   []string
		environment map[string]string
		params      map[string]string
		gate        bool
		safety      time.Duration
		failure     string
	}{
		"nothing":           {gate: true, safety: 10 * time.Second},
		"params":            {params: map[string]string{gate: "false", safety: "30s"}, safety: 30 * time.Second},
		"variables":         {environment: map[string]string{"ENABLE_PROGRESSIVE_SYNCS": "false", "ROLLOUT_REQUEUE_AFTER": "1m"}, params: map[string]string{gate: "true", safety: "30s"}, safety: time.Minute},
		"a variable only":   {environment: map[string]string{"ENABLE_PROGRESSIVE_SYNCS": "true"}, gate: true, safety: 10 * time.Second},
		"flags":             {arguments: []string{"--enable-progressive-syncs", "--applicationset-controller-requeue-after=2s"}, environment: map[string]string{"ENABLE_PROGRESSIVE_SYNCS": "false"}, params: map[string]string{gate: "false", safety: "30s"}, gate: true, safety: 2 * time.Second},
		"empty values":      {environment: map[string]string{"ENABLE_PROGRESSIVE_SYNCS": ""}, params: map[string]string{gate: "", safety: ""}, gate: true, safety: 10 * time.Second},
		"a bad gate":        {params: map[string]string{gate: "on"}, failure: "applicationsetcontroller.enable.progressive.syncs=\"on\": write true or false"},
		"a bad interval":    {params: map[string]string{safety: "soon"}, failure: "write a duration"},
		"a short interval":  {params: map[string]string{safety: "1ms"}, failure: "want 0 or 1s to 24h"},
		"a bad variable":    {environment: map[string]string{"ENABLE_PROGRESSIVE_SYNCS": "on"}, failure: "ARGOCD_APPLICATIONSET_CONTROLLER_ENABLE_PROGRESSIVE_SYNCS"},
		"a bad interval of": {environment: map[string]string{"ROLLOUT_REQUEUE_AFTER": "soon"}, failure: "ARGOCD_APPLICATIONSET_CONTROLLER_ROLLOUT_REQUEUE_AFTER"},
	} {
		command := allCommand()
		if err := command.ParseFlags(c.arguments); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		f := &allFlags{maxPackMiB: 1, gitMemoryMiB: 64, internal: internalFlags{address: "0"}}
		f.namespace = "argocd"
		err := f.sets.complete(command.Flags(), func(variable string) (string, bool) {
			v, ok := c.environment[strings.TrimPrefix(variable, "ARGOCD_APPLICATIONSET_CONTROLLER_")]
			return v, ok
		})
		if err == nil {
			f.progressive, _ = command.Flags().GetBool(gateFlag)
			f.safety, _ = command.Flags().GetDuration(safetyFlag)
			err = f.gateFromParams(t.Context(), params{data: c.params})
		}
		switch {
		case c.failure != "":
			if err == nil || !strings.Contains(err.Error(), c.failure) {
				t.Errorf("%s: %v, want %s", name, err, c.failure)
			}
		case err != nil || f.progressive != c.gate || f.safety != c.safety:
			t.Errorf("%s: gate %v, interval %s, %v", name, f.progressive, f.safety, err)
		}
	}
}

// TestProvidersOfOtherNamespaces: without a list, analyses ask any server only
// while nobody but the owners of the control plane's namespace writes them.
func TestProvidersOfOtherNamespaces(t *testing.T) {
	t.Parallel()
	const address = "http://prometheus.monitoring.svc:9090"
	f := &allFlags{}
	if !f.providers().Permits(address) {
		t.Error("refused although only the own namespace is watched")
	}
	f.sets.rules.Namespaces = []string{"teams"}
	if f.providers().Permits(address) {
		t.Error("allowed without a list although another namespace is watched")
	}
	f.analysisProviders = []string{address}
	if !f.providers().Permits(address) || f.providers().Permits(address+"/") {
		t.Error("the list does not decide")
	}
}

// TestSetsKeepTheirManagedFields: the name of the one who approves a step comes
// from them, so the cache must not drop them, whatever namespaces are watched.
func TestSetsKeepTheirManagedFields(t *testing.T) {
	t.Parallel()
	for _, namespaces := range [][]string{nil, {"teams"}, {"team-*"}} {
		f := &setFlags{}
		f.rules.Namespaces = namespaces
		kept := false
		for o, by := range f.hubCache("argocd", policy.Namespaces{}).ByObject {
			if _, ok := o.(*v1alpha1.ApplicationSet); !ok || by.Transform == nil {
				continue
			}
			set := &v1alpha1.ApplicationSet{}
			set.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "user:alice"}}
			after, err := by.Transform(set)
			now, ok := after.(*v1alpha1.ApplicationSet)
			kept = err == nil && ok && len(now.ManagedFields) == 1
		}
		if !kept {
			t.Errorf("with namespaces %v the cache drops who approved", namespaces)
		}
	}
}
