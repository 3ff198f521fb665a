package session

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/adapter/identity"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/account"
	"github.com/sluice-cd/sluice/internal/domain/rbac"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// Account is what is shown of an account.
type Account struct {
	Name         string         `json:"name"`
	Enabled      bool           `json:"enabled"`
	Capabilities []string       `json:"capabilities"`
	Tokens       []AccountToken `json:"tokens"`
}

// AccountToken is what is shown of an API token; times are Unix seconds.
type AccountToken struct {
	ID        string `json:"id"`
	IssuedAt  int64  `json:"issuedAt"`
	ExpiresAt int64  `json:"expiresAt"`
}

// Accounts is a list of them.
type Accounts struct {
	Items []Account `json:"items"`
}

// NameRequest names an account.
type NameRequest struct {
	Name string `json:"name,omitempty" path:"name"`
}

// List shows the accounts that the caller may see, his own always.
func (s *Service) List(_ context.Context, c *route.Call, _ *Empty) (*Accounts, error) {
	out, book := &Accounts{Items: []Account{}}, s.Keeper.Book()
	for _, name := range slices.Sorted(maps.Keys(book.Accounts)) {
		if own(c, name) || c.Can(access.Request{Resource: rbac.Accounts, Action: rbac.Get, Object: name}) {
			out.Items = append(out.Items, shown(book.Accounts[name]))
		}
	}
	return out, nil
}

// Get shows an account.
func (s *Service) Get(_ context.Context, c *route.Call, q *NameRequest) (*Account, error) {
	if err := s.may(c, rbac.Get, q.Name); err != nil {
		return nil, err
	}
	a, ok := s.Keeper.Book().Accounts[q.Name]
	if !ok {
		return nil, fault.New(fault.NotFound, "account '%s' does not exist", q.Name)
	}
	out := shown(a)
	return &out, nil
}

func shown(a account.Account) Account {
	out := Account{Name: a.Name, Enabled: a.Enabled, Capabilities: []string{}, Tokens: []AccountToken{}}
	for _, c := range a.Capabilities {
		out.Capabilities = append(out.Capabilities, string(c))
	}
	for _, t := range a.Tokens {
		out.Tokens = append(out.Tokens, AccountToken{ID: t.ID, IssuedAt: t.IssuedAt, ExpiresAt: t.ExpiresAt})
	}
	slices.SortStableFunc(out.Tokens, func(a, b AccountToken) int { return int(b.IssuedAt - a.IssuedAt) })
	return out
}

// own says whether an account is that of the caller himself.
func own(c *route.Call, name string) bool {
	return c.Who.Issuer == account.Issuer && c.Who.Subject == name
}

// may lets a caller do something with his own account, and with others by
// right (spec/rbac.md §6).
func (s *Service) may(c *route.Call, action, name string) error {
	if own(c, name) {
		c.Vouch()
		return nil
	}
	if err := c.Must(access.Request{Resource: rbac.Accounts, Action: action, Object: name}); err != nil {
		return fault.New(fault.PermissionDenied, "permission denied for account %s with action %s: %w", name, action, err)
	}
	return nil
}

// PasswordRequest changes a password; an empty name is that of the caller.
type PasswordRequest struct {
	Name            string `json:"name,omitempty"`
	CurrentPassword string `json:"currentPassword,omitempty"`
	NewPassword     string `json:"newPassword,omitempty"`
}

// freshLogin is how young the token of an SSO user must be to set a password.
const freshLogin = 5 * time.Minute

// UpdatePassword changes a password: a local user gives his own current one, an
// SSO user needs the right and a fresh login (spec/api.md §2).
func (s *Service) UpdatePassword(ctx context.Context, c *route.Call, q *PasswordRequest) (*Empty, error) {
	book := s.Keeper.Book()
	_, known := book.Accounts[c.Who.Subject]
	local := known && c.Who.Issuer == account.Issuer
	if q.Name == "" {
		if q.Name = c.Who.Subject; !local {
			return nil, fault.New(fault.InvalidArgument, "name is missing: name the local account whose password is to be changed")
		}
	}
	if err := s.may(c, rbac.Update, q.Name); err != nil {
		return nil, err
	}
	if err := s.proven(ctx, c, q, local); err != nil {
		return nil, err
	}
	if err := s.Keeper.SetPassword(ctx, q.Name, q.NewPassword); err != nil {
		return nil, coded(err)
	}
	c.Did(route.Act{Reason: "ResourceUpdated", Message: "changed the password of account " + q.Name})
	return &Empty{}, nil
}

