package gate_test

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache/informertest"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/controller/gate"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

// TestProjectsInheritWindows: a window of a global project holds the
// Applications of the projects that it selects, from when it comes until it
// goes; each change is told.
func TestProjectsInheritWindows(t *testing.T) {
	t.Parallel()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	globals, err := policy.ParseGlobals("- {projectName: corporate, labelSelector: {matchLabels: {tier: prod}}}")
	if err != nil {
		t.Fatal(err)
	}
	changes, informers := 0, &informertest.FakeInformers{Scheme: scheme}
	p, err := gate.Follow(t.Context(), informers, "argocd", func(project *v1alpha1.AppProject, find func(string) *v1alpha1.AppProject) *v1alpha1.AppProject {
		return policy.Effective(project, nil, globals, find)
	}, func() { changes++ })
	if err != nil {
		t.Fatal(err)
	}
	informer, err := informers.FakeInformerFor(t.Context(), &v1alpha1.AppProject{})
	if err != nil {
		t.Fatal(err)
	}
	project := func(name, namespace string, labels map[string]string, windows ...v1alpha1.SyncWindow) *v1alpha1.AppProject {
		out := &v1alpha1.AppProject{}
		out.Name, out.Namespace, out.Labels, out.Spec.SyncWindows = name, namespace, labels, windows
		return out
	}
	freeze := v1alpha1.SyncWindow{Kind: "deny", Schedule: "0 17 * * 5", Duration: "63h", Applications: []string{"*"}}
	app := &v1alpha1.Application{}
	app.Name, app.Spec.Project = "web", "team"
	expect := func(what string, allowed bool) {
		t.Helper()
		v := p.SyncWindow(app, time.Date(2026, 7, 3, 18, 0, 0, 0, time.UTC)) // a Friday evening
		if v.Allowed != allowed || !allowed && v.Until != time.Date(2026, 7, 6, 8, 0, 0, 0, time.UTC) {
			t.Errorf("%s: %+v", what, v)
		}
	}
	expect("no project", true)
	informer.Add(project("team", "argocd", map[string]string{"tier": "prod"}))
	informer.Add(project("corporate", "elsewhere", nil, freeze))
	expect("a project of another namespace", true)
	corporate := project("corporate", "argocd", nil, freeze)
	informer.Add(corporate)
	expect("a window that is inherited", false)
	informer.Update(project("team", "argocd", nil), project("team", "argocd", map[string]string{"tier": "test"}))
	expect("not selected any more", true)
	informer.Update(project("team", "argocd", nil), project("team", "argocd", map[string]string{"tier": "prod"}))
	expect("selected again", false)
	informer.Delete(corporate)
	expect("the global project is gone", true)
	if changes != 6 {
		t.Errorf("%d changes told, want 6", changes)
	}
}
