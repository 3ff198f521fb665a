package account_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/account"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func TestParse(t *testing.T) {
	book, problems := account.Parse(map[string]string{
		"accounts.alice":                      "login, apiKey",
		"accounts.bob":                        "apiKey,fly",
		"accounts.bob.enabled":                "false",
		"accounts.carol":                      "login",
		"accounts.carol.enabled":              "maybe",
		"accounts.ghost.enabled":              "true",
		"accounts.a.b.c":                      "login",
		"accounts." + strings.Repeat("x", 33): "login",
		"accounts.dave":                       "",
		"accounts.eve":                        "login",
		"users.session.duration":              "7d",
		"passwordPattern":                     "^[a-z]+$",
		"users.anonymous.enabled":             "true",
	}, map[string][]byte{
		"admin.password":             []byte("hash\n"),
		"admin.passwordMtime":        []byte("2026-04-01T00:00:00Z"),
		"accounts.alice.tokens":      []byte(`[{"id":"ci","iat":1700000000}]`),
		"accounts.bob.tokens":        []byte(`broken canary`),
		"accounts.eve.password":      []byte("hash"),
		"accounts.eve.passwordMtime": []byte("yesterday"),
		"server.secretkey":           []byte("key"),
	})
	var got []string
	for _, name := range []string{"admin", "alice", "bob", "carol", "dave", "eve"} {
		a := book.Accounts[name]
		got = append(got, fmt.Sprintf("%s %v %v %s %d", a.Name, a.Enabled, a.Capabilities, a.Hash.Reveal(), len(a.Tokens)))
	}
	want := []string{"admin true [login] hash 0", "alice true [login apiKey]  1", "bob false [apiKey]  0", "carol false [login]  0", "dave true []  0", "eve false [login]  0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !book.Anonymous || book.Session != 7*24*time.Hour || !book.Pattern.MatchString("abc") || book.Pattern.MatchString("A") || book.Key.Reveal() != "key" || len(book.Accounts) != 6 {
		t.Errorf("book %+v", book)
	}
	text := fmt.Sprint(problems)
	for _, want := range []string{"accounts.bob has the capability \"fly\"", "accounts.carol.enabled", "accounts.ghost.enabled belongs to no account", "accounts.a.b.c", "more than 32", "accounts.bob.tokens", "accounts.eve.passwordMtime"} {
		if !strings.Contains(text, want) {
			t.Errorf("problems %s do not say %q", text, want)
		}
	}
	if len(problems) != 7 || strings.Contains(text, "canary") || strings.Contains(fmt.Sprintf("%+v %#v", book, book), "hash") {
		t.Errorf("problems %s", text)
	}
}

func TestParseDefaults(t *testing.T) {
	book, problems := account.Parse(nil, nil)
	if len(problems) > 0 || book.Anonymous || book.Session != 24*time.Hour || book.Pattern.String() != "^.{8,32}$" || !book.Accounts["admin"].Enabled || !book.Accounts["admin"].Can(account.Login) || book.Accounts["admin"].Can(account.APIKey) {
		t.Errorf("%+v %v", book, problems)
	}
	for config, enabled := range map[string]bool{"admin.enabled=false": false, "accounts.admin.enabled=false": false, "accounts.admin=apiKey": true} {
		key, value, _ := strings.Cut(config, "=")
		book, problems = account.Parse(map[string]string{key: value}, nil)
		a := book.Accounts["admin"]
		if len(problems) > 0 || a.Enabled != enabled || !a.Can(account.Login) || a.Can(account.APIKey) != (value == "apiKey") {
			t.Errorf("%s: %+v %v", config, a, problems)
		}
	}
	book, problems = account.Parse(map[string]string{"users.session.duration": "1h30m", "passwordPattern": "("}, nil)
	if len(problems) != 2 || book.Session != 24*time.Hour || book.Pattern.String() != "^.{8,32}$" {
		t.Errorf("%+v %v", book, problems)
	}
}

