// Package oidc runs the certified OpenID provider of Node for tests, and walks
// through its pages as a browser does.
package oidc

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// Client is a program that people log in to.
type Client struct {
	ID           string   `json:"client_id"`
	Secret       string   `json:"client_secret,omitempty"`
	RedirectURIs []string `json:"redirect_uris"`
	GrantTypes   []string `json:"grant_types"`
	Responses    []string `json:"response_types"`
	AuthMethod   string   `json:"token_endpoint_auth_method,omitempty"`
}

// Options of a provider.
type Options struct {
	// Issuer is its address; empty takes a free port.
	Issuer  string   `json:"issuer"`
	Clients []Client `json:"clients"`
	// KeyID names the key that it signs with, a new one at each start.
	KeyID                string `json:"kid"`
	IDTokenSeconds       int    `json:"idTokenSeconds"`
	ClaimsOnlyInUserInfo bool   `json:"claimsOnlyInUserInfo"`
	// GroupsElsewhere is the address of groups, which tokens name then instead
	// of holding them (OpenID Connect Core 5.6.2).
	GroupsElsewhere string `json:"groupsElsewhere"`
}

// Provider is a running provider.
type Provider struct {
	Issuer string
	cmd    *exec.Cmd
}

// Start runs a provider until the test ends.
func Start(t *testing.T, o Options) *Provider {
	t.Helper()
	_, self, _, _ := runtime.Caller(0)
	dir := filepath.Dir(self)
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		t.Fatalf("the provider is not installed: run npm ci in test/oidc: %v", err)
	}
	if o.Issuer == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		o.Issuer = "http://" + l.Addr().String()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if o.KeyID == "" {
		o.KeyID = "first"
	}
	if o.IDTokenSeconds == 0 {
		o.IDTokenSeconds = 600
	}
	for i := range o.Clients {
		o.Clients[i].GrantTypes, o.Clients[i].Responses = []string{"authorization_code", "refresh_token"}, []string{"code"}
		if o.Clients[i].Secret == "" {
			o.Clients[i].AuthMethod = "none"
		}
	}
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	p := &Provider{Issuer: o.Issuer, cmd: exec.Command("node", filepath.Join(dir, "provider.mjs"), string(raw))}
	p.cmd.Stderr = io.Discard
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatalf("start the provider: %v", err)
	}
	t.Cleanup(p.Stop)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() == o.Issuer {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return p
		}
	}
	t.Fatal("the provider ended before it listened")
	return nil
}

// Stop ends the provider.
func (p *Provider) Stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

var (
	form  = regexp.MustCompile(`<form[^>]*action="([^"]+)"`)
	field = regexp.MustCompile(`<input[^>]*type="hidden"[^>]*name="([^"]+)"[^>]*value="([^"]*)"`)
)

// Walk follows redirects from an address and fills the pages of the provider as
// a user would, until it is sent to an address for which done says yes; that
// one is not visited. The browser keeps its cookies in its jar and must not
// follow redirects itself.
func (p *Provider) Walk(browser *http.Client, start, user string, done func(*url.URL) bool) (string, error) {
	at, body := start, url.Values(nil)
	for range 20 {
		u, err := url.Parse(at)
		if err != nil {
			return "", err
		}
		if done(u) {
			return at, nil
		}
		res, err := visit(browser, at, body)
		if err != nil {
			return "", err
		}
		raw, err := io.ReadAll(res.Body)
		if err = errors.Join(err, res.Body.Close()); err != nil {
			return "", err
		}
		if to := res.Header.Get("Location"); to != "" {
			next, err := u.Parse(to)
			if err != nil {
				return "", err
			}
			at, body = next.String(), nil
			continue
		}
		action := form.FindSubmatch(raw)
		if action == nil || res.StatusCode != http.StatusOK {
			return "", fmt.Errorf("%s answers with status %d: %.300s", at, res.StatusCode, raw)
		}
		body = url.Values{}
		for _, f := range field.FindAllSubmatch(raw, -1) {
			body.Set(string(f[1]), html.UnescapeString(string(f[2])))
		}
		if strings.Contains(string(raw), `name="login"`) {
			body.Set("login", user)
			body.Set("password", "any")
		}
		next, err := u.Parse(html.UnescapeString(string(action[1])))
		if err != nil {
			return "", err
		}
		at = next.String()
	}
	return "", errors.New("the provider goes round in circles")
}

func visit(browser *http.Client, at string, body url.Values) (*http.Response, error) {
	if body == nil {
		return browser.Get(at)
	}
	return browser.PostForm(at, body)
}
