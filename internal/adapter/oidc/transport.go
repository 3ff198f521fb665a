package oidc

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/domain/sso"
)

// Bounds of talking to a provider.
const (
	requestTimeout = 10 * time.Second
	// maxAnswer is the longest answer that is read, in bytes.
	maxAnswer = 1 << 20
	// pause is how long documents are not asked for again, whatever tokens say.
	pause = 10 * time.Second
	// maxDocuments is how many documents are kept.
	maxDocuments = 16
)

// transport carries requests to a provider: answers are bounded, and documents
// that need no token are asked for seldom.
type transport struct {
	inner http.RoundTripper
	clock clock.PassiveClock
	// issuer and dex send requests for the Dex beside the server there, instead
	// of around through the address that users see.
	issuer, dex string

	mu        sync.Mutex
	documents map[string]document
}

type document struct {
	at     time.Time
	status int
	header http.Header
	body   []byte
	err    error
}

func newTransport(c *sso.Config, o Options) (*transport, error) {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("the transport of this process cannot be copied")
	}
	inner := base.Clone()
	if o.Dial != nil {
		inner.DialContext = o.Dial
	}
	inner.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.Insecure} // oidc.tls.insecure.skip.verify
	if c.RootCA != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM([]byte(c.RootCA)) {
			return nil, errors.New("oidc.config: rootCA holds no certificate in PEM form")
		}
		inner.TLSClientConfig.RootCAs = pool
	}
	t := &transport{inner: inner, clock: o.Clock, documents: map[string]document{}}
	if c.Dex && o.Dex != "" {
		t.issuer, t.dex = c.Issuer, strings.TrimRight(o.Dex, "/")+"/api/dex"
		inner.TLSClientConfig.InsecureSkipVerify = !o.DexStrict
	}
	return t, nil
}

func (t *transport) client() *http.Client {
	return &http.Client{Transport: t, Timeout: requestTimeout, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if len(via) > 5 || next.URL.Host != via[0].URL.Host || next.URL.Scheme != via[0].URL.Scheme {
			return fmt.Errorf("the provider sends us from %s to %s", via[0].URL.Host, next.URL.Host)
		}
		return nil
	}}
}

// RoundTrip answers from memory what was asked for a moment ago.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet || r.Header.Get("Authorization") != "" {
		d := t.ask(r)
		return d.response(r)
	}
	key := r.URL.String()
	t.mu.Lock()
	defer t.mu.Unlock() // whoever comes in the meantime waits for the same answer
	d, known := t.documents[key]
	if age := t.clock.Since(d.at); !known || age >= pause || age < 0 {
		if len(t.documents) >= maxDocuments {
			clear(t.documents)
		}
		d = t.ask(r)
		t.documents[key] = d
	}
	return d.response(r)
}

func (t *transport) ask(r *http.Request) document {
	d := document{at: t.clock.Now()}
	out := r
	if rest, ok := strings.CutPrefix(r.URL.String(), t.issuer); ok && t.issuer != "" {
		u, err := url.Parse(t.dex + rest)
		if err != nil {
			d.err = err
			return d
		}
		out = r.Clone(r.Context())
		out.URL, out.Host = u, ""
	}
	res, err := t.inner.RoundTrip(out)
	if err != nil {
		d.err = err
		return d
	}
	defer func() { _ = res.Body.Close() }() // it is read
	d.status, d.header = res.StatusCode, res.Header
	d.body, d.err = io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if len(d.body) > maxAnswer {
		d.err = fmt.Errorf("the answer of %s has more than %d bytes", r.URL.Host, maxAnswer)
	}
	return d
}

func (d document) response(r *http.Request) (*http.Response, error) {
	if d.err != nil {
		return nil, d.err
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", d.status, http.StatusText(d.status)), StatusCode: d.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: d.header.Clone(), Body: io.NopCloser(bytes.NewReader(d.body)), ContentLength: int64(len(d.body)), Request: r,
	}, nil
}
