package session_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/internal/server/session"
)

func TestCreate(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		body    string
		status  int
		message string
	}{
		{`{"username":"alice","password":"correct horse"}`, 200, ""},
		{`{"username":"alice","password":"wrong"}`, 401, "Invalid username or password"},
		{`{"username":"nobody","password":"correct horse"}`, 401, "Invalid username or password"},
		{`{"username":"alice"}`, 401, "no credentials supplied"},
		{`{}`, 401, "no credentials supplied"},
		{``, 401, "no credentials supplied"},
		{`{"token":"x"}`, 401, "not supported"},
		{`{"username":"` + strings.Repeat("x", 33) + `","password":"x"}`, 400, "too long"},
		{`{"username":7}`, 400, "username"},
		{`{"username":"` + strings.Repeat("x", 20000) + `"}`, 400, "bytes"},
	} {
		a := r.do("", "POST", "/api/v1/session", c.body)
		if a.status != c.status || !strings.Contains(a.body, c.message) || strings.Contains(a.body, "horse") {
			t.Errorf("%.60s: %d %s", c.body, a.status, a.body)
		}
		if c.status != 200 {
			continue
		}
		token := field(t, a.body, "token")
		if got, want := a.header.Get("Set-Cookie"), "argocd.token="+token+"; Path=/cd; HttpOnly; Secure; SameSite=Lax"; got != want {
			t.Errorf("cookie %q, want %q", got, want)
		}
		for _, by := range []func(*http.Request){
			func(q *http.Request) { q.Header.Set("Authorization", "Bearer "+token) },
			func(q *http.Request) { q.AddCookie(&http.Cookie{Name: "argocd.token", Value: token}) },
			func(q *http.Request) {
				q.Header.Set("Authorization", "Bearer no-token")
				q.AddCookie(&http.Cookie{Name: "argocd.token", Value: token})
			},
		} {
			if a := r.send("GET", "/api/v1/session/userinfo", "", by); a.body != `{"loggedIn":true,"username":"alice","iss":"argocd"}` {
				t.Errorf("who am I: %s", a.body)
			}
		}
	}
}

func TestWithoutToken(t *testing.T) {
	r := newRig(t)
	for token, message := range map[string]string{"": "no session information", "a.b.c": "invalid session: "} {
		a := r.do(token, "GET", "/api/v1/account", "")
		if a.status != 401 || field(t, a.body, "error") != field(t, a.body, "message") || !strings.HasPrefix(field(t, a.body, "message"), message) || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), message) {
			t.Errorf("%q: %d %s %v", token, a.status, a.body, a.header)
		}
	}
	if a := r.do("", "GET", "/api/v1/session/userinfo", ""); a.status != 200 || a.body != "{}" {
		t.Errorf("who am I without token: %d %s", a.status, a.body)
	}
	r.config["users.anonymous.enabled"] = "true"
	r.keeper.Reload()
	for _, token := range []string{"", "a.b.c"} {
		if a := r.do(token, "GET", "/api/v1/account", ""); a.status != 200 || a.body != `{"items":[]}` {
			t.Errorf("anonymous: %d %s", a.status, a.body)
		}
	}
}

func TestDeleteForgetsTheCookie(t *testing.T) {
	r := newRig(t)
	token := r.token("alice")
	a := r.do(token, "DELETE", "/api/v1/session", "")
	if a.status != 200 || a.body != `{"token":""}` || !strings.HasPrefix(a.header.Get("Set-Cookie"), "argocd.token=; Path=/cd; Max-Age=0") {
		t.Errorf("%d %s %s", a.status, a.body, a.header.Get("Set-Cookie"))
	}
	if a := r.do(token, "GET", "/api/v1/account", ""); a.status != 200 {
		t.Errorf("the session has ended: %s", a.body)
	}
}

