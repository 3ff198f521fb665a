package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/connect"
)

// inProcess serves the command line without a server.
func inProcess(ctx context.Context, f *connect.Flags) (*connect.Tunnel, error) {
	c, err := newCore(ctx, f)
	if err != nil {
		return nil, err
	}
	return listen(ctx, c)
}

// listen serves on a port of this machine that only this process knows; the
// transport of the handler alone would not stream.
func listen(ctx context.Context, c *coreMode) (*connect.Tunnel, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("--core: %w", err)
	}
	secret, err := randomSecret()
	if err != nil {
		c.stop()
		return nil, errors.Join(err, l.Close())
	}
	s := &http.Server{Handler: guarded(secret, c.api.Handler()), ReadHeaderTimeout: probeTimeout}
	go func() { _ = s.Serve(l) }()
	return &connect.Tunnel{
		Address: l.Addr().String(), Namespace: c.namespace, Transport: marked{secret, http.DefaultTransport},
		Close: func() { hangUp(ctx, s); c.stop() },
	}, nil
}

// hangUpTimeout bounds the end of what is still answered when a command ends.
const hangUpTimeout = 3 * time.Second

// hangUp lets calls end whose answer the command has: what they did is noted
// after that.
func hangUp(ctx context.Context, s *http.Server) {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), hangUpTimeout)
	defer cancel()
	if s.Shutdown(bounded) != nil {
		_ = s.Close() // streams that nobody reads
	}
}

// rehearse compares Applications in this process, as a controller of this
// release would.
func rehearse(ctx context.Context, f *connect.Flags, apps []v1alpha1.Application) ([]v1alpha1.ApplicationStatus, error) {
	c, err := newCore(ctx, f)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	return c.engine.Reconcile(ctx, apps)
}

// dashboard serves API and UI with the rights of the kubeconfig: to whoever
// reaches the address, which is this machine alone unless asked otherwise.
func dashboard(ctx context.Context, f *connect.Flags, address string, ready func(string)) error {
	c, err := newCore(ctx, f)
	if err != nil {
		return err
	}
	defer c.stop()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("--port: %w", err)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return errors.Join(fmt.Errorf("--address: %w", err), l.Close())
	}
	s := &http.Server{Handler: forHost(host, c.api.Handler()), ReadHeaderTimeout: probeTimeout}
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	ready("http://" + l.Addr().String())
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// probeTimeout bounds the header of a request to a server of this process.
const probeTimeout = 10 * time.Second

// secretHeader shows that a request comes from this process: nobody is asked to
// log in, so nobody else on this machine may get in.
const secretHeader = "X-Sluice-Core"

func randomSecret() (string, error) {
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("--core: %w", err)
	}
	return hex.EncodeToString(raw), nil
}

func guarded(secret string, inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get(secretHeader)), []byte(secret)) != 1 {
			http.Error(w, "this port is for one process only", http.StatusForbidden)
			return
		}
		inner.ServeHTTP(w, r)
	})
}

// forHost answers requests for a host, for this machine or for an address. Nobody
// logs in at a dashboard, and the page of a stranger could have its own name
// lead here: a browser would let it read every answer.
func forHost(host string, inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := r.Host
		if name, _, err := net.SplitHostPort(asked); err == nil {
			asked = name
		}
		if asked != "localhost" && !strings.EqualFold(asked, host) && net.ParseIP(strings.Trim(asked, "[]")) == nil {
			http.Error(w, "this is the dashboard of one machine: ask for it by its address or as localhost", http.StatusMisdirectedRequest)
			return
		}
		inner.ServeHTTP(w, r)
	})
}

// marked puts the secret on requests.
type marked struct {
	secret string
	inner  http.RoundTripper
}

// RoundTrip sends a request with the secret.
func (m marked) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(secretHeader, m.secret)
	return m.inner.RoundTrip(r)
}
