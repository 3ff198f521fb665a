package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/server/store"
)

// Secrets that hold the server's certificate; the first that has one counts.
const (
	tlsSecret    = "argocd-server-tls"
	argocdSecret = "argocd-secret"
)

// certificates gives the certificate of the newest Secret; a new one counts
// from the next handshake on.
type certificates struct {
	hub   *store.Hub
	clock clock.PassiveClock
	log   *slog.Logger

	mu      sync.Mutex
	from    string // name and resource version of the Secret
	parsed  *tls.Certificate
	own     *tls.Certificate
	problem string
}

func newCertificates(hub *store.Hub, clk clock.PassiveClock, log *slog.Logger) *certificates {
	return &certificates{hub: hub, clock: clk, log: log}
}

// load makes a certificate when no Secret has one, and keeps it in
// argocd-secret so that it stays the same.
func (c *certificates) load(ctx context.Context) error {
	for _, name := range []string{tlsSecret, argocdSecret} {
		if s, ok := c.hub.Secret(name); ok && len(s.Data[corev1.TLSCertKey]) > 0 {
			return nil
		}
	}
	cert, key, err := selfSigned(c.hub.Namespace, c.clock.Now())
	if err != nil {
		return fmt.Errorf("certificate of the server: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("certificate of the server: %w", err)
	}
	c.mu.Lock()
	c.own = &pair
	c.mu.Unlock()
	patch, err := json.Marshal(map[string]any{"data": map[string]string{
		corev1.TLSCertKey: base64.StdEncoding.EncodeToString(cert), corev1.TLSPrivateKeyKey: base64.StdEncoding.EncodeToString(key),
	}})
	if err != nil {
		return fmt.Errorf("certificate of the server: %w", err)
	}
	secret := &corev1.Secret{}
	secret.Name, secret.Namespace = argocdSecret, c.hub.Namespace
	err = c.hub.Client.Patch(ctx, secret, client.RawPatch(types.MergePatchType, patch))
	if apierrors.IsNotFound(err) {
		secret.Data = map[string][]byte{corev1.TLSCertKey: cert, corev1.TLSPrivateKeyKey: key}
		secret.Labels = map[string]string{"app.kubernetes.io/name": argocdSecret, "app.kubernetes.io/part-of": "argocd"}
		err = c.hub.Client.Create(ctx, secret)
	}
	if err != nil {
		c.log.Warn("the certificate of the server is not kept: clients see another one after a restart", "secret", argocdSecret, "error", err.Error())
	}
	return nil
}

// current gives the certificate for a handshake. One that cannot be read leaves
// the last good one in place.
func (c *certificates) current() (*tls.Certificate, error) {
	for _, name := range []string{tlsSecret, argocdSecret} {
		s, ok := c.hub.Secret(name)
		if !ok || len(s.Data[corev1.TLSCertKey]) == 0 {
			continue
		}
		if pair := c.parse(s); pair != nil {
			return pair, nil
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own != nil {
		return c.own, nil
	}
	if c.parsed != nil {
		return c.parsed, nil
	}
	return nil, fmt.Errorf("no certificate: put tls.crt and tls.key into Secret %s", tlsSecret)
}

func (c *certificates) parse(s *corev1.Secret) *tls.Certificate {
	from := s.Name + "@" + s.ResourceVersion
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.from == from {
		return c.parsed
	}
	pair, err := tls.X509KeyPair(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		if c.problem != from {
			c.problem = from
			c.log.Error("the certificate of the server cannot be used: tls.crt and tls.key must be a PEM pair", "secret", s.Name)
		}
		return nil
	}
	c.from, c.parsed = from, &pair
	return c.parsed
}

// selfSigned makes the certificate of an installation that was given none
// (spec/config.md §3).
func selfSigned(namespace string, now time.Time) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	const name = "argocd-server"
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"Argo CD"}, CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
		DNSNames:    []string{"localhost", name, name + "." + namespace, name + "." + namespace + ".svc", name + "." + namespace + ".svc.cluster.local"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// origins are scheme and host of url and additionalUrls of argocd-cm.
func origins(main, additional string) []string {
	all := []string{main}
	var more []string
	if yaml.Unmarshal([]byte(additional), &more) == nil {
		all = append(all, more...)
	}
	var out []string
	for _, text := range all {
		if u, err := url.Parse(text); err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https") {
			out = append(out, u.Scheme+"://"+u.Host)
		}
	}
	return out
}
