package session

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	provider "github.com/sluice-cd/sluice/test/oidc"
)

// graph answers in the place of Microsoft Graph, which cannot be here: over TLS,
// by its name, to who shows an access token that the provider knows.
type graph struct {
	server *httptest.Server
	ca     string
	// userInfo is where the provider tells whose a token is.
	userInfo string

	mu    sync.Mutex
	asked int
	away  bool
}

func newGraph(t *testing.T) *graph {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"graph.microsoft.com"},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	g := &graph{ca: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
	g.server = httptest.NewUnstartedServer(g)
	g.server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	g.server.StartTLS()
	t.Cleanup(g.server.Close)
	return g
}

// dial leads connections to Graph here, and all others where they want.
func (g *graph) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if g != nil && address == "graph.microsoft.com:443" {
		address = g.server.Listener.Addr().String()
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// ServeHTTP answers with two groups of the owner of the token.
func (g *graph) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	body, err := io.ReadAll(r.Body)
	if g.away || err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1.0/me/getMemberObjects" || !strings.Contains(string(body), "securityEnabledOnly") {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	q, err := http.NewRequestWithContext(r.Context(), http.MethodGet, g.userInfo, nil)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	q.Header.Set("Authorization", r.Header.Get("Authorization"))
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	defer res.Body.Close()
	var who struct{ Sub string }
	if res.StatusCode != http.StatusOK || json.NewDecoder(res.Body).Decode(&who) != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#Collection(Edm.String)", "value": []string{who.Sub + "-team", "id-2"}})
}

func (g *graph) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked
}

func (g *graph) leave(away bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.away = away
}

// TestGroupsThatAreTooManyForAToken: an ID token that names a place instead of
// groups has them asked for at Graph, when that is switched on, once for a while.
func TestGroupsThatAreTooManyForAToken(t *testing.T) {
	g := newGraph(t)
	authority := "rootCA: |\n  " + strings.ReplaceAll(strings.TrimSpace(g.ca), "\n", "\n  ") + "\n"
	on := authority + "azure: {enableUserGroupOverageClaim: true, userGroupOverageClaimCacheExpiration: 1h}"
	s := siteWith(t, g, provider.Options{GroupsElsewhere: "https://graph.windows.net/tenant/users/alice/getMemberObjects"}, on)
	g.userInfo = s.real.Issuer + "/me"
	groups := func(b *http.Client) string {
		t.Helper()
		u := s.whoami(b)
		if !u.LoggedIn {
			t.Error("nobody is logged in")
		}
		return strings.Join(u.Groups, " ")
	}
	alice := s.login("alice")
	for range 3 {
		if got := groups(alice); got != "alice-team id-2" {
			t.Errorf("groups %q", got)
		}
	}
	if g.count() != 1 {
		t.Errorf("Graph was asked %d times", g.count())
	}
	bob := s.login("bob")
	if got := groups(bob); got != "bob-team id-2" {
		t.Errorf("groups of another: %q", got)
	}
	mixed := browser(t) // the session of one with the token of another
	at, err := http.NewRequest(http.MethodGet, s.base, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range alice.Jar.Cookies(at.URL) {
		if c.Name != "argocd.token" {
			mixed.Jar.SetCookies(at.URL, []*http.Cookie{c})
		}
	}
	for _, c := range bob.Jar.Cookies(at.URL) {
		if c.Name == "argocd.token" {
			mixed.Jar.SetCookies(at.URL, []*http.Cookie{c})
		}
	}
	if got := groups(mixed); got != "" {
		t.Errorf("the session of another lends its groups: %q", got)
	}

	g.leave(true)
	if got := groups(s.login("carol")); got != "" {
		t.Errorf("groups without an answer: %q", got)
	}
	if got := groups(alice); got != "alice-team id-2" {
		t.Errorf("what was known is forgotten: %q", got)
	}
	g.leave(false)
	asked := g.count()
	for name, more := range map[string]string{
		"switched off": authority, "not Graph": authority + "azure: {enableUserGroupOverageClaim: true, graphApiEndpoint: 'https://graph.microsoft.com.example/v1.0'}",
		"without TLS": authority + "azure: {enableUserGroupOverageClaim: true, graphApiEndpoint: 'http://graph.microsoft.com/v1.0'}",
	} {
		s.provider.Store(s.parsed(more, name != "switched off"))
		if got := groups(s.login("dora")); got != "" || g.count() != asked {
			t.Errorf("%s: groups %q, Graph was asked %d times", name, got, g.count()-asked)
		}
	}
}
