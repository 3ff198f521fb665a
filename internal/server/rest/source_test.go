package rest

import (
	"net/http"
	"testing"
)

// TestSource: only what trusted proxies wrote is believed.
func TestSource(t *testing.T) {
	t.Parallel()
	trusted, err := ParseProxies([]string{" 10.0.0.0/8", "2001:db8::1", "::ffff:192.0.2.7", ""})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		proxies Proxies
		remote  string
		headers []string
		want    string
	}{
		"nobody is trusted":            {nil, "10.0.0.1:80", []string{"203.0.113.9"}, "10.0.0.1"},
		"a stranger claims":            {trusted, "203.0.113.5:80", []string{"198.51.100.1"}, "203.0.113.5"},
		"a proxy tells":                {trusted, "10.0.0.1:80", []string{"203.0.113.9"}, "203.0.113.9"},
		"a mapped proxy":               {trusted, "[::ffff:10.0.0.1]:80", []string{"203.0.113.9"}, "203.0.113.9"},
		"a single address":             {trusted, "192.0.2.7:80", []string{"203.0.113.9"}, "203.0.113.9"},
		"IPv6":                         {trusted, "[2001:db8::1]:80", []string{"[2001:db8:ffff::2]:4711"}, "2001:db8:ffff::2"},
		"two proxies":                  {trusted, "10.0.0.1:80", []string{"203.0.113.9, 10.2.3.4"}, "203.0.113.9"},
		"two headers":                  {trusted, "10.0.0.1:80", []string{"198.51.100.1", "203.0.113.9,10.2.3.4"}, "203.0.113.9"},
		"the client lies":              {trusted, "10.0.0.1:80", []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
		"the client claims to be ours": {trusted, "10.0.0.1:80", []string{"10.9.9.9, 203.0.113.9"}, "203.0.113.9"},
		"nothing was written":          {trusted, "10.0.0.1:80", nil, "10.0.0.1"},
		"garbage":                      {trusted, "10.0.0.1:80", []string{"198.51.100.1, <script>, 10.2.3.4"}, "10.2.3.4"},
		"only proxies":                 {trusted, "10.0.0.1:80", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		"with a port":                  {trusted, "10.0.0.1:80", []string{"203.0.113.9:1234"}, "203.0.113.9"},
		"a socket":                     {trusted, "@", []string{"203.0.113.9"}, "@"},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{"X-Forwarded-For": c.headers}}
		if got := c.proxies.source(r); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	for _, bad := range []string{"proxy.example", "0.0.0.0/0", "::/0", "10.0.0.0/33", "fe80::1%eth0"} {
		if _, err := ParseProxies([]string{bad}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
