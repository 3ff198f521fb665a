package admin

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

func declaredCluster(server, name, shard string) corev1.Secret {
	return corev1.Secret{Data: map[string][]byte{"server": []byte(server), "name": []byte(name), "shard": []byte(shard)}}
}

func deployed(d v1alpha1.ApplicationDestination, namespaces ...string) v1alpha1.Application {
	a := v1alpha1.Application{Spec: v1alpha1.ApplicationSpec{Destination: d}}
	for _, ns := range namespaces {
		a.Status.Resources = append(a.Status.Resources, v1alpha1.ResourceStatus{Namespace: ns})
	}
	return a
}

func TestFigures(t *testing.T) {
	t.Parallel()
	known := []corev1.Secret{declaredCluster("https://b/", "b", "1"), declaredCluster("", "nobody", ""), declaredCluster("https://c", "", "10")}
	apps := []v1alpha1.Application{
		deployed(v1alpha1.ApplicationDestination{Server: "https://b"}, "y", "x", ""), deployed(v1alpha1.ApplicationDestination{Name: "b"}, "x"),
		deployed(v1alpha1.ApplicationDestination{Name: "https://c"}), deployed(v1alpha1.ApplicationDestination{Name: "in-cluster"}, "z", "z"),
		deployed(v1alpha1.ApplicationDestination{Server: "https://gone"}, "x"),
	}
	got := counted(known, apps)
	for i := range got {
		got[i].secret = nil
	}
	want := []figures{
		{Server: "https://kubernetes.default.svc", Name: "in-cluster", Shard: "-", Namespaces: []string{"z"}, Apps: 1, Resources: 2},
		{Server: "https://b", Name: "b", Shard: "1", Namespaces: []string{"x", "y"}, Apps: 2, Resources: 4},
		{Server: "https://c", Name: "https://c", Shard: "10", Namespaces: []string{}, Apps: 1},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(figures{})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]string{{"SHARD", "RESOURCES COUNT"}, {"1", "4 (67%)"}, {"10", "0 (0%)"}, {"-", "2 (33%)"}}, shardTable(shards(got))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]string{{"SHARD", "RESOURCES COUNT"}, {"-", "0 (0%)"}}, shardTable(shards(counted(nil, nil)))); diff != "" {
		t.Error(diff)
	}
}

func TestAllowList(t *testing.T) {
	t.Parallel()
	lists := []*metav1.APIResourceList{
		{GroupVersion: "v1", APIResources: []metav1.APIResource{
			{Name: "configmaps", Kind: "ConfigMap", Namespaced: true, Verbs: metav1.Verbs{"create", "get"}}, {Name: "namespaces", Kind: "Namespace", Verbs: metav1.Verbs{"create"}},
			{Name: "pods/eviction", Kind: "Eviction", Namespaced: true, Verbs: metav1.Verbs{"create"}}, {Name: "componentstatuses", Kind: "ComponentStatus", Verbs: metav1.Verbs{"get"}},
			{Name: "secrets", Kind: "Secret", Namespaced: true, Verbs: metav1.Verbs{"create"}},
		}},
		{GroupVersion: "apps/v1", APIResources: []metav1.APIResource{{Name: "deployments", Kind: "Deployment", Namespaced: true, Verbs: metav1.Verbs{"create"}}}},
	}
	role := &rbacv1.ClusterRole{Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps", "namespaces", "pods/eviction", "componentstatuses"}, Verbs: []string{"*"}},
		{APIGroups: []string{"*"}, Resources: []string{"deployments"}, Verbs: []string{"create"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "update"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}, ResourceNames: []string{"one"}},
	}}
	var got v1alpha1.AppProjectSpec
	if err := allow(&got, role, lists); err != nil {
		t.Fatal(err)
	}
	want := v1alpha1.AppProjectSpec{
		NamespaceResourceWhitelist: []v1alpha1.GroupKind{{Kind: "ConfigMap"}, {Group: "apps", Kind: "Deployment"}},
		ClusterResourceWhitelist:   []v1alpha1.ClusterResourceRestriction{{Kind: "Namespace"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRolePolicies(t *testing.T) {
	t.Parallel()
	const get, denied, wide = "p, proj:team:ci, applications, get, team/*, allow", "p, proj:team:ci, applications, sync, team/*, deny", "p,proj:team:ci,applications,sync,team/web,allow"
	const sync = "p, proj:team:ci, applications, sync, team/*, allow"
	for name, c := range map[string]struct {
		flags    policyFlags
		set      bool
		policies []string
		want     []string
		lines    []string
	}{
		"a new one":      {policyFlags{resource: "applications", scope: "*", permission: "allow"}, true, []string{get}, []string{get, sync}, []string{"+ " + sync}},
		"the other way":  {policyFlags{resource: "applications", scope: "*", permission: "allow"}, true, []string{get, denied, wide}, []string{get, wide, sync}, []string{"- " + denied, "+ " + sync}},
		"there already":  {policyFlags{resource: "applications", scope: "*", permission: "allow"}, true, []string{sync}, []string{sync}, nil},
		"removed":        {policyFlags{scope: "*", permission: "allow"}, false, []string{get, denied, wide}, []string{get}, []string{"- " + denied, "- " + wide}},
		"other resource": {policyFlags{resource: "repositories", permission: "allow"}, false, []string{get, denied}, []string{get, denied}, nil},
	} {
		role := &v1alpha1.ProjectRole{Name: "ci", Policies: c.policies}
		lines := c.flags.modify("team", role, c.set, "sync")
		if diff := cmp.Diff(c.want, role.Policies); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff(c.lines, lines); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	f := policyFlags{groups: []string{"a", "b"}}
	if !f.concerns(&v1alpha1.ProjectRole{Groups: []string{"b"}}) || f.concerns(&v1alpha1.ProjectRole{Groups: []string{"c"}}) {
		t.Error("groups do not choose roles")
	}
}
