package repo

import (
	"net/url"
	"strings"
	"testing"
)

func TestVia(t *testing.T) {
	environment := []string{"https_proxy=http://outer:3128", "HTTP_PROXY=http://plain:3128", "http_proxy=", "NO_PROXY=.inside.example.com,10.0.0.0/8", "HOME=/"}
	own := Repository{Proxy: "http://me:pr0xy@own:8080", NoProxy: "charts.example.com"}
	for _, c := range []struct {
		name, to, want string
		r              Repository
	}{
		{"environment", "https://charts.example.com/x", "http://outer:3128", Repository{}},
		{"environment, plain", "http://charts.example.com/x", "http://plain:3128", Repository{}},
		{"a host that the environment leaves out", "https://a.inside.example.com", "", Repository{}},
		{"a network that the environment leaves out", "https://10.1.2.3", "", Repository{}},
		{"declared", "https://other.example.com", "http://me:pr0xy@own:8080", own},
		{"left out by the declaration", "https://charts.example.com", "", own},
		{"and its subdomains", "https://a.charts.example.com", "", own},
		{"what the declaration leaves out replaces the environment's", "https://a.inside.example.com", "http://me:pr0xy@own:8080", own},
		{"this machine", "http://127.0.0.1:5000", "", own},
	} {
		u, err := url.Parse(c.to)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.r.Via(environment)(u)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		text := ""
		if got != nil {
			text = got.String()
		}
		if text != c.want {
			t.Errorf("%s: by %q, want %q", c.name, text, c.want)
		}
	}
	u := &url.URL{Scheme: "https", Host: "charts.example.com"}
	if _, err := (Repository{Proxy: "http://me:pr0xy@ho st:1"}).Via(nil)(u); err == nil || strings.Contains(err.Error(), "pr0xy") {
		t.Errorf("a proxy that is no URL: %v", err)
	}
}

func TestTLSOfARepository(t *testing.T) {
	for name, c := range map[string]struct {
		r    Repository
		want string
	}{
		"no certificate": {Repository{CAData: "canary"}, "argocd-tls-certs-cm holds no PEM certificate"},
		"no pair":        {Repository{TLSClientCertData: "canary", TLSClientCertKey: "canary"}, "tlsClientCertData and tlsClientCertKey"},
	} {
		if _, err := c.r.TLS(); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
	config, err := Repository{Insecure: true}.TLS()
	if err != nil || !config.InsecureSkipVerify || config.RootCAs != nil {
		t.Errorf("insecure: %+v, %v", config, err)
	}
}
