package authority_test

import (
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/internal/adapter/authority"
)

var now = time.Now()

func fixed() time.Time { return now }

func handshake(server, client *tls.Config) error {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	go func() {
		s := tls.Server(a, server)
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		_ = a.Close()
		done <- err
	}()
	c := tls.Client(b, client)
	err := c.Handshake()
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, 1))
	}
	_ = b.Close()
	if serverErr := <-done; serverErr != nil {
		return serverErr
	}
	return err
}

func TestOnlyTheInstallationTalks(t *testing.T) {
	mine, data, err := authority.Make(rand.Reader, now)
	if err != nil {
		t.Fatal(err)
	}
	again, err := authority.Load(rand.Reader, data)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := authority.Make(rand.Reader, now)
	if err != nil {
		t.Fatal(err)
	}
	client := func(a *authority.Authority, role, server string) *tls.Config {
		c, err := a.Client(role, fixed, server)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	server, err := mine.Server("repo-server", fixed, "application-controller")
	if err != nil {
		t.Fatal(err)
	}
	anonymous := client(again, "application-controller", "repo-server")
	anonymous.GetClientCertificate = nil
	for name, c := range map[string]struct {
		client *tls.Config
		ok     bool
	}{
		"the controller":       {client(again, "application-controller", "repo-server"), true},
		"another component":    {client(again, "notifications-controller", "repo-server"), false},
		"another installation": {client(other, "application-controller", "repo-server"), false},
		"nobody":               {anonymous, false},
		"wrong server":         {client(again, "application-controller", "server"), false},
	} {
		if err := handshake(server, c.client); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := authority.Load(rand.Reader, map[string][]byte{}); err == nil || !strings.Contains(err.Error(), "delete its Secret") {
		t.Errorf("error %v, want the remedy", err)
	}
}

// TestProcessesOutliveTheirCertificates: a server and a client that run for
// years still talk, each with a certificate of this month, and a certificate
// that was taken from one is of no use for long.
func TestProcessesOutliveTheirCertificates(t *testing.T) {
	a, _, err := authority.Make(rand.Reader, now)
	if err != nil {
		t.Fatal(err)
	}
	clock := now
	tick := func() time.Time { return clock }
	server, err := a.Server("repo-server", tick, "server")
	if err != nil {
		t.Fatal(err)
	}
	client, err := a.Client("server", tick, "repo-server")
	if err != nil {
		t.Fatal(err)
	}
	stolen, err := client.GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	serials := map[string]bool{}
	for range 60 {
		if err := handshake(server, client); err != nil {
			t.Fatalf("after %s: %v", clock.Sub(now), err)
		}
		held, err := server.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		serials[string(held.Certificate[0])] = true
		clock = clock.Add(20 * 24 * time.Hour)
	}
	if len(serials) != 60 {
		t.Errorf("%d certificates in 60 times 20 days", len(serials))
	}
	thief := client.Clone()
	thief.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return stolen, nil }
	if err := handshake(server, thief); err == nil {
		t.Error("a certificate of three years ago was accepted")
	}
}
