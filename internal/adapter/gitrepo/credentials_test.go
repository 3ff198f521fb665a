package gitrepo_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// authority is a certificate authority of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	raw := must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))(t)
	return &authority{must(x509.ParseCertificate(raw))(t), key, encode("CERTIFICATE", raw)}
}

func encode(kind string, raw []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}))
}

// issue gives a certificate and its key for 127.0.0.1.
func (a *authority) issue(t *testing.T, until time.Time) (cert, key string) {
	t.Helper()
	k := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	raw := must(x509.CreateCertificate(rand.Reader, template, a.cert, &k.PublicKey, a.key))(t)
	return encode("CERTIFICATE", raw), encode("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(k))(t))
}

// serveTLS puts TLS before a git server; with clients, only holders of a
// certificate get in.
func serveTLS(t *testing.T, a *authority, s *gitserver.Server, until time.Time, clients bool) string {
	t.Helper()
	cert, key := a.issue(t, until)
	behind := must(url.Parse(strings.TrimSuffix(s.URL("shop"), "/shop.git")))(t)
	front := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(behind))
	front.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{must(tls.X509KeyPair([]byte(cert), []byte(key)))(t)}}
	if clients {
		front.TLS.ClientAuth, front.TLS.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		front.TLS.ClientCAs.AddCert(a.cert)
	}
	front.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	front.StartTLS()
	t.Cleanup(front.Close)
	return front.URL + "/shop.git"
}

func TestTLS(t *testing.T) {
	s, r := server(t, gitserver.Options{})
	must(r.Commit("first", gitserver.Files{"a": "over TLS"}))(t)
	ours, others := newAuthority(t), newAuthority(t)
	cert, key := ours.issue(t, time.Now().Add(time.Hour))
	foreignCert, foreignKey := others.issue(t, time.Now().Add(time.Hour))
	plain, mutual := serveTLS(t, ours, s, time.Now().Add(time.Hour), false), serveTLS(t, ours, s, time.Now().Add(time.Hour), true)
	expired := serveTLS(t, ours, s, time.Now().Add(-time.Hour), false)
	m := mirrors(t)
	for name, c := range map[string]struct {
		with    repo.Repository
		problem string
	}{
		"trusted":              {repo.Repository{URL: plain, CAData: ours.pem}, ""},
		"insecure":             {repo.Repository{URL: plain, Insecure: true}, ""},
		"unknown":              {repo.Repository{URL: plain}, "argocd-tls-certs-cm"},
		"other authority":      {repo.Repository{URL: plain, CAData: others.pem}, "argocd-tls-certs-cm"},
		"expired":              {repo.Repository{URL: expired, CAData: ours.pem}, "certificate"},
		"client":               {repo.Repository{URL: mutual, CAData: ours.pem, TLSClientCertData: cert, TLSClientCertKey: repo.Secret(key)}, ""},
		"no client":            {repo.Repository{URL: mutual, CAData: ours.pem}, "unable to access"},
		"foreign client":       {repo.Repository{URL: mutual, CAData: ours.pem, TLSClientCertData: foreignCert, TLSClientCertKey: repo.Secret(foreignKey)}, "unable to access"},
		"key of another":       {repo.Repository{URL: mutual, CAData: ours.pem, TLSClientCertData: cert, TLSClientCertKey: repo.Secret(foreignKey)}, "tlsClientCertKey"},
		"authority is no cert": {repo.Repository{URL: plain, CAData: "nonsense"}, "argocd-tls-certs-cm"},
	} {
		id, err := m.Resolve(t.Context(), c.with, main, false)
		if (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: error %v, want %q", name, err, c.problem)
			continue
		}
		if err == nil && content(t, must(m.Tree(t.Context(), c.with, id))(t), "a") != "over TLS" {
			t.Errorf("%s: wrong content", name)
		}
	}
}

func TestBearerToken(t *testing.T) {
	var got sync.Map
	s, r := server(t, gitserver.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			got.Store(q.Header.Get("Authorization"), true)
			next.ServeHTTP(w, q)
		})
	}})
	must(r.Commit("first", gitserver.Files{"a": "1"}))(t)
	m := mirrors(t)
	open(t, m, repo.Repository{URL: s.URL("shop"), BearerToken: "t0ken"}, main)
	got.Range(func(k, _ any) bool {
		if k != "Bearer t0ken" {
			t.Errorf("sent %q", k)
		}
		return true
	})
	if _, err := m.Resolve(t.Context(), repo.Repository{URL: s.URL("shop"), BearerToken: "a\nX-Evil: b"}, main, false); err == nil || !strings.Contains(err.Error(), "bearerToken") {
		t.Errorf("a token with a line break gives %v", err)
	}
}

