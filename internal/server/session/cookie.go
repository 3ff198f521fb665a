package session

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/internal/adapter/oidc"
)

// CookieName is that of the first cookie of a token.
const CookieName = "argocd.token"

const (
	// stateCookie accompanies a login on its way to the provider, sessionCookie
	// a finished one; both are sealed.
	stateCookie   = "argocd.oauthstate"
	sessionCookie = "argocd.sso"

	// maxCookie is what browsers keep of one cookie, name and attributes
	// included, in bytes.
	maxCookie = 4093
	// maxPieces is how many cookies a token may take.
	maxPieces = 20
)

// Cookies writes and reads tokens in cookies.
type Cookies struct {
	// Path is the base href of the UI.
	Path string
	// Secure says whether users come by https.
	Secure func() bool
}

// base is a cookie that scripts cannot read and other sites do not send along.
func (c Cookies) base(name string) *http.Cookie {
	return &http.Cookie{Name: name, Path: "/" + strings.Trim(c.Path, "/"), HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: c.Secure != nil && c.Secure()}
}

// Set are the cookies of a token: one, or several when it is long. The error
// says that it is too long for any number.
func (c Cookies) Set(token string) ([]*http.Cookie, error) {
	one := c.base(CookieName)
	if one.Value = token; len(one.String()) <= maxCookie {
		return []*http.Cookie{one}, nil
	}
	one.Value = ""
	room := maxCookie - len(one.String()) - len("-19") - len("20:")
	n := (len(token) + room - 1) / room
	if n > maxPieces {
		return nil, fmt.Errorf("token of %d bytes needs %d cookies, at most %d are sent: let the provider put fewer groups into it", len(token), n, maxPieces)
	}
	var out []*http.Cookie
	for i := range n {
		piece := c.base(pieceName(i))
		piece.Value = token[i*room : min(len(token), (i+1)*room)]
		if i == 0 {
			piece.Value = strconv.Itoa(n) + ":" + piece.Value
		}
		out = append(out, piece)
	}
	return out, nil
}

func pieceName(i int) string {
	if i == 0 {
		return CookieName
	}
	return CookieName + "-" + strconv.Itoa(i)
}

// Clear are cookies that end those of a token; without a request only the
// first, without which the others are nothing.
func (c Cookies) Clear(r *http.Request) []*http.Cookie {
	out := []*http.Cookie{c.base(CookieName)}
	if r != nil {
		for i := 1; i < maxPieces; i++ {
			if _, err := r.Cookie(pieceName(i)); err == nil {
				out = append(out, c.base(pieceName(i)))
			}
		}
	}
	for _, one := range out {
		one.MaxAge = -1
	}
	return out
}

// login are the cookies of a login by a provider.
func (c Cookies) login(done *oidc.Done, now time.Time) ([]*http.Cookie, error) {
	out, err := c.Set(done.Token)
	if err != nil {
		return nil, err
	}
	session := c.base(sessionCookie)
	session.Value, session.MaxAge = done.Session, int(done.SessionEnds.Sub(now)/time.Second)
	if done.Session == "" {
		session.MaxAge = -1
	}
	return append(out, session), nil
}

// sessionOf is the cookie of a login by a provider; empty is none.
func sessionOf(r *http.Request) string {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return ""
	}
	return c.Value
}

var errPieces = errors.New("the cookies of the session are not complete: log in again")

// fromCookies puts the token of a request together; empty is none.
func fromCookies(r *http.Request) (string, error) {
	first, err := r.Cookie(CookieName)
	if err != nil || first.Value == "" {
		return "", nil
	}
	count, rest, split := strings.Cut(first.Value, ":")
	if !split {
		return first.Value, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > maxPieces {
		return "", errPieces
	}
	token := rest
	for i := 1; i < n; i++ {
		piece, err := r.Cookie(pieceName(i))
		if err != nil {
			return "", errPieces
		}
		token += piece.Value
	}
	return token, nil
}

// tokenOf finds the token of a request (spec/api.md §2, lookup order): the
// header, when it looks like one, then the cookies. cookie says where from.
func tokenOf(r *http.Request) (token string, cookie bool, err error) {
	for _, h := range r.Header.Values("Authorization") {
		scheme, rest, ok := strings.Cut(h, " ")
		if rest = strings.TrimSpace(rest); ok && strings.EqualFold(scheme, "Bearer") && strings.Count(rest, ".") == 2 {
			return rest, false, nil
		}
	}
	token, err = fromCookies(r)
	return token, token != "", err
}
