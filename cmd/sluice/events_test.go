package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/eventlog"
)

// labelled is a hub on which every object called here has labels, and the
// AppProject that is called default others.
type labelled struct {
	client.Reader
	labels, project map[string]string
}

func (l labelled) Get(_ context.Context, k client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	if _, ok := o.(*v1alpha1.AppProject); ok && k.Name == "default" && k.Namespace == "argocd" {
		o.SetLabels(l.project)
		return nil
	}
	if k.Name != "here" || k.Namespace != "argocd" {
		return errors.New("not found")
	}
	o.SetLabels(l.labels)
	return nil
}

// TestEventLabels: labels that argocd-cm lists, of objects of ours that are there.
func TestEventLabels(t *testing.T) {
	t.Parallel()
	config := map[string]string{}
	give := eventLabels(t.Context(), labelled{
		labels:  map[string]string{"team": "x", "other": "y"},
		project: map[string]string{"team": "all", "tier": "gold", "else": "z"},
	}, "argocd", func() map[string]string { return config })
	want := func(kind, name string, labels map[string]string) {
		t.Helper()
		if got := give(corev1.ObjectReference{Kind: kind, Namespace: "argocd", Name: name}); !maps.Equal(got, labels) {
			t.Errorf("%s %s: %v, want %v", kind, name, got, labels)
		}
	}
	want("Application", "here", nil)
	config["resource.includeEventLabelKeys"] = "t*"
	want("Application", "here", map[string]string{"team": "x", "tier": "gold"})
	for _, kind := range []string{"ApplicationSet", "AppProject"} {
		want(kind, "here", map[string]string{"team": "x"})
	}
	want("Application", "gone", nil)
	want("Secret", "here", nil)
}

// TestReasonsOfEvents: argocd-cmd-params-cm counts while it runs, separately for
// the API and the controllers, unless a flag or its variable speaks.
func TestReasonsOfEvents(t *testing.T) {
	params := map[string]string{}
	begun := func(args ...string) eventlog.Reasons {
		f := &serverFlags{}
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		f.registerEvents(flags)
		if err := flags.Parse(args); err != nil {
			t.Fatal(err)
		}
		f.changed = flags.Changed
		return f.reasons(func() map[string]string { return params })
	}
	want := func(why string, give eventlog.Reasons, api, controller []string) {
		t.Helper()
		if a, c := give(apiComponent), give("argocd-application-controller"); !slices.Equal(a, api) || !slices.Equal(c, controller) {
			t.Errorf("%s: API %v, controllers %v", why, a, c)
		}
	}
	all := []string{"all"}
	t.Setenv(eventsVariable, "")
	quiet := begun()
	want("nothing is said", quiet, all, all)
	params["server.enable.k8s.event"] = "none"
	params["controller.enable.k8s.event"] = "OperationStarted, OperationCompleted"
	want("changed while it runs", quiet, []string{"none"}, []string{"OperationStarted", "OperationCompleted"})
	want("the flag wins", begun("--enable-k8s-event=ResourceCreated"), []string{"ResourceCreated"}, []string{"ResourceCreated"})
	t.Setenv(eventsVariable, "ResourceDeleted, none")
	want("the variable wins", begun(), []string{"ResourceDeleted", "none"}, []string{"ResourceDeleted", "none"})
	want("the flag wins over both", begun("--enable-k8s-event=all"), all, all)
}
