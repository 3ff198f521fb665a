package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/rbac"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/sso"
)

// Options of a Client.
type Options struct {
	// Config is the newest configuration; nil is no provider.
	Config func() *sso.Config
	// Scopes name the claims that hold groups.
	Scopes func() []string
	// Revoked says whether a token was ended by its id.
	Revoked func(id string) bool
	// Key is server.secretkey, Length how long a login lasts at most.
	Key    func() repo.Secret
	Length func() time.Duration
	// Dex is where the Dex beside the server is reached, for example
	// https://argocd-dex-server:5556; DexStrict verifies its certificate.
	Dex       string
	DexStrict bool
	Clock     clock.PassiveClock
	Random    io.Reader
	Log       *slog.Logger
}

// Client talks to the provider of the newest configuration.
type Client struct {
	Options

	mu       sync.Mutex
	provider *provider
	failed   error
	retry    time.Time

	refreshes refreshes
	groups    groupCache
}

// Errors that callers tell apart.
var (
	// ErrOff is a server without a provider.
	ErrOff = errors.New("logins by a provider are not configured")
	// ErrExpired is a token that was good.
	ErrExpired = errors.New("failed to verify the token: it is expired")
)

// New makes a Client.
func New(o Options) *Client {
	return &Client{Options: o, refreshes: refreshes{done: map[[32]byte]*refreshed{}}, groups: groupCache{known: map[[32]byte]groups{}}}
}

// provider is what a provider says of itself.
type provider struct {
	config   *sso.Config
	verifier *oidc.IDTokenVerifier
	endpoint oauth2.Endpoint
	userInfo string
	http     *http.Client
}

// algorithms are those of signatures that only the provider can make.
var algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}

