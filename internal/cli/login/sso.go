package login

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/oauth2"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/console"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// browserFlags say how the browser comes back to us.
type browserFlags struct {
	port     int
	launch   bool
	callback string
}

func (f *browserFlags) register(fs *pflag.FlagSet) {
	fs.IntVar(&f.port, "sso-port", 8085, "port of this machine that the browser comes back to")
	fs.BoolVar(&f.launch, "sso-launch-browser", true, "start the browser")
	fs.StringVar(&f.callback, "callback", "", "scheme, host and port that the browser comes back to; default: localhost and --sso-port")
}

// issuer is who logs users in.
type issuer struct {
	url, clientID string
	scopes        []string
	claims        map[string]json.RawMessage
	http          *http.Client
}

// dexClient is the client that Dex knows for command lines.
const dexClient = "argo-cd-cli"

// issuerOf says who logs users in for a server.
func issuerOf(c *client.Client, s *client.Settings) (*issuer, error) {
	switch {
	case s.OIDCConfig != nil && s.OIDCConfig.Issuer != "":
		o := s.OIDCConfig
		id := o.CLIClientID
		if id == "" {
			id = o.ClientID
		}
		return &issuer{url: o.Issuer, clientID: id, scopes: scopes(o.Scopes), claims: o.Claims, http: http.DefaultClient}, nil
	case s.DexConfig != nil && len(s.DexConfig.Connectors) > 0:
		return &issuer{url: strings.TrimSuffix(s.URL, "/") + "/api/dex", clientID: dexClient, scopes: scopes(nil), http: c.HTTP()}, nil
	}
	return nil, fail.Fatal("SSO is not configured: log in with --username")
}

func scopes(asked []string) []string {
	if len(asked) == 0 {
		asked = []string{"openid", "profile", "email", "groups"}
	}
	if !slices.Contains(asked, "offline_access") {
		asked = append(slices.Clone(asked), "offline_access")
	}
	return asked
}

// provider is what an issuer says of itself.
type provider struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	ResponseTypes []string `json:"response_types_supported"`
	Scopes        []string `json:"scopes_supported"`
}

const maxDiscovery = 1 << 20

// discover asks an issuer for its endpoints.
func (i *issuer) discover(ctx context.Context) (*provider, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(i.url, "/")+"/.well-known/openid-configuration", nil)
	if err != nil {
		return nil, fmt.Errorf("issuer %s: %w", i.url, err)
	}
	answer, err := i.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("issuer %s: %w", i.url, err)
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxDiscovery))
	if err != nil {
		return nil, fmt.Errorf("issuer %s: %w", i.url, err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("issuer %s: discovery answers %s", i.url, answer.Status)
	}
	var p provider
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fmt.Errorf("issuer %s: discovery: %w", i.url, err)
	}
	if strings.TrimSuffix(p.Issuer, "/") != strings.TrimSuffix(i.url, "/") {
		return nil, fmt.Errorf("issuer %s calls itself %s: correct oidc.config of argocd-cm", i.url, p.Issuer)
	}
	if len(p.Scopes) > 0 && !slices.Contains(p.Scopes, "offline_access") {
		i.scopes = slices.DeleteFunc(i.scopes, func(s string) bool { return s == "offline_access" })
	}
	return &p, nil
}

func (i *issuer) config(p *provider, redirect string) *oauth2.Config {
	return &oauth2.Config{ClientID: i.clientID, Endpoint: oauth2.Endpoint{AuthURL: p.Authorization, TokenURL: p.Token}, RedirectURL: redirect, Scopes: i.scopes}
}

// result is what the browser brought back.
type result struct {
	token, refresh string
	err            error
}

// flow is one login with a browser.
type flow struct {
	config   *oauth2.Config
	state    string
	verifier string
	implicit bool
	http     *http.Client
	done     chan result
}

// browser logs in with a browser: authorization code with PKCE, or the implicit
// flow where the issuer knows no other (spec/cli.md §1.6).
func (f *browserFlags) browser(ctx context.Context, c *console.Console, i *issuer) (token, refresh string, err error) {
	p, err := i.discover(ctx)
	if err != nil {
		return "", "", err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("localhost:%d", f.port))
	if err != nil {
		return "", "", fail.Fatal("the browser cannot come back: %w; choose another port with --sso-port", err)
	}
	base := f.callback
	if base == "" {
		base = "http://" + listener.Addr().String()
		if _, port, err := net.SplitHostPort(listener.Addr().String()); err == nil {
			base = "http://localhost:" + port
		}
	} else if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	w := &flow{
		config: i.config(p, strings.TrimSuffix(base, "/")+"/auth/callback"), state: rand.Text()[:24], verifier: oauth2.GenerateVerifier(),
		implicit: len(p.ResponseTypes) > 0 && !slices.Contains(p.ResponseTypes, "code"), http: i.http, done: make(chan result, 1),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/auth/callback", w.callback)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = server.Shutdown(stop) // the page is with the browser
	}()
	address, grant := w.address(i)
	c.Printf("Performing %s flow login: %s\n", grant, address)
	if !f.launch || launch(ctx, address) != nil {
		c.Printf("To authenticate, copy-and-paste the following URL into your preferred browser: %s\n", address)
	}
	select {
	case <-ctx.Done():
		return "", "", ctx.Err()
	case r := <-w.done:
		return r.token, r.refresh, r.err
	}
}

