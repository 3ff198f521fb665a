package login

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-cd/sluice/internal/cli/console"
)

// screen collects what is printed, and says when an address is there.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
	seen chan string
}

var address = regexp.MustCompile(`flow login: (\S+)`)

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	if m := address.FindStringSubmatch(string(p)); m != nil {
		s.seen <- m[1]
	}
	return len(p), nil
}

// provide is an issuer that checks what the command line must do.
func provide(t *testing.T, kinds []string) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": s.URL, "authorization_endpoint": s.URL + "/authorize", "token_endpoint": s.URL + "/token", "response_types_supported": kinds,
		})
	})
	var challenge string
	mux.HandleFunc("/authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		challenge = q.Get("code_challenge")
		back, err := url.Parse(q.Get("redirect_uri"))
		if err != nil || back.Hostname() != "localhost" || back.Path != "/auth/callback" {
			t.Errorf("redirect_uri %s", q.Get("redirect_uri"))
		}
		answer := url.Values{"state": {q.Get("state")}, "code": {"c0de"}}
		if q.Get("response_type") == "id_token" {
			answer = url.Values{"state": {q.Get("state")}, "id_token": {"i.d.t"}}
		} else if q.Get("code_challenge_method") != "S256" || q.Get("access_type") != "offline" {
			t.Errorf("asked for %v", q)
		}
		http.Redirect(w, r, back.String()+"?"+answer.Encode(), http.StatusSeeOther)
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		switch r.PostForm.Get("grant_type") {
		case "refresh_token":
			if r.PostForm.Get("refresh_token") != "refresh" {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
		default:
			verifier := r.PostForm.Get("code_verifier")
			sum := sha256.Sum256([]byte(verifier))
			if len(verifier) != 43 || base64.RawURLEncoding.EncodeToString(sum[:]) != challenge || r.PostForm.Get("code") != "c0de" {
				t.Errorf("redeemed with %v", r.PostForm)
			}
		}
		_, _ = io.WriteString(w, `{"access_token":"a","token_type":"Bearer","id_token":"i.d.t","refresh_token":"refresh"}`)
	})
	return s
}

// visit is a browser: it goes where it is sent.
func visit(t *testing.T, where string) (status int, page string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, where, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(raw)
}

// flowWith runs a login; browse gets the address that the browser begins at.
func flowWith(ctx context.Context, t *testing.T, s *httptest.Server, browse func(address string)) (token, refresh string, err error) {
	t.Helper()
	out := &screen{seen: make(chan string, 1)}
	f := &browserFlags{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case where := <-out.seen:
			browse(where)
		case <-ctx.Done():
		}
	}()
	token, refresh, err = f.browser(ctx, &console.Console{Out: out}, &issuer{url: s.URL, clientID: "cli", scopes: scopes(nil), http: http.DefaultClient})
	<-done
	return token, refresh, err
}

func TestBrowser(t *testing.T) {
	t.Parallel()
	for name, kinds := range map[string][]string{"code with PKCE": {"code"}, "implicit": {"id_token"}, "nothing said": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := provide(t, kinds)
			token, refresh, err := flowWith(t.Context(), t, s, func(where string) {
				begin, err := url.Parse(where)
				if err != nil {
					t.Error(err)
					return
				}
				back := begin.Query().Get("redirect_uri")
				if status, _ := visit(t, back+"?state=stolen&code=c0de"); status != http.StatusBadRequest {
					t.Errorf("an answer that was not asked for: %d", status)
				}
				if status, page := visit(t, where); status != http.StatusOK || !strings.Contains(page, "Authentication successful") {
					t.Errorf("%d: %s", status, page)
				}
			})
			if err != nil || token != "i.d.t" || (name != "implicit") != (refresh == "refresh") {
				t.Errorf("got %q, %q, %v", token, refresh, err)
			}
		})
	}
}

func TestBrowserRefused(t *testing.T) {
	t.Parallel()
	s := provide(t, nil)
	_, _, err := flowWith(t.Context(), t, s, func(where string) {
		begin, err := url.Parse(where)
		if err != nil {
			t.Error(err)
			return
		}
		_, page := visit(t, begin.Query().Get("redirect_uri")+"?error=access_denied&error_description="+url.QueryEscape("<b>no</b>"))
		if strings.Contains(page, "<b>") {
			t.Errorf("the page shows what the issuer wrote as it is: %s", page)
		}
	})
	if err == nil || !strings.Contains(err.Error(), "access_denied") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, _, err := flowWith(ctx, t, s, func(string) { cancel() }); err == nil {
		t.Error("an interrupted login succeeds")
	}
	cancel()
}

func TestIssuerIsWhoItSays(t *testing.T) {
	t.Parallel()
	s := provide(t, nil)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, s.URL+r.URL.Path, http.StatusFound) }))
	t.Cleanup(other.Close)
	i := &issuer{url: other.URL, http: http.DefaultClient}
	if _, err := i.discover(t.Context()); err == nil || !strings.Contains(err.Error(), "calls itself") {
		t.Errorf("got %v", err)
	}
}

func TestOnlyWebAddressesAreLaunched(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"file:///etc/passwd", "javascript:alert(1)", "--help", ""} {
		if err := launch(t.Context(), bad); err == nil {
			t.Errorf("%q is given to the browser", bad)
		}
	}
}