// current gives the provider of the newest configuration; discovery that
// failed is tried again after a pause.
func (c *Client) current(ctx context.Context) (*provider, error) {
	config := c.Config()
	if config == nil {
		return nil, ErrOff
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.provider != nil && reflect.DeepEqual(c.provider.config, config) {
		if c.failed == nil || c.Clock.Now().Before(c.retry) {
			return c.provider, c.failed
		}
	}
	p, err := c.discover(ctx, config)
	if err != nil {
		c.Log.Error("the provider of logins cannot be used", "issuer", config.Issuer, "error", err.Error())
		p, err = &provider{config: config}, errors.New("the provider of logins cannot be reached or used: see the log of the server")
		c.retry = c.Clock.Now().Add(pause)
	}
	c.provider, c.failed = p, err
	return p, err
}

func (c *Client) discover(ctx context.Context, config *sso.Config) (*provider, error) {
	t, err := newTransport(config, c.Options)
	if err != nil {
		return nil, err
	}
	p := &provider{config: config, http: t.client()}
	if config.Insecure {
		c.Log.Warn("certificates of the provider of logins are not verified", "issuer", config.Issuer, "remedy", "set rootCA in oidc.config and remove oidc.tls.insecure.skip.verify")
	}
	found, err := oidc.NewProvider(p.with(context.WithoutCancel(ctx)), config.Issuer)
	if err != nil {
		return nil, err
	}
	var claims struct {
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
		UserInfo   string   `json:"userinfo_endpoint"`
	}
	if err := found.Claims(&claims); err != nil {
		return nil, err
	}
	allowed := slices.DeleteFunc(slices.Clone(algorithms), func(a string) bool {
		return len(claims.Algorithms) > 0 && !slices.Contains(claims.Algorithms, a)
	})
	if len(allowed) == 0 {
		return nil, fmt.Errorf("the provider signs with none of %v", algorithms)
	}
	p.verifier = found.VerifierContext(p.with(context.WithoutCancel(ctx)), &oidc.Config{SkipClientIDCheck: true, SupportedSigningAlgs: allowed, Now: c.Clock.Now})
	p.endpoint, p.userInfo = found.Endpoint(), claims.UserInfo
	if config.UserInfoPath != "" {
		base := config.UserInfoBaseURL
		if base == "" {
			base = config.Issuer
		}
		p.userInfo = strings.TrimRight(base, "/") + "/" + strings.TrimLeft(config.UserInfoPath, "/")
	}
	return p, nil
}

// with lets the libraries use our transport.
func (p *provider) with(ctx context.Context) context.Context { return oidc.ClientContext(ctx, p.http) }

// Verify says who shows an ID token. session is the cookie of his login, from
// which groups may have to be asked for; it may be empty. The error is for the
// bearer; ErrExpired is among them.
func (c *Client) Verify(ctx context.Context, token, session string) (access.Principal, error) {
	p, err := c.current(ctx)
	if err != nil {
		return access.Principal{}, err
	}
	who, _, err := c.verify(ctx, p, token)
	if err != nil || !p.config.UserInfoGroups {
		return who, err
	}
	who.Groups = append(who.Groups, c.userInfoGroups(ctx, p, who.Subject, session)...)
	return who, nil
}

func (c *Client) verify(ctx context.Context, p *provider, token string) (access.Principal, *oidc.IDToken, error) {
	t, err := p.verifier.Verify(p.with(ctx), token)
	var expired *oidc.TokenExpiredError
	switch {
	case errors.As(err, &expired):
		return access.Principal{}, nil, ErrExpired
	case err != nil:
		c.Log.Debug("a token is not good", "issuer", p.config.Issuer, "error", err.Error())
		return access.Principal{}, nil, errors.New("failed to verify the token: log in again")
	case t.IssuedAt.IsZero():
		return access.Principal{}, nil, errors.New("token has no time of issue")
	}
	in := sso.Token{Issuer: t.Issuer, Subject: t.Subject, Audience: t.Audience, IssuedAt: t.IssuedAt, ExpiresAt: t.Expiry}
	if err := t.Claims(&in.Claims); err != nil {
		return access.Principal{}, nil, errors.New("token has claims that cannot be read")
	}
	who, err := p.config.Identify(in, c.Scopes())
	if err != nil {
		return access.Principal{}, nil, err
	}
	if who.TokenID == "" {
		sum := sha256.Sum256([]byte(token)) // it can be ended all the same
		who.TokenID = fmt.Sprintf("%x", sum)
	}
	if c.Revoked(who.TokenID) {
		return access.Principal{}, nil, errors.New("token is revoked: log in again")
	}
	return who, t, nil
}

// groupCache remembers groups of user info for a while, by access token.
type groupCache struct {
	mu    sync.Mutex
	known map[[32]byte]groups
}

type groups struct {
	names []string
	until time.Time
}

// maxGroupSets is how many answers are remembered.
const maxGroupSets = 10000

// userInfoGroups asks the provider for the groups of a login. Without an
// answer there are none: nobody gets more than he is known to have.
func (c *Client) userInfoGroups(ctx context.Context, p *provider, subject, session string) []string {
	var s login
	if session == "" || c.open(purposeSession, session, &s) != nil || s.Access == "" {
		return nil
	}
	key := sha256.Sum256([]byte(s.Access))
	now := c.Clock.Now()
	c.groups.mu.Lock()
	known, ok := c.groups.known[key]
	c.groups.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.names
	}
	fresh := groups{until: now.Add(p.config.UserInfoCache)}
	claims, err := p.askUserInfo(ctx, s.Access)
	switch {
	case err != nil:
		c.Log.Warn("groups of a user are not known", "issuer", p.config.Issuer, "error", err.Error())
		fresh.until = now.Add(pause)
	case claims["sub"] != subject && claims["sub"] != nil:
		c.Log.Warn("the provider answers for another user", "issuer", p.config.Issuer)
	default:
		fresh.names = rbac.Groups(claims, c.Scopes())
	}
	c.groups.mu.Lock()
	defer c.groups.mu.Unlock()
	if len(c.groups.known) >= maxGroupSets {
		clear(c.groups.known)
	}
	c.groups.known[key] = fresh
	return fresh.names
}

func (p *provider) askUserInfo(ctx context.Context, token string) (map[string]any, error) {
	if p.userInfo == "" {
		return nil, errors.New("the provider has no user info: set userInfoPath in oidc.config")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.userInfo, nil)
	if err != nil {
		return nil, errors.New("the address of user info is no URL")
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := p.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // it is read
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("user info answers with status %d", res.StatusCode)
	}
	var out map[string]any
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		return nil, errors.New("user info is no JSON")
	}
	return out, nil
}
