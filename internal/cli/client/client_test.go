package client

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"
)

// serve starts a server and gives a client for it.
func serve(t *testing.T, o Options, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	o.Server = s.URL
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRequest(t *testing.T) {
	t.Parallel()
	var seen *http.Request
	c := serve(t, Options{Token: "a.b.c", Headers: []string{"X-One: 1", "X-Two:2"}, RootPath: "/cd/", UserAgent: "argocd-client/3.5.1"}, func(w http.ResponseWriter, r *http.Request) {
		seen = r
		_, _ = io.WriteString(w, `{"metadata":{"name":"web"}}`)
	})
	app, err := c.App(t.Context(), App{Namespace: "team", Name: "web"}, "hard")
	if err != nil || app.Name != "web" {
		t.Fatalf("%v: %v", app, err)
	}
	if got, want := seen.URL.RequestURI(), "/cd/api/v1/applications/web?appNamespace=team&refresh=hard"; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
	for name, want := range map[string]string{"Authorization": "Bearer a.b.c", "X-One": "1", "X-Two": "2", "User-Agent": "argocd-client/3.5.1"} {
		if got := seen.Header.Get(name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	if _, err := c.Repository(t.Context(), "https://git.example.com/a b.git", "", false); err != nil {
		t.Fatal(err)
	}
	if got, want := seen.URL.EscapedPath(), "/cd/api/v1/repositories/https:%2F%2Fgit.example.com%2Fa%20b.git"; got != want {
		t.Errorf("asked %s, want %s: a repository is one segment", got, want)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status     int
		body, want string
		code       Code
	}{
		"of the server":     {404, `{"error":"x not found","code":5,"message":"x not found"}`, "rpc error: code = NotFound desc = x not found", NotFound},
		"of a proxy":        {502, "<html>bad gateway</html>", "rpc error: code = Unavailable desc = the server answers 502: Bad Gateway", Unavailable},
		"content type":      {415, "Invalid content type\n", "rpc error: code = InvalidArgument desc = the server answers 415: Invalid content type", InvalidArgument},
		"without a message": {500, `{}`, "rpc error: code = Unknown desc = the server answers 500: {}", Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := serve(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			_, err := api.App(t.Context(), App{Name: "x"}, "")
			if err == nil || err.Error() != c.want || CodeOf(err) != c.code {
				t.Errorf("got %v (%d), want %s (%d)", err, CodeOf(err), c.want, c.code)
			}
		})
	}
}

func TestRetries(t *testing.T) {
	t.Parallel()
	n := 0
	c := serve(t, Options{Retries: 2}, func(w http.ResponseWriter, r *http.Request) {
		if n++; n < 3 || r.Method != http.MethodGet {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, `{"Version":"v1"}`)
	})
	v, err := c.Version(t.Context())
	if err != nil || v.Version != "v1" || n != 3 {
		t.Errorf("%v after %d requests: %v", v, n, err)
	}
	n = 10
	if _, err := c.Login(t.Context(), "a", "b"); CodeOf(err) != Unavailable || n != 11 {
		t.Errorf("what changes something was asked %d times: %v", n-10, err)
	}
}

// TestTokenStaysHere shows that a redirect to another host takes no token.
func TestTokenStaysHere(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{Token: "a.b.c"}, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://thief.example.com/", http.StatusTemporaryRedirect)
	})
	_, err := c.Version(t.Context())
	if err == nil || !strings.Contains(err.Error(), "redirects to https://thief.example.com") {
		t.Errorf("got %v", err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"Version":"v1"}`) }))
	t.Cleanup(s.Close)
	ask := func(o Options) error {
		o.Server, o.Clock = s.Listener.Addr().String(), clock.RealClock{}
		c, err := New(o)
		if err != nil {
			return err
		}
		_, err = c.Version(t.Context())
		return err
	}
	var connection *ConnectionError
	if err := ask(Options{}); !errors.As(err, &connection) || !strings.Contains(connection.Remedy, "--server-crt") {
		t.Errorf("an unknown authority: %v", err)
	}
	if err := ask(Options{Insecure: true}); err != nil {
		t.Errorf("--insecure: %v", err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := ask(Options{CA: ca}); err != nil {
		t.Errorf("a known authority: %v", err)
	}
	if err := ask(Options{CA: []byte("nonsense")}); err == nil {
		t.Error("nonsense is taken for an authority")
	}
	if err := ask(Options{ClientCert: ca}); err == nil || !strings.Contains(err.Error(), "together") {
		t.Errorf("a certificate without a key: %v", err)
	}
	plain := httptest.NewServer(s.Config.Handler)
	t.Cleanup(plain.Close)
	c, err := New(Options{Server: plain.Listener.Addr().String(), Clock: clock.RealClock{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Version(t.Context()); !errors.As(err, &connection) || !strings.Contains(connection.Remedy, "--plaintext") {
		t.Errorf("a server without TLS: %v", err)
	}
}

func TestStreams(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ kind, body string }{
		"lines":  {"application/json", "{\"result\":{\"type\":\"ADDED\",\"application\":{\"metadata\":{\"name\":\"a\"}}}}\n{\"result\":{\"type\":\"DELETED\",\"application\":{\"metadata\":{\"name\":\"b\"}}}}\n"},
		"events": {"text/event-stream", ":\n\ndata: {\"result\":{\"type\":\"ADDED\",\"application\":{\"metadata\":{\"name\":\"a\"}}}} \n\ndata: {\"result\":{\"type\":\"DELETED\",\"application\":{\"metadata\":{\"name\":\"b\"}}}} \n\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := serve(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.kind)
				_, _ = io.WriteString(w, c.body)
			})
			var got []string
			err := api.WatchApps(t.Context(), AppQuery{}, func(e *AppEvent) error {
				got = append(got, e.Type+" "+e.Application.Name)
				if len(got) == 2 {
					return Enough()
				}
				return nil
			})
			if diff := cmp.Diff([]string{"ADDED a", "DELETED b"}, got); diff != "" || err != nil {
				t.Errorf("%v: %s", err, diff)
			}
		})
	}
}

// TestWatchComesBack breaks a watch again and again; only a refusal ends it.
func TestWatchComesBack(t *testing.T) {
	t.Parallel()
	fake := testclock.NewFakeClock(time.Unix(0, 0))
	n := 0
	c := serve(t, Options{Clock: fake}, func(w http.ResponseWriter, _ *http.Request) {
		if n++; n == 4 {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"code":7,"message":"permission denied"}`)
			return
		}
		if n == 2 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = fmt.Fprintf(w, "{\"result\":{\"type\":\"ADDED\",\"application\":{\"metadata\":{\"name\":\"a%d\"}}}}\n", n)
	})
	done := make(chan error, 1)
	var got []string
	go func() {
		done <- c.WatchApps(t.Context(), AppQuery{}, func(e *AppEvent) error {
			got = append(got, e.Application.Name)
			return nil
		})
	}()
	for {
		select {
		case err := <-done:
			if CodeOf(err) != PermissionDenied {
				t.Errorf("the watch ended with %v", err)
			}
			if diff := cmp.Diff([]string{"a1", "a3"}, got); diff != "" {
				t.Error(diff)
			}
			return
		case <-t.Context().Done():
			t.Fatal("the watch did not end")
		default:
			if fake.HasWaiters() {
				fake.Step(reopen)
			}
		}
	}
}

