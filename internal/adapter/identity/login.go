package identity

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/sluice-cd/sluice/internal/domain/account"
)

// Errors of a login. Their texts are those of the format (spec/api.md §2).
var (
	// ErrCredentials is everything that must not be told apart.
	ErrCredentials = errors.New("Invalid username or password")
	ErrBlank       = errors.New("Blank passwords are not allowed")
	ErrName        = fmt.Errorf("Username is too long (%d bytes max)", account.MaxName)
)

// AccountError is a login with the right password that is not allowed.
type AccountError struct{ message string }

// Error says what the account lacks.
func (e *AccountError) Error() string { return e.message }

// Attempt is a login that somebody tries.
type Attempt struct {
	Name, Password string
	// Source is where it comes from, an address without port.
	Source string
}

// maxPassword is the longest password that is looked at, in bytes.
const maxPassword = 1024

// Login compares a password and gives a token of a session. Wrong name and
// wrong password take the same time and say the same.
func (k *Keeper) Login(ctx context.Context, a Attempt) (string, error) {
	switch {
	case a.Password == "":
		return "", ErrBlank
	case len(a.Name) > account.MaxName:
		return "", ErrName
	}
	done, err := k.patience()
	if err != nil {
		return "", err
	}
	who, err := k.compare(ctx, a)
	if waited := done(ctx); waited != nil {
		return "", waited
	}
	if err != nil {
		return "", err
	}
	switch {
	case !who.Enabled:
		return "", &AccountError{fmt.Sprintf("Account %s is disabled", who.Name)}
	case !who.Can(account.Login):
		return "", &AccountError{fmt.Sprintf("Account %s does not have login capability", who.Name)}
	}
	issued, err := k.Issue(account.Subject(who.Name, account.Login), "", k.Book().Session)
	return issued.Token, err
}

// patience makes every attempt last half a second to one second, whatever was
// computed in it.
func (k *Keeper) patience() (func(context.Context) error, error) {
	var raw [8]byte
	if _, err := io.ReadFull(k.Random, raw[:]); err != nil {
		return nil, fmt.Errorf("read random bytes: %w", err)
	}
	length := time.Second/2 + time.Duration(binary.LittleEndian.Uint64(raw[:])%uint64(time.Second/2))
	over := k.Clock.After(length)
	return func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			return nil
		}
	}, nil
}

// compare finds the account whose password it is, or ErrCredentials. A failure
// is in the ledger before anybody can know of it.
func (k *Keeper) compare(ctx context.Context, a Attempt) (account.Account, error) {
	leave, err := k.turns.take(ctx, a.Name+"\x00"+a.Source)
	if err != nil {
		return account.Account{}, err
	}
	defer leave()
	who, exists := k.Book().Accounts[a.Name]
	now := k.Clock.Now()
	if k.ledger.blocked(a.Name, a.Source, now) || (!exists && k.strangers.blocked(a.Name, a.Source, now)) || len(a.Password) > maxPassword {
		return account.Account{}, ErrCredentials
	}
	select {
	case k.slots <- struct{}{}:
		defer func() { <-k.slots }()
	default:
		return account.Account{}, ErrCredentials
	}
	hash := k.dummy
	if who.Hash != "" {
		hash = []byte(who.Hash.Reveal())
	}
	same := bcrypt.CompareHashAndPassword(hash, []byte(a.Password)) == nil && who.Hash != ""
	switch {
	case !exists:
		k.strangers.failed(a.Name, a.Source, now)
		return account.Account{}, ErrCredentials
	case !same:
		k.remember(ctx, func(l *account.Ledger) error { l.Failed(a.Name, a.Source, now); return nil })
		return account.Account{}, ErrCredentials
	case !k.ledger.knows(a.Name, a.Source):
		k.remember(ctx, func(l *account.Ledger) error { l.Succeeded(a.Name, a.Source); return nil })
	}
	return who, nil
}

// remember notes how a login went; the hub being away stops nobody.
func (k *Keeper) remember(ctx context.Context, do func(*account.Ledger) error) {
	if err := k.ledger.note(context.WithoutCancel(ctx), do); err != nil {
		k.Log.Error("a login is remembered by this process only", "object", "Secret/"+LedgerName, "error", err.Error())
	}
}

// Matches says whether a password is that of an account; attempts count like
// those of a login.
func (k *Keeper) Matches(ctx context.Context, a Attempt) (bool, error) {
	done, err := k.patience()
	if err != nil {
		return false, err
	}
	_, compared := k.compare(ctx, a)
	if err := done(ctx); err != nil {
		return false, err
	}
	return compared == nil, nil
}

// hashRandom gives a hash of a password that nobody knows.
func (k *Keeper) hashRandom() ([]byte, error) {
	var raw [32]byte
	if _, err := io.ReadFull(k.Random, raw[:]); err != nil {
		return nil, fmt.Errorf("read random bytes: %w", err)
	}
	return k.hash(base64.RawStdEncoding.EncodeToString(raw[:]))
}

func (k *Keeper) hash(password string) ([]byte, error) {
	out, err := bcrypt.GenerateFromPassword([]byte(password), k.Cost)
	if err != nil {
		return nil, fmt.Errorf("hash a password: %w", err)
	}
	return out, nil
}
