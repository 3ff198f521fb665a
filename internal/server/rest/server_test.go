package rest

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"k8s.io/utils/clock"
)

// served runs Serve over a handler until the test ends, with the certificate of
// httptest when it is to be secure.
func served(t *testing.T, secure bool, handler http.Handler) (address string, end func() error) {
	t.Helper()
	o := ServeOptions{RootPath: "/root"}
	if !secure {
		return run(t, o, handler)
	}
	return servedWith(t, o, handler)
}

// servedWith is served over TLS with these options.
func servedWith(t *testing.T, o ServeOptions, handler http.Handler) (address string, end func() error) {
	t.Helper()
	model := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(model.Close)
	o.Certificate = func() (*tls.Certificate, error) { return &model.TLS.Certificates[0], nil }
	return run(t, o, handler)
}

func run(t *testing.T, o ServeOptions, handler http.Handler) (address string, end func() error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.Listener, o.Handler, o.Log, o.Clock = listener, handler, slog.New(slog.DiscardHandler), clock.RealClock{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, o) }()
	return listener.Addr().String(), func() error {
		cancel()
		return <-ended
	}
}

func TestOnePortForTLSAndPlainHTTP(t *testing.T) {
	address, end := served(t, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }))
	for name, c := range map[string]struct {
		http2 bool
		want  string
	}{"HTTP/1.1": {false, "HTTP/1.1"}, "HTTP/2": {true, "HTTP/2.0"}} {
		client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: c.http2, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // a certificate of the test
		resp, err := client.Get("https://" + address + "/x")
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(resp.Body)
		if err = errJoin(err, resp.Body.Close()); err != nil || string(raw) != c.want {
			t.Errorf("%s: %s, %v", name, raw, err)
		}
		client.CloseIdleConnections()
	}
	for path, want := range map[string]string{"/x?y=1": "/root/x?y=1", "/root/x": "/root/x", "/rooted": "/root/rooted"} {
		resp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusTemporaryRedirect || resp.Header.Get("Location") != "https://"+address+want {
			t.Errorf("%s: %d to %s, %v", path, resp.StatusCode, resp.Header.Get("Location"), err)
		}
	}
	old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11} //nolint:gosec // that it is refused
	if conn, err := tls.Dial("tcp", address, old); err == nil {
		t.Errorf("TLS 1.1 is taken: %v", conn.Close())
	}
	if err := end(); err != nil {
		t.Errorf("ends with %v", err)
	}
}

func errJoin(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func TestRunningRequestsFinish(t *testing.T) {
	began, proceed := make(chan struct{}), make(chan struct{})
	address, end := served(t, false, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-proceed
		fmt.Fprint(w, "done")
	}))
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + address)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		raw, _ := io.ReadAll(resp.Body)
		answer <- string(raw)
	}()
	<-began
	ended := make(chan error, 1)
	go func() { ended <- end() }()
	if conn, err := (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp", address); err == nil { // until the listener is closed
		_ = conn.Close()
	}
	close(proceed)
	if got := <-answer; got != "done" {
		t.Errorf("got %s", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("ends with %v", err)
	}
}
