package project

import (
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/server/fault"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	role := func(change func(*v1alpha1.ProjectRole)) func(*v1alpha1.AppProject) {
		return func(p *v1alpha1.AppProject) {
			r := v1alpha1.ProjectRole{Name: "ci", Policies: []string{"p, proj:p:ci, applications, get, p/*, allow"}, Groups: []string{"devs"}}
			change(&r)
			p.Spec.Roles = append(p.Spec.Roles, r)
		}
	}
	line := func(text string) func(*v1alpha1.AppProject) {
		return role(func(r *v1alpha1.ProjectRole) { r.Policies = append(r.Policies, text) })
	}
	for name, c := range map[string]struct {
		change func(*v1alpha1.AppProject)
		code   fault.Code
		want   string
	}{
		"fine":             {role(func(*v1alpha1.ProjectRole) {}), 0, ""},
		"fine-grained":     {line("p, proj:p:ci, applications, delete/*/Pod/*/*, p/ns/app, deny"), 0, ""},
		"name":             {func(p *v1alpha1.AppProject) { p.Name = "a/b" }, fault.InvalidArgument, "metadata.name"},
		"description":      {func(p *v1alpha1.AppProject) { p.Spec.Description = strings.Repeat("x", 256) }, fault.InvalidArgument, "255"},
		"all repos denied": {func(p *v1alpha1.AppProject) { p.Spec.SourceRepos = []string{"!*"} }, fault.InvalidArgument, "spec.sourceRepos[0]"},
		"repos twice":      {func(p *v1alpha1.AppProject) { p.Spec.SourceRepos = []string{"a", "a"} }, fault.InvalidArgument, "spec.sourceRepos[1]"},
		"namespaces twice": {func(p *v1alpha1.AppProject) { p.Spec.SourceNamespaces = []string{"a", "a"} }, fault.InvalidArgument, "spec.sourceNamespaces[1]"},
		"all denied":       {func(p *v1alpha1.AppProject) { p.Spec.Destinations = []v1alpha1.ApplicationDestination{{Server: "!*"}} }, fault.InvalidArgument, "spec.destinations[0]"},
		"destination twice": {func(p *v1alpha1.AppProject) {
			p.Spec.Destinations = []v1alpha1.ApplicationDestination{{Server: "a"}, {Server: "a"}}
		}, fault.InvalidArgument, "spec.destinations[1]"},
		"account": {func(p *v1alpha1.AppProject) {
			p.Spec.DestinationServiceAccounts = []v1alpha1.DestinationServiceAccount{{Server: "*", DefaultServiceAccount: "a*"}}
		}, fault.InvalidArgument, "no name of a service account"},
		"account server": {func(p *v1alpha1.AppProject) {
			p.Spec.DestinationServiceAccounts = []v1alpha1.DestinationServiceAccount{{Server: "!a", DefaultServiceAccount: "a"}}
		}, fault.InvalidArgument, "'!'"},
		"window": {func(p *v1alpha1.AppProject) {
			p.Spec.SyncWindows = []v1alpha1.SyncWindow{{Kind: "allow", Schedule: "x", Duration: "1h"}}
		}, fault.InvalidArgument, "yncWindows"},
		"role name": {role(func(r *v1alpha1.ProjectRole) { r.Name = "a:b" }), fault.InvalidArgument, "invalid role name"},
		"role twice": {func(p *v1alpha1.AppProject) {
			p.Spec.Roles = []v1alpha1.ProjectRole{{Name: "a"}, {Name: "a"}}
		}, fault.AlreadyExists, "role 'a' already exists"},
		"five parts":        {line("p, proj:p:ci, applications, get, p/*"), fault.InvalidArgument, "must be of the form"},
		"subject":           {line("p, proj:other:ci, applications, get, p/*, allow"), fault.InvalidArgument, "policy subject must be"},
		"resource":          {line("p, proj:p:ci, projects, get, p/*, allow"), fault.InvalidArgument, "project resource must be"},
		"action":            {line("p, proj:p:ci, applications, invoke, p/*, allow"), fault.InvalidArgument, "invalid action"},
		"object elsewhere":  {line("p, proj:p:ci, applications, get, other/*, allow"), fault.InvalidArgument, "object must be"},
		"object by regexp":  {line("p, proj:p:ci, applications, get, p/(a|b), allow"), fault.InvalidArgument, "object must be"},
		"effect":            {line("p, proj:p:ci, applications, get, p/a, maybe"), fault.InvalidArgument, "effect must be"},
		"policy twice":      {line("p, proj:p:ci, applications, get, p/*, allow"), fault.AlreadyExists, "already exists for role"},
		"group with comma":  {role(func(r *v1alpha1.ProjectRole) { r.Groups = []string{"a,b"} }), fault.InvalidArgument, "double quotes"},
		"group in quotes":   {role(func(r *v1alpha1.ProjectRole) { r.Groups = []string{`"cn=a,dc=b"`} }), 0, ""},
		"group with spaces": {role(func(r *v1alpha1.ProjectRole) { r.Groups = []string{" a"} }), fault.InvalidArgument, "spaces"},
		"group with break":  {role(func(r *v1alpha1.ProjectRole) { r.Groups = []string{"a\np x"} }), fault.InvalidArgument, "breaks"},
	} {
		p := &v1alpha1.AppProject{}
		p.Name = "p"
		c.change(p)
		if code, text := fault.Of(Validate(p)); code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s: %v %q, want %v %q", name, code, text, c.code, c.want)
		}
	}
}
