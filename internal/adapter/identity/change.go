package identity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/account"
	"github.com/sluice-cd/sluice/internal/domain/rbac"
)

// maxBcrypt is what bcrypt takes of a password, in bytes.
const maxBcrypt = 72

// ErrPassword is a new password that cannot be taken.
var ErrPassword = errors.New("password is not acceptable")

// SetPassword changes the password of an account, which ends all its sessions
// and API tokens that were issued before.
func (k *Keeper) SetPassword(ctx context.Context, name, password string) error {
	book := k.Book()
	if _, ok := book.Accounts[name]; !ok {
		return fmt.Errorf("account %q: %w", name, account.ErrUnknown)
	}
	switch {
	case !book.Pattern.MatchString(password):
		return fmt.Errorf("New password does not match the following expression: %s.: %w", book.Pattern, account.ErrPattern)
	case len(password) > maxBcrypt:
		return fmt.Errorf("New password is longer than %d bytes: %w", maxBcrypt, ErrPassword)
	}
	hashed, err := k.hash(password)
	if err != nil {
		return err
	}
	return k.change(ctx, func(data map[string][]byte) error {
		account.SetPassword(data, name, hashed, k.Clock.Now())
		return nil
	})
}

func (k *Keeper) change(ctx context.Context, do func(data map[string][]byte) error) error {
	secret, err := k.Secrets.Mutate(ctx, SecretName, do)
	if err != nil {
		return err
	}
	k.wrote(secret)
	return nil
}

// ErrCapability is an account that may have no API tokens.
var ErrCapability = errors.New("account does not have apiKey capability")

// CreateToken makes an API token of an account; an empty id is made up,
// lifetime 0 is without end.
func (k *Keeper) CreateToken(ctx context.Context, name, id string, lifetime time.Duration) (string, error) {
	a, ok := k.Book().Accounts[name]
	if !ok {
		return "", fmt.Errorf("account %q: %w", name, account.ErrUnknown)
	}
	if !a.Can(account.APIKey) {
		return "", fmt.Errorf("account %s: %w: add apiKey to key accounts.%s of ConfigMap argocd-cm", name, ErrCapability, name)
	}
	issued, err := k.Issue(account.Subject(name, account.APIKey), id, lifetime)
	if err != nil {
		return "", err
	}
	err = k.change(ctx, func(data map[string][]byte) error {
		return account.AddToken(data, name, account.Token{ID: issued.ID, IssuedAt: issued.IssuedAt, ExpiresAt: issued.ExpiresAt}, k.Clock.Now())
	})
	if err != nil {
		return "", err
	}
	return issued.Token, nil
}

// DeleteToken ends an API token.
func (k *Keeper) DeleteToken(ctx context.Context, name, id string) error {
	if _, ok := k.Book().Accounts[name]; !ok {
		return fmt.Errorf("account %q: %w", name, account.ErrUnknown)
	}
	return k.change(ctx, func(data map[string][]byte) error { return account.RemoveToken(data, name, id) })
}

// Revoke ends a session, of ours or of another issuer, everywhere. After an
// error it is ended here, but other processes or a restart may not know of it.
func (k *Keeper) Revoke(ctx context.Context, id string, expires time.Time) error {
	if id == "" {
		return errors.New("token has no id and cannot be revoked")
	}
	return k.ledger.note(ctx, func(l *account.Ledger) error { return l.Revoke(id, expires) })
}

// ProjectToken asks for a token of a project role.
type ProjectToken struct {
	Project, Role string
	// ID may be empty: then one is made up. Lifetime 0 is without end.
	ID       string
	Lifetime time.Duration
}

// CreateProjectToken makes a token of a project role and records it in the
// project, without which it is not valid.
func (k *Keeper) CreateProjectToken(ctx context.Context, t ProjectToken) (string, error) {
	if k.Projects == nil {
		return "", errors.New("this process makes no tokens of project roles")
	}
	issued, err := k.Issue(rbac.RoleSubject(t.Project, t.Role), t.ID, t.Lifetime)
	if err != nil {
		return "", err
	}
	record := v1alpha1.JWTToken{ID: issued.ID, IssuedAt: issued.IssuedAt, ExpiresAt: issued.ExpiresAt}
	err = k.Projects.MutateProject(ctx, t.Project, func(p *v1alpha1.AppProject) error {
		return account.AddProjectToken(p, t.Role, record, k.Clock.Now())
	})
	if err != nil {
		return "", err
	}
	return issued.Token, nil
}

// DeleteProjectToken ends a token of a project role, by id, or without one by
// the second of its issue. One that does not exist is no error.
func (k *Keeper) DeleteProjectToken(ctx context.Context, t ProjectToken, issuedAt int64) error {
	if k.Projects == nil {
		return errors.New("this process ends no tokens of project roles")
	}
	err := k.Projects.MutateProject(ctx, t.Project, func(p *v1alpha1.AppProject) error {
		account.RemoveProjectToken(p, t.Role, t.ID, issuedAt)
		return nil
	})
	if errors.Is(err, account.ErrUnknown) {
		return nil
	}
	return err
}
