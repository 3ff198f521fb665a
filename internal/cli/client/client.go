package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"k8s.io/utils/clock"
)

// Options of a Client.
type Options struct {
	// Server is host[:port]; a scheme before it is accepted, and http switches
	// PlainText on.
	Server string
	// PlainText speaks HTTP without TLS, Insecure takes any certificate.
	PlainText, Insecure bool
	// CA is PEM to trust besides what the system trusts.
	CA []byte
	// ClientCert and ClientKey are PEM and come together.
	ClientCert, ClientKey []byte
	Token                 string
	// Headers are "Name: value", sent with every request.
	Headers []string
	// RootPath is where the server lives below the host.
	RootPath  string
	UserAgent string
	// Retries of requests that change nothing, when the connection fails or
	// the server is Unavailable.
	Retries int
	// Transport replaces the network: an API in this process.
	Transport http.RoundTripper
	Clock     clock.WithTickerAndDelayedExecution
}

// Client is a connection to a server; it is safe for concurrent use.
type Client struct {
	o       Options
	base    url.URL
	headers http.Header
	http    *http.Client
}

// maxAnswer bounds one answer in bytes (spec/api.md §1).
const maxAnswer = 200 << 20

// New makes a client; it connects when it is first asked for something.
func New(o Options) (*Client, error) {
	c := &Client{o: o, headers: http.Header{}}
	host := strings.TrimSuffix(o.Server, "/")
	switch {
	case strings.HasPrefix(host, "http://"):
		c.o.PlainText, host = true, strings.TrimPrefix(host, "http://")
	case strings.HasPrefix(host, "https://"):
		host = strings.TrimPrefix(host, "https://")
	}
	c.base = url.URL{Scheme: "https", Host: host}
	if c.o.PlainText {
		c.base.Scheme = "http"
	}
	if _, err := url.Parse(c.base.String()); err != nil || host == "" || strings.ContainsAny(host, "/?#@") {
		return nil, fmt.Errorf("server address %q is no host[:port]", o.Server)
	}
	for _, line := range o.Headers {
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, fmt.Errorf("additional headers must be colon(:)-separated: %s", line)
		}
		c.headers.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	transport := o.Transport
	if transport == nil {
		var err error
		if transport, err = network(c.o); err != nil {
			return nil, err
		}
	}
	c.http = &http.Client{Transport: transport, CheckRedirect: c.redirect}
	return c, nil
}

// network dials with TLS as the options say.
func network(o Options) (http.RoundTripper, error) {
	settings, err := TLS(o)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: settings, ForceAttemptHTTP2: true,
		DialContext:         (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: 30 * time.Second, IdleConnTimeout: 90 * time.Second, MaxIdleConnsPerHost: 16,
	}
	return t, nil
}

// TLS is how the options verify the server and show who we are.
func TLS(o Options) (*tls.Config, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.Insecure} //nolint:gosec // --insecure asks for it
	if len(o.CA) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(o.CA) {
			return nil, errors.New("the certificate authority is no PEM certificate: check --server-crt")
		}
		settings.RootCAs = pool
	}
	if len(o.ClientCert) == 0 && len(o.ClientKey) == 0 {
		return settings, nil
	}
	if len(o.ClientCert) == 0 || len(o.ClientKey) == 0 {
		return nil, errors.New("--client-crt and --client-crt-key must always be specified together")
	}
	pair, err := tls.X509KeyPair(o.ClientCert, o.ClientKey)
	if err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	settings.Certificates = []tls.Certificate{pair}
	return settings, nil
}

// redirect follows within the host only: a token is for nobody else.
func (c *Client) redirect(r *http.Request, via []*http.Request) error {
	if len(via) > 5 {
		return errors.New("the server redirects in a circle")
	}
	host := func(h string) string { name, _, _ := strings.Cut(h, ":"); return name }
	if host(r.URL.Host) != host(c.base.Host) || (c.base.Scheme == "https" && r.URL.Scheme != "https") {
		return fmt.Errorf("the server redirects to %s://%s: a proxy that asks for a login stands before it, or the address is wrong", r.URL.Scheme, r.URL.Host)
	}
	return nil
}

