package session

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/identity"
	"github.com/sluice-cd/sluice/internal/adapter/oidc"
	"github.com/sluice-cd/sluice/internal/domain/rbac"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/sso"
	"github.com/sluice-cd/sluice/internal/server/rest"
	provider "github.com/sluice-cd/sluice/test/oidc"
)

// memory keeps the objects of a hub.
type memory struct {
	mu      sync.Mutex
	secrets map[string]*corev1.Secret
	config  map[string]string
}

func (m *memory) Secret(name string) (*corev1.Secret, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.secrets[name]
	return s, ok
}

func (m *memory) ConfigMap(string) (*corev1.ConfigMap, bool) {
	return &corev1.ConfigMap{Data: m.data()}, true
}

func (m *memory) data() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]string{}
	for k, v := range m.config {
		out[k] = v
	}
	return out
}

func (*memory) Project(string) (*v1alpha1.AppProject, bool) { return nil, false }

func (m *memory) Mutate(_ context.Context, name string, change func(map[string][]byte) error) (*corev1.Secret, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := &corev1.Secret{Data: map[string][]byte{}}
	if s, ok := m.secrets[name]; ok {
		next = s.DeepCopy()
	}
	if err := change(next.Data); err != nil {
		return nil, err
	}
	m.secrets[name] = next
	return next, nil
}

// site is a server that people log in to at a real provider.
type site struct {
	t        *testing.T
	hub      *memory
	base     string
	keeper   *identity.Keeper
	provider atomic.Pointer[sso.Config]
	real     *provider.Provider
	at       provider.Options
	// graph is where Microsoft Graph is for the server.
	graph *graph
	// client is the one of the configuration.
	client string
}

const clientSecret = "canary-client-secret"

func newSite(t *testing.T, o provider.Options, more string) *site {
	t.Helper()
	return siteWith(t, nil, o, more)
}

