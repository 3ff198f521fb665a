package rbac_test

import (
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/rbac"
)

func live(t *testing.T, data map[string]string, projects ...*v1alpha1.AppProject) *rbac.Live {
	t.Helper()
	l := rbac.NewLive()
	if _, err := l.Load(data); err != nil {
		t.Fatal(err)
	}
	for _, p := range projects {
		l.SetProject(p)
	}
	return l
}

func project(name string, roles ...v1alpha1.ProjectRole) *v1alpha1.AppProject {
	p := &v1alpha1.AppProject{}
	p.Name = name
	p.Spec.Roles = roles
	return p
}

// ask reads "subject[+group,group] resource action object".
func ask(l access.Decider, question string) bool {
	f := strings.SplitN(question, " ", 4)
	subject, groups, grouped := strings.Cut(f[0], "+")
	who := access.Principal{Subject: subject, Issuer: "argocd"}
	if grouped {
		who.Groups = strings.Split(groups, ",")
	}
	return l.Allowed(who, access.Request{Resource: f[1], Action: f[2], Object: f[3]})
}

func TestBuiltinPolicy(t *testing.T) {
	l := live(t, nil)
	for question, want := range map[string]bool{
		"admin applications get p/a":                      true,
		"admin applications sync p/ns/a":                  true,
		"admin applications action/apps/Deployment/x p/a": true,
		"admin applications update//Pod/ns/x p/a":         true,
		"admin exec create p/a":                           true,
		"admin certificates create ":                      true,
		"admin gpgkeys delete ":                           true,
		"admin gpgkeys update ":                           false,
		"admin extensions invoke x":                       false,
		"admin accounts update bob":                       true,
		"admin logs get p/a":                              true,
		"role:readonly applications get p/a":              true,
		"role:readonly applications sync p/a":             false,
		"role:readonly write-repositories get https://x":  true,
		"bob applications get p/a":                        false,
		"bob+role:admin applications delete p/a":          true,
		"admin applications get nothing":                  false,
		"admin clusters get https://1.2.3.4":              true,
	} {
		if got := ask(l, question); got != want {
			t.Errorf("%s: %v, want %v", question, got, want)
		}
	}
}

