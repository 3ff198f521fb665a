package session

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/adapter/identity"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/account"
	"github.com/sluice-cd/sluice/internal/server/fault"
)

// SSO verifies tokens of an OIDC provider.
type SSO interface {
	// Verify says who shows an ID token; the error is for its bearer.
	Verify(ctx context.Context, token string) (access.Principal, error)
	// Renew gives a fresh ID token for one that is about to end, or that has
	// ended, when the provider has given us the means; empty is no need or none.
	Renew(ctx context.Context, token string) (string, error)
}

// Authenticator tells who sends a request.
type Authenticator struct {
	Keeper *identity.Keeper
	// SSO may be nil.
	SSO     SSO
	Cookies Cookies
	Log     *slog.Logger
	Clock   clock.PassiveClock
}

// Authenticate says who sends a request; the error is Unauthenticated. Where
// anonymous access is on, who shows no good token is nobody in particular.
func (a *Authenticator) Authenticate(r *http.Request) (access.Principal, error) {
	who, err := a.verify(r)
	if err != nil && a.Keeper.Book().Anonymous {
		return access.Principal{}, nil
	}
	return who, err
}

func (a *Authenticator) verify(r *http.Request) (access.Principal, error) {
	token, _, err := tokenOf(r)
	switch {
	case err != nil:
		return access.Principal{}, fault.New(fault.Unauthenticated, "invalid session: %s", err)
	case token == "":
		return access.Principal{}, fault.New(fault.Unauthenticated, "no session information")
	}
	who, err := a.VerifyToken(r.Context(), token)
	if err != nil {
		return access.Principal{}, fault.New(fault.Unauthenticated, "invalid session: %s", err)
	}
	return who, nil
}

// VerifyToken says who shows a token. Only the algorithm in its head, which
// every verifier demands anyway, says who verifies it.
func (a *Authenticator) VerifyToken(ctx context.Context, token string) (access.Principal, error) {
	if a.SSO == nil || len(token) > identity.MaxToken || ours(token) {
		s, err := a.Keeper.Verify(token)
		return s.Principal, err
	}
	return a.SSO.Verify(ctx, token)
}

// ours says whether a token is signed as ours are.
func ours(token string) bool {
	head, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return true // whoever verifies it refuses it
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	return json.Unmarshal(raw, &header) != nil || header.Algorithm == "HS256"
}

// renewWithin is how near its end a session of ours is renewed.
const renewWithin = 5 * time.Minute

// Renew sends a fresh cookie to a browser whose session is about to end.
func (a *Authenticator) Renew(w http.ResponseWriter, r *http.Request, who access.Principal) {
	local := who.Issuer == account.Issuer
	if !who.LoggedIn() || who.Unrestricted || (local && who.ExpiresAt.Sub(a.Clock.Now()) >= renewWithin) || (!local && a.SSO == nil) {
		return
	}
	token, cookie, err := tokenOf(r)
	if err != nil || !cookie {
		return
	}
	fresh, err := a.renewed(r.Context(), token, local)
	if err != nil {
		a.Log.Warn("a session is not renewed", "user", who.Name, "error", err.Error())
		return
	}
	if fresh == "" {
		return
	}
	cookies, err := a.Cookies.Set(fresh)
	if err != nil {
		a.Log.Warn("a session is not renewed", "user", who.Name, "error", err.Error())
		return
	}
	for _, c := range cookies {
		http.SetCookie(w, c)
	}
}

func (a *Authenticator) renewed(ctx context.Context, token string, local bool) (string, error) {
	if !local {
		return a.SSO.Renew(ctx, token)
	}
	s, err := a.Keeper.Verify(token)
	if err != nil {
		return "", err
	}
	return a.Keeper.Renew(s)
}