// address is where the browser begins.
func (w *flow) address(i *issuer) (address, grant string) {
	options := []oauth2.AuthCodeOption{oauth2.AccessTypeOffline}
	if len(i.claims) > 0 {
		if raw, err := json.Marshal(map[string]any{"id_token": i.claims}); err == nil {
			options = append(options, oauth2.SetAuthURLParam("claims", string(raw)))
		}
	}
	if w.implicit {
		options = append(options, oauth2.SetAuthURLParam("response_type", "id_token"), oauth2.SetAuthURLParam("nonce", rand.Text()[:24]))
		return w.config.AuthCodeURL(w.state, options...), "implicit"
	}
	options = append(options, oauth2.S256ChallengeOption(w.verifier))
	return w.config.AuthCodeURL(w.state, options...), "authorization_code"
}

func (w *flow) end(r result) {
	select {
	case w.done <- r:
	default: // a second answer does not count
	}
}

func (w *flow) refuse(out http.ResponseWriter, err error) {
	out.Header().Set("Content-Type", "text/html; charset=utf-8")
	out.WriteHeader(http.StatusBadRequest)
	_, _ = fmt.Fprintf(out, "<p>%s</p>", html.EscapeString(err.Error()))
	w.end(result{err: fail.Fatal("%w", err)})
}

// callback takes what the browser brings back.
func (w *flow) callback(out http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if message := q.Get("error"); message != "" {
		w.refuse(out, fmt.Errorf("login failed: %s: %s", message, q.Get("error_description")))
		return
	}
	if w.implicit && len(q) == 0 {
		// The token is behind the #, which only the browser sees.
		out.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(out, `<script>location.replace(location.pathname + "?" + location.hash.slice(1))</script>`)
		return
	}
	if q.Get("state") != w.state {
		// Somebody else's answer must not end the login.
		http.Error(out, "unknown state", http.StatusBadRequest)
		return
	}
	if w.implicit {
		w.granted(out, q.Get("id_token"), "")
		return
	}
	ctx := context.WithValue(r.Context(), oauth2.HTTPClient, w.http)
	token, err := w.config.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(w.verifier))
	if err != nil {
		w.refuse(out, fmt.Errorf("the issuer refuses the code: %w", err))
		return
	}
	id, _ := token.Extra("id_token").(string)
	w.granted(out, id, token.RefreshToken)
}

const page = `<div style="height:100px;width:100%;display:flex;flex-direction:column;justify-content:center;align-items:center;background:#1e293b;color:#fff;font-size:22px">` +
	`<p style="margin:0">Authentication successful, you can now return to the command line.</p></div>` +
	`<script>window.onload = () => setTimeout(() => close(), 4000)</script>`

func (w *flow) granted(out http.ResponseWriter, id, refresh string) {
	if id == "" {
		w.refuse(out, errors.New("the issuer gave no id_token"))
		return
	}
	out.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(out, page)
	w.end(result{token: id, refresh: refresh})
}

// launch starts the browser.
func launch(ctx context.Context, address string) error {
	if u, err := url.Parse(address); err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("%q is no web address", address)
	}
	program := map[string][]string{"darwin": {"open"}, "windows": {"rundll32", "url.dll,FileProtocolHandler"}}[runtime.GOOS]
	if program == nil {
		program = []string{"xdg-open"}
	}
	return exec.CommandContext(ctx, program[0], append(program[1:], address)...).Start() //nolint:gosec // a fixed program, and a web address
}

// maxRedeem bounds the wait for a fresh token: a command waits for it.
const maxRedeem = 30 * time.Second

// redeem gets a fresh token for a refresh token. Only the issuer of the token
// that has expired gets the refresh token: a server that names another one,
// perhaps one given by --server, must not collect it.
func redeem(ctx context.Context, o client.Options, refresh string) (token, next string, err error) {
	ctx, cancel := context.WithTimeout(ctx, maxRedeem)
	defer cancel()
	old := connect.Read(o.Token)
	o.Token = ""
	c, err := client.New(o)
	if err != nil {
		return "", "", err
	}
	settings, err := c.Settings(ctx)
	if err != nil {
		return "", "", err
	}
	i, err := issuerOf(c, settings)
	if err != nil {
		return "", "", err
	}
	if old == nil || strings.TrimSuffix(old.Issuer, "/") != strings.TrimSuffix(i.url, "/") {
		return "", "", fmt.Errorf("the server names issuer %s, which did not give the token: log in again with: login --sso", i.url)
	}
	p, err := i.discover(ctx)
	if err != nil {
		return "", "", err
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, i.http)
	fresh, err := i.config(p, "").TokenSource(ctx, &oauth2.Token{RefreshToken: refresh}).Token()
	if err != nil {
		return "", "", fmt.Errorf("issuer %s: %w", i.url, err)
	}
	id, _ := fresh.Extra("id_token").(string)
	if id == "" {
		return "", "", fmt.Errorf("issuer %s gave no id_token", i.url)
	}
	return id, fresh.RefreshToken, nil
}