func TestEvaluationOrder(t *testing.T) {
	policy := `
# comment
p, role:guest, applications, get, open/*, allow
p, alice, applications, *, team/*, allow
p, alice, applications, delete, team/prod*, deny
p, role:dev, applications, sync, team/*, allow
p, role:stop, applications, sync, team/frozen, deny
g, devs, role:dev
g, ops, role:stop
g, carol, role:dev
g, carol, role:stop
p, loners, applications, get, */*, allow
p, "comma, person", applications, get, */*, allow
p, "", projects, get, public, allow
p, proj:team:ci, clusters, get, *, allow
p, proj:team:ci, applications, get, other/*, allow
g, role:dev, role:base
p, role:base, logs, get, team/*, allow
g, dave, role:ring
g, role:ring, dave
p, role:ring, projects, get, ring, allow
`
	team := project("team", v1alpha1.ProjectRole{Name: "ci", Policies: []string{"p, proj:team:ci, applications, sync, team/*, allow"}, Groups: []string{"builders"}})
	l := live(t, map[string]string{"policy.csv": policy, "policy.default": "role:guest"}, team, project("other"), project("public"))
	for question, want := range map[string]bool{
		"bob applications get open/a":                    true, // default role
		"alice applications sync team/a":                 true,
		"alice applications delete team/prod-1":          false, // deny of the same subject
		"alice applications delete team/dev":             true,
		"bob+devs applications sync team/frozen":         true,
		"bob+ops,devs applications sync team/frozen":     true,  // a deny for one group does not stop another
		"carol applications sync team/frozen":            false, // a deny in an inherited role does
		"carol applications sync team/a":                 true,
		"bob+devs logs get team/a":                       true,  // transitive
		"bob+loners applications get any/a":              false, // a group without grant
		"comma, applications get any/a":                  false,
		"bob projects get public":                        true, // empty subject
		"proj:team:ci applications sync team/a":          true,
		"proj:team:ci applications sync other/a":         false,
		"proj:team:ci applications get other/a":          false, // another project, though the global policy says so
		"proj:team:ci clusters get https://1.2.3.4":      true,  // no project in the object
		"proj:team:ci projects get team":                 true,  // implicit
		"proj:team:ci projects get other":                false,
		"proj:team:gone applications sync team/a":        false,
		"bob+builders applications sync team/a":          true, // group of a project role
		"bob+builders applications sync other/a":         false,
		"bob+builders projects get team":                 true,
		"dave projects get ring":                         true, // a ring of grants ends
		"eve applications get nowhere/a":                 false,
		"proj:nowhere:x applications get open/a":         true, // the default role comes first
		"proj:team:ci+devs applications override team/a": false,
	} {
		if got := ask(l, question); got != want {
			t.Errorf("%s: %v, want %v", question, got, want)
		}
	}
	if !l.Allowed(access.Principal{Subject: "comma, person", Issuer: "x"}, access.Request{Resource: "applications", Action: "get", Object: "a/b"}) {
		t.Error("a quoted subject with a comma does not count")
	}
	if !l.Allowed(access.Principal{}, access.Request{Resource: "applications", Action: "get", Object: "open/a"}) || l.Allowed(access.Principal{}, access.Request{Resource: "applications", Action: "get", Object: "team/a"}) {
		t.Error("anonymous has the default role and nothing else")
	}
	if !l.Allowed(access.Principal{Unrestricted: true}, access.Request{Resource: "x"}) {
		t.Error("--disable-auth is refused something")
	}
}

func TestMatchModes(t *testing.T) {
	for _, c := range []struct {
		mode, pattern, object string
		want                  bool
	}{
		{"", "*", "a/b/c", true},
		{"glob", "a/*", "a/b/c", true},
		{"glob", "a/?", "a/b", true},
		{"glob", "a/?", "a/bc", false},
		{"glob", "{a,b}/x", "b/x", true},
		{"glob", "[ab]/x", "c/x", false},
		{"glob", "[!ab]/x", "c/x", true},
		{"glob", `a\*`, "a*", true},
		{"glob", `a\*`, "ab", false},
		{"glob", "[", "[", false},
		{"glob", "a.c", "abc", false},
		{"anything", "a*", "abc", true},
		{"regex", "b", "abc", true},
		{"regex", "^b", "abc", false},
		{"regex", "a.c", "abc", true},
		{"regex", "(", "(", false},
		{"regex", "", "x", true},
		{"regex", ".*", "", true},
		{"regex", "^team/.*$", "team/x", true},
	} {
		quoted := `"` + c.pattern + `"`
		act, res := "get", "applications"
		l := live(t, map[string]string{"policy.matchMode": c.mode, "policy.csv": "p, s, " + res + ", " + act + ", " + quoted + ", allow"})
		if got := l.Allowed(access.Principal{Subject: "s", Issuer: "argocd"}, access.Request{Resource: res, Action: act, Object: c.object}); got != c.want {
			t.Errorf("%s %q on %q: %v, want %v", c.mode, c.pattern, c.object, got, c.want)
		}
	}
}

