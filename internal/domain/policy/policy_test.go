package policy_test

import (
	"testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

func project(change func(*v1alpha1.AppProjectSpec)) *v1alpha1.AppProject {
	p := &v1alpha1.AppProject{}
	p.Name = "team"
	change(&p.Spec)
	return p
}

func TestSource(t *testing.T) {
	for _, c := range []struct {
		rules []string
		url   string
		want  bool
	}{
		{nil, "https://git/acme/shop", false},
		{[]string{"*"}, "https://git/acme/shop", true},
		{[]string{"https://git/acme/*"}, "https://git/acme/shop.git", true},
		{[]string{"https://git/acme/*"}, "https://git/acme/shop/deep", false},
		{[]string{"https://git/acme/**"}, "https://git/acme/shop/deep", true},
		{[]string{"https://git/acme/*"}, "https://evil/acme/shop", false},
		{[]string{"*", "!https://git/acme/secret"}, "https://git/acme/secret", false},
		{[]string{"*", "!https://git/acme/secret"}, "https://git/acme/SECRET.git", false},
		{[]string{"!https://git/acme/secret"}, "https://git/acme/other", true},
	} {
		if got := policy.Source(project(func(s *v1alpha1.AppProjectSpec) { s.SourceRepos = c.rules }), c.url); got != c.want {
			t.Errorf("%v permits %s: %v, want %v", c.rules, c.url, got, c.want)
		}
	}
}

func TestDestination(t *testing.T) {
	eu := destination.Cluster{Name: "eu-1", Server: "https://eu-1"}
	type d = v1alpha1.ApplicationDestination
	for _, c := range []struct {
		name      string
		rules     []d
		namespace string
		want      bool
	}{
		{"nothing", nil, "shop", false},
		{"everything", []d{{Server: "*", Namespace: "*"}}, "shop", true},
		{"by name", []d{{Name: "eu-*", Namespace: "shop"}}, "shop", true},
		{"another namespace", []d{{Name: "eu-*", Namespace: "shop"}}, "other", false},
		{"another cluster", []d{{Name: "us-*", Namespace: "*"}}, "shop", false},
		{"denied cluster", []d{{Server: "*", Namespace: "*"}, {Server: "!https://eu-1", Namespace: "*"}}, "shop", false},
		{"denied namespace", []d{{Server: "*", Namespace: "*"}, {Server: "*", Namespace: "!kube-system"}}, "kube-system", false},
		{"a namespace that is not denied", []d{{Server: "*", Namespace: "!kube-system"}}, "shop", true},
	} {
		if got := policy.Destination(project(func(s *v1alpha1.AppProjectSpec) { s.Destinations = c.rules }), eu, c.namespace); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestProjectScopedClusters(t *testing.T) {
	p := project(func(s *v1alpha1.AppProjectSpec) {
		s.Destinations = []v1alpha1.ApplicationDestination{{Server: "*", Namespace: "*"}}
		s.PermitOnlyProjectScopedClusters = true
	})
	own, other := destination.Cluster{Server: "https://a", Project: "team"}, destination.Cluster{Server: "https://b"}
	if !policy.Destination(p, own, "x") || policy.Destination(p, other, "x") {
		t.Error("permitOnlyProjectScopedClusters does not hold")
	}
}

func TestManage(t *testing.T) {
	anywhere := []v1alpha1.ApplicationDestination{{Server: "*", Namespace: "shop"}}
	c := destination.Cluster{Server: "https://a"}
	namespaced := func(group, kind string) policy.Object {
		return policy.Object{Group: group, Kind: kind, Namespace: "shop", Name: "x", Namespaced: true}
	}
	for _, x := range []struct {
		name   string
		change func(*v1alpha1.AppProjectSpec)
		object policy.Object
		err    string
	}{
		{"namespaced kinds by default", func(*v1alpha1.AppProjectSpec) {}, namespaced("apps", "Deployment"), ""},
		{"cluster-wide kinds not by default", func(*v1alpha1.AppProjectSpec) {}, policy.Object{Kind: "Namespace", Name: "shop"}, "resource :Namespace is not permitted in project team"},
		{"a listed cluster-wide kind", func(s *v1alpha1.AppProjectSpec) {
			s.ClusterResourceWhitelist = []v1alpha1.ClusterResourceRestriction{{Group: "", Kind: "Namespace"}}
		}, policy.Object{Kind: "Namespace", Name: "shop"}, ""},
		{"a forbidden kind", func(s *v1alpha1.AppProjectSpec) {
			s.NamespaceResourceBlacklist = []v1alpha1.GroupKind{{Group: "", Kind: "Secret"}}
		}, namespaced("", "Secret"), "resource :Secret is not permitted in project team"},
		{"kinds not on the list", func(s *v1alpha1.AppProjectSpec) {
			s.NamespaceResourceWhitelist = []v1alpha1.GroupKind{{Group: "apps", Kind: "*"}}
		}, namespaced("", "Secret"), "resource :Secret is not permitted in project team"},
		{"an empty list permits nothing", func(s *v1alpha1.AppProjectSpec) {
			s.NamespaceResourceWhitelist = []v1alpha1.GroupKind{}
		}, namespaced("apps", "Deployment"), "resource apps:Deployment is not permitted in project team"},
		{"another namespace", func(*v1alpha1.AppProjectSpec) {}, policy.Object{Kind: "Secret", Namespace: "kube-system", Namespaced: true}, "namespace kube-system is not permitted in project 'team'"},
	} {
		p := project(func(s *v1alpha1.AppProjectSpec) { s.Destinations = anywhere; x.change(s) })
		text := ""
		if err := policy.Manage(p, c, x.object); err != nil {
			text = err.Error()
		}
		if text != x.err {
			t.Errorf("%s: %q, want %q", x.name, text, x.err)
		}
	}
}

func TestNamespace(t *testing.T) {
	p := project(func(s *v1alpha1.AppProjectSpec) { s.SourceNamespaces = []string{"team-*", "/qa-[0-9]+/", "/(", "/"} })
	for namespace, want := range map[string]bool{"argocd": true, "team-a": true, "other": false, "qa-17": true, "qa-x": false, "my-qa-17": false} {
		if got := policy.Namespace(p, namespace, "argocd"); got != want {
			t.Errorf("Applications of %s may use the project: %v, want %v", namespace, got, want)
		}
	}
}
