// Package certificate holds the operations on what repositories are known by:
// host keys of SSH and certificates of TLS servers (spec/api.md §3). They live
// in two config maps; answers describe them and never hold them.
package certificate

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// Service answers for certificates.
type Service struct{ Hub *store.Hub }

// New makes a Service.
func New(hub *store.Hub) *Service { return &Service{Hub: hub} }

// kinds of certificates, and the key of the config map that has all host keys.
const (
	typeSSH, typeTLS = "ssh", "https"
	knownHostsKey    = "ssh_known_hosts"
	rpc              = "certificate.CertificateService/"
	base             = "/api/v1/certificates"
)

// Routes are all operations on certificates.
func (s *Service) Routes() route.Table {
	return route.Table{
		route.Unary(route.Spec{Method: "GET", Path: base, RPC: rpc + "ListCertificates", Rule: route.Lists("certificates/get"), Summary: "List host keys and certificates."}, s.List),
		route.Unary(route.Spec{Method: "POST", Path: base, RPC: rpc + "CreateCertificate", Rule: route.Needs("certificates/create").And("certificates/update"), Summary: "Add host keys and certificates."}, s.Create),
		route.Unary(route.Spec{Method: "DELETE", Path: base, RPC: rpc + "DeleteCertificate", Rule: route.Needs("certificates/delete"), Summary: "Remove host keys and certificates."}, s.Delete),
	}
}

// Certificate is a host key or a certificate.
type Certificate struct {
	ServerName  string `json:"serverName"`
	CertType    string `json:"certType"`
	CertSubType string `json:"certSubType"`
	// CertData goes in only.
	CertData []byte `json:"certData"`
	CertInfo string `json:"certInfo"`
}

// List is an answer with many of them.
type List struct {
	Metadata metav1.ListMeta `json:"metadata"`
	Items    []Certificate   `json:"items"`
}

// Query selects certificates; empty patterns fit all.
type Query struct {
	HostNamePattern string `json:"-" query:"hostNamePattern"`
	CertType        string `json:"-" query:"certType"`
	CertSubType     string `json:"-" query:"certSubType"`
}

// fits matches a certificate; https and tls are one type.
func (q *Query) fits(c Certificate) bool {
	glob := func(pattern, value string) bool {
		if pattern == "" || pattern == "*" || pattern == value { // names such as [host]:22 are no patterns
			return true
		}
		ok, err := path.Match(pattern, value)
		return err == nil && ok
	}
	kind := q.CertType
	if kind == "tls" {
		kind = typeTLS
	}
	return glob(q.HostNamePattern, c.ServerName) && glob(kind, c.CertType) && glob(q.CertSubType, c.CertSubType)
}

// all reads both config maps, sorted.
func (s *Service) all() []Certificate {
	var out []Certificate
	for _, l := range lines(s.Hub.Config(settings.SSHKnownHostsName)[knownHostsKey]) {
		for _, host := range l.hosts {
			out = append(out, l.certificate(host))
		}
	}
	for host, text := range s.Hub.Config(settings.TLSCertsName) {
		for _, c := range chain([]byte(text)) {
			out = append(out, Certificate{ServerName: host, CertType: typeTLS, CertSubType: strings.ToLower(c.PublicKeyAlgorithm.String()), CertInfo: c.Subject.String()})
		}
	}
	slices.SortFunc(out, func(a, b Certificate) int {
		return cmp.Or(cmp.Compare(a.ServerName, b.ServerName), cmp.Compare(a.CertType, b.CertType), cmp.Compare(a.CertSubType, b.CertSubType), cmp.Compare(a.CertInfo, b.CertInfo))
	})
	return out
}

// known is a line of known_hosts.
type known struct {
	text  string
	hosts []string
	key   ssh.PublicKey
}

func (k known) certificate(host string) Certificate {
	return Certificate{ServerName: host, CertType: typeSSH, CertSubType: k.key.Type(), CertInfo: ssh.FingerprintSHA256(k.key)}
}