func TestStreamError(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"error":{"grpc_code":7,"http_code":403,"message":"no"}}`+"\n")
	})
	if err := c.WatchApps(t.Context(), AppQuery{}, func(*AppEvent) error { return nil }); CodeOf(err) != PermissionDenied {
		t.Errorf("got %v", err)
	}
	own := errors.New("mine")
	c = serve(t, Options{}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"result":{}}`+"\n") })
	if err := c.WatchApps(t.Context(), AppQuery{}, func(*AppEvent) error { return own }); !errors.Is(err, own) {
		t.Errorf("the error of the caller becomes %v", err)
	}
}

func TestLogsEnd(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
		for _, l := range []LogEntry{{Content: "one"}, {Content: "two"}, {Last: true}, {Content: "never"}} {
			raw, err := json.Marshal(l)
			if err != nil {
				t.Error(err)
			}
			_, _ = fmt.Fprintf(w, "{\"result\":%s}\n", raw)
		}
	})
	var got []string
	err := c.Logs(t.Context(), App{Name: "a"}, LogQuery{}, func(e LogEntry) error { got = append(got, e.Content); return nil })
	if diff := cmp.Diff([]string{"one", "two"}, got); diff != "" || err != nil {
		t.Errorf("%v: %s", err, diff)
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "https://a/b", "user@host", "a?b"} {
		if _, err := New(Options{Server: bad}); err == nil {
			t.Errorf("%q is taken for an address", bad)
		}
	}
	if _, err := New(Options{Server: "a", Headers: []string{"nonsense"}}); err == nil {
		t.Error("a header without a colon is taken")
	}
	c, err := New(Options{Server: "http://a:80/"})
	if err != nil || !c.PlainText() || c.Address() != "a:80" {
		t.Errorf("%v: %v", c, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Version(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context gives %v", err)
	}
}