// Address is host[:port] of the server.
func (c *Client) Address() string { return c.base.Host }

// PlainText says that no TLS is spoken.
func (c *Client) PlainText() bool { return c.base.Scheme == "http" }

// Token is what the client shows the server.
func (c *Client) Token() string { return c.o.Token }

// call is one request.
type call struct {
	method string
	// path segments are escaped when it is built: see at.
	path  string
	query url.Values
	body  any
}

// at builds a path; every part after the first is one escaped segment.
func at(prefix string, parts ...string) string {
	for _, p := range parts {
		prefix += "/" + url.PathEscape(p)
	}
	return prefix
}

func (c *Client) request(ctx context.Context, k call) (*http.Request, error) {
	address := c.base.String()
	if root := strings.Trim(c.o.RootPath, "/"); root != "" {
		address += "/" + root
	}
	address += k.path
	if len(k.query) > 0 {
		address += "?" + k.query.Encode()
	}
	var body io.Reader
	if k.body != nil {
		raw, err := encoded(k.body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(ctx, k.method, address, body)
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	if k.method != http.MethodGet {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Accept", "application/json")
	if c.o.UserAgent != "" {
		r.Header.Set("User-Agent", c.o.UserAgent)
	}
	if c.o.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.o.Token)
	}
	for name, values := range c.headers {
		r.Header[name] = values
	}
	return r, nil
}

// do sends a request and reads the answer into out, which may be nil.
func (c *Client) do(ctx context.Context, k call, out any) error {
	pause := 100 * time.Millisecond
	for attempt := 0; ; attempt++ {
		raw, err := c.once(ctx, k)
		if err == nil {
			if out == nil || len(raw) == 0 {
				return nil
			}
			if err := json.Unmarshal(raw, out); err != nil {
				return fmt.Errorf("%s answers with something that is no JSON of ours (%w): is it the address of the API?", c.base.Host, err)
			}
			return nil
		}
		if attempt >= c.o.Retries || k.method != http.MethodGet || !passing(err) {
			return err
		}
		if err := wait(ctx, c.o.Clock, pause); err != nil {
			return err
		}
		pause = min(2*pause, 5*time.Second)
	}
}

// passing says that an error may go away by itself.
func passing(err error) bool {
	code := CodeOf(err)
	return code == 0 && !errors.Is(err, context.Canceled) || code == Unavailable
}

// wait pauses; the error is that of the context.
func wait(ctx context.Context, clk clock.Clock, d time.Duration) error {
	t := clk.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C():
		return nil
	}
}

func (c *Client) once(ctx context.Context, k call) ([]byte, error) {
	r, err := c.request(ctx, k)
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(err)
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, c.unreachable(err)
	}
	if len(raw) > maxAnswer {
		return nil, fmt.Errorf("%s answers with more than %d MiB", c.base.Host, maxAnswer>>20)
	}
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return nil, refusal(answer.StatusCode, raw)
	}
	return raw, nil
}

// unreachable says of a failed connection what to do about it.
func (c *Client) unreachable(err error) error {
	var urlError *url.Error
	if errors.As(err, &urlError) {
		err = urlError.Err
	}
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown), errors.As(err, &invalid), errors.As(err, &name):
		return &ConnectionError{Server: c.base.Host, Err: err, Remedy: "trust its authority with --server-crt FILE, or skip the check with --insecure"}
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return &ConnectionError{Server: c.base.Host, Err: err, Remedy: "the server speaks no TLS there: use --plaintext"}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return &ConnectionError{Server: c.base.Host, Err: err, Remedy: "check the address and whether the server runs"}
}

// ConnectionError says that the server was not reached.
type ConnectionError struct {
	Server, Remedy string
	Err            error
}

func (e *ConnectionError) Error() string { return fmt.Sprintf("cannot reach %s: %v", e.Server, e.Err) }

// Unwrap is the cause.
func (e *ConnectionError) Unwrap() error { return e.Err }

// HTTP is the client under it, for what is no call of the API: an issuer that
// lives below the same address. It sends no token by itself.
func (c *Client) HTTP() *http.Client { return &http.Client{Transport: c.http.Transport} }