func TestActionTokens(t *testing.T) {
	l := live(t, map[string]string{"policy.csv": `
p, pods, applications, delete/*/Pod/*/*, default/prod, allow
p, kids, applications, update/*, default/*, allow
p, top, applications, update, default/*, allow
p, top, applications, update/*, default/*, deny
p, runner, applications, action/apps/Deployment/restart, default/*, allow
p, core, applications, action//Pod/restart, default/*, allow
`})
	for question, want := range map[string]bool{
		"pods applications delete//Pod/ns/x default/prod":               true,
		"pods applications delete//Secret/ns/x default/prod":            false,
		"pods applications delete default/prod":                         false,
		"kids applications update/apps/Deployment/ns/x default/a":       true,
		"kids applications update default/a":                            false,
		"top applications update default/a":                             true,
		"top applications update//Pod/ns/x default/a":                   false,
		"runner applications action/apps/Deployment/restart default/a":  true,
		"runner applications action/apps/StatefulSet/restart default/a": false,
		"core applications action//Pod/restart default/a":               true,
	} {
		if got := ask(l, question); got != want {
			t.Errorf("%s: %v, want %v", question, got, want)
		}
	}
	if got := rbac.OnResource("delete", "", "Pod", "ns", "x"); got != "delete//Pod/ns/x" {
		t.Error(got)
	}
	if got := rbac.RunAction("", "Pod", "restart"); got != "action//Pod/restart" {
		t.Error(got)
	}
}

func TestPolicyKeysAndScopes(t *testing.T) {
	l := live(t, map[string]string{
		"policy.csv":       "p, a, projects, get, *, allow",
		"policy.extra.csv": "p, b, projects, get, *, allow",
		"policy.csv.bak":   "nonsense",
		"scopes":           "[groups, email]",
	})
	if !ask(l, "a projects get x") || !ask(l, "b projects get x") {
		t.Error("a key is not read")
	}
	claims := map[string]any{"groups": []any{"x", 7, "y"}, "email": "z@example.com", "roles": "no"}
	if got := rbac.Groups(claims, l.Settings().Scopes); strings.Join(got, " ") != "x y z@example.com" {
		t.Errorf("groups %v", got)
	}
	plain := live(t, map[string]string{"scopes": "roles"})
	if got := rbac.Groups(claims, plain.Settings().Scopes); strings.Join(got, " ") != "no" {
		t.Errorf("groups %v", got)
	}
}

func TestPreviousPolicyStays(t *testing.T) {
	for name, bad := range map[string]map[string]string{
		"five tokens":  {"policy.csv": "p, a, projects, get, *, allow\np, a, projects, get, allow"},
		"seven tokens": {"policy.csv": "p, a, projects, get, *, allow, more"},
		"p2":           {"policy.csv": "p2, a, projects, get, *, allow"},
		"g of four":    {"policy.csv": "g, a, b, c"},
		"quotes":       {"policy.csv": `p, "a, projects, get, *, allow`},
		"another key":  {"policy.more.csv": "nonsense"},
		"scopes":       {"scopes": "{a: b}"},
	} {
		l := live(t, map[string]string{"policy.csv": "p, before, projects, get, *, allow"})
		_, err := l.Load(bad)
		if err == nil || !strings.Contains(err.Error(), "ConfigMap/argocd-rbac-cm") || !strings.Contains(err.Error(), "the previous policy stays") {
			t.Errorf("%s: error %v", name, err)
		}
		if !ask(l, "before projects get x") || ask(l, "a projects get x") {
			t.Errorf("%s: the previous policy does not stay", name)
		}
	}
}

func TestProblems(t *testing.T) {
	l := live(t, nil)
	problems, err := l.Load(map[string]string{"policy.csv": "p, a, projects, get, [, allow\np, a, projects, get, *, permit"})
	if err != nil || len(problems) != 2 || !strings.Contains(problems[0].Error(), "policy.csv:1") || !strings.Contains(problems[1].Error(), "policy.csv:2") {
		t.Errorf("problems %v, %v", problems, err)
	}
	if ask(l, "a projects get x") || ask(l, "a projects get [") {
		t.Error("a line with a problem counts")
	}
}

