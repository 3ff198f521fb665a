package sso_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/domain/sso"
)

func find(secret, key string) (string, bool) {
	v, ok := map[string]string{"/dex.github": "pa$$word", "/oidc.secret": "canary"}[secret+"/"+key]
	return v, ok
}

func TestParse(t *testing.T) {
	c, problems := sso.Parse(map[string]string{"oidc.tls.insecure.skip.verify": "true", "oidc.config": `
name: Okta
issuer: https://idp.example.com
clientID: cd
cliClientID: cli
clientSecret: $oidc.secret
refreshTokenThreshold: 5m
userInfoCacheExpiration: soon
requestedIDTokenClaims: {groups: {essential: true}}
`, "dex.config": "connectors: []", "url": "https://cd.example.com"}, find, "key")
	if c == nil || c.Dex || c.Issuer != "https://idp.example.com" || c.ClientSecret.Reveal() != "canary" || c.RefreshBefore != 5*time.Minute || c.UserInfoCache != 5*time.Minute || !c.Insecure ||
		strings.Join(c.Audiences, " ") != "cd cli" || strings.Join(c.Scopes, " ") != "openid profile email groups" || !c.Claims["groups"].Essential {
		t.Errorf("%+v", c)
	}
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), "userInfoCacheExpiration") || strings.Contains(fmt.Sprintf("%+v", c), "canary") {
		t.Errorf("problems %v", problems)
	}
	for name, cm := range map[string]map[string]string{
		"nothing":       nil,
		"no YAML":       {"oidc.config": "{{"},
		"wrong type":    {"oidc.config": "issuer: [a]"},
		"no issuer":     {"oidc.config": "clientID: x"},
		"file issuer":   {"oidc.config": "{issuer: 'file:///etc', clientID: x}"},
		"no client":     {"oidc.config": "issuer: https://x"},
		"dex, no url":   {"dex.config": "connectors: []"},
		"dex, bad url":  {"dex.config": "connectors: []", "url": "cd.example.com"},
		"url with user": {"dex.config": "connectors: []", "url": "https://u:canary@cd.example.com"},
	} {
		c, problems := sso.Parse(cm, find, "key")
		if c != nil || (name == "nothing") != (len(problems) == 0) || strings.Contains(fmt.Sprint(problems), "canary") {
			t.Errorf("%s: %+v %v", name, c, problems)
		}
	}
	c, problems = sso.Parse(map[string]string{"oidc.config": "{issuer: 'https://x', clientID: $gone}"}, find, "key")
	if c.ClientID != "$gone" || len(problems) != 1 || !strings.Contains(problems[0].Error(), "$gone") {
		t.Errorf("a reference to nothing: %+v %v", c, problems)
	}
	c, _ = sso.Parse(map[string]string{"dex.config": "connectors: []", "url": "https://cd.example.com/"}, find, "key")
	if !c.Dex || c.Issuer != "https://cd.example.com/api/dex" || c.ClientSecret != sso.DexClientSecret("key") || len(c.ClientSecret.Reveal()) != 40 {
		t.Errorf("%+v", c)
	}
}

