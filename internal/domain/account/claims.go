package account

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/rbac"
)

// Issuer is that of our own tokens.
const Issuer = "argocd"

// Claims are those of an own token whose signature and times were verified.
type Claims struct {
	Subject, ID         string
	IssuedAt, ExpiresAt time.Time
}

// Subject is the sub of a token of an account.
func Subject(name string, c Capability) string { return name + ":" + string(c) }

// SplitSubject takes sub apart; without a suffix it is an API key.
func SplitSubject(sub string) (name string, c Capability) {
	name, suffix, ok := strings.Cut(sub, ":")
	if !ok {
		return sub, APIKey
	}
	return name, Capability(suffix)
}

// World is what claims are checked against.
type World interface {
	Account(name string) (Account, bool)
	// ProjectTokens gives the records of a role; false when project or role
	// do not exist.
	ProjectTokens(project, role string) ([]v1alpha1.JWTToken, bool)
	Revoked(id string) bool
}

// Check says who shows a token (spec/api.md §2, verification). The error says
// why the token is not good, for somebody who holds a signed token.
func Check(c Claims, w World) (access.Principal, error) {
	if c.IssuedAt.IsZero() {
		return access.Principal{}, errors.New("token has no time of issue")
	}
	who := access.Principal{Issuer: Issuer, TokenID: c.ID, IssuedAt: c.IssuedAt, ExpiresAt: c.ExpiresAt}
	if c.ID != "" && w.Revoked(c.ID) {
		return access.Principal{}, errors.New("token is revoked: log in again")
	}
	if strings.HasPrefix(c.Subject, "proj:") {
		project, role, ok := rbac.SplitRoleSubject(c.Subject)
		if !ok {
			return access.Principal{}, errors.New("token has a malformed subject")
		}
		tokens, ok := w.ProjectTokens(project, role)
		if !ok || !recorded(tokens, c) {
			return access.Principal{}, fmt.Errorf("token of role %s of project %s is not valid any more: create another", role, project)
		}
		who.Subject, who.Name = c.Subject, c.Subject
		return who, nil
	}
	name, capability := SplitSubject(c.Subject)
	if err := checkAccount(c, w, name, capability); err != nil {
		return access.Principal{}, err
	}
	who.Subject, who.Name = name, name
	return who, nil
}

// recorded matches by id, and by time those records and tokens without one.
func recorded(tokens []v1alpha1.JWTToken, c Claims) bool {
	return slices.ContainsFunc(tokens, func(t v1alpha1.JWTToken) bool {
		if t.ID != "" {
			return t.ID == c.ID
		}
		return t.IssuedAt == c.IssuedAt.Unix()
	})
}

func checkAccount(c Claims, w World, name string, capability Capability) error {
	a, ok := w.Account(name)
	switch {
	case !ok:
		return fmt.Errorf("account %s does not exist", name)
	case !a.Enabled:
		return fmt.Errorf("account %s is disabled", name)
	case capability != Login && capability != APIKey:
		return errors.New("token has a malformed subject")
	case !a.Can(capability):
		return fmt.Errorf("account %s does not have %s capability", name, capability)
	case c.ID == "":
		return errors.New("token has no id: log in again")
	case c.IssuedAt.Unix() < a.Changed.Unix():
		return errors.New("account password has changed since token was issued: log in again")
	case capability == APIKey && !slices.ContainsFunc(a.Tokens, func(t Token) bool { return t.ID == c.ID }):
		return fmt.Errorf("account %s does not have token with id %s", name, c.ID)
	}
	return nil
}
