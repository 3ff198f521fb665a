package certificate

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
)

func hostKey(t *testing.T) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

func pemOf(t *testing.T, name string) string {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	raw, err := x509.CreateCertificate(rand.Reader, c, c, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}))
}

type all struct{}

func (all) Allowed(_ access.Principal, what access.Request) bool { return what.Object == "" }

func TestCertificates(t *testing.T) {
	t.Parallel()
	hub, err := store.NewHub("argocd", nil)
	if err != nil {
		t.Fatal(err)
	}
	one := hostKey(t)
	for name, data := range map[string]map[string]string{
		"argocd-ssh-known-hosts-cm": {knownHostsKey: "# comment\n[git.example]:22,10.0.0.1 " + one + "\nbroken line\n"},
		"argocd-tls-certs-cm":       {"git.example": pemOf(t, "ca-1") + pemOf(t, "ca-2"), "other": "no PEM"},
	} {
		m := &corev1.ConfigMap{Data: data}
		m.Name, m.Namespace = name, "argocd"
		hub.ConfigMaps.Put(m)
	}
	s := New(hub)
	line := s.Routes()[0]
	for query, want := range map[Query]string{
		{}:                           "10.0.0.1 ssh,[git.example]:22 ssh,git.example https,git.example https",
		{CertType: "ssh"}:            "10.0.0.1 ssh,[git.example]:22 ssh",
		{CertType: "tls"}:            "git.example https,git.example https",
		{HostNamePattern: "git.*"}:   "git.example https,git.example https",
		{CertSubType: "ssh-ed25519"}: "10.0.0.1 ssh,[git.example]:22 ssh",
		{HostNamePattern: "none"}:    "",

		{HostNamePattern: "[git.example]:22"}: "[git.example]:22 ssh",
	} {
		list, err := s.List(t.Context(), route.NewCall(&line, access.Principal{}, all{}), &query)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range list.Items {
			got = append(got, c.ServerName+" "+c.CertType)
			if len(c.CertData) > 0 || c.CertType == "ssh" && !strings.HasPrefix(c.CertInfo, "SHA256:") || c.CertType == "https" && !strings.HasPrefix(c.CertInfo, "CN=ca-") {
				t.Errorf("shown is %+v", c)
			}
		}
		if text := strings.Join(got, ","); text != want {
			t.Errorf("%+v: %s, want %s", query, text, want)
		}
	}
}

func TestAdding(t *testing.T) {
	t.Parallel()
	one, two := hostKey(t), hostKey(t)
	hosts := lines("git.example " + one)
	for name, c := range map[string]struct {
		data, host string
		upsert     bool
		want       string
	}{
		"the same":         {one, "git.example", false, "0 of 1"},
		"another":          {two, "git.example", false, "error"},
		"another, upsert":  {two, "git.example", true, "1 of 1"},
		"another host":     {two, "else.example", false, "1 of 2"},
		"without its type": {strings.Fields(two)[1], "else.example", false, "1 of 2"},
		"no key":           {"hello", "else.example", false, "error"},
		"two lines":        {two + "\nevil.example " + one, "else.example", false, "error"},
	} {
		added, next, err := addHost(hosts, Certificate{ServerName: c.host, CertType: "ssh", CertSubType: "ssh-ed25519", CertData: []byte(c.data)}, c.upsert)
		got := fmt.Sprintf("%d of %d", len(added), len(next))
		if err != nil {
			got = "error"
		}
		if got != c.want || len(hosts) != 1 {
			t.Errorf("%s: %s, want %s (%v)", name, got, c.want, err)
		}
	}
	first, second := pemOf(t, "a"), pemOf(t, "b")
	certs := map[string]string{}
	add := func(data string, upsert bool) error {
		_, err := addTLS(certs, Certificate{ServerName: "git.example", CertType: "https", CertData: []byte(data)}, upsert)
		return err
	}
	if err := add(first+"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", false); err != nil || strings.Contains(certs["git.example"], "PRIVATE") {
		t.Errorf("%v, kept %s", err, certs["git.example"])
	}
	if err := add(first, false); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if code, _ := fault.Of(add(second, false)); code != fault.InvalidArgument {
		t.Errorf("another without upsert: %v", code)
	}
	if err := add(second, true); err != nil || certs["git.example"] != second {
		t.Errorf("another with upsert: %v", err)
	}
	if code, _ := fault.Of(add("x", true)); code != fault.InvalidArgument {
		t.Errorf("no certificate: %v", code)
	}
}