func siteWith(t *testing.T, g *graph, o provider.Options, more string) *site {
	t.Helper()
	s := &site{t: t, graph: g, hub: &memory{secrets: map[string]*corev1.Secret{}, config: map[string]string{}}}
	s.hub.secrets["argocd-secret"] = &corev1.Secret{Data: map[string][]byte{"server.secretkey": []byte("key of the server"), "oidc.secret": []byte(clientSecret)}}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	clk := clock.RealClock{}
	var err error
	if s.keeper, err = identity.New(identity.Options{Hub: s.hub, Secrets: s.hub, Clock: clk, Random: rand.Reader, Log: log, Cost: 4}); err != nil {
		t.Fatal(err)
	}
	policies := rbac.NewLive()
	if _, err := policies.Load(map[string]string{"policy.csv": "g, alice-team, role:admin"}); err != nil {
		t.Fatal(err)
	}
	client := oidc.New(oidc.Options{
		Config: s.provider.Load, Scopes: func() []string { return []string{"groups"} }, Revoked: s.keeper.Revoked, Dial: g.dial,
		Key: func() repo.Secret { return s.keeper.Book().Key }, Length: func() time.Duration { return time.Hour }, Clock: clk, Random: rand.Reader, Log: log,
	})
	auth := &Authenticator{Keeper: s.keeper, SSO: client, Log: log, Clock: clk}
	service, err := New(Options{Keeper: s.keeper, Decide: policies, Namespace: "argocd", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	shown := (&pages{auth: auth, keeper: s.keeper, config: s.hub.data, provider: s.provider.Load, log: log}).handlers()
	handler, err := rest.NewHandler(rest.Options{Table: service.Routes(), Who: auth, Decide: policies, Pages: shown, Ending: context.WithoutCancel(t.Context()), Log: log, Clock: clk})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	s.base = server.URL
	o.Clients = []provider.Client{
		{ID: "sluice", Secret: clientSecret, RedirectURIs: []string{s.base + "/auth/callback"}},
		{ID: "another", RedirectURIs: []string{s.base + "/auth/callback"}},
	}
	s.real = provider.Start(t, o)
	s.at = o
	s.at.Issuer = s.real.Issuer
	s.configure("sluice", more)
	return s
}

// configure writes oidc.config as a user does.
func (s *site) configure(client, more string) {
	s.t.Helper()
	s.client = client
	s.provider.Store(s.parsed(more, false))
}

// parsed writes oidc.config and reads it; with complains there is something to
// say about it.
func (s *site) parsed(more string, complains bool) *sso.Config {
	s.t.Helper()
	s.hub.mu.Lock()
	s.hub.config["url"] = s.base
	s.hub.config["oidc.config"] = fmt.Sprintf("name: Real\nissuer: %s\nclientID: %s\nclientSecret: $oidc.secret\nrequestedScopes: [openid, profile, email, groups]\n%s", s.real.Issuer, s.client, more)
	s.hub.mu.Unlock()
	config, problems := sso.Parse(s.hub.data(), identity.Lookup(s.hub), s.keeper.Book().Key)
	if (len(problems) > 0) != complains {
		s.t.Fatal(problems)
	}
	return config
}

// browser keeps cookies and does not follow redirects by itself.
func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// get gives status, body and Location.
func (s *site) get(b *http.Client, at string) (int, string, string) {
	s.t.Helper()
	if strings.HasPrefix(at, "/") {
		at = s.base + at
	}
	res, err := b.Get(at)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, strings.TrimSpace(string(raw)), res.Header.Get("Location")
}

// approach walks to the provider and back, up to the callback.
func (s *site) approach(b *http.Client, user, returnTo string) string {
	s.t.Helper()
	at, err := s.real.Walk(b, s.base+"/auth/login?return_url="+url.QueryEscape(returnTo), user, func(u *url.URL) bool { return u.Path == "/auth/callback" })
	if err != nil {
		s.t.Fatal(err)
	}
	return at
}

func (s *site) login(user string) *http.Client {
	s.t.Helper()
	b := browser(s.t)
	if status, body, to := s.get(b, s.approach(b, user, "")); status != http.StatusSeeOther || to != s.base {
		s.t.Fatalf("callback: %d %s %s", status, body, to)
	}
	return b
}

func (s *site) whoami(b *http.Client) User {
	s.t.Helper()
	_, body, _ := s.get(b, "/api/v1/session/userinfo")
	var u User
	if err := json.Unmarshal([]byte(body), &u); err != nil {
		s.t.Fatal(err)
	}
	return u
}

func cookieOf(s *site, b *http.Client, name string) string {
	u, err := url.Parse(s.base)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range b.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// TestLoginAtAProvider is the whole way at the certified provider.
func TestLoginAtAProvider(t *testing.T) {
	s := newSite(t, provider.Options{}, "")
	b := browser(t)
	status, body, to := s.get(b, s.approach(b, "alice", s.base+"/applications?x=1"))
	if status != http.StatusSeeOther || to != s.base+"/applications?x=1" {
		t.Fatalf("callback: %d %s %s", status, body, to)
	}
	u := s.whoami(b)
	if !u.LoggedIn || u.Username != "alice@example.com" || u.Issuer != s.real.Issuer || strings.Join(u.Groups, " ") != "everyone alice-team" {
		t.Errorf("who am I: %+v", u)
	}
	if _, body, _ := s.get(b, "/api/v1/account/can-i/clusters/update/x"); body != `{"value":"yes"}` {
		t.Errorf("her group is role:admin: %s", body)
	}
	if _, body, _ := s.get(s.login("bob"), "/api/v1/account/can-i/clusters/update/x"); body != `{"value":"no"}` {
		t.Errorf("bob: %s", body)
	}
	token := cookieOf(s, b, CookieName)
	if cookieOf(s, b, stateCookie) != "" {
		t.Error("the state is still there")
	}
	status, _, to = s.get(b, "/auth/logout")
	if status != http.StatusSeeOther || to != s.base || s.whoami(b).LoggedIn {
		t.Errorf("logout: %d %s", status, to)
	}
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.base+"/api/v1/account", nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if raw, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusUnauthorized || !strings.Contains(string(raw), "revoked") {
		t.Errorf("the token after the logout: %d %s", res.StatusCode, raw)
	}
	if status, _, _ := s.get(b, "/auth/logout"); status != http.StatusBadRequest {
		t.Errorf("a logout without session: %d", status)
	}
}

func TestLogoutAtTheProvider(t *testing.T) {
	s := newSite(t, provider.Options{}, "logoutURL: https://idp.example.com/out?hint={{token}}&to={{logoutRedirectURL}}")
	b := s.login("alice")
	token := cookieOf(s, b, CookieName)
	if _, _, to := s.get(b, "/auth/logout"); to != "https://idp.example.com/out?hint="+token+"&to="+url.QueryEscape(s.base) {
		t.Errorf("to %s", to)
	}
}

// TestCallbackBelongsToOneBrowser: state, nonce and cookie are of one login.
func TestCallbackBelongsToOneBrowser(t *testing.T) {
	s := newSite(t, provider.Options{}, "")
	victim, attacker := browser(t), browser(t)
	stolen := s.approach(attacker, "mallory", "")
	s.approach(victim, "alice", "")
	for name, at := range map[string]string{
		"answer of another browser": stolen,
		"no code":                   "/auth/callback?state=x",
		"nothing":                   "/auth/callback",
	} {
		status, body, _ := s.get(victim, at)
		if status != http.StatusBadRequest || !strings.Contains(body, "not begun in this browser") {
			t.Errorf("%s: %d %s", name, status, body)
		}
		s.approach(victim, "alice", "")
	}
	if s.whoami(victim).LoggedIn {
		t.Error("the victim is logged in as somebody else")
	}
	again := s.approach(victim, "alice", "")
	if status, _, _ := s.get(victim, again); status != http.StatusSeeOther {
		t.Fatalf("a good login: %d", status)
	}
	if status, _, _ := s.get(victim, again); status != http.StatusBadRequest {
		t.Errorf("a callback serves twice: %d", status)
	}
}

// TestNothingIsReflected is T-24905, and return addresses T-31102.
func TestNothingIsReflected(t *testing.T) {
	s := newSite(t, provider.Options{}, "")
	const marker = "m4rk3r<script>"
	for _, path := range []string{"/auth/login", "/auth/callback", "/auth/logout"} {
		for _, parameter := range []string{"return_url", "error", "error_description", "error_uri", "state", "code", "has_sso_error", "x"} {
			status, body, to := s.get(browser(t), path+"?"+parameter+"="+url.QueryEscape(marker))
			if strings.Contains(body, "m4rk3r") || strings.Contains(to, "m4rk3r") {
				t.Errorf("%s shows %s: %d %s %s", path, parameter, status, body, to)
			}
		}
	}
	for returnTo, want := range map[string]int{
		"": 303, "/applications": 303, "https://evil.example.com/": 400, "//evil.example.com": 400, "javascript:alert(1)": 400, "data:text/html,x": 400,
		"http://" + marker: 400, "\\\\evil.example.com": 400, s.base + "@evil.example.com": 400, s.base + ".evil.example.com": 400, "https" + s.base[4:]: 400,
	} {
		if status, _, _ := s.get(browser(t), "/auth/login?return_url="+url.QueryEscape(returnTo)); status != want {
			t.Errorf("return to %q: %d, want %d", returnTo, status, want)
		}
	}
	if status, body, _ := s.get(browser(t), "/auth/callback?error=access_denied&error_description="+marker); status != 400 || body != "the provider denies access" {
		t.Errorf("%d %s", status, body)
	}
}

func TestAudience(t *testing.T) {
	s := newSite(t, provider.Options{}, "")
	s.configure("another", "clientSecret: ''\nallowedAudiences: [sluice]")
	b := browser(t)
	if status, body, _ := s.get(b, s.approach(b, "alice", "")); status != http.StatusBadRequest || !strings.Contains(body, "another audience") {
		t.Errorf("a token for another client: %d %s", status, body)
	}
	s.configure("another", "clientSecret: ''\nallowedAudiences: [sluice, another]")
	if u := s.whoami(s.login("alice")); u.Username != "alice@example.com" {
		t.Errorf("an allowed audience: %+v", u)
	}
}

// TestRefresh: a short token is refreshed for as long as the login lasts, and
// once for many requests, because the provider takes a means of refreshing only
// once.
func TestRefresh(t *testing.T) {
	s := newSite(t, provider.Options{IDTokenSeconds: 600}, "refreshTokenThreshold: 10h")
	b := s.login("alice")
	first := cookieOf(s, b, CookieName)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if u := s.whoami(b); u.Username != "alice@example.com" {
				t.Errorf("while it is refreshed: %+v", u)
			}
		})
	}
	all.Wait()
	second := cookieOf(s, b, CookieName)
	if second == first || second == "" {
		t.Fatal("the token is not refreshed")
	}
	if s.whoami(b); cookieOf(s, b, CookieName) == second || !s.whoami(b).LoggedIn {
		t.Error("it is refreshed once only")
	}
	at, err := url.Parse(s.base)
	if err != nil {
		t.Fatal(err)
	}
	stolen, kept := browser(t), b.Jar.Cookies(at)
	if status, _, _ := s.get(b, "/auth/logout"); status != http.StatusSeeOther {
		t.Fatal(status)
	}
	stolen.Jar.SetCookies(at, kept)
	if cookieOf(s, stolen, sessionCookie) == "" || s.whoami(stolen).LoggedIn {
		t.Error("a login that was ended is refreshed")
	}
}

