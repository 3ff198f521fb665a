package main

import (
	"context"
	"errors"
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// labelled is a hub on which every object called here has labels.
type labelled struct {
	client.Reader
	labels map[string]string
}

func (l labelled) Get(_ context.Context, k client.ObjectKey, o client.Object, _ ...client.GetOption) error {
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
	give := eventLabels(t.Context(), labelled{labels: map[string]string{"team": "x", "other": "y"}}, func() map[string]string { return config })
	want := func(kind, name string, labels map[string]string) {
		t.Helper()
		if got := give(corev1.ObjectReference{Kind: kind, Namespace: "argocd", Name: name}); !maps.Equal(got, labels) {
			t.Errorf("%s %s: %v, want %v", kind, name, got, labels)
		}
	}
	want("Application", "here", nil)
	config["resource.includeEventLabelKeys"] = "t*"
	for _, kind := range []string{"Application", "ApplicationSet", "AppProject"} {
		want(kind, "here", map[string]string{"team": "x"})
	}
	want("Application", "gone", nil)
	want("Secret", "here", nil)
}