func TestUnreadableProject(t *testing.T) {
	role := v1alpha1.ProjectRole{Name: "r", Groups: []string{"g"}, Policies: []string{"p, proj:team:r, applications, get, team/*, allow", "p, broken"}}
	l := live(t, map[string]string{"policy.csv": "p, bob, applications, sync, team/*, allow"})
	problems := l.SetProject(project("team", role))
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), "AppProject/team spec.roles[0] r policies[1]") {
		t.Errorf("problems %v", problems)
	}
	if ask(l, "proj:team:r applications get team/a") || !ask(l, "bob applications sync team/a") {
		t.Error("the global policy alone should count")
	}
	role.Policies = role.Policies[:1]
	if problems := l.SetProject(project("team", role)); len(problems) > 0 || !ask(l, "x+g applications get team/a") {
		t.Errorf("the corrected project does not count: %v", problems)
	}
	l.DeleteProject("team")
	if ask(l, "x+g applications get team/a") || ask(l, "proj:team:r applications get team/a") {
		t.Error("a deleted project still grants")
	}
}

func TestModeChangeCompilesProjectsAgain(t *testing.T) {
	role := v1alpha1.ProjectRole{Name: "r", Policies: []string{"p, proj:team:r, applications, get, team/.*, allow"}}
	l := live(t, nil, project("team", role))
	if ask(l, "proj:team:r applications get team/a") {
		t.Error("a regular expression matches as a glob")
	}
	if _, err := l.Load(map[string]string{"policy.matchMode": "regex"}); err != nil {
		t.Fatal(err)
	}
	if !ask(l, "proj:team:r applications get team/a") {
		t.Error("the role of the project was not compiled again")
	}
}

func TestExplain(t *testing.T) {
	l := live(t, map[string]string{
		"policy.csv":     "p, alice, applications, sync, a/*, allow\np, alice, applications, sync, a/x, deny\np, lone, applications, get, */*, allow\ng, devs, role:readonly",
		"policy.default": "role:none",
	}, project("a"), project("b"))
	for _, c := range []struct {
		who        access.Principal
		action     string
		object     string
		allowed    bool
		step       rbac.Step
		line, lost string
	}{
		{access.Principal{Subject: "alice"}, "sync", "a/y", true, rbac.StepSubject, "policy.csv:1", ""},
		{access.Principal{Subject: "alice"}, "sync", "a/x", false, rbac.StepSubject, "policy.csv:2", ""},
		{access.Principal{Subject: "bob", Groups: []string{"lone"}}, "get", "a/x", false, rbac.StepNone, "", "lone"},
		{access.Principal{Subject: "bob", Groups: []string{"devs"}}, "get", "a/x", true, rbac.StepGroup, "built-in policy", ""},
		{access.Principal{Subject: "proj:a:r"}, "get", "b/x", false, rbac.StepForeignToken, "", ""},
		{access.Principal{Unrestricted: true}, "get", "b/x", true, rbac.StepUnrestricted, "", ""},
	} {
		d := l.Explain(c.who, access.Request{Resource: "applications", Action: c.action, Object: c.object})
		line := ""
		if d.Line != nil {
			line = d.Line.Source
		}
		if d.Allowed != c.allowed || d.Step != c.step || line != c.line || strings.Join(d.Ignored, " ") != c.lost {
			t.Errorf("%s %s: %+v, line %q", c.who.Subject, c.object, d, line)
		}
	}
}

func TestRoleSubject(t *testing.T) {
	for subject, want := range map[string]string{
		"proj:p:r": "p r true", "proj:p": "  false", "proj::r": "  false", "proj:p:": "  false", "proj:p:r:x": "  false", "alice": "  false",
	} {
		p, r, ok := rbac.SplitRoleSubject(subject)
		got := p + " " + r + " false"
		if ok {
			got = p + " " + r + " true"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", subject, got, want)
		}
	}
	if rbac.Object("p", "argocd", "a", "argocd") != "p/a" || rbac.Object("p", "other", "a", "argocd") != "p/other/a" || rbac.Object("p", "", "a", "argocd") != "p/a" {
		t.Error("names of Applications")
	}
}
