package login

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/internal/cli/config"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/console"
	"github.com/sluice-cd/sluice/test/oidc"
)

// visitor is a user of a server whose people log in at the real provider.
type visitor struct {
	*testing.T
	provider *oidc.Provider
	path     string

	mu     sync.Mutex
	issuer string
	tokens []string // of calls that need one
}

// newVisitor logs alice in with a browser and writes the file that a login leaves.
func newVisitor(t *testing.T) *visitor {
	t.Helper()
	port := freePort(t)
	v := &visitor{T: t, path: filepath.Join(t.TempDir(), "config")}
	v.provider = oidc.Start(t, oidc.Options{Clients: []oidc.Client{{ID: "cli", RedirectURIs: []string{"http://localhost:" + strconv.Itoa(port) + "/auth/callback"}}}})
	v.issuer = v.provider.Issuer
	token, refresh := v.login(port)
	if token == "" || refresh == "" {
		t.Fatalf("the login gives token %t, refresh token %t", token != "", refresh != "")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/settings", v.settings)
	mux.HandleFunc("GET /api/v1/session/userinfo", v.userinfo)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	err := config.Update(t.Context(), v.path, func(f *config.File) error {
		f.CurrentContext = "here"
		f.Put(config.Context{Name: "here", Server: config.Server{Server: strings.TrimPrefix(s.URL, "http://"), PlainText: true}, User: config.User{Name: "here", AuthToken: token, RefreshToken: refresh}})
		f.Put(config.Context{Name: "there", Server: config.Server{Server: "there:1"}, User: config.User{Name: "there", AuthToken: "t", RefreshToken: "r"}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// login goes through the pages of the provider.
func (v *visitor) login(port int) (token, refresh string) {
	v.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		v.Fatal(err)
	}
	stay := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	out := &screen{seen: make(chan string, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		back, err := v.provider.Walk(stay, <-out.seen, "alice", func(u *url.URL) bool { return u.Path == "/auth/callback" })
		if err != nil {
			v.Error(err)
			return
		}
		if status, page := visit(v.T, back); status != http.StatusOK {
			v.Errorf("%d: %s", status, page)
		}
	}()
	f := &browserFlags{port: port}
	i := &issuer{url: v.provider.Issuer, clientID: "cli", scopes: scopes(nil), http: http.DefaultClient}
	token, refresh, err = f.browser(v.Context(), &console.Console{Out: out}, i)
	<-done
	if err != nil {
		v.Fatal(err)
	}
	return token, refresh
}

func (v *visitor) settings(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if r.Header.Get("Authorization") != "" {
		v.Error("the settings are asked for with a token that has expired")
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"oidcConfig": map[string]any{"issuer": v.issuer, "clientID": "web", "cliClientID": "cli"}})
}

func (v *visitor) userinfo(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tokens = append(v.tokens, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	_, _ = io.WriteString(w, `{"loggedIn":true,"username":"alice"}`)
}

// call is a command that asks who the user is, some time after the login: the
// token that the server saw, and what was written to the error stream.
func (v *visitor) call(after time.Duration, args ...string) (token, warned string) {
	v.Helper()
	var warnings bytes.Buffer
	getenv := func(string) string { return "" }
	d := &connect.Dialer{Console: &console.Console{
		Out: io.Discard, Err: &warnings, Getenv: getenv, Home: os.UserHomeDir, Name: "argocd", Clock: clocktesting.NewFakeClock(time.Now().Add(after)),
	}}
	Wire(d)
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	d.Register(fs, getenv)
	if err := fs.Parse(append([]string{"--config", v.path}, args...)); err != nil {
		v.Fatal(err)
	}
	if err := d.Apply(getenv); err != nil {
		v.Fatal(err)
	}
	c, err := d.Client(v.Context())
	if err != nil {
		v.Fatal(err)
	}
	if _, err := c.UserInfo(v.Context()); err != nil {
		v.Fatal(err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.tokens[len(v.tokens)-1], warnings.String()
}

// user is what the file holds of the user of a context.
func (v *visitor) user(name string) config.User {
	v.Helper()
	f, err := config.Read(v.path) // refuses a file that others may read
	if err != nil {
		v.Fatal(err)
	}
	c, err := f.Resolve(name)
	if err != nil {
		v.Fatal(err)
	}
	return c.User
}

const later = 20 * time.Minute // the provider's tokens are good for ten

func TestExpiredTokensAreRenewed(t *testing.T) {
	t.Parallel()
	v := newVisitor(t)
	first := v.user("here")
	if token, warned := v.call(0); token != first.AuthToken || warned != "" || v.user("here") != first {
		t.Errorf("a token that is good was not taken as it is: %s", warned)
	}
	if token, _ := v.call(later, "--auth-token", first.AuthToken+"x"); token != first.AuthToken+"x" || v.user("here") != first {
		t.Error("a token from a flag was not taken as it is")
	}
	seen := []config.User{first}
	for range 2 { // the second time shows that the next refresh token was kept: the provider takes none twice
		token, warned := v.call(later)
		now := v.user("here")
		claims := connect.Read(token)
		if warned != "" || token != now.AuthToken || claims == nil || claims.Subject != "alice" || claims.Issuer != v.provider.Issuer {
			t.Fatalf("claims %+v, in the file %t, warned: %s", claims, token == now.AuthToken, warned)
		}
		if slices.ContainsFunc(seen, func(u config.User) bool { return u.AuthToken == now.AuthToken || u.RefreshToken == now.RefreshToken }) {
			t.Fatal("a token was not renewed")
		}
		seen = append(seen, now)
	}
	if other := v.user("there"); other != (config.User{Name: "there", AuthToken: "t", RefreshToken: "r"}) {
		t.Errorf("another user was changed: %s", other.Name)
	}
}

func TestRefreshRefused(t *testing.T) {
	t.Parallel()
	v := newVisitor(t)
	first := v.user("here")
	keeps := func(want string) {
		t.Helper()
		token, warned := v.call(later)
		if token != first.AuthToken || v.user("here") != first {
			t.Error("the tokens of the file were not kept")
		}
		if !strings.Contains(warned, want) || strings.Contains(warned, first.AuthToken) || strings.Contains(warned, first.RefreshToken) {
			t.Errorf("want %q and no token: %s", want, warned)
		}
	}
	if err := errors.Join(os.Remove(v.path+".lock"), os.Mkdir(v.path+".lock", 0o700)); err != nil {
		t.Fatal(err)
	}
	keeps("lock " + v.path)
	if err := os.Remove(v.path + ".lock"); err != nil {
		t.Fatal(err)
	}
	var asked sync.Map
	mux := http.NewServeMux()
	thief := httptest.NewServer(mux)
	t.Cleanup(thief.Close)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.Path, true)
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": thief.URL, "token_endpoint": thief.URL + "/token", "id_token": "i.d.t", "access_token": "a"})
	})
	v.mu.Lock()
	v.issuer = thief.URL
	v.mu.Unlock()
	keeps("log in again")
	asked.Range(func(path, _ any) bool { t.Errorf("another issuer was asked: %s", path); return true })
	v.mu.Lock()
	v.issuer = v.provider.Issuer
	v.mu.Unlock()
	v.provider.Stop()
	keeps(v.provider.Issuer)
}

// TestRenewedOnce lets commands run side by side with a token that has expired:
// the provider ends the whole grant when a refresh token comes twice.
func TestRenewedOnce(t *testing.T) {
	t.Parallel()
	v := newVisitor(t)
	first := v.user("here")
	const commands = 4
	warnings := make([]string, commands)
	var all sync.WaitGroup
	for n := range commands {
		all.Go(func() { _, warnings[n] = v.call(later) })
	}
	all.Wait()
	for _, w := range warnings {
		if w != "" {
			t.Errorf("warned: %s", w)
		}
	}
	now := v.user("here")
	for _, token := range v.tokens {
		if token == first.AuthToken {
			t.Error("a command went with the token that has expired")
		}
	}
	if token, warned := v.call(2 * later); warned != "" || token == now.AuthToken {
		t.Errorf("the refresh token that was kept is not good: %s", warned)
	}
}
