package oidc

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
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
	// Dial makes connections to the provider; nil is how this process makes
	// them anyway.
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Clock  clock.PassiveClock
	Random io.Reader
	Log    *slog.Logger
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
	who, t, err := c.verify(ctx, p, token)
	if err != nil {
		return who, err
	}
	who.Groups = append(who.Groups, c.moreGroups(ctx, c.sources(p, t.Claims), who.Subject, session)...)
	return who, nil
}

// verified is an ID token that is good.
type verified struct {
	sso.Token
	Nonce string
}

func (c *Client) verify(ctx context.Context, p *provider, token string) (access.Principal, *verified, error) {
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
	return who, &verified{in, t.Nonce}, nil
}