// proven makes sure that it is the caller who sits at the keyboard.
func (s *Service) proven(ctx context.Context, c *route.Call, q *PasswordRequest, local bool) error {
	if c.Who.Unrestricted {
		return nil
	}
	if !local {
		if c.Who.IssuedAt.IsZero() || s.clock().Since(c.Who.IssuedAt) > freshLogin || c.Who.Issuer == account.Issuer {
			return fault.New(fault.PermissionDenied, "SSO token is too old. please use 'relogin' to get a new token")
		}
		return nil
	}
	same, err := s.Keeper.Matches(ctx, identity.Attempt{Name: c.Who.Subject, Password: q.CurrentPassword, Source: Source(c.Client)})
	if err != nil {
		return err
	}
	if !same {
		return fault.New(fault.InvalidArgument, "current password does not match")
	}
	return nil
}

func (s *Service) clock() clock.PassiveClock { return s.Keeper.Clock }

// TokenRequest asks for an API token.
type TokenRequest struct {
	Name string `json:"name,omitempty" path:"name"`
	// ExpiresIn is in seconds; 0 is never.
	ExpiresIn int64  `json:"expiresIn,omitempty"`
	ID        string `json:"id,omitempty"`
}

// NewToken shows a token, once.
type NewToken struct {
	Token string `json:"token"`
}

// Bounds of tokens.
const (
	maxTokenID  = 256
	maxLifetime = int64(100 * 365 * 24 * time.Hour / time.Second)
)

func lifetime(seconds int64, id string) (time.Duration, error) {
	if seconds < 0 || seconds > maxLifetime {
		return 0, fault.New(fault.InvalidArgument, "expiresIn: want 0, which is never, or up to %d seconds", maxLifetime)
	}
	if len(id) > maxTokenID {
		return 0, fault.New(fault.InvalidArgument, "id has more than %d characters", maxTokenID)
	}
	return time.Duration(seconds) * time.Second, nil
}

// CreateToken makes an API token of an account.
func (s *Service) CreateToken(ctx context.Context, c *route.Call, q *TokenRequest) (*NewToken, error) {
	if err := s.may(c, rbac.Update, q.Name); err != nil {
		return nil, err
	}
	length, err := lifetime(q.ExpiresIn, q.ID)
	if err != nil {
		return nil, err
	}
	token, err := s.Keeper.CreateToken(ctx, q.Name, q.ID, length)
	if err != nil {
		return nil, coded(err)
	}
	c.Did(route.Act{Reason: "ResourceCreated", Message: "created token of account " + q.Name})
	return &NewToken{Token: token}, nil
}

// TokenName names an API token.
type TokenName struct {
	Name string `json:"name,omitempty" path:"name"`
	ID   string `json:"id,omitempty" path:"id"`
}

// DeleteToken ends an API token.
func (s *Service) DeleteToken(ctx context.Context, c *route.Call, q *TokenName) (*Empty, error) {
	if err := s.may(c, rbac.Update, q.Name); err != nil {
		return nil, err
	}
	if err := s.Keeper.DeleteToken(ctx, q.Name, q.ID); err != nil {
		return nil, coded(err)
	}
	c.Did(route.Act{Reason: "ResourceDeleted", Message: "deleted token of account " + q.Name})
	return &Empty{}, nil
}

// coded gives errors of the Keeper their codes.
func coded(err error) error {
	for sentinel, code := range map[error]fault.Code{
		account.ErrUnknown: fault.NotFound, account.ErrTaken: fault.AlreadyExists, account.ErrPattern: fault.InvalidArgument,
		identity.ErrPassword: fault.InvalidArgument, identity.ErrCapability: fault.FailedPrecondition,
	} {
		if errors.Is(err, sentinel) {
			return fault.New(code, "%w", err)
		}
	}
	return err
}
