package session_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestAccounts(t *testing.T) {
	r := newRig(t)
	alice, bob, admin := r.token("alice"), r.token("bob"), r.token("admin")
	for _, c := range []struct {
		token, path string
		status      int
		want        string
	}{
		{alice, "/api/v1/account", 200, `{"items":[{"name":"alice","enabled":true,"capabilities":["login","apiKey"],"tokens":[]}]}`},
		{bob, "/api/v1/account", 200, `{"items":[{"name":"bob","enabled":true,"capabilities":["login"],"tokens":[]},{"name":"robot","enabled":true,"capabilities":["apiKey"],"tokens":[]}]}`},
		{alice, "/api/v1/account/alice", 200, `{"name":"alice","enabled":true,"capabilities":["login","apiKey"],"tokens":[]}`},
		{alice, "/api/v1/account/bob", 403, `permission denied for account bob with action get: permission denied: accounts, get, bob, sub: alice, iat: `},
		{alice, "/api/v1/account/nobody", 403, `permission denied for account nobody with action get`},
		{admin, "/api/v1/account/nobody", 404, `account 'nobody' does not exist`},
		{admin, "/api/v1/account/bob", 200, `"name":"bob"`},
	} {
		if a := r.do(c.token, "GET", c.path, ""); a.status != c.status || !strings.Contains(a.body, c.want) {
			t.Errorf("%s: %d %s, want %s", c.path, a.status, a.body, c.want)
		}
	}
}

func TestAccountTokens(t *testing.T) {
	r := newRig(t)
	alice, bob, admin := r.token("alice"), r.token("bob"), r.token("admin")
	for _, c := range []struct {
		token, path, body string
		status            int
		want              string
	}{
		{alice, "alice", `{"id":"ci","expiresIn":3600}`, 200, `"token":`},
		{alice, "alice", `{"id":"ci"}`, 409, `already`},
		{alice, "alice", `{"expiresIn":-1}`, 400, `expiresIn`},
		{alice, "alice", `{"expiresIn":9000000000000000000}`, 400, `expiresIn`},
		{alice, "alice", `{"id":"` + strings.Repeat("x", 257) + `"}`, 400, `256`},
		{alice, "robot", `{}`, 403, `permission denied for account robot with action update`},
		{bob, "robot", `{"id":"r"}`, 200, `"token":`},
		{bob, "bob", `{}`, 400, `apiKey`},
		{admin, "nobody", `{}`, 404, `nobody`},
	} {
		a := r.do(c.token, "POST", "/api/v1/account/"+c.path+"/token", c.body)
		if a.status != c.status || !strings.Contains(a.body, c.want) {
			t.Errorf("%s %.40s: %d %s, want %s", c.path, c.body, a.status, a.body, c.want)
		}
		if a.status == 200 {
			if who := r.do(field(t, a.body, "token"), "GET", "/api/v1/session/userinfo", ""); field(t, who.body, "username") != c.path {
				t.Errorf("the token of %s is of %s", c.path, who.body)
			}
		}
	}
	shown := r.do(alice, "GET", "/api/v1/account/alice", "")
	if want := fmt.Sprintf(`"tokens":[{"id":"ci","issuedAt":%d,"expiresAt":%d}]`, start.Unix(), start.Unix()+3600); !strings.Contains(shown.body, want) {
		t.Errorf("%s, want %s", shown.body, want)
	}
	for _, c := range []struct {
		token, path string
		status      int
	}{{alice, "alice/token/none", 404}, {alice, "robot/token/r", 403}, {alice, "alice/token/ci", 200}, {bob, "robot/token/r", 200}} {
		if a := r.do(c.token, "DELETE", "/api/v1/account/"+c.path, ""); a.status != c.status {
			t.Errorf("delete %s: %d %s", c.path, a.status, a.body)
		}
	}
}

func TestUpdatePassword(t *testing.T) {
	r := newRig(t)
	alice, admin := r.token("alice"), r.token("admin")
	for _, c := range []struct {
		token, body string
		status      int
		want        string
	}{
		{alice, `{"currentPassword":"wrong","newPassword":"new password"}`, 400, "current password does not match"},
		{alice, `{"currentPassword":"correct horse","newPassword":"short"}`, 400, "does not match the following expression"},
		{alice, `{"name":"bob","currentPassword":"correct horse","newPassword":"new password"}`, 403, "permission denied for account bob"},
		{admin, `{"name":"nobody","currentPassword":"correct horse","newPassword":"new password"}`, 404, "nobody"},
		{admin, `{"name":"bob","currentPassword":"wrong","newPassword":"new password"}`, 400, "current password does not match"},
		{admin, `{"name":"bob","currentPassword":"correct horse","newPassword":"new password"}`, 200, "{}"},
		{alice, `{"currentPassword":"correct horse","newPassword":"new password"}`, 200, "{}"},
		{alice, `{"currentPassword":"new password","newPassword":"other password"}`, 401, "password has changed"},
	} {
		r.clock.Step(time.Second)
		a := r.do(c.token, "PUT", "/api/v1/account/password", c.body)
		if a.status != c.status || !strings.Contains(a.body, c.want) || strings.Contains(a.body, "horse") {
			t.Errorf("%s: %d %s, want %s", c.body, a.status, a.body, c.want)
		}
	}
	if a := r.do("", "POST", "/api/v1/session", `{"username":"bob","password":"new password"}`); a.status != 200 {
		t.Errorf("the new password of bob: %s", a.body)
	}
	for range 6 {
		r.do(admin, "PUT", "/api/v1/account/password", `{"currentPassword":"guess","newPassword":"new password"}`)
	}
	if a := r.do(admin, "PUT", "/api/v1/account/password", `{"currentPassword":"correct horse","newPassword":"new password"}`); a.status != 400 {
		t.Errorf("a stolen session can guess the password: %d", a.status)
	}
}

func TestCanI(t *testing.T) {
	r := newRig(t)
	bob := r.token("bob")
	for path, want := range map[string]string{
		"applications/sync/p/a":                 `{"value":"yes"}`,
		"applications/sync/p/argocd/a":          `{"value":"yes"}`,
		"applications/sync/p/other/a":           `{"value":"no"}`,
		"accounts/update/robot":                 `{"value":"yes"}`,
		"clusters/get/https:%2F%2F1.2.3.4":      `{"value":"no"}`,
		"certificates/get/":                     `{"value":"no"}`,
		"certificates/get":                      `{"value":"no"}`,
		"applications/action%2Fapps%2FX%2Fy/p/": `{"value":"no"}`,
		"apples/get/x":                          `"apples\" is no resource`,
		"applications/eat/x":                    `eat\" is no action`,
	} {
		a := r.do(bob, "GET", "/api/v1/account/can-i/"+path, "")
		if !strings.Contains(a.body, want) || (a.status == 200) != strings.Contains(want, "value") || a.status != 200 && a.status != 400 {
			t.Errorf("%s: %d %s, want %s", path, a.status, a.body, want)
		}
	}
	if a := r.do("", "GET", "/api/v1/account/can-i/applications/get/x", ""); a.status != 401 {
		t.Errorf("without token: %d", a.status)
	}
}
