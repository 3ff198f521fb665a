package policy_test

import (
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

// TestServiceAccount follows spec/sync.md §15.
func TestServiceAccount(t *testing.T) {
	project := &v1alpha1.AppProject{}
	project.Name = "shop"
	project.Spec.DestinationServiceAccounts = []v1alpha1.DestinationServiceAccount{
		{Server: "https://eu-*", Namespace: "pay-*", DefaultServiceAccount: "payer"},
		{Server: "https://eu-*", DefaultServiceAccount: "platform:deployer"},
		{Server: "https://us-1", Namespace: "*", DefaultServiceAccount: "first"},
		{Server: "https://us-*", Namespace: "*", DefaultServiceAccount: "second"},
		{Server: "https://bad", DefaultServiceAccount: "a/b"},
		{Server: "https://empty", DefaultServiceAccount: ""},
		{Server: "https://colon", DefaultServiceAccount: "a:b:c"},
	}
	for _, c := range []struct{ server, namespace, want, problem string }{
		{"https://eu-1", "pay-1", "system:serviceaccount:pay-1:payer", ""},
		{"https://eu-1", "web", "system:serviceaccount:platform:deployer", ""},
		{"https://us-1", "web", "system:serviceaccount:web:first", ""},
		{"https://us-2", "", "system:serviceaccount:argocd:second", ""},
		{"https://elsewhere", "web", "", ""},
		{"https://bad", "web", "", "default service account contains invalid chars 'a/b'"},
		{"https://empty", "web", "", "invalid chars ''"},
		{"https://colon", "web", "", "invalid chars 'a:b:c'"},
	} {
		user, found, err := policy.ServiceAccount(project, c.server, c.namespace, "argocd")
		if user != c.want || found != (c.want != "") {
			t.Errorf("%s %s: %q %v, want %q", c.server, c.namespace, user, found, c.want)
		}
		if (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s %s: error %v, want %q", c.server, c.namespace, err, c.problem)
		}
	}
}
