package rbac_test

import (
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/internal/domain/rbac"
)

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		policy string
		fatal  bool
		says   []string
	}{
		{"p, role:a, applications, get, */*, allow\ng, bob, role:a", false, nil},
		{"g, bob, role:ghost\ng, eve, role:ghost", false, []string{`policy.csv:1: role "role:ghost" is granted and has no policies`}},
		{"g, bob, role:readonly\ng, x, proj:p:r", false, nil},
		{"p, role:a, apps, get, */*, allow", false, []string{`resource "apps"`}},
		{"p, role:a, applications, syncs, */*, allow", false, []string{`action "syncs"`}},
		{"p, role:a, applications, action/x, */*, allow", false, nil},
		{"p, role:a, applications, get, [, allow", false, []string{"not valid"}},
		{"p, role:a, applications", true, []string{"policy.csv:1", `write "p, sub, res, act, obj, eft"`}},
	} {
		found := rbac.Validate(map[string]string{"policy.csv": c.policy})
		var text []string
		fatal := false
		for _, f := range found {
			text, fatal = append(text, f.Message), fatal || f.Fatal
		}
		if fatal != c.fatal || (len(c.says) == 0) != (len(found) == 0) {
			t.Errorf("%q: fatal %v, %v", c.policy, fatal, text)
		}
		for _, want := range c.says {
			if !strings.Contains(strings.Join(text, "\n"), want) {
				t.Errorf("%q: %v does not say %q", c.policy, text, want)
			}
		}
	}
}

func TestCan(t *testing.T) {
	settings, err := rbac.ParseSettings(map[string]string{"policy.csv": "p, role:dev, applications, sync, */*, allow\np, role:dev, clusters, get, https://a, allow"}, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		q    rbac.Query
		want bool
		err  string
	}{
		{rbac.Query{Subject: "role:dev", Action: "sync", Resource: "app", Strict: true}, true, ""},
		{rbac.Query{Subject: "role:dev", Action: "sync", Resource: "apps", SubObject: "*"}, true, ""},
		{rbac.Query{Subject: "role:dev", Action: "delete", Resource: "applications"}, false, ""},
		{rbac.Query{Subject: "role:dev", Action: "get", Resource: "cluster", SubObject: "https://a"}, true, ""},
		{rbac.Query{Subject: "role:dev", Action: "get", Resource: "project", DefaultRole: "role:readonly"}, true, ""},
		{rbac.Query{Subject: "role:admin", Action: "get", Resource: "clusters"}, true, ""},
		{rbac.Query{Subject: "role:dev", Action: "fly", Resource: "apps", Strict: true}, false, `action "fly" is not known`},
		{rbac.Query{Subject: "role:dev", Action: "get", Resource: "planes", Strict: true}, false, `resource "planes" is not known`},
		{rbac.Query{Subject: "role:dev", Action: "fly", Resource: "planes"}, false, ""},
	} {
		got, err := rbac.Can(settings.Policy, c.q)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%+v: %v, %v", c.q, got, err)
		}
	}
}
