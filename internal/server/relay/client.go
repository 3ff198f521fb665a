package relay

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/server/fault"
)

// Directory finds processes; Leases is one.
type Directory interface {
	// Find gives host:port of the process that works in a role.
	Find(ctx context.Context, role string) (string, error)
}

// Options of a Client.
type Options struct {
	Directory Directory
	// Role is the one that the process asked has in the Directory, TLS what
	// authority.Client gave for it.
	Role string
	TLS  *tls.Config
	// Timeout bounds one call (default 60 s), Wait the connection (default 5 s).
	Timeout, Wait time.Duration
	Clock         clock.Clock
	Log           *slog.Logger
	Registerer    prometheus.Registerer
}

// Client asks the controller of one role. It is safe for concurrent use.
type Client struct {
	options Options
	http    *http.Client
	ctx     context.Context //nolint:containedctx // the life of the process, for methods without one
	seconds *prometheus.HistogramVec

	mu    sync.Mutex
	known string // the address that answered last, or that was found last
	found time.Time

	states states
}

// addressLife is how long an address is taken without a look at the directory
// while nobody answers there.
const addressLife = time.Second

// NewClient makes a Client that lives as long as ctx.
func NewClient(ctx context.Context, o Options) (*Client, error) {
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	if o.Wait == 0 {
		o.Wait = 5 * time.Second
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP2(true)
	c := &Client{options: o, ctx: ctx, http: &http.Client{Transport: &http.Transport{
		TLSClientConfig: o.TLS, Protocols: protocols, TLSHandshakeTimeout: o.Wait, ForceAttemptHTTP2: true,
		DialContext: (&net.Dialer{Timeout: o.Wait}).DialContext, MaxResponseHeaderBytes: 64 << 10,
		// A host that vanished is noticed on streams, too.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
	}}}
	c.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "sluice_server_controller_seconds", Help: "Time that calls of controllers took, by method and code.",
		ConstLabels: prometheus.Labels{"role": o.Role}, Buckets: []float64{.005, .02, .1, .5, 2, 10, 60},
	}, []string{"method", "code"})
	if o.Registerer != nil {
		if err := o.Registerer.Register(c.seconds); err != nil {
			return nil, fmt.Errorf("metrics of the internal transport: %w", err)
		}
	}
	return c, nil
}

// away says that nobody works in the role; the cause stays in the log.
func (c *Client) away(cause error) error {
	return fault.Hide(cause, fault.Unavailable, fmt.Sprintf(
		"the %s does not answer the server: ask again in a moment; if that does not help see whether it runs and what Lease %s says", c.options.Role, LeaseName(c.options.Role)))
}

// address is where to ask; fresh has the directory asked again.
func (c *Client) address(ctx context.Context, fresh bool) (string, error) {
	c.mu.Lock()
	known, age := c.known, c.options.Clock.Since(c.found)
	c.mu.Unlock()
	if known != "" && (!fresh || age < addressLife) {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.Wait)
	defer cancel()
	address, err := c.options.Directory.Find(ctx, c.options.Role)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known, c.found = address, c.options.Clock.Now()
	return address, nil
}

// forget makes the next call ask the directory.
func (c *Client) forget(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == address {
		c.known = ""
	}
}

// post sends a request; the answer is open. A connection that cannot be made
// is tried once more at the address that the directory has now: nothing was
// sent yet.
func (c *Client) post(ctx context.Context, path string, q any) (*http.Response, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("question to the %s: %w", c.options.Role, err)
	}
	if len(body) > maxRequest {
		return nil, fault.New(fault.InvalidArgument, "what the %s would be asked has %d bytes, more than %d", c.options.Role, len(body), maxRequest)
	}
	address, err := c.address(ctx, false)
	if err != nil {
		return nil, c.gone(ctx, path, "", err)
	}
	response, err := c.send(ctx, address+path, body)
	var unreached *net.OpError
	if errors.As(err, &unreached) && unreached.Op == "dial" && ctx.Err() == nil {
		c.forget(address)
		if other, found := c.address(ctx, true); found == nil && other != address {
			address = other
			response, err = c.send(ctx, address+path, body)
		}
	}
	if err != nil {
		return nil, c.gone(ctx, path, address, err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer func() { _ = response.Body.Close() }()
	f := &failure{}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxRequest)).Decode(f); err != nil || f.Message == "" {
		return nil, c.gone(ctx, path, address, fmt.Errorf("status %d", response.StatusCode))
	}
	return nil, f.errorOf()
}

func (c *Client) send(ctx context.Context, target string, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	return c.http.Do(r)
}

// gone is the error of a call that was not answered.
func (c *Client) gone(ctx context.Context, path, address string, cause error) error {
	if address != "" {
		c.forget(address)
	}
	if err := ctx.Err(); errors.Is(err, context.Canceled) {
		return err
	}
	c.options.Log.Warn("a controller does not answer", "role", c.options.Role, "address", address, "method", path, "error", cause.Error())
	if errors.Is(cause, context.DeadlineExceeded) && address != "" {
		return fault.Hide(cause, fault.DeadlineExceeded, fmt.Sprintf("the %s did not answer in time: ask again; see what it logs", c.options.Role))
	}
	return c.away(cause)
}

// call asks and reads the answer.
func call[A any](ctx context.Context, c *Client, path string, q any) (answer A, err error) {
	began := c.options.Clock.Now()
	defer func() {
		code, _ := fault.Of(err)
		c.seconds.WithLabelValues(path, code.String()).Observe(c.options.Clock.Since(began).Seconds())
	}()
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	response, err := c.post(ctx, path, q)
	if err != nil {
		return answer, err
	}
	defer func() { _ = response.Body.Close() }()
	bounded := &io.LimitedReader{R: response.Body, N: maxAnswer}
	if err := json.NewDecoder(bounded).Decode(&answer); err != nil {
		if bounded.N <= 0 {
			return answer, fault.New(fault.ResourceExhausted, "the answer of the %s has more than %d bytes: ask for less", c.options.Role, maxAnswer)
		}
		return answer, c.gone(ctx, path, response.Request.URL.Host, fmt.Errorf("the answer was cut short: %w", err))
	}
	return answer, nil
}
