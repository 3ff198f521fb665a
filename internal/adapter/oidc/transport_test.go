package oidc

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	clocks "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/internal/domain/sso"
)

func TestTransport(t *testing.T) {
	asked := map[string]int{}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.URL.Path]++
		switch r.URL.Path {
		case "/large":
			_, _ = io.WriteString(w, strings.Repeat("x", maxAnswer+1))
		case "/away":
			http.Redirect(w, r, "https://elsewhere.example.com/", http.StatusFound)
		default:
			_, _ = io.WriteString(w, r.URL.Path)
		}
	}))
	defer server.Close()
	clk := clocks.NewFakePassiveClock(time.Unix(1000, 0))
	at := func(c *sso.Config, o Options) *http.Client {
		t.Helper()
		o.Clock = clk
		made, err := newTransport(c, o)
		if err != nil {
			t.Fatal(err)
		}
		return made.client()
	}
	get := func(c *http.Client, url string) string {
		res, err := c.Get(url)
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		raw, _ := io.ReadAll(res.Body)
		return string(raw)
	}
	lax := at(&sso.Config{Insecure: true}, Options{})
	for range 100 {
		if got := get(lax, server.URL+"/keys"); got != "/keys" {
			t.Fatal(got)
		}
	}
	if asked["/keys"] != 1 {
		t.Errorf("a document is asked for %d times in no time", asked["/keys"])
	}
	clk.SetTime(time.Unix(1010, 0))
	if get(lax, server.URL+"/keys"); asked["/keys"] != 2 {
		t.Errorf("a document is asked for %d times in ten seconds", asked["/keys"])
	}
	if got := get(lax, server.URL+"/large"); !strings.Contains(got, "more than") {
		t.Errorf("a large answer: %.80s", got)
	}
	if got := get(lax, server.URL+"/away"); !strings.Contains(got, "sends us from") {
		t.Errorf("another host: %s", got)
	}
	// T-31105: a certificate nobody vouches for is refused.
	if got := get(at(&sso.Config{}, Options{}), server.URL+"/x"); !strings.Contains(got, "certificate") {
		t.Errorf("an unknown authority: %s", got)
	}
	dex := at(&sso.Config{Dex: true, Issuer: "https://cd.example.com/api/dex"}, Options{Dex: server.URL})
	if got := get(dex, "https://cd.example.com/api/dex/keys"); got != "/api/dex/keys" {
		t.Errorf("the Dex beside the server: %s", got)
	}
	if _, err := newTransport(&sso.Config{RootCA: "no PEM"}, Options{}); err == nil || !strings.Contains(err.Error(), "rootCA") {
		t.Errorf("rootCA: %v", err)
	}
}
