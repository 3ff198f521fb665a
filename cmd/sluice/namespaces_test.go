package main

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
)

// TestNamespacesOfApplications: controllers and servers look at the namespaces
// that the flag names, or else the variable, or else argocd-cmd-params-cm; sets
// stay where they were.
func TestNamespacesOfApplications(t *testing.T) {
	for name, c := range map[string]struct {
		arguments           []string
		variable, params    string
		watched, unwatched  []string
		everywhere, refused bool
	}{
		"none":            {nil, "", "", []string{"argocd"}, []string{"team-a"}, false, false},
		"config map":      {nil, "", "team-a, /x[0-9]+/", []string{"argocd", "team-a", "x12"}, []string{"team-b", "xx1"}, true, false},
		"names alone":     {nil, "", "team-a,team-b", []string{"team-a", "team-b"}, []string{"x1"}, false, false},
		"variable first":  {nil, "one", "team-a", []string{"one"}, []string{"team-a"}, false, false},
		"flag first":      {[]string{"--application-namespaces=two"}, "one", "team-a", []string{"two"}, []string{"one", "team-a"}, false, false},
		"sets' are too":   {[]string{"--applicationset-namespaces=sets", "--enable-scm-providers=false"}, "", "team-a", []string{"sets", "team-a"}, []string{"x"}, false, false},
		"no expression":   {nil, "", "/(/", nil, nil, false, true},
		"no glob at last": {nil, "", "[", nil, nil, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(namespacesVariable, c.variable)
			f := &allFlags{}
			command := f.command("application-controller", "", nil)
			if err := command.ParseFlags(append(c.arguments, "--namespace=argocd")); err != nil {
				t.Fatal(err)
			}
			if err := f.sets.complete(command.Flags(), func(string) (string, bool) { return "", false }); err != nil {
				t.Fatal(err)
			}
			hub := fake.NewClientBuilder().WithObjects(&corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Namespace: "argocd", Name: settings.ParamsName}, Data: map[string]string{namespacesKey: c.params},
			}).Build()
			err := f.fromParams(t.Context(), hub)
			if (err != nil) != c.refused || err != nil && !strings.Contains(err.Error(), namespacesKey) {
				t.Fatal(err)
			}
			for _, n := range c.watched {
				if !f.watches(n) {
					t.Errorf("%s is not looked at", n)
				}
			}
			if i := slices.IndexFunc(c.unwatched, f.watches); i >= 0 {
				t.Errorf("%s is looked at", c.unwatched[i])
			}
			for object, by := range f.sets.hubCache("argocd", f.server.apart).ByObject {
				_, all := by.Namespaces[cache.AllNamespaces]
				if _, app := object.(*v1alpha1.Application); app && (all != c.everywhere || !all && len(by.Namespaces) != 1+len(f.server.namespaces)+len(f.sets.rules.Namespaces)) || !app && all {
					t.Errorf("%T is watched in %v", object, by.Namespaces)
				}
			}
		})
	}
}