// lines reads known_hosts; what cannot be read is left out.
func lines(text string) []known {
	var out []known
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		_, hosts, key, _, _, err := ssh.ParseKnownHosts([]byte(line))
		if err == nil && key != nil {
			out = append(out, known{text: line, hosts: hosts, key: key})
		}
	}
	return out
}

func chain(raw []byte) []*x509.Certificate {
	var out []*x509.Certificate
	for len(raw) > 0 {
		block, rest := pem.Decode(raw)
		if block == nil {
			return out
		}
		raw = rest
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			out = append(out, c)
		}
	}
	return out
}

// List lists host keys and certificates.
func (s *Service) List(_ context.Context, c *route.Call, q *Query) (*List, error) {
	out := &List{Items: []Certificate{}}
	if !c.Can(access.Request{Resource: "certificates", Action: "get"}) {
		return out, nil
	}
	for _, one := range s.all() {
		if q.fits(one) {
			out.Items = append(out.Items, one)
		}
	}
	return out, nil
}

// CreateRequest adds certificates.
type CreateRequest struct {
	Certificates List `json:"certificates" body:"*"`
	Upsert       bool `json:"upsert,omitempty" query:"upsert"`
}

// Create adds host keys and certificates; those that are there and differ need
// upsert.
func (s *Service) Create(ctx context.Context, c *route.Call, q *CreateRequest) (*List, error) {
	if err := c.Must(access.Request{Resource: "certificates", Action: "create"}); err != nil {
		return nil, err
	}
	if q.Upsert {
		if err := c.Must(access.Request{Resource: "certificates", Action: "update"}); err != nil {
			return nil, err
		}
	}
	hosts, certs := lines(s.Hub.Config(settings.SSHKnownHostsName)[knownHostsKey]), maps.Clone(s.Hub.Config(settings.TLSCertsName))
	if certs == nil {
		certs = map[string]string{}
	}
	out := &List{Items: []Certificate{}}
	for i, one := range q.Certificates.Items {
		if one.ServerName == "" || strings.ContainsAny(one.ServerName, " \t\r\n,#") {
			return nil, fault.New(fault.InvalidArgument, "items[%d].serverName %q is no name of a host", i, one.ServerName)
		}
		var added []Certificate
		var err error
		switch one.CertType {
		case typeSSH:
			added, hosts, err = addHost(hosts, one, q.Upsert)
		case typeTLS, "tls":
			added, err = addTLS(certs, one, q.Upsert)
		default:
			err = fault.New(fault.InvalidArgument, "items[%d].certType %q is neither ssh nor https", i, one.CertType)
		}
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, added...)
	}
	if err := s.write(ctx, hosts, certs); err != nil {
		return nil, err
	}
	c.Did(route.Act{Reason: "ResourceCreated", Message: "created repository certificates"})
	return out, nil
}

func addHost(hosts []known, one Certificate, upsert bool) ([]Certificate, []known, error) {
	text := strings.TrimSpace(string(one.CertData))
	if !strings.HasPrefix(text, "ssh-") && !strings.HasPrefix(text, "ecdsa-") && !strings.HasPrefix(text, "sk-") {
		text = one.CertSubType + " " + text
	}
	found := lines(one.ServerName + " " + text)
	if len(found) != 1 {
		return nil, nil, fault.New(fault.InvalidArgument, "certData of %s is no public key of an SSH server", one.ServerName)
	}
	fresh := found[0]
	for i, old := range hosts {
		if !slices.Contains(old.hosts, one.ServerName) || old.key.Type() != fresh.key.Type() {
			continue
		}
		switch {
		case bytes.Equal(old.key.Marshal(), fresh.key.Marshal()):
			return nil, hosts, nil
		case !upsert:
			return nil, nil, fault.New(fault.InvalidArgument, "key of %s type %s already exists and upsert is not set", one.ServerName, fresh.key.Type())
		}
		hosts = slices.Delete(slices.Clone(hosts), i, i+1)
		break
	}
	return []Certificate{fresh.certificate(one.ServerName)}, append(hosts, fresh), nil
}

