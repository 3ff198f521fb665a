package session

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/adapter/identity"
	"github.com/sluice-cd/sluice/internal/adapter/oidc"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/account"
	"github.com/sluice-cd/sluice/internal/server/fault"
)

// Authenticator tells who sends a request.
type Authenticator struct {
	Keeper *identity.Keeper
	// SSO may be nil.
	SSO     *oidc.Client
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
	token, cookie, err := tokenOf(r)
	switch {
	case err != nil:
		return access.Principal{}, fault.New(fault.Unauthenticated, "invalid session: %s", err)
	case token == "":
		return access.Principal{}, fault.New(fault.Unauthenticated, "no session information")
	}
	session := ""
	if cookie {
		session = sessionOf(r)
	}
	who, err := a.VerifyToken(r.Context(), token, session)
	if session != "" && errors.Is(err, oidc.ErrExpired) {
		who, err = a.refreshed(r.Context(), token, session)
	}
	if err != nil {
		return access.Principal{}, fault.New(fault.Unauthenticated, "invalid session: %s", err)
	}
	return who, nil
}

// refreshed goes on with the next token of a login whose token has ended; Renew
// hands it out.
func (a *Authenticator) refreshed(ctx context.Context, token, session string) (access.Principal, error) {
	done, err := a.SSO.Refresh(ctx, token, session)
	if err != nil {
		a.Log.Warn("a login is not refreshed", "error", err.Error())
	}
	if err != nil || done == nil {
		return access.Principal{}, oidc.ErrExpired
	}
	return a.SSO.Verify(ctx, done.Token, done.Session)
}

// VerifyToken says who shows a token; session is the cookie of a login by a
// provider that came with it, or empty. Only the algorithm in the head of the
// token, which every verifier demands anyway, says who verifies it.
func (a *Authenticator) VerifyToken(ctx context.Context, token, session string) (access.Principal, error) {
	if a.SSO == nil || len(token) > identity.MaxToken || ours(token) {
		s, err := a.Keeper.Verify(token)
		return s.Principal, err
	}
	return a.SSO.Verify(ctx, token, session)
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
	var cookies []*http.Cookie
	if local {
		cookies, err = a.renewed(token)
	} else {
		cookies, err = a.next(r, token)
	}
	if err != nil {
		a.Log.Warn("a session is not renewed", "user", who.Name, "error", err.Error())
		return
	}
	for _, c := range cookies {
		http.SetCookie(w, c)
	}
}

// renewed are the cookies of a fresh session of ours, if it is time.
func (a *Authenticator) renewed(token string) ([]*http.Cookie, error) {
	s, err := a.Keeper.Verify(token)
	if err != nil {
		return nil, err
	}
	fresh, err := a.Keeper.Renew(s)
	if err != nil || fresh == "" {
		return nil, err
	}
	return a.Cookies.Set(fresh)
}

// next are the cookies of a login by a provider that was refreshed, if it was.
func (a *Authenticator) next(r *http.Request, token string) ([]*http.Cookie, error) {
	done, err := a.SSO.Refresh(r.Context(), token, sessionOf(r))
	if err != nil || done == nil {
		return nil, err
	}
	return a.Cookies.login(done, a.Clock.Now())
}