func TestDuration(t *testing.T) {
	for raw, want := range map[string]time.Duration{"24h": 24 * time.Hour, "7d": 168 * time.Hour, "0s": 0, "90m": 90 * time.Minute, "1h30m": -1, "": -1, "h": -1, "-1h": -1, "5": -1, "5w": -1, "99999999999d": -1, "2147483647d": -1} {
		got, ok := account.Duration(raw)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %v, want %v", raw, got, want)
		}
	}
}

type world struct {
	accounts map[string]account.Account
	projects map[string]*v1alpha1.AppProject
	revoked  map[string]bool
}

func (w world) Account(name string) (account.Account, bool) { a, ok := w.accounts[name]; return a, ok }
func (w world) Revoked(id string) bool                      { return w.revoked[id] }
func (w world) ProjectTokens(project, role string) ([]v1alpha1.JWTToken, bool) {
	if p, ok := w.projects[project]; ok {
		return account.ProjectTokens(p, role)
	}
	return nil, false
}

func TestCheck(t *testing.T) {
	p := &v1alpha1.AppProject{}
	p.Name = "team"
	p.Spec.Roles = []v1alpha1.ProjectRole{{Name: "ci", JWTTokens: []v1alpha1.JWTToken{{IssuedAt: now.Unix() - 100}}}, {Name: "gone"}}
	p.Status.JWTTokensByRole = map[string]v1alpha1.JWTTokens{"ci": {Items: []v1alpha1.JWTToken{{IssuedAt: now.Unix(), ID: "j1"}}}, "deleted": {Items: []v1alpha1.JWTToken{{ID: "j2"}}}}
	w := world{
		accounts: map[string]account.Account{
			"alice":   {Name: "alice", Enabled: true, Capabilities: []account.Capability{account.Login, account.APIKey}, Changed: now.Add(-time.Hour), Tokens: []account.Token{{ID: "k1"}}},
			"off":     {Name: "off", Capabilities: []account.Capability{account.Login}},
			"machine": {Name: "machine", Enabled: true, Capabilities: []account.Capability{account.APIKey}},
		},
		projects: map[string]*v1alpha1.AppProject{"team": p}, revoked: map[string]bool{"r1": true},
	}
	for _, c := range []struct {
		sub, id string
		issued  time.Time
		who     string
		err     string
	}{
		{"alice:login", "s1", now, "alice", ""},
		{"alice:apiKey", "k1", now, "alice", ""},
		{"alice", "k1", now, "alice", ""},
		{"alice:apiKey", "k2", now, "", "does not have token with id k2"},
		{"alice", "s1", now, "", "does not have token"},
		{"alice:login", "", now, "", "no id"},
		{"alice:login", "r1", now, "", "revoked"},
		{"alice:login", "s1", now.Add(-2 * time.Hour), "", "password has changed"},
		{"alice:login", "s1", time.Time{}, "", "no time of issue"},
		{"alice:fly", "s1", now, "", "malformed subject"},
		{"alice:login:x", "s1", now, "", "malformed subject"},
		{"off:login", "s1", now, "", "disabled"},
		{"machine:login", "s1", now, "", "login capability"},
		{"nobody:login", "s1", now, "", "does not exist"},
		{"", "s1", now, "", "does not exist"},
		{"proj:team:ci", "j1", now, "proj:team:ci", ""},
		{"proj:team:ci", "", now.Add(-100 * time.Second), "proj:team:ci", ""},
		{"proj:team:ci", "j9", now.Add(-100 * time.Second), "proj:team:ci", ""},
		{"proj:team:ci", "", now, "", "not valid any more"},
		{"proj:team:ci", "j3", now, "", "not valid any more"},
		{"proj:team:gone", "j1", now, "", "not valid any more"},
		{"proj:team:deleted", "j2", now, "", "not valid any more"},
		{"proj:other:ci", "j1", now, "", "not valid any more"},
		{"proj:team", "j1", now, "", "malformed subject"},
		{"proj:team:ci:x", "j1", now, "", "malformed subject"},
	} {
		who, err := account.Check(account.Claims{Subject: c.sub, ID: c.id, IssuedAt: c.issued, ExpiresAt: now}, w)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if who.Subject != c.who || (err == nil) != (c.err == "") || !strings.Contains(text, c.err) {
			t.Errorf("%s %s: %q, %q; want %q, %q", c.sub, c.id, who.Subject, text, c.who, c.err)
		}
		if err == nil && (who.Issuer != "argocd" || who.TokenID != c.id || !who.ExpiresAt.Equal(now) || len(who.Groups) > 0) {
			t.Errorf("%s: %+v", c.sub, who)
		}
	}
}

