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
		c, err := a.Client(role, now, server)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	server, err := mine.Server("repo-server", now, "application-controller")
	if err != nil {
		t.Fatal(err)
	}
	anonymous := client(again, "application-controller", "repo-server")
	anonymous.Certificates = nil
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
