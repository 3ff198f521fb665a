package session

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/sluice-cd/sluice/internal/adapter/identity"
	"github.com/sluice-cd/sluice/internal/adapter/oidc"
	"github.com/sluice-cd/sluice/internal/domain/account"
	"github.com/sluice-cd/sluice/internal/domain/sso"
)

// pages are logins by a provider, as browsers see them. What they answer is
// fixed text: nothing of a request is shown again.
type pages struct {
	auth   *Authenticator
	keeper *identity.Keeper
	// config is argocd-cm, provider what it means.
	config   func() map[string]string
	provider func() *sso.Config
	log      *slog.Logger
}

// handlers are the pages by their patterns.
func (p *pages) handlers() map[string]http.Handler {
	return map[string]http.Handler{
		"GET /auth/login": http.HandlerFunc(p.login), "GET /auth/callback": http.HandlerFunc(p.callback),
		"GET /auth/logout": http.HandlerFunc(p.logout), "POST /auth/logout": http.HandlerFunc(p.logout),
	}
}

// base is the address that a request came by.
func (p *pages) base(r *http.Request) string {
	path := r.URL.Path
	if full, err := url.ParseRequestURI(r.RequestURI); err == nil {
		path = full.Path
	}
	return sso.Base(p.config(), r.Host, path)
}

func (p *pages) login(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	base := p.base(r)
	if base == "" || p.auth.SSO == nil {
		http.Error(w, "logins by a provider are not configured: set url and oidc.config or dex.config in argocd-cm", http.StatusNotFound)
		return
	}
	to, ok := sso.Return(p.config(), r.URL.Query().Get("return_url"), base)
	if !ok {
		http.Error(w, "return_url is not below url or additionalUrls of argocd-cm", http.StatusBadRequest)
		return
	}
	start, err := p.auth.SSO.Begin(r.Context(), base, to)
	switch {
	case errors.Is(err, oidc.ErrOff):
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	case err != nil:
		http.Error(w, "the provider of logins cannot be reached: see the log of the server", http.StatusBadGateway)
		return
	}
	cookie := p.auth.Cookies.base(stateCookie)
	cookie.Value, cookie.MaxAge = start.Cookie, int(oidc.StateLife.Seconds())
	http.SetCookie(w, cookie)
	http.Redirect(w, r, start.URL, http.StatusSeeOther)
}

// refusals are what providers answer instead of a code (RFC 6749 §4.1.2.1).
var refusals = map[string]string{
	"access_denied":           "the provider denies access",
	"login_required":          "the provider demands a login",
	"consent_required":        "the provider demands consent",
	"interaction_required":    "the provider demands an interaction",
	"invalid_scope":           "the provider does not know one of requestedScopes",
	"unauthorized_client":     "the provider does not let this client log in",
	"server_error":            "the provider has failed",
	"temporarily_unavailable": "the provider is busy",
}

func (p *pages) callback(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	over := p.auth.Cookies.base(stateCookie) // it serves once
	over.MaxAge = -1
	http.SetCookie(w, over)
	q := r.URL.Query()
	if q.Has("error") {
		text, known := refusals[q.Get("error")]
		if !known {
			text = "the provider refuses the login"
		}
		p.log.Info("a login is refused by the provider", "reason", text)
		http.Error(w, text, http.StatusBadRequest)
		return
	}
	state, err := r.Cookie(stateCookie)
	if err != nil || p.auth.SSO == nil || q.Get("code") == "" {
		http.Error(w, oidc.ErrState.Error(), http.StatusBadRequest)
		return
	}
	done, err := p.auth.SSO.Finish(r.Context(), q.Get("code"), q.Get("state"), state.Value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	to, ok := sso.Return(p.config(), done.Return, p.base(r))
	if !ok {
		http.Error(w, "the address to return to is not below url or additionalUrls of argocd-cm any more", http.StatusBadRequest)
		return
	}
	cookies, err := p.auth.Cookies.login(&done, p.auth.Clock.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, c := range cookies {
		http.SetCookie(w, c)
	}
	p.log.Info("somebody logged in by the provider", "user", done.Who.Name, "issuer", done.Who.Issuer)
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (p *pages) logout(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	token, err := fromCookies(r)
	if err != nil || token == "" {
		http.Error(w, "there is no session to end", http.StatusBadRequest)
		return
	}
	session := sessionOf(r)
	over := p.auth.Cookies.base(sessionCookie)
	over.MaxAge = -1
	for _, c := range append(p.auth.Cookies.Clear(r), over) {
		http.SetCookie(w, c)
	}
	to := p.base(r)
	if to == "" {
		to = "/" + strings.Trim(p.auth.Cookies.Path, "/")
	}
	who, err := p.auth.VerifyToken(r.Context(), token, "")
	if err == nil {
		err = p.keeper.Revoke(r.Context(), who.TokenID, who.ExpiresAt)
		if who.Issuer != account.Issuer {
			to = p.provider().Logout(token, to)
		}
	} else {
		err = nil // a token that is not good has nothing to end
	}
	if p.auth.SSO != nil {
		if id, ends := p.auth.SSO.SessionID(session); id != "" {
			err = errors.Join(err, p.keeper.Revoke(r.Context(), id, ends))
		}
	}
	if err != nil {
		p.log.Error("the end of a session is known to this process only", "user", who.Name, "error", err.Error())
		http.Error(w, "the session is ended here, but other servers may not know of it: try again", http.StatusServiceUnavailable)
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}