func TestChangeSecret(t *testing.T) {
	data := map[string][]byte{}
	account.SetPassword(data, "admin", []byte("h"), now)
	account.SetPassword(data, "bob", []byte("b"), now)
	if string(data["admin.password"]) != "h" || string(data["accounts.bob.passwordMtime"]) != "2026-05-01T12:00:00Z" {
		t.Errorf("%s", data)
	}
	for _, token := range []account.Token{{ID: "old", IssuedAt: 1, ExpiresAt: now.Unix()}, {ID: "a", IssuedAt: now.Unix()}} {
		if err := account.AddToken(data, "bob", token, now); err != nil {
			t.Fatal(err)
		}
	}
	if got := string(data["accounts.bob.tokens"]); got != fmt.Sprintf(`[{"id":"a","iat":%d}]`, now.Unix()) {
		t.Errorf("tokens %s", got)
	}
	if err := account.AddToken(data, "bob", account.Token{ID: "a"}, now); !errors.Is(err, account.ErrTaken) {
		t.Errorf("the same id: %v", err)
	}
	if err := account.RemoveToken(data, "bob", "b"); !errors.Is(err, account.ErrUnknown) {
		t.Errorf("an unknown id: %v", err)
	}
	if err := account.RemoveToken(data, "bob", "a"); err != nil || string(data["accounts.bob.tokens"]) != "[]" {
		t.Errorf("%v %s", err, data)
	}
	data["accounts.bob.tokens"] = []byte("canary")
	if err := account.AddToken(data, "bob", account.Token{ID: "a"}, now); err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "accounts.bob.tokens") {
		t.Errorf("broken list: %v", err)
	}
}

func TestProjectTokens(t *testing.T) {
	p := &v1alpha1.AppProject{}
	p.Name = "team"
	p.Spec.Roles = []v1alpha1.ProjectRole{{Name: "ci", JWTTokens: []v1alpha1.JWTToken{{IssuedAt: 10, ID: "a"}, {IssuedAt: 5}}}, {Name: "other"}}
	p.Status.JWTTokensByRole = map[string]v1alpha1.JWTTokens{"ci": {Items: []v1alpha1.JWTToken{{IssuedAt: 10, ID: "a"}, {IssuedAt: 20, ID: "b", ExpiresAt: now.Unix() - 1}}}}
	all, ok := account.ProjectTokens(p, "ci")
	if !ok || len(all) != 3 || all[0].ID != "b" || all[2].IssuedAt != 5 {
		t.Errorf("%v", all)
	}
	if err := account.AddProjectToken(p, "ci", v1alpha1.JWTToken{ID: "a", IssuedAt: now.Unix()}, now); !errors.Is(err, account.ErrTaken) {
		t.Errorf("the same id: %v", err)
	}
	if err := account.AddProjectToken(p, "nope", v1alpha1.JWTToken{ID: "c"}, now); !errors.Is(err, account.ErrUnknown) {
		t.Errorf("no such role: %v", err)
	}
	if err := account.AddProjectToken(p, "ci", v1alpha1.JWTToken{ID: "c", IssuedAt: now.Unix()}, now); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p.Spec.Roles[0].JWTTokens, p.Status.JWTTokensByRole["ci"].Items); diff != "" || len(p.Spec.Roles[0].JWTTokens) != 3 {
		t.Errorf("%v %s", p.Spec.Roles[0].JWTTokens, diff)
	}
	if account.RemoveProjectToken(p, "ci", "zz", 0) || account.RemoveProjectToken(p, "nope", "a", 0) || !account.RemoveProjectToken(p, "ci", "", 5) || !account.RemoveProjectToken(p, "ci", "a", 99) {
		t.Error("wrong records are removed")
	}
	if all, _ := account.ProjectTokens(p, "ci"); len(all) != 1 || all[0].ID != "c" {
		t.Errorf("left %v", all)
	}
}