// TestForeignForms is T-22424: what a page of another site can send with the
// cookie of a victim is refused before any handler.
func TestForeignForms(t *testing.T) {
	r := newRig(t)
	token := r.token("alice")
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", "text/json"} {
		a := r.send("POST", "/api/v1/account/alice/token", `{}`, func(q *http.Request) {
			q.AddCookie(&http.Cookie{Name: "argocd.token", Value: token})
			if q.Header.Set("Content-Type", kind); kind == "" {
				q.Header.Del("Content-Type")
			}
		})
		if a.status != http.StatusUnsupportedMediaType {
			t.Errorf("%q: %d %s", kind, a.status, a.body)
		}
	}
	for header, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example.com"} {
		a := r.send("POST", "/api/v1/account/alice/token", `{}`, func(q *http.Request) {
			q.AddCookie(&http.Cookie{Name: "argocd.token", Value: token})
			q.Header.Set(header, value)
		})
		if a.status != http.StatusForbidden {
			t.Errorf("%s %s: %d %s", header, value, a.status, a.body)
		}
	}
}

func TestRenewedCookie(t *testing.T) {
	r := newRig(t)
	token := r.token("alice") // an hour
	by := func(q *http.Request) { q.AddCookie(&http.Cookie{Name: "argocd.token", Value: token}) }
	if a := r.send("GET", "/api/v1/account", "", by); a.header.Get("Set-Cookie") != "" {
		t.Error("a young session is renewed")
	}
	r.clock.Step(56 * time.Minute)
	cookie := r.send("GET", "/api/v1/account", "", by).header.Get("Set-Cookie")
	fresh, _, _ := strings.Cut(strings.TrimPrefix(cookie, "argocd.token="), ";")
	if s, err := r.keeper.Verify(fresh); err != nil || s.Subject != "alice" || s.ExpiresAt.Sub(r.clock.Now()) != 24*time.Hour {
		t.Errorf("%q: %+v %v", cookie, s, err)
	}
	if a := r.do(token, "GET", "/api/v1/account", ""); a.header.Get("Set-Cookie") != "" {
		t.Error("a bearer gets a cookie")
	}
}

func TestSplitCookies(t *testing.T) {
	r := newRig(t)
	c := session.Cookies{Path: "/", Secure: func() bool { return true }}
	for _, n := range []int{1, 4000, 4010, 4060, 8000, 70000} {
		token := strings.Repeat("t", n)
		cookies, err := c.Set(token)
		if err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		q := httptest.NewRequest("GET", "/", nil)
		for _, one := range cookies {
			if len(one.String()) > 4093 {
				t.Errorf("%d: a cookie of %d bytes", n, len(one.String()))
			}
			q.AddCookie(one)
		}
		q.Header.Set("Authorization", "Basic abc")
		if got := session.TokenOf(q); got != token {
			t.Errorf("%d: %d bytes come back from %d cookies", n, len(got), len(cookies))
		}
		if n == 8000 {
			if cookies[0].Name != "argocd.token" || !strings.HasPrefix(cookies[0].Value, fmt.Sprintf("%d:", len(cookies))) || cookies[1].Name != "argocd.token-1" {
				t.Errorf("cookies %v", cookies)
			}
			if cleared := c.Clear(q); len(cleared) != len(cookies) || cleared[1].MaxAge >= 0 {
				t.Errorf("cleared %v", cleared)
			}
		}
	}
	if _, err := c.Set(strings.Repeat("t", 90000)); err == nil || !strings.Contains(err.Error(), "at most 20") {
		t.Errorf("a token for more than 20 cookies: %v", err)
	}
	for _, value := range []string{"3:abc", "0:abc", "99:abc", "-1:abc", "x:abc"} {
		a := r.send("GET", "/api/v1/account", "", func(q *http.Request) { q.AddCookie(&http.Cookie{Name: "argocd.token", Value: value}) })
		if a.status != 401 || !strings.Contains(a.body, "not complete") {
			t.Errorf("%s: %d %s", value, a.status, a.body)
		}
	}
}

func TestSource(t *testing.T) {
	for client, want := range map[string]string{"192.0.2.1": "192.0.2.1", "2001:db8:1:2:3::4": "2001:db8:1:2::/64", "::ffff:192.0.2.1": "192.0.2.1", "fe80::1%eth0": "fe80::/64", "pipe": "pipe"} {
		if got := session.Source(client); got != want {
			t.Errorf("%s: %s, want %s", client, got, want)
		}
	}
}
