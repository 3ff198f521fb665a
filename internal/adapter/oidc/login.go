package oidc

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/sluice-cd/sluice/internal/domain/access"
)

// Purposes of sealed cookies.
const (
	purposeState   = "oauth state"
	purposeSession = "oidc session"
)

// StateLife is how long somebody may take at the provider.
const StateLife = 5 * time.Minute

// state is what a login on its way remembers.
type state struct {
	State, Nonce, Verifier string
	Return, Base           string
	Began                  int64
}

// login is what a finished one remembers: the means to refresh it, and to ask
// who it is.
type login struct {
	Refresh string `json:"r,omitempty"`
	Access  string `json:"a,omitempty"`
	// Subject is whose Access it is.
	Subject string `json:"s,omitempty"`
	ID      string `json:"i"`
	Began   int64  `json:"t"`
}

// Start is a login that begins.
type Start struct {
	// URL is where the browser goes, Cookie what it brings back.
	URL, Cookie string
}

// Begin sends somebody to the provider. base is the address that he came by,
// returnTo where he goes afterwards; both were checked.
func (c *Client) Begin(ctx context.Context, base, returnTo string) (Start, error) {
	p, err := c.current(ctx)
	if err != nil {
		return Start{}, err
	}
	s := state{Return: returnTo, Base: base, Began: c.Clock.Now().Unix()}
	for _, into := range []*string{&s.State, &s.Nonce, &s.Verifier} {
		if *into, err = c.random(); err != nil {
			return Start{}, err
		}
	}
	cookie, err := c.seal(purposeState, s)
	if err != nil {
		return Start{}, err
	}
	options := []oauth2.AuthCodeOption{oidc.Nonce(s.Nonce), oauth2.S256ChallengeOption(s.Verifier)}
	if len(p.config.Claims) > 0 {
		raw, err := json.Marshal(map[string]any{"id_token": p.config.Claims})
		if err != nil {
			return Start{}, fmt.Errorf("encode claims: %w", err)
		}
		options = append(options, oauth2.SetAuthURLParam("claims", string(raw)))
	}
	if p.config.DomainHint != "" {
		options = append(options, oauth2.SetAuthURLParam("domain_hint", p.config.DomainHint))
	}
	return Start{URL: p.oauth(base).AuthCodeURL(s.State, options...), Cookie: cookie}, nil
}

func (p *provider) oauth(base string) *oauth2.Config {
	return &oauth2.Config{ClientID: p.config.ClientID, ClientSecret: p.config.ClientSecret.Reveal(), Endpoint: p.endpoint, RedirectURL: base + "/auth/callback", Scopes: p.config.Scopes}
}

// Done is a login that is finished.
type Done struct {
	Token string
	// Session is a cookie beside the token; empty when there is nothing to keep.
	Session string
	// SessionEnds is when the login as a whole ends.
	SessionEnds time.Time
	Return      string
	Who         access.Principal
}

// ErrState is an answer of a provider to a login that this browser has not
// begun, or too long ago.
var ErrState = errors.New("this login was not begun in this browser, or too long ago: begin again")

// Finish takes the answer of the provider: the code and the state of the
// URL, and the cookie that Begin gave.
func (c *Client) Finish(ctx context.Context, code, answered, cookie string) (Done, error) {
	var s state
	now := c.Clock.Now()
	if c.open(purposeState, cookie, &s) != nil || subtle.ConstantTimeCompare([]byte(answered), []byte(s.State)) != 1 {
		return Done{}, ErrState
	}
	if began := time.Unix(s.Began, 0); now.Sub(began) > StateLife || began.After(now.Add(StateLife)) {
		return Done{}, ErrState
	}
	p, err := c.current(ctx)
	if err != nil {
		return Done{}, err
	}
	token, err := p.oauth(s.Base).Exchange(p.with(ctx), code, oauth2.VerifierOption(s.Verifier))
	if err != nil {
		c.Log.Warn("the provider does not take the code of a login", "issuer", p.config.Issuer, "error", exchangeError(err))
		return Done{}, errors.New("the provider does not confirm this login: begin again")
	}
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return Done{}, errors.New("the provider gives no ID token: scope openid must be among requestedScopes")
	}
	who, t, err := c.verify(ctx, p, raw)
	if err != nil {
		return Done{}, err
	}
	if subtle.ConstantTimeCompare([]byte(t.Nonce), []byte(s.Nonce)) != 1 {
		return Done{}, ErrState
	}
	done := Done{Token: raw, Return: s.Return, Who: who}
	err = c.keep(p, &done, t, login{Refresh: token.RefreshToken, Access: token.AccessToken, ID: s.State, Began: now.Unix()})
	return done, err
}