func TestExpiredTokenIsRefreshed(t *testing.T) {
	s := newSite(t, provider.Options{IDTokenSeconds: 1}, "")
	b := s.login("alice")
	first := cookieOf(s, b, CookieName)
	deadline := time.After(20 * time.Second)
	for cookieOf(s, b, CookieName) == first {
		if !s.whoami(b).LoggedIn {
			t.Fatal("an ended token is not refreshed")
		}
		select {
		case <-deadline:
			t.Fatal("the token never ends")
		default:
		}
	}
}

func TestGroupsOfUserInfo(t *testing.T) {
	s := newSite(t, provider.Options{ClaimsOnlyInUserInfo: true}, "enableUserInfoGroups: true\nuserInfoPath: /me")
	if u := s.whoami(s.login("alice")); strings.Join(u.Groups, " ") != "everyone alice-team" {
		t.Errorf("groups %v", u.Groups)
	}
	s.configure("sluice", "")
	if u := s.whoami(s.login("alice")); len(u.Groups) != 0 {
		t.Errorf("groups %v though they are not asked for", u.Groups)
	}
}

// TestProviderGoesAndChangesItsKeys is fault 105: what was verified before is
// good while the provider is away, and a new key is found.
func TestProviderGoesAndChangesItsKeys(t *testing.T) {
	s := newSite(t, provider.Options{}, "")
	b := s.login("alice")
	s.real.Stop()
	if !s.whoami(b).LoggedIn {
		t.Error("sessions end with the provider")
	}
	s.at.KeyID = "second"
	s.real = provider.Start(t, s.at)
	deadline := time.After(30 * time.Second)
	for {
		fresh := browser(t)
		at := s.approach(fresh, "bob", "")
		if status, _, _ := s.get(fresh, at); status == http.StatusSeeOther {
			break
		}
		select {
		case <-deadline:
			t.Fatal("the new key is not found")
		case <-time.After(time.Second):
		}
	}
}

