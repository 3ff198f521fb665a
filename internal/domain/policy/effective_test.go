package policy_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

const globalRules = `
- labelSelector: {matchExpressions: [{key: tier, operator: In, values: [prod, canary]}]}
  projectName: corporate
- labelSelector: {matchLabels: {team: shop}}
  projectName: shops
- labelSelector: {}
  projectName: lost
`

// TestEffective: a project takes over what global projects that select it have,
// but not their roles, and the repositories that are declared for it; it is
// never changed itself.
func TestEffective(t *testing.T) {
	globals, err := policy.ParseGlobals(globalRules)
	if err != nil || len(globals) != 3 {
		t.Fatalf("%d rules, %v", len(globals), err)
	}
	corporate, shops := &v1alpha1.AppProject{}, &v1alpha1.AppProject{}
	corporate.Name, corporate.Labels = "corporate", map[string]string{"tier": "prod", "team": "shop"}
	corporate.Spec = v1alpha1.AppProjectSpec{
		SyncWindows:                []v1alpha1.SyncWindow{{Kind: "deny", Schedule: "0 17 * * 5", Duration: "63h"}},
		SourceRepos:                []string{"https://git/corporate/*"},
		Destinations:               []v1alpha1.ApplicationDestination{{Server: "!https://forbidden", Namespace: "*"}},
		ClusterResourceWhitelist:   []v1alpha1.ClusterResourceRestriction{{Kind: "Namespace"}},
		ClusterResourceBlacklist:   []v1alpha1.ClusterResourceRestriction{{Kind: "Node"}},
		NamespaceResourceBlacklist: []v1alpha1.GroupKind{{Kind: "ResourceQuota"}},
		DestinationServiceAccounts: []v1alpha1.DestinationServiceAccount{{Server: "*", Namespace: "*", DefaultServiceAccount: "sa"}},
		Roles:                      []v1alpha1.ProjectRole{{Name: "admin"}},
	}
	shops.Name = "shops"
	shops.Spec.NamespaceResourceWhitelist = []v1alpha1.GroupKind{{Group: "apps", Kind: "*"}}
	find := func(name string) *v1alpha1.AppProject {
		return map[string]*v1alpha1.AppProject{"corporate": corporate, "shops": shops}[name]
	}
	team := project(func(s *v1alpha1.AppProjectSpec) {
		s.SourceRepos = append(make([]string, 0, 8), "https://git/team/*") // room that must not be written to
		s.NamespaceResourceWhitelist = []v1alpha1.GroupKind{}
	})
	before := team.DeepCopy()
	if got := policy.Effective(team, nil, globals, find); got != team {
		t.Error("a project that takes over nothing is not returned as it is")
	}
	if got := policy.Effective(corporate, nil, globals[:1], find); got != corporate {
		t.Error("a project takes over its own rules")
	}
	team.Labels = map[string]string{"tier": "canary", "team": "shop"}
	before.Labels = team.Labels
	got := policy.Effective(team, []string{"https://git/own/app", "*", "!https://git/team/x", "https://git/own/{a,b}"}, globals, find)
	want := before.DeepCopy()
	want.Spec.SourceRepos = []string{"https://git/team/*", "https://git/own/app", "https://git/corporate/*"}
	want.Spec.SyncWindows, want.Spec.Destinations = corporate.Spec.SyncWindows, corporate.Spec.Destinations
	want.Spec.ClusterResourceWhitelist, want.Spec.ClusterResourceBlacklist = corporate.Spec.ClusterResourceWhitelist, corporate.Spec.ClusterResourceBlacklist
	want.Spec.NamespaceResourceWhitelist, want.Spec.NamespaceResourceBlacklist = shops.Spec.NamespaceResourceWhitelist, corporate.Spec.NamespaceResourceBlacklist
	want.Spec.DestinationServiceAccounts = corporate.Spec.DestinationServiceAccounts
	if !reflect.DeepEqual(got, want) {
		t.Errorf("effective:\n%+v\nwant:\n%+v", got.Spec, want.Spec)
	}
	if !reflect.DeepEqual(team, before) || len(team.Spec.SourceRepos[:cap(team.Spec.SourceRepos)][1]) > 0 {
		t.Error("the project itself was changed")
	}
	if only := policy.Effective(team, nil, globals[:1], find); only.Spec.NamespaceResourceWhitelist == nil {
		t.Error("a list that permits nothing became one that permits everything")
	}
}

// TestParseGlobals names the rule that cannot be followed and keeps the others.
func TestParseGlobals(t *testing.T) {
	for _, c := range []struct {
		text, problem string
		rules         int
	}{
		{"", "", 0},
		{"- {projectName: a, labelSelector: {matchLabels: {x: y}}}", "", 1},
		{"projectName: a", "globalProjects is no list of projectName and labelSelector", 0},
		{"- {labelSelector: {}}\n- {projectName: b, labelSelector: {}}", "globalProjects[0].projectName is empty", 1},
		{"- {projectName: a, labelSelector: {matchExpressions: [{key: x, operator: Equals}]}}\n- {projectName: b}", "globalProjects[0].labelSelector", 1},
		{strings.Repeat("- {projectName: a}\n", 101), "at most 100", 0},
	} {
		rules, err := policy.ParseGlobals(c.text)
		if len(rules) != c.rules || (err == nil) != (c.problem == "") || (err != nil && !strings.Contains(err.Error(), c.problem)) {
			t.Errorf("%.40q: %d rules, %v", c.text, len(rules), err)
		}
	}
}