// TestMirrorIsSharedButOnlyOpensToThoseWhoMayRead: two passwords share a copy;
// a refused one does not read a commit although it knows the id.
func TestMirrorIsSharedButOnlyOpensToThoseWhoMayRead(t *testing.T) {
	var banned atomic.Value
	banned.Store("")
	s, r := server(t, gitserver.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			user, _, _ := q.BasicAuth()
			if user == "" || user == banned.Load() {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, q)
		})
	}})
	id := must(r.Commit("first", gitserver.Files{"a": "secret"}))(t)
	dir := t.TempDir()
	c := clocktesting.NewFakeClock(time.Now())
	m := mirrors(t, func(o *gitrepo.Options) { o.Dir, o.Clock = dir, c })
	as := func(user string) repo.Repository {
		return repo.Repository{URL: s.URL("shop"), Username: user, Password: "x"}
	}
	banned.Store("eve")
	open(t, m, as("alice"), main)
	for range 2 { // remembered or not
		if _, err := m.Tree(t.Context(), as("eve"), id); err == nil || !strings.Contains(err.Error(), "403") {
			t.Fatalf("a refused user reads the commit: %v", err)
		}
		c.Step(time.Minute)
	}
	if _, err := m.Tree(t.Context(), repo.Repository{URL: s.URL("shop")}, id); err == nil {
		t.Fatal("nobody reads the commit without a password")
	}
	fetches := s.Count("fetch")
	if got := content(t, must(m.Tree(t.Context(), as("bob"), id))(t), "a"); got != "secret" {
		t.Errorf("bob reads %q", got)
	}
	if s.Count("fetch") != fetches || len(must(filepath.Glob(filepath.Join(dir, "[0-9a-f]*")))(t)) != 1 {
		t.Error("bob's copy is not alice's")
	}
	// Through another way to the host it is another copy: the way may lie.
	other := as("bob")
	other.Insecure = true
	must(m.Tree(t.Context(), other, id))(t)
	if len(must(filepath.Glob(filepath.Join(dir, "[0-9a-f]*")))(t)) != 2 {
		t.Error("a connection without verification shares the copy of one with")
	}
	// Rights that are withdrawn end after the grace, not at the first refusal.
	banned.Store("bob")
	_ = m.Refresh(t.Context(), as("bob"))
	must(m.Tree(t.Context(), as("bob"), id))(t)
	c.Step(4 * time.Minute)
	_ = m.Refresh(t.Context(), as("bob"))
	if _, err := m.Tree(t.Context(), as("bob"), id); err == nil {
		t.Error("bob still reads after his rights were withdrawn")
	}
	must(m.Tree(t.Context(), as("alice"), id))(t)
}

func TestRedirects(t *testing.T) {
	var leaked atomic.Bool
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Authorization") != "" {
			leaked.Store(true)
		}
		http.NotFound(w, q)
	}))
	t.Cleanup(thief.Close)
	s, r := server(t, gitserver.Options{Username: "bot", Password: "s3cret", Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if rest, ok := strings.CutPrefix(q.URL.Path, "/old/"); ok {
				http.Redirect(w, q, "/"+rest+"?"+q.URL.RawQuery, http.StatusMovedPermanently)
				return
			}
			if strings.HasPrefix(q.URL.Path, "/away/") {
				http.Redirect(w, q, thief.URL+q.URL.RequestURI(), http.StatusFound)
				return
			}
			next.ServeHTTP(w, q)
		})
	}})
	must(r.Commit("first", gitserver.Files{"a": "moved"}))(t)
	m := mirrors(t)
	base := strings.TrimSuffix(s.URL("shop"), "shop.git")
	if got := content(t, open(t, m, repo.Repository{URL: base + "old/shop.git", Username: "bot", Password: "s3cret"}, main), "a"); got != "moved" {
		t.Errorf("through a redirect: %q", got)
	}
	_, err := m.Resolve(t.Context(), repo.Repository{URL: base + "away/shop.git", Username: "bot", Password: "s3cret"}, main, false)
	if err == nil || !strings.Contains(err.Error(), thief.URL) || !strings.Contains(err.Error(), "declare that URL") {
		t.Errorf("a redirect to another host gives %v", err)
	}
	if leaked.Load() {
		t.Error("the password went to another host")
	}
}

// proxy is a forward proxy that asks for a password.
type proxy struct {
	seen sync.Map
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if q.Header.Get("Proxy-Authorization") != "Basic dTpwcjB4eQ==" { // u:pr0xy
		w.Header().Set("Proxy-Authenticate", "Basic realm=p")
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	p.seen.Store(q.Host, true)
	if q.Method != http.MethodConnect {
		(&httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}}).ServeHTTP(w, q)
		return
	}
	to, err := net.Dial("tcp", q.Host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	from, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	_, _ = from.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	go func() {
		_, _ = io.Copy(to, from)
		_ = to.Close()
	}()
	_, _ = io.Copy(from, to)
	_ = from.Close()
}

