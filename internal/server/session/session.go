package session

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-cd/sluice/internal/adapter/identity"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// Options of a Service.
type Options struct {
	Keeper  *identity.Keeper
	Cookies Cookies
	// Decide answers "can I".
	Decide access.Decider
	// Namespace is that of the control plane.
	Namespace string
	Log       *slog.Logger
	// Registerer takes the metrics; nil is nobody.
	Registerer prometheus.Registerer
}

// Service answers for sessions and accounts.
type Service struct {
	Options
	logins *prometheus.CounterVec
}

// New makes a Service.
func New(o Options) (*Service, error) {
	s := &Service{Options: o, logins: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "argocd_login_request_total", Help: "Number of login requests."}, []string{"status"})}
	for _, status := range []string{"success", "failure"} {
		s.logins.WithLabelValues(status)
	}
	if o.Registerer != nil {
		if err := o.Registerer.Register(s.logins); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Routes are all operations on sessions and accounts.
func (s *Service) Routes() route.Table {
	const (
		session  = "/api/v1/session"
		accounts = "/api/v1/account"
		one      = accounts + "/{name}"
	)
	get, update := route.Needs("accounts/get"), route.Needs("accounts/update")
	return route.Table{
		route.Unary(route.Spec{Method: "POST", Path: session, RPC: "session.SessionService/Create", Rule: route.Public(), MaxBody: 16 << 10, Summary: "Log in with name and password."}, s.Create),
		route.Unary(route.Spec{Method: "DELETE", Path: session, RPC: "session.SessionService/Delete", Rule: route.Public(), Summary: "Forget the cookie; /auth/logout ends the session."}, s.Delete),
		route.Unary(route.Spec{Method: "GET", Path: session + "/userinfo", RPC: "session.SessionService/GetUserInfo", Rule: route.Public(), Summary: "Who am I?"}, s.UserInfo),
		route.Unary(route.Spec{Method: "GET", Path: accounts, RPC: "account.AccountService/ListAccounts", Rule: route.Lists("accounts/get"), Summary: "List local accounts."}, s.List),
		route.Unary(route.Spec{Method: "GET", Path: one, RPC: "account.AccountService/GetAccount", Rule: get, Summary: "Get a local account."}, s.Get),
		route.Unary(route.Spec{Method: "PUT", Path: accounts + "/password", RPC: "account.AccountService/UpdatePassword", Rule: update, MaxBody: 16 << 10, Summary: "Change a password."}, s.UpdatePassword),
		route.Unary(route.Spec{Method: "POST", Path: one + "/token", RPC: "account.AccountService/CreateToken", Rule: update, Summary: "Create an API token of an account."}, s.CreateToken),
		route.Unary(route.Spec{Method: "DELETE", Path: one + "/token/{id}", RPC: "account.AccountService/DeleteToken", Rule: update, Summary: "Delete an API token of an account."}, s.DeleteToken),
		route.Unary(route.Spec{Method: "GET", Path: accounts + "/can-i/{resource}/{action}/{subresource...}", RPC: "account.AccountService/CanI", Rule: route.Authenticated(), Summary: "Ask whether a policy allows something."}, s.CanI),
	}
}

// CreateRequest is a login.
type CreateRequest struct {
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	Token    string `json:"token,omitempty"`
}

// Token is the answer to a login; browsers get it as a cookie too.
type Token struct {
	Token   string `json:"token"`
	cookies []*http.Cookie
}

// Cookies are to be sent along by transports that know cookies.
func (t *Token) Cookies() []*http.Cookie { return t.cookies }

// Create logs in with name and password.
func (s *Service) Create(ctx context.Context, c *route.Call, q *CreateRequest) (*Token, error) {
	token, err := s.login(ctx, c, q)
	status := "success"
	if err != nil {
		status = "failure"
	}
	s.logins.WithLabelValues(status).Inc()
	if err != nil {
		return nil, err
	}
	cookies, err := s.Cookies.Set(token)
	if err != nil {
		return nil, err
	}
	return &Token{Token: token, cookies: cookies}, nil
}

func (s *Service) login(ctx context.Context, c *route.Call, q *CreateRequest) (string, error) {
	switch {
	case q.Token != "":
		return "", fault.New(fault.Unauthenticated, "logging in with a token is not supported: send username and password, or the token as a bearer")
	case q.Username == "" || q.Password == "":
		return "", fault.New(fault.Unauthenticated, "no credentials supplied")
	}
	token, err := s.Keeper.Login(ctx, identity.Attempt{Name: q.Username, Password: q.Password, Source: Source(c.Client)})
	var refused *identity.AccountError
	switch {
	case errors.Is(err, identity.ErrName):
		return "", fault.New(fault.InvalidArgument, "%w", err)
	case errors.Is(err, identity.ErrCredentials), errors.Is(err, identity.ErrBlank), errors.As(err, &refused):
		return "", fault.New(fault.Unauthenticated, "%w", err)
	}
	return token, err
}

// Source is where logins are counted as coming from: the address, and of IPv6
// the network, of which everybody has many addresses.
func Source(client string) string {
	addr, err := netip.ParseAddr(client)
	if err != nil {
		return client
	}
	if addr = addr.Unmap(); addr.Is6() {
		if prefix, err := addr.WithZone("").Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return addr.String()
}

// Empty is a request or an answer that says nothing.
type Empty struct{}

// Delete makes a browser forget its token; the session does not end.
func (s *Service) Delete(_ context.Context, _ *route.Call, _ *Empty) (*Token, error) {
	return &Token{cookies: s.Cookies.Clear(nil)}, nil
}

// User is who asks; everything is empty without a token.
type User struct {
	LoggedIn bool     `json:"loggedIn,omitempty"`
	Username string   `json:"username,omitempty"`
	Issuer   string   `json:"iss,omitempty"`
	Groups   []string `json:"groups,omitempty"`
}

// UserInfo says who asks.
func (s *Service) UserInfo(_ context.Context, c *route.Call, _ *Empty) (*User, error) {
	if !c.Who.LoggedIn() {
		return &User{}, nil
	}
	return &User{LoggedIn: true, Username: c.Who.Name, Issuer: c.Who.Issuer, Groups: c.Who.Groups}, nil
}