func addTLS(certs map[string]string, one Certificate, upsert bool) ([]Certificate, error) {
	host := one.ServerName
	if problems := validation.IsConfigMapKey(host); len(problems) > 0 {
		return nil, fault.New(fault.InvalidArgument, "serverName %q: %s", host, strings.Join(problems, "; "))
	}
	parsed := chain(one.CertData)
	if len(parsed) == 0 {
		return nil, fault.New(fault.InvalidArgument, "certData of %s holds no PEM certificate", host)
	}
	var text bytes.Buffer
	var out []Certificate
	for _, c := range parsed { // only what was understood: nothing else is written down
		if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
			return nil, err
		}
		out = append(out, Certificate{ServerName: host, CertType: typeTLS, CertSubType: strings.ToLower(c.PublicKeyAlgorithm.String()), CertInfo: c.Subject.String()})
	}
	old, there := certs[host]
	switch {
	case there && strings.TrimSpace(old) == strings.TrimSpace(text.String()):
		return nil, nil
	case there && !upsert:
		return nil, fault.New(fault.InvalidArgument, "TLS certificate for server %s already exists and upsert is not set", host)
	}
	certs[host] = text.String()
	return out, nil
}

// Delete removes what fits.
func (s *Service) Delete(ctx context.Context, c *route.Call, q *Query) (*List, error) {
	if err := c.Must(access.Request{Resource: "certificates", Action: "delete"}); err != nil {
		return nil, err
	}
	if q.HostNamePattern == "" && q.CertType == "" && q.CertSubType == "" {
		return nil, fault.New(fault.InvalidArgument, "nothing says what to delete: set hostNamePattern")
	}
	out := &List{Items: []Certificate{}}
	for _, one := range s.all() {
		if q.fits(one) {
			out.Items = append(out.Items, one)
		}
	}
	gone := func(host, kind, sub string) bool {
		return q.fits(Certificate{ServerName: host, CertType: kind, CertSubType: sub})
	}
	hosts := slices.DeleteFunc(lines(s.Hub.Config(settings.SSHKnownHostsName)[knownHostsKey]), func(k known) bool {
		return slices.ContainsFunc(k.hosts, func(h string) bool { return gone(h, typeSSH, k.key.Type()) })
	})
	certs := maps.Clone(s.Hub.Config(settings.TLSCertsName))
	maps.DeleteFunc(certs, func(host, text string) bool {
		return slices.ContainsFunc(chain([]byte(text)), func(c *x509.Certificate) bool {
			return gone(host, typeTLS, strings.ToLower(c.PublicKeyAlgorithm.String()))
		})
	})
	if err := s.write(ctx, hosts, certs); err != nil {
		return nil, err
	}
	c.Did(route.Act{Reason: "ResourceDeleted", Message: "deleted repository certificates"})
	return out, nil
}

// write stores both config maps where they changed.
func (s *Service) write(ctx context.Context, hosts []known, certs map[string]string) error {
	var text strings.Builder
	for _, k := range hosts {
		text.WriteString(k.text + "\n")
	}
	before := lines(s.Hub.Config(settings.SSHKnownHostsName)[knownHostsKey])
	if !slices.EqualFunc(before, hosts, func(a, b known) bool { return a.text == b.text }) {
		if err := s.Hub.Configure(ctx, settings.SSHKnownHostsName, map[string]string{knownHostsKey: text.String()}); err != nil {
			return err
		}
	}
	if !maps.Equal(certs, s.Hub.Config(settings.TLSCertsName)) {
		return s.Hub.Configure(ctx, settings.TLSCertsName, certs)
	}
	return nil
}
