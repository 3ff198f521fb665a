package identity_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	clocks "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/identity"
	"github.com/sluice-cd/sluice/internal/domain/account"
)

func sign(t *testing.T, key any, method jwt.SigningMethod, claims jwt.MapClaims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestTokensThatAreNotGood is the matrix of SEC-24 for our own tokens.
func TestTokensThatAreNotGood(t *testing.T) {
	r := newRig(t)
	good := func() jwt.MapClaims {
		return jwt.MapClaims{"iss": "argocd", "sub": "alice:login", "iat": start.Unix(), "nbf": start.Unix(), "exp": start.Add(time.Hour).Unix(), "jti": "x"}
	}
	key := []byte("0123456789abcdef0123456789abcdef")
	with := func(name string, value any) jwt.MapClaims {
		c := good()
		if c[name] = value; value == nil {
			delete(c, name)
		}
		return c
	}
	if _, err := r.Verify(sign(t, key, jwt.SigningMethodHS256, good())); err != nil {
		t.Fatalf("the good token: %v", err)
	}
	private := must(rsa.GenerateKey(rand.Reader, 2048))
	tampered := sign(t, key, jwt.SigningMethodHS256, good())
	parts := strings.Split(tampered, ".")
	payload := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(must(base64.RawURLEncoding.DecodeString(parts[1]))), "alice", "admin", 1)))
	for name, token := range map[string]string{
		"empty": "", "dots": "..", "noise": "a.b.c", "one part": "abc", "long": strings.Repeat("a", 20000),
		"other key":         sign(t, []byte("other"), jwt.SigningMethodHS256, good()),
		"empty key":         sign(t, []byte(""), jwt.SigningMethodHS256, good()),
		"HS512":             sign(t, key, jwt.SigningMethodHS512, good()),
		"none":              sign(t, jwt.UnsafeAllowNoneSignatureType, jwt.SigningMethodNone, good()),
		"RS256":             sign(t, private, jwt.SigningMethodRS256, good()),
		"changed":           parts[0] + "." + payload + "." + parts[2],
		"cut":               tampered[:len(tampered)-3],
		"other issuer":      sign(t, key, jwt.SigningMethodHS256, with("iss", "https://idp")),
		"no issuer":         sign(t, key, jwt.SigningMethodHS256, with("iss", nil)),
		"expired":           sign(t, key, jwt.SigningMethodHS256, with("exp", start.Unix())),
		"login without end": sign(t, key, jwt.SigningMethodHS256, with("exp", nil)),
		"not yet":           sign(t, key, jwt.SigningMethodHS256, with("nbf", start.Add(time.Minute).Unix())),
		"no issue time":     sign(t, key, jwt.SigningMethodHS256, with("iat", nil)),
		"no id":             sign(t, key, jwt.SigningMethodHS256, with("jti", nil)),
		"no subject":        sign(t, key, jwt.SigningMethodHS256, with("sub", nil)),
		"unknown account":   sign(t, key, jwt.SigningMethodHS256, with("sub", "bob:login")),
		"disabled account":  sign(t, key, jwt.SigningMethodHS256, with("sub", "off:login")),
		"wrong capability":  sign(t, key, jwt.SigningMethodHS256, with("sub", "robot:login")),
		"api key not known": sign(t, key, jwt.SigningMethodHS256, with("sub", "alice:apiKey")),
		"iat is a word":     sign(t, key, jwt.SigningMethodHS256, with("iat", "now")),
		"sub is a number":   sign(t, key, jwt.SigningMethodHS256, with("sub", 7)),
	} {
		if s, err := r.Verify(token); err == nil {
			t.Errorf("%s: is good for %q", name, s.Subject)
		} else if strings.Contains(err.Error(), string(key)) {
			t.Errorf("%s: the error shows the key", name)
		}
	}
}

// TestSessionEnds is T-8826.
func TestSessionEnds(t *testing.T) {
	r := newRig(t)
	token := r.token(t, "alice")
	s := must(r.Verify(token))
	r.clock.SetTime(s.ExpiresAt.Add(-time.Second))
	if _, err := r.Verify(token); err != nil {
		t.Errorf("a second before its end: %v", err)
	}
	r.clock.SetTime(s.ExpiresAt)
	if _, err := r.Verify(token); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("at its end: %v", err)
	}
}

