package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// maxRedirects is how many hosts one request may be sent on to.
const maxRedirects = 5

// origin is scheme, host and port of a URL: what a credential belongs to.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// client makes an HTTP client for a repository: its certificates, its proxy,
// and no credential beyond its own origin.
func (f *Fetcher) client(r repo.Repository, guarded bool) (*http.Client, error) {
	config, err := r.TLS()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	if guarded {
		dialer.Control = func(_, address string, _ syscall.RawConn) error { return f.vetAddress(address) }
	}
	direct := &http.Transport{
		TLSClientConfig: config, DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true,
		ResponseHeaderTimeout: f.options.Timeout, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second,
		MaxResponseHeaderBytes: 1 << 20,
	}
	proxied, via := direct.Clone(), r.Via(f.options.Environment)
	proxied.DialContext, proxied.Proxy = (&net.Dialer{Timeout: 10 * time.Second}).DialContext, func(q *http.Request) (*url.URL, error) { return via(q.URL) }
	return &http.Client{Transport: &ways{direct, proxied}, Timeout: f.options.Timeout, CheckRedirect: f.redirect(guarded)}, nil
}

// ways sends a request directly or through the proxy that is for it. A guard
// of addresses stands on the direct way only: a proxy is inside the network,
// and what is reached through it is the proxy's to decide.
type ways struct{ direct, proxied *http.Transport }

func (w *ways) RoundTrip(r *http.Request) (*http.Response, error) {
	proxy, err := w.proxied.Proxy(r)
	if err != nil {
		return nil, err
	}
	if proxy != nil {
		return w.proxied.RoundTrip(r)
	}
	return w.direct.RoundTrip(r)
}

// CloseIdleConnections ends what waits for another request.
func (w *ways) CloseIdleConnections() {
	w.direct.CloseIdleConnections()
	w.proxied.CloseIdleConnections()
}

// redirect drops what must not travel and refuses to leave https.
func (f *Fetcher) redirect(guarded bool) func(*http.Request, []*http.Request) error {
	return func(next *http.Request, via []*http.Request) error {
		first := via[0].URL
		switch {
		case len(via) > maxRedirects:
			return fmt.Errorf("more than %d redirects", maxRedirects)
		case next.URL.Scheme != "https" && next.URL.Scheme != "http":
			return errors.New("redirects to something else than http")
		case first.Scheme == "https" && next.URL.Scheme == "http":
			return errors.New("redirects from https to http")
		}
		if origin(first) != origin(next.URL) {
			next.Header.Del("Authorization")
			next.Header.Del("Cookie")
		}
		if guarded {
			return f.vetHost(next.URL.Hostname())
		}
		return nil
	}
}

// vetHost allows a host by name before it is asked for its address.
func (f *Fetcher) vetHost(host string) error {
	if address, err := netip.ParseAddr(host); err == nil {
		return f.vetIP(address, host)
	}
	return nil
}

// vetAddress checks where a connection really goes, after names were resolved.
func (f *Fetcher) vetAddress(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return err
	}
	return f.vetIP(ip, host)
}

// errInside says that a URL of a source leads inside the own network.
var errInside = errors.New("leads to a loopback, link-local or private address: declare the host with --allow-private-hosts if it may be read")

func (f *Fetcher) vetIP(ip netip.Addr, host string) error {
	ip = ip.Unmap()
	inside := ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() || ip.IsMulticast() || ip.IsUnspecified() ||
		netip.MustParsePrefix("100.64.0.0/10").Contains(ip) || netip.MustParsePrefix("fd00::/8").Contains(ip)
	if inside && !slices.Contains(f.options.PrivateHosts, host) {
		return errInside
	}
	return nil
}

// answered is what is kept of the head of a response.
type answered struct {
	unchanged bool
	etag      string
}

// get fetches a URL into w.
func (f *Fetcher) get(ctx context.Context, c *http.Client, req request, w io.Writer) (answered, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, req.url, nil)
	if err != nil {
		return answered{}, errors.New("is not a URL")
	}
	r.Header.Set("User-Agent", f.tuning().UserAgent)
	if req.etag != "" {
		r.Header.Set("If-None-Match", req.etag)
	}
	if req.authorize != nil {
		req.authorize(r)
	}
	resp, err := c.Do(r)
	if err != nil {
		return answered{}, plain(err)
	}
	defer func() { _ = resp.Body.Close() }()
	switch {
	case resp.StatusCode == http.StatusNotModified && req.etag != "":
		return answered{unchanged: true, etag: req.etag}, nil
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return answered{}, fmt.Errorf("the server refused the credentials (%d): check username and password of the repository", resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return answered{}, fmt.Errorf("the server answered %d", resp.StatusCode)
	}
	n, err := io.Copy(w, io.LimitReader(resp.Body, req.limit+1))
	switch {
	case err != nil:
		return answered{}, plain(err)
	case n > req.limit:
		return answered{}, fmt.Errorf("has more than %d bytes", req.limit)
	case resp.ContentLength >= 0 && n != resp.ContentLength && resp.Header.Get("Content-Encoding") == "" && !resp.Uncompressed:
		return answered{}, errors.New("the answer was cut short")
	}
	return answered{etag: resp.Header.Get("ETag")}, nil
}

// request is one GET.
type request struct {
	url, etag string
	limit     int64
	authorize func(*http.Request)
}

// plain takes the URL, which may hold a secret, out of an error of net/http.
func plain(err error) error {
	if wrapped := new(url.Error); errors.As(err, &wrapped) {
		if wrapped.Timeout() {
			return errors.New("the server did not answer in time")
		}
		err = wrapped.Err
	}
	return err
}

// authorize puts the credential on requests to the origin of the repository,
// or to all when passing it on is allowed.
func authorize(r repo.Repository, home string, passOn bool) func(*http.Request) {
	return func(req *http.Request) {
		if !passOn && origin(req.URL) != home {
			return
		}
		switch {
		case r.BearerToken.Reveal() != "":
			req.Header.Set("Authorization", "Bearer "+r.BearerToken.Reveal())
		case r.Username != "" || r.Password.Reveal() != "":
			req.SetBasicAuth(r.Username, r.Password.Reveal())
		}
	}
}

// redact leaves user, password and query out of a URL.
func redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "the URL"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
