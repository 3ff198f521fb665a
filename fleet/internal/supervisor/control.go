package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/sluice-cd/sluice/fleet/internal/faultproxy"
)

// serve answers requests on the control socket until stopped.
func (s *Supervisor) serve(ctx context.Context, down func()) (stop func(), err error) {
	l, err := net.Listen("unix", s.path("control.sock"))
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(s.Snapshot())
	})
	mux.HandleFunc("POST /down", func(http.ResponseWriter, *http.Request) { down() })
	mux.HandleFunc("POST /clusters/{name}/{verb}", func(w http.ResponseWriter, r *http.Request) {
		if err := s.command(ctx, r.PathValue("name"), r.PathValue("verb"), r.URL.Query().Get("fault")); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_ = s.save()
	})
	server := &http.Server{Handler: mux} //nolint:gosec // a socket in a private folder
	go func() { _ = server.Serve(l) }()
	return func() {
		// Whoever asked the fleet to go down is answered before it goes.
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if server.Shutdown(bounded) != nil {
			_ = server.Close()
		}
	}, nil
}

func (s *Supervisor) command(ctx context.Context, name, verb, fault string) error {
	c, err := s.find(name)
	if err != nil {
		return err
	}
	switch verb {
	case "pause":
		c.pause(true)
	case "resume":
		c.pause(false)
	case "stop":
		c.stop()
	case "start":
		return c.restart(ctx)
	case "fault":
		f, err := faultproxy.Parse(fault)
		if err != nil {
			return err
		}
		c.proxy.Set(f)
		c.mu.Lock()
		c.fault = fault
		c.mu.Unlock()
	default:
		return fmt.Errorf("unknown verb %q", verb)
	}
	return nil
}

// Client talks to the supervisor of a folder.
type Client struct {
	dir  string
	http *http.Client
}

// NewClient addresses the fleet in dir.
func NewClient(dir string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(dir, "control.sock"))
	}
	return &Client{dir: dir, http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Status asks the supervisor.
func (c *Client) Status(ctx context.Context) (State, error) {
	var state State
	raw, err := c.call(ctx, http.MethodGet, "/status")
	if err != nil {
		return state, err
	}
	if err := json.Unmarshal(raw, &state); err != nil {
		return state, fmt.Errorf("status: %w", err)
	}
	return state, nil
}

// Stored reads the state file: what the supervisor last wrote.
func (c *Client) Stored() (State, error) {
	var state State
	raw, err := os.ReadFile(filepath.Join(c.dir, "state.json"))
	if err != nil {
		return state, fmt.Errorf("no fleet in %s: start one with fleet up --dir %s: %w", c.dir, c.dir, err)
	}
	if err := json.Unmarshal(raw, &state); err != nil {
		return state, fmt.Errorf("state of fleet in %s: %w", c.dir, err)
	}
	return state, nil
}

// Command sends a verb for a cluster.
func (c *Client) Command(ctx context.Context, cluster, verb, fault string) error {
	_, err := c.call(ctx, http.MethodPost, "/clusters/"+url.PathEscape(cluster)+"/"+verb+"?fault="+url.QueryEscape(fault))
	return err
}

// Down tells the supervisor to end.
func (c *Client) Down(ctx context.Context) error {
	_, err := c.call(ctx, http.MethodPost, "/down")
	return err
}

func (c *Client) call(ctx context.Context, method, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://fleet"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no running fleet in %s: start one with fleet up --dir %s", c.dir, c.dir)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	if resp.StatusCode >= 300 {
		return nil, fmt.Errorf("%s", bytes.TrimSpace(raw))
	}
	return raw, nil
}