func TestRenew(t *testing.T) {
	r := newRig(t)
	token := r.token(t, "alice")
	s := must(r.Verify(token))
	if fresh := must(r.Renew(s)); fresh != "" {
		t.Error("a young session is renewed")
	}
	r.clock.SetTime(s.ExpiresAt.Add(-299 * time.Second))
	fresh := must(r.Renew(s))
	next, err := r.Verify(fresh)
	if err != nil || next.Subject != "alice" || !next.Interactive || next.ExpiresAt.Sub(r.clock.Now()) < 23*time.Hour {
		t.Errorf("%+v %v", next, err)
	}
	key := must(r.CreateToken(t.Context(), "alice", "k", time.Minute))
	if fresh := must(r.Renew(must(r.Verify(key)))); fresh != "" {
		t.Error("an API token is renewed")
	}
	r.hub.set("argocd-cm", map[string]string{"accounts.alice": "login", "users.session.duration": "2m"})
	r.Reload()
	if fresh := must(r.Renew(s)); fresh != "" {
		t.Error("sessions shorter than the margin are renewed for ever")
	}
}

// TestWhatEndsTokens is SEC-25: each change ends what it should, at once here
// and after a reload elsewhere.
func TestWhatEndsTokens(t *testing.T) {
	for name, c := range map[string]struct {
		change          func(t *testing.T, r *rig)
		login, api, own bool // what stays good
	}{
		"nothing": {func(*testing.T, *rig) {}, true, true, true},
		"disabled": {func(_ *testing.T, r *rig) {
			r.hub.set("argocd-cm", map[string]string{"accounts.alice": "login, apiKey", "accounts.alice.enabled": "false"})
		}, false, false, true},
		"removed":  {func(_ *testing.T, r *rig) { r.hub.set("argocd-cm", nil) }, false, false, true},
		"no login": {func(_ *testing.T, r *rig) { r.hub.set("argocd-cm", map[string]string{"accounts.alice": "apiKey"}) }, false, true, true},
		"no key":   {func(_ *testing.T, r *rig) { r.hub.set("argocd-cm", map[string]string{"accounts.alice": "login"}) }, true, false, true},
		"password": {func(t *testing.T, r *rig) {
			r.clock.Step(time.Second)
			if err := r.SetPassword(t.Context(), "alice", "another password"); err != nil {
				t.Error(err)
			}
		}, false, false, true},
		"token deleted": {func(t *testing.T, r *rig) {
			if err := r.DeleteToken(t.Context(), "alice", "k"); err != nil {
				t.Error(err)
			}
		}, true, false, true},
		"key of the server": {func(t *testing.T, r *rig) {
			must(r.hub.Mutate(t.Context(), "argocd-secret", func(d map[string][]byte) error { d["server.secretkey"] = []byte("new"); return nil }))
		}, false, false, false},
		"role deleted": {func(_ *testing.T, r *rig) { r.hub.projects["team"] = project("team", "other") }, true, true, false},
	} {
		r := newRig(t)
		r.hub.projects["team"] = project("team", "ci")
		login, api := r.token(t, "alice"), must(r.CreateToken(t.Context(), "alice", "k", 0))
		issued := must(r.Issue("proj:team:ci", "", 0))
		p := project("team", "ci")
		if err := account.AddProjectToken(p, "ci", v1alpha1.JWTToken{ID: issued.ID, IssuedAt: issued.IssuedAt}, start); err != nil {
			t.Fatal(err)
		}
		r.hub.projects["team"] = p
		c.change(t, r)
		r.Reload()
		for kind, token := range map[string]struct {
			text string
			good bool
		}{"login": {login, c.login}, "api": {api, c.api}, "project": {issued.Token, c.own}} {
			if _, err := r.Verify(token.text); (err == nil) != token.good {
				t.Errorf("%s: the %s token is good: %v (%v), want %v", name, kind, err == nil, err, token.good)
			}
		}
	}
}