func TestWithoutProvider(t *testing.T) {
	s := newSite(t, provider.Options{}, "")
	s.provider.Store(nil)
	if status, _, _ := s.get(browser(t), "/auth/login"); status != http.StatusNotFound {
		t.Errorf("login without provider: %d", status)
	}
	s.configure("sluice", "")
	s.real.Stop()
	if status, body, _ := s.get(browser(t), "/auth/login"); status != http.StatusBadGateway || strings.Contains(body, s.real.Issuer) {
		t.Errorf("a provider that is away: %d %s", status, body)
	}
}

// TestForeignTokens: what the provider did not sign for us is refused.
func TestForeignTokens(t *testing.T) {
	s := newSite(t, provider.Options{}, "")
	token := cookieOf(s, s.login("alice"), CookieName)
	other := newSite(t, provider.Options{}, "")
	parts := strings.Split(token, ".")
	for name, bad := range map[string]string{
		"another issuer": cookieOf(other, other.login("alice"), CookieName), "no signature": parts[0] + "." + parts[1] + ".",
		"cut": token[:len(token)-4], "alg none": "eyJhbGciOiJub25lIn0." + parts[1] + ".", "alg HS256": "eyJhbGciOiJIUzI1NiJ9." + parts[1] + "." + parts[2],
	} {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.base+"/api/v1/account", nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "Bearer "+bad)
		res, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
}