// exchangeError names what went wrong without what was sent.
func exchangeError(err error) string {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) {
		return fmt.Sprintf("status %d, %s", refused.Response.StatusCode, refused.ErrorCode)
	}
	return err.Error()
}

// maxSession keeps the session within one cookie.
const maxSession = 3800

// keep seals what a login remembers; an access token is kept only where it is
// of use, and where it fits.
func (c *Client) keep(p *provider, done *Done, t *verified, l login) error {
	if l.Subject = done.Who.Subject; len(c.sources(p, t.Claims)) == 0 {
		l.Access, l.Subject = "", ""
	}
	if l.Refresh == "" && l.Access == "" {
		return nil
	}
	done.SessionEnds = time.Unix(l.Began, 0).Add(c.Length())
	sealed, err := c.seal(purposeSession, l)
	if err == nil && len(sealed) > maxSession && l.Access != "" {
		c.Log.Warn("an access token is too long to be kept: groups of the provider are not known", "issuer", p.config.Issuer)
		l.Access, l.Subject = "", ""
		sealed, err = c.seal(purposeSession, l)
	}
	if err != nil || len(sealed) > maxSession {
		return err
	}
	done.Session = sealed
	return nil
}

// refreshes are done once for each session, however many requests of a browser
// come with it at the same time.
type refreshes struct {
	mu   sync.Mutex
	done map[[32]byte]*refreshed
}

type refreshed struct {
	at    time.Time
	ready chan struct{} // closed when the rest is there
	done  *Done
	err   error
}

// Bounds of remembered refreshes.
const (
	rememberRefresh = 2 * time.Minute
	maxRefreshes    = 10000
)

// Refresh gives the next token of a login that is about to end or has ended;
// nil is no need, or no means.
func (c *Client) Refresh(ctx context.Context, token, session string) (*Done, error) {
	var l login
	if session == "" || c.open(purposeSession, session, &l) != nil || l.Refresh == "" || c.Revoked(l.ID) {
		return nil, nil
	}
	p, err := c.current(ctx)
	if err != nil {
		return nil, err
	}
	now := c.Clock.Now()
	who, _, err := c.verify(ctx, p, token)
	young := err == nil && (p.config.RefreshBefore == 0 || who.ExpiresAt.Sub(now) >= p.config.RefreshBefore)
	if young || (err != nil && !errors.Is(err, ErrExpired)) || now.Sub(time.Unix(l.Began, 0)) >= c.Length() {
		return nil, nil
	}
	mine, first := c.refreshes.of(sha256.Sum256([]byte(session)), now)
	if first {
		mine.done, mine.err = c.refresh(context.WithoutCancel(ctx), p, l)
		close(mine.ready)
	}
	select {
	case <-mine.ready:
		return mine.done, mine.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// of gives the refresh of a session; first says that the caller does it.
func (r *refreshes) of(key [32]byte, now time.Time) (one *refreshed, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if before, known := r.done[key]; known && now.Sub(before.at) < rememberRefresh {
		return before, false
	}
	if len(r.done) >= maxRefreshes {
		clear(r.done)
	}
	one = &refreshed{at: now, ready: make(chan struct{})}
	r.done[key] = one
	return one, true
}

func (c *Client) refresh(ctx context.Context, p *provider, l login) (*Done, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	token, err := p.oauth("").TokenSource(p.with(ctx), &oauth2.Token{RefreshToken: l.Refresh}).Token()
	if err != nil {
		return nil, fmt.Errorf("the provider does not refresh a login: %s", exchangeError(err))
	}
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return nil, errors.New("the provider gives no ID token when it refreshes")
	}
	who, t, err := c.verify(ctx, p, raw)
	if err != nil {
		return nil, err
	}
	l.Refresh, l.Access = token.RefreshToken, token.AccessToken
	done := &Done{Token: raw, Who: who}
	return done, c.keep(p, done, t, l)
}

// SessionID is the id under which the login of a session cookie can be ended,
// and when it ends anyway; empty is none.
func (c *Client) SessionID(session string) (id string, ends time.Time) {
	var l login
	if session == "" || c.open(purposeSession, session, &l) != nil {
		return "", time.Time{}
	}
	return l.ID, time.Unix(l.Began, 0).Add(c.Length())
}
