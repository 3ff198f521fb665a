package application

import (
	"context"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// reading is a cache that is never behind.
type reading struct {
	cache.Cache
	hub client.Client
}

func (r reading) Get(ctx context.Context, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	return r.hub.Get(ctx, k, o, opts...)
}

func (r reading) List(ctx context.Context, l client.ObjectList, opts ...client.ListOption) error {
	return r.hub.List(ctx, l, opts...)
}

// TestProjectsAreLetGo: an AppProject goes when the last Application that refers
// to it has gone, and not before.
func TestProjectsAreLetGo(t *testing.T) {
	t.Parallel()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	deleted := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	project := func(name string, ends bool, finalizers ...string) *v1alpha1.AppProject {
		p := &v1alpha1.AppProject{}
		p.Namespace, p.Name, p.Finalizers = "argocd", name, finalizers
		if ends {
			p.DeletionTimestamp = &deleted
		}
		return p
	}
	app := &v1alpha1.Application{}
	app.Namespace, app.Name, app.Spec.Project = "team-a", "web", "used"
	hub := fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		app, project("used", true, v1alpha1.FinalizerResources), project("unused", true, v1alpha1.FinalizerResources, "example.com/mine"),
		project("alive", false, v1alpha1.FinalizerResources),
	).Build()
	c := &Controller{Options: Options{Namespace: "argocd", Client: hub, Cache: reading{hub: hub}}}
	left := func(name string) int {
		t.Helper()
		if err := c.freeProject(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		var p v1alpha1.AppProject
		err := hub.Get(t.Context(), client.ObjectKey{Namespace: "argocd", Name: name}, &p)
		if apierrors.IsNotFound(err) {
			return -1
		}
		if err != nil {
			t.Fatal(err)
		}
		return len(p.Finalizers)
	}
	for name, want := range map[string]int{"used": 1, "unused": 1, "alive": 1, "absent": -1} {
		if got := left(name); got != want {
			t.Errorf("%s has %d finalizers, want %d", name, got, want)
		}
	}
	if err := hub.Delete(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	if got := left("used"); got != -1 {
		t.Errorf("the project that nobody uses any more is still there, with %d finalizers", got)
	}
}