func TestPasswordAndTokens(t *testing.T) {
	r := newRig(t)
	for password, want := range map[string]error{"short": account.ErrPattern, strings.Repeat("x", 33): account.ErrPattern, "good enough": nil} {
		if err := r.SetPassword(t.Context(), "alice", password); !errors.Is(err, want) {
			t.Errorf("%s: %v", password, err)
		}
	}
	if _, err := r.login(t, "alice", "good enough", "x"); err != nil {
		t.Errorf("the new password: %v", err)
	}
	if err := r.SetPassword(t.Context(), "nobody", "good enough"); !errors.Is(err, account.ErrUnknown) {
		t.Error(err)
	}
	r.hub.set("argocd-cm", map[string]string{"accounts.alice": "login, apiKey", "passwordPattern": ".*"})
	r.Reload()
	if err := r.SetPassword(t.Context(), "alice", strings.Repeat("x", 73)); !errors.Is(err, identity.ErrPassword) {
		t.Errorf("more than bcrypt takes: %v", err)
	}
	token := must(r.CreateToken(t.Context(), "alice", "", time.Hour))
	s, err := r.Verify(token)
	if err != nil || s.Interactive || s.Subject != "alice" || len(s.TokenID) != 36 {
		t.Errorf("%+v %v", s, err)
	}
	for _, c := range []struct {
		name, id string
		want     error
	}{{"admin", "", identity.ErrCapability}, {"nobody", "", account.ErrUnknown}, {"alice", s.TokenID, account.ErrTaken}} {
		if _, err := r.CreateToken(t.Context(), c.name, c.id, 0); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if err := r.DeleteToken(t.Context(), "alice", "nope"); !errors.Is(err, account.ErrUnknown) {
		t.Error(err)
	}
}

func TestProjectTokens(t *testing.T) {
	r := newRig(t)
	r.hub.projects["team"] = project("team", "ci")
	token := must(r.CreateProjectToken(t.Context(), identity.ProjectToken{Project: "team", Role: "ci", ID: "one", Lifetime: time.Hour}))
	s, err := r.Verify(token)
	if err != nil || s.Subject != "proj:team:ci" || s.TokenID != "one" || s.Interactive {
		t.Errorf("%+v %v", s, err)
	}
	for _, c := range []struct {
		project, role, id string
		want              error
	}{{"team", "ci", "one", account.ErrTaken}, {"team", "none", "", account.ErrUnknown}, {"none", "ci", "", account.ErrUnknown}} {
		if _, err := r.CreateProjectToken(t.Context(), identity.ProjectToken{Project: c.project, Role: c.role, ID: c.id}); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, gone := range []identity.ProjectToken{{Project: "none", Role: "ci"}, {Project: "team", Role: "none"}, {Project: "team", Role: "ci", ID: "other"}} {
		if err := r.DeleteProjectToken(t.Context(), gone, 0); err != nil {
			t.Errorf("%+v: %v", gone, err)
		}
	}
	if err := r.DeleteProjectToken(t.Context(), identity.ProjectToken{Project: "team", Role: "ci", ID: "one"}, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Verify(token); err == nil {
		t.Error("a deleted token is good")
	}
}

func TestBootstrap(t *testing.T) {
	h, clk := newHub(), clocks.NewFakeClock(start)
	first, second := process(t, h, clk), process(t, h, clk)
	if _, err := first.Issue("x", "", 0); err == nil {
		t.Error("a server without key signs")
	}
	for _, r := range []*rig{first, second, first} {
		if err := r.Bootstrap(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	initial, ok := h.Secret("argocd-initial-admin-secret")
	if !ok || len(initial.Data["password"]) != 16 || strings.Trim(string(initial.Data["password"]), "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-") != "" {
		t.Fatalf("%s", initial.Data)
	}
	password := string(initial.Data["password"])
	for i, r := range []*rig{first, second} {
		r.Reload()
		if _, err := r.login(t, "admin", password, fmt.Sprint(i)); err != nil {
			t.Errorf("process %d: %v", i, err)
		}
		if strings.Contains(r.log.String(), password) {
			t.Error("the password is in the log")
		}
	}
	secret, _ := h.Secret("argocd-secret")
	if key := must(base64.StdEncoding.DecodeString(string(secret.Data["server.secretkey"]))); len(key) != 32 {
		t.Errorf("a key of %d bytes", len(key))
	}
	none := newHub()
	none.set("argocd-cm", map[string]string{"admin.enabled": "false"})
	off := process(t, none, clk)
	if err := off.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := none.Secret("argocd-initial-admin-secret"); ok {
		t.Error("an admin that is switched off gets a password")
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJhcmdvY2QifQ.x")
	h := newHub()
	h.secrets["argocd-secret"] = must(h.Mutate(f.Context(), "argocd-secret", func(d map[string][]byte) error { d["server.secretkey"] = []byte("k"); return nil }))
	k := must(identity.New(identity.Options{Hub: h, Secrets: h, Clock: clocks.NewFakeClock(start), Random: rand.Reader, Cost: 4}))
	f.Fuzz(func(t *testing.T, token string) {
		if s, err := k.Verify(token); err == nil {
			t.Errorf("%q is good for %q", token, s.Subject)
		}
	})
}