func TestRenderDex(t *testing.T) {
	cm := map[string]string{"url": "https://cd.example.com/", "additionalUrls": "[https://other.example.com/cd]", "dex.config": `
issuer: https://overridden
connectors:
- type: github
  id: gh
  name: GitHub
  config: {clientID: a$b, clientSecret: $dex.github, redirectURI: https://evil}
- type: ldap
  id: l
  config: {host: ldap}
staticClients: [{id: mine, secret: x}]
oauth2: {responseTypes: [code]}
`}
	raw, err := sso.RenderDex(cm, find, "key", sso.DexOptions{LogLevel: "debug"})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := yaml.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(`
issuer: https://cd.example.com/api/dex
storage: {type: memory}
web: {https: "0.0.0.0:5556", tlsCert: /tmp/tls.crt, tlsKey: /tmp/tls.key}
grpc: {addr: "0.0.0.0:5557"}
telemetry: {http: "0.0.0.0:5558"}
logger: {level: debug}
oauth2: {responseTypes: [code], skipApprovalScreen: true}
connectors:
- type: github
  id: gh
  name: GitHub
  config: {clientID: a$b, clientSecret: pa$$word, redirectURI: "https://cd.example.com/api/dex/callback"}
- {type: ldap, id: l, config: {host: ldap}}
staticClients:
- {id: argo-cd, name: Sluice, secret: SECRET, redirectURIs: ["https://cd.example.com/auth/callback", "https://other.example.com/cd/auth/callback"]}
- {id: argo-cd-cli, name: Sluice CLI, public: true, redirectURIs: ["http://localhost", "http://localhost:8085/auth/callback"]}
- {id: argo-cd-pkce, name: Sluice PKCE, public: true, redirectURIs: ["http://localhost:4000/auth/callback"]}
- {id: mine, secret: x}
`, "SECRET", sso.DexClientSecret("key").Reveal())), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	plain, err := sso.RenderDex(cm, find, "key", sso.DexOptions{Plain: true})
	if err != nil || !strings.Contains(string(plain), "http: 0.0.0.0:5556") || strings.Contains(string(plain), "logger") {
		t.Errorf("%s %v", plain, err)
	}
	if _, err := sso.RenderDex(map[string]string{"url": "https://x"}, find, "key", sso.DexOptions{}); !errors.Is(err, sso.ErrNoDex) {
		t.Error(err)
	}
	for text, says := range map[string]string{"[]": "no YAML", "connectors: [{config: {s: $gone}}]": "$gone"} {
		if _, err := sso.RenderDex(map[string]string{"url": "https://x", "dex.config": text}, find, "key", sso.DexOptions{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestReturn(t *testing.T) {
	cm := map[string]string{"url": "https://cd.example.com", "additionalUrls": "[https://other.example.com/cd/]"}
	for want, to := range map[string]string{
		"": "https://cd.example.com",
		"https://cd.example.com/applications?a=b":   "https://cd.example.com/applications?a=b",
		"https://other.example.com/cd/applications": "https://other.example.com/cd/applications",
		"https://other.example.com/cd":              "https://other.example.com/cd",
		"/settings":                                 "https://cd.example.com/settings",
		"https://other.example.com/else":            "",
		"https://other.example.com/cdx":             "",
		"https://other.example.com/cd/../else":      "",
		"http://cd.example.com/":                    "",
		"https://cd.example.com:8443/":              "",
		"https://cd.example.com.evil.com/":          "",
		"https://u@cd.example.com/":                 "",
		"//evil.com/":                               "",
		"javascript:alert(1)":                       "",
		"/\\evil.com":                               "",
		"applications":                              "",
		"https://cd.example.com/\r\nSet-Cookie: x":  "",
	} {
		got, ok := sso.Return(cm, want, "https://cd.example.com")
		if got != to || ok != (to != "") {
			t.Errorf("%q: %q, want %q", want, got, to)
		}
	}
	for _, c := range [][3]string{
		{"cd.example.com", "/auth/login", "https://cd.example.com"},
		{"OTHER.example.com", "/cd/auth/login", "https://other.example.com/cd"},
		{"other.example.com", "/auth/login", "https://cd.example.com"},
		{"evil.com", "/", "https://cd.example.com"},
	} {
		if got := sso.Base(cm, c[0], c[1]); got != c[2] {
			t.Errorf("%v: %s", c, got)
		}
	}
	if sso.Base(nil, "x", "/") != "" {
		t.Error("a base without url")
	}
}

func TestIdentify(t *testing.T) {
	c := &sso.Config{Audiences: []string{"cd"}}
	for name, x := range map[string]struct {
		token sso.Token
		want  string
	}{
		"subject":          {sso.Token{Subject: "s", Audience: []string{"x", "cd"}}, "s s  "},
		"email":            {sso.Token{Subject: "s", Audience: []string{"cd"}, Claims: map[string]any{"email": "e@x", "jti": "j", "uti": "u"}}, "s e@x j "},
		"federated":        {sso.Token{Subject: "s", Audience: []string{"cd"}, Claims: map[string]any{"federated_claims": map[string]any{"user_id": "f"}, "at_hash": "h", "groups": []any{"g"}}}, "f f h g"},
		"other audience":   {sso.Token{Subject: "s", Audience: []string{"x"}}, "token is for another audience"},
		"no audience":      {sso.Token{Subject: "s"}, "token is for another audience"},
		"no subject":       {sso.Token{Audience: []string{"cd"}}, "token has no subject"},
		"a role's subject": {sso.Token{Subject: "proj:team:ci", Audience: []string{"cd"}}, "token has a subject that only project roles have"},
	} {
		who, err := c.Identify(x.token, []string{"groups"})
		got := fmt.Sprintf("%s %s %s %s", who.Subject, who.Name, who.TokenID, strings.Join(who.Groups, ","))
		if err != nil {
			got = err.Error()
		}
		if got != x.want {
			t.Errorf("%s: %q, want %q", name, got, x.want)
		}
	}
	c.WithoutAudience = true
	if _, err := c.Identify(sso.Token{Subject: "s"}, nil); err != nil {
		t.Error(err)
	}
	if _, err := c.Identify(sso.Token{Subject: "s", Audience: []string{"x"}}, nil); err == nil {
		t.Error("another audience passes")
	}
}

func FuzzReturn(f *testing.F) {
	for _, s := range []string{"https://cd.example.com/x", "//x", "/\t/x", "https:cd.example.com", "https://cd.example.com\\@evil.com"} {
		f.Add(s)
	}
	cm := map[string]string{"url": "https://cd.example.com"}
	f.Fuzz(func(t *testing.T, want string) {
		got, ok := sso.Return(cm, want, "https://cd.example.com")
		if ok && got != "https://cd.example.com" && !strings.HasPrefix(got, "https://cd.example.com/") && !strings.HasPrefix(strings.ToLower(got), "https://cd.example.com/") && !strings.HasPrefix(strings.ToLower(got), "https://cd.example.com?") && !strings.HasPrefix(strings.ToLower(got), "https://cd.example.com#") && strings.ToLower(got) != "https://cd.example.com" {
			t.Errorf("%q leads to %q", want, got)
		}
	})
}