func TestProxy(t *testing.T) {
	s, r := server(t, gitserver.Options{})
	must(r.Commit("first", gitserver.Files{"a": "through a proxy"}))(t)
	a := newAuthority(t)
	encrypted := serveTLS(t, a, s, time.Now().Add(time.Hour), false)
	p := &proxy{}
	front := httptest.NewServer(p)
	t.Cleanup(front.Close)
	with := repo.Secret(strings.Replace(front.URL, "http://", "http://u:pr0xy@", 1))
	wrong := repo.Secret(strings.Replace(front.URL, "http://", "http://u:wr0ng@", 1))
	host := func(of string) string { return must(url.Parse(of))(t).Host }
	m := mirrors(t)
	for _, target := range []string{s.URL("shop"), encrypted} {
		if got := content(t, open(t, m, repo.Repository{URL: target, CAData: a.pem, Proxy: with}, main), "a"); got != "through a proxy" {
			t.Errorf("%s: %q", target, got)
		}
		if _, ok := p.seen.LoadAndDelete(host(target)); !ok {
			t.Errorf("%s was reached without the proxy", target)
		}
		open(t, m, repo.Repository{URL: target, CAData: a.pem, Proxy: wrong, NoProxy: "127.0.0.1"}, main)
		if _, err := m.Resolve(t.Context(), repo.Repository{URL: target, CAData: a.pem, Proxy: wrong}, main, false); err == nil || strings.Contains(err.Error(), "wr0ng") {
			t.Errorf("%s through a proxy with a wrong password gives %v", target, err)
		}
	}
	fromEnvironment := mirrors(t, func(o *gitrepo.Options) { o.Environment = []string{"http_proxy=" + with.Reveal()} })
	open(t, fromEnvironment, repo.Repository{URL: s.URL("shop")}, main)
	if _, ok := p.seen.Load(host(s.URL("shop"))); !ok {
		t.Error("the proxy of the environment was not used")
	}
}

// fakeGitHub answers like the API of GitHub for one App.
type fakeGitHub struct {
	key     *rsa.PublicKey
	clock   *clocktesting.FakeClock
	tokens  atomic.Int32
	refuse  atomic.Bool
	current atomic.Value
}

func (g *fakeGitHub) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	claims := jwt.MapClaims{}
	raw := strings.TrimPrefix(q.Header.Get("Authorization"), "Bearer ")
	_, err := jwt.ParseWithClaims(raw, claims, func(*jwt.Token) (any, error) { return g.key, nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(g.clock.Now), jwt.WithIssuer("12"), jwt.WithExpirationRequired())
	switch {
	case err != nil || g.refuse.Load():
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = fmt.Fprintf(w, `{"message":"bad credentials %s"}`, raw)
	case q.Method == http.MethodGet && q.URL.Path == "/orgs/acme/installation":
		w.WriteHeader(http.StatusNotFound)
	case q.Method == http.MethodGet && q.URL.Path == "/users/acme/installation":
		_, _ = w.Write([]byte(`{"id":34}`))
	case q.Method == http.MethodPost && q.URL.Path == "/app/installations/34/access_tokens":
		token := fmt.Sprintf("ghs_t0ken%d", g.tokens.Add(1))
		g.current.Store(token)
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_at": g.clock.Now().Add(time.Hour)})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func TestGitHubApp(t *testing.T) {
	key := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	c := clocktesting.NewFakeClock(time.Now())
	hub := &fakeGitHub{key: &key.PublicKey, clock: c}
	api := httptest.NewServer(hub)
	t.Cleanup(api.Close)
	s := must(gitserver.New(t.TempDir(), gitserver.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if user, password, _ := q.BasicAuth(); user != "x-access-token" || password != hub.current.Load() {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, q)
		})
	}}))(t)
	t.Cleanup(func() { _ = s.Close() })
	r := must(s.Create("acme/shop"))(t)
	must(r.Commit("first", gitserver.Files{"a": "1"}))(t)
	m := mirrors(t, func(o *gitrepo.Options) { o.Clock = c })
	pemKey := encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
	with := repo.Repository{URL: s.URL("acme/shop"), GitHubApp: repo.GitHubApp{ID: 12, PrivateKey: repo.Secret(pemKey), BaseURL: api.URL}}
	for i := range 3 {
		open(t, m, with, main)
		if n := hub.tokens.Load(); n != int32(i+1) {
			t.Errorf("after %d hours %d tokens were asked for", i, n)
		}
		c.Step(56 * time.Minute) // within five minutes of its end
	}
	with.GitHubApp.Installation = 34
	open(t, m, with, main)
	hub.refuse.Store(true)
	c.Step(time.Hour)
	_, err := m.Resolve(t.Context(), with, main, true)
	if err == nil || !strings.Contains(err.Error(), "githubAppPrivateKey") || strings.Contains(err.Error(), "bad credentials") {
		t.Errorf("a refused App gives %v", err)
	}
	for want, app := range map[string]repo.GitHubApp{"githubAppID": {PrivateKey: repo.Secret(pemKey)}, "not an RSA key": {ID: 12, PrivateKey: "x"}} {
		if _, err := m.Resolve(t.Context(), repo.Repository{URL: s.URL("acme/shop"), GitHubApp: app}, main, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
