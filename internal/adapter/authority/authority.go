// Package authority makes the certificates with which the processes of one
// installation know each other. The authority itself is made at the first
// start and kept in a Secret of the hub; a process issues a certificate to
// itself, and the next one when half of its life is over.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"
)

// Keys of the Secret.
const (
	KeyCertificate = "ca.crt"
	KeyPrivate     = "ca.key"
)

// ServerName is the name under which a process of the installation is called,
// whatever its address.
const ServerName = "sluice.internal"

// Lives of certificates.
const (
	caLife   = 20 * 365 * 24 * time.Hour
	leafLife = 30 * 24 * time.Hour
	skew     = time.Hour
)

// Authority signs certificates.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	random      io.Reader
}

// Make makes a new authority; data is what the Secret holds.
func Make(random io.Reader, now time.Time) (a *Authority, data map[string][]byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, nil, fmt.Errorf("make an authority: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sluice internal authority"},
		NotBefore: now.Add(-skew), NotAfter: now.Add(caLife), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(random, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, fmt.Errorf("make an authority: %w", err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("make an authority: %w", err)
	}
	data = map[string][]byte{
		KeyCertificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		KeyPrivate:     pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}),
	}
	a, err = Load(random, data)
	return a, data, err
}

// Load reads what Make gave.
func Load(random io.Reader, data map[string][]byte) (*Authority, error) {
	pair, err := tls.X509KeyPair(data[KeyCertificate], data[KeyPrivate])
	if err != nil {
		return nil, errors.New("the internal authority is damaged: delete its Secret and restart every component")
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, errors.New("the internal authority is none: delete its Secret and restart every component")
	}
	return &Authority{pair.Leaf, key, random}, nil
}

// issue makes a certificate for a role.
func (a *Authority) issue(role string, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), a.random)
	if err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", role, err)
	}
	raw := make([]byte, 16)
	if _, err := io.ReadFull(a.random, raw); err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", role, err)
	}
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(raw), Subject: pkix.Name{CommonName: role}, DNSNames: []string{ServerName},
		NotBefore: now.Add(-skew), NotAfter: now.Add(leafLife), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(a.random, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", role, err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// own is the certificate of a process, made anew when half of its life is
// over. It is safe for concurrent use.
type own struct {
	authority *Authority
	role      string
	now       func() time.Time

	mu     sync.Mutex
	held   *tls.Certificate
	issued time.Time
}

func (o *own) get() (*tls.Certificate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	if o.held != nil && now.Sub(o.issued) < leafLife/2 && !now.Before(o.issued.Add(-skew)) {
		return o.held, nil
	}
	made, err := o.authority.issue(o.role, now)
	if err != nil {
		return nil, err
	}
	o.held, o.issued = made, now
	return made, nil
}

func (a *Authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.certificate)
	return p
}

// Server is the TLS configuration of a server that only the roles named may
// call. It serves for as long as the process runs.
func (a *Authority) Server(role string, now func() time.Time, callers ...string) (*tls.Config, error) {
	o := &own{authority: a, role: role, now: now}
	if _, err := o.get(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.pool(),
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return o.get() },
		NextProtos:     []string{"h2"}, Time: now,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || !slices.Contains(callers, s.PeerCertificates[0].Subject.CommonName) {
				return errors.New("this component may not call")
			}
			return nil
		},
	}, nil
}

// Client is the TLS configuration of a process in a role that calls one in
// another, or in one of several. It serves for as long as the process runs.
func (a *Authority) Client(role string, now func() time.Time, servers ...string) (*tls.Config, error) {
	o := &own{authority: a, role: role, now: now}
	if _, err := o.get(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: a.pool(), ServerName: ServerName, NextProtos: []string{"h2"}, Time: now,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return o.get() },
		VerifyConnection: func(s tls.ConnectionState) error {
			if name := s.PeerCertificates[0].Subject.CommonName; !slices.Contains(servers, name) {
				return fmt.Errorf("%q answers, not %s", name, strings.Join(servers, " or "))
			}
			return nil
		},
	}, nil
}
