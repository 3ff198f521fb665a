// Package chaos puts a proxy before an API server that misbehaves at the level
// of requests: it refuses, delays or forgets answers, ends watches, and asks
// for credentials that API servers themselves no longer know.
package chaos

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// Rule says what to do with some requests instead of passing them on.
type Rule struct {
	// Match chooses requests.
	Match func(*http.Request) bool
	// Do answers; forward passes the request on.
	Do func(w http.ResponseWriter, r *http.Request, forward http.Handler)
	// Times is how often the rule holds; 0 is always.
	Times int

	used int
}

// Proxy stands before one API server.
type Proxy struct {
	server *httptest.Server
	ca     []byte

	mu    sync.Mutex
	rules []*Rule
	open  map[*http.Request]context.CancelFunc
	// authorize admits a request; nil passes its credentials on as they are.
	authorize func(*http.Request) bool
}

// Options of a Proxy.
type Options struct {
	// Target reaches the API server; its credentials are used when Authorize
	// is set, otherwise those of each request are passed on.
	Target *rest.Config
	// Authorize admits a request.
	Authorize func(*http.Request) bool
}

// New starts a proxy on a port of the loopback.
func New(o Options) (*Proxy, error) {
	config := o.Target
	if o.Authorize == nil {
		config = rest.AnonymousClientConfig(o.Target)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	p := &Proxy{open: map[*http.Request]context.CancelFunc{}, authorize: o.Authorize}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			if o.Authorize != nil {
				r.Out.Header.Del("Authorization")
			}
		},
		Transport: transport, FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
	p.server = httptest.NewUnstartedServer(p.handler(forward))
	pair, ca, err := Certificate()
	if err != nil {
		return nil, err
	}
	p.ca = ca
	p.server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	p.server.EnableHTTP2 = true
	p.server.StartTLS()
	return p, nil
}

// Certificate is a self-signed one for the loopback address, and its PEM.
func Certificate() (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("chaos: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("chaos: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// URL of the proxy, and the authority that signed its certificate.
func (p *Proxy) URL() string { return p.server.URL }

// CA is the PEM of the authority that signed the certificate.
func (p *Proxy) CA() []byte { return p.ca }

// Close ends the proxy.
func (p *Proxy) Close() {
	p.Hang()
	_ = p.server.Listener.Close() // who comes back now would keep Close waiting
	p.server.CloseClientConnections()
	p.server.Close()
}

func (p *Proxy) handler(forward http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		r = r.WithContext(ctx)
		p.mu.Lock()
		p.open[r] = cancel
		rule := p.pick(r)
		p.mu.Unlock()
		defer func() {
			p.mu.Lock()
			delete(p.open, r)
			p.mu.Unlock()
		}()
		switch {
		case p.authorize != nil && !p.authorize(r):
			Refuse(http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "Unauthorized")(w, r, forward)
		case rule != nil:
			rule.Do(w, r, forward)
		default:
			forward.ServeHTTP(w, r)
		}
	})
}

func (p *Proxy) pick(r *http.Request) *Rule {
	for _, rule := range p.rules {
		if (rule.Times == 0 || rule.used < rule.Times) && rule.Match(r) {
			rule.used++
			return rule
		}
	}
	return nil
}

// Add puts a rule behind the others and returns what takes it away again.
func (p *Proxy) Add(r Rule) (remove func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := &r
	p.rules = append(p.rules, one)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for i, have := range p.rules {
			if have == one {
				p.rules = append(p.rules[:i:i], p.rules[i+1:]...)
				return
			}
		}
	}
}

// Used is how many requests a rule of these answered.
func (p *Proxy) Used() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, r := range p.rules {
		n += r.used
	}
	return n
}

// Hang ends every request that is under way, watches above all.
func (p *Proxy) Hang() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, cancel := range p.open {
		cancel()
	}
}

// Refuse answers with a Status as API servers do.
func Refuse(code int, reason metav1.StatusReason, message string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		if code == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "1")
		}
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
		})
	}
}

// Forget lets the request happen and drops its answer.
func Forget(_ http.ResponseWriter, r *http.Request, forward http.Handler) {
	forward.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// Writes matches writes to a resource that are no dry runs.
func Writes(resource string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return r.Method != http.MethodGet && strings.Contains(r.URL.Path, "/"+resource) && r.URL.Query().Get("dryRun") == ""
	}
}

// Watches matches watches of a resource.
func Watches(resource string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return r.URL.Query().Get("watch") != "" && strings.HasSuffix(r.URL.Path, "/"+resource)
	}
}
