package identity

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"golang.org/x/crypto/bcrypt"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/account"
)

// SecretName is the Secret that holds passwords and the signing key.
const SecretName = account.SecretName

// Options of a Keeper.
type Options struct {
	Hub     Hub
	Secrets Secrets
	// Projects may be nil: then there are no tokens of project roles to make.
	Projects Projects
	Clock    clock.Clock
	// Random is a source of random bytes that nobody can guess.
	Random io.Reader
	Log    *slog.Logger
	Limits account.Limits
	// Parallel is how many passwords are compared at a time (spec/api.md §2);
	// more attempts are refused.
	Parallel int
	// Cost is that of bcrypt for new passwords (default 10).
	Cost int
}

// Keeper knows accounts, sessions and tokens.
type Keeper struct {
	Options
	ledger    ledger
	strangers strangers
	turns     turns
	slots     chan struct{}
	// dummy is compared for names that do not exist.
	dummy []byte

	mu   sync.RWMutex
	book account.Book
	seen map[string]bool // problems that were logged
}

// MaxToken is the longest token that is looked at, in bytes.
const MaxToken = 16 << 10

// New makes a Keeper from what the hub says now. The error names the Secret
// that cannot be read.
func New(o Options) (*Keeper, error) {
	if o.Limits == (account.Limits{}) {
		o.Limits = account.DefaultLimits
	}
	if o.Parallel <= 0 {
		o.Parallel = 50
	}
	if o.Cost == 0 {
		o.Cost = bcrypt.DefaultCost
	}
	k := &Keeper{Options: o, slots: make(chan struct{}, o.Parallel), seen: map[string]bool{}}
	k.ledger = ledger{secrets: o.Secrets, limits: o.Limits, clock: o.Clock, current: account.NewLedger(o.Limits)}
	k.strangers = strangers{limits: o.Limits, failures: map[string][]time.Time{}}
	k.turns.lines = map[string]*line{}
	dummy, err := k.hashRandom()
	if err != nil {
		return nil, err
	}
	k.dummy = dummy
	if err := k.ledger.load(k.secretData(LedgerName)); err != nil {
		return nil, fmt.Errorf("Secret/%s: %w: remove the key to forget revoked tokens and failed logins", LedgerName, err)
	}
	k.loadBook()
	return k, nil
}

// Reload reads what changed on the hub. What cannot be read leaves what was.
func (k *Keeper) Reload() {
	k.loadBook()
	if err := k.ledger.load(k.secretData(LedgerName)); err != nil {
		k.Log.Error("what is known of sessions stays as it was", "object", "Secret/"+LedgerName, "error", err.Error())
	}
}

func (k *Keeper) secretData(name string) map[string][]byte {
	if s, ok := k.Hub.Secret(name); ok {
		return s.Data
	}
	return nil
}

func (k *Keeper) loadBook() { k.setBook(k.secretData(SecretName)) }

func (k *Keeper) setBook(secret map[string][]byte) {
	var config map[string]string
	if m, ok := k.Hub.ConfigMap(account.ConfigMapName); ok {
		config = m.Data
	}
	book, problems := account.Parse(config, secret)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.book = book
	seen := map[string]bool{}
	for _, p := range problems {
		if seen[p.Error()] = true; !k.seen[p.Error()] {
			k.Log.Warn("setting not usable", "message", p.Error())
		}
	}
	k.seen = seen
}

// wrote takes over a Secret that was just written.
func (k *Keeper) wrote(s *corev1.Secret) { k.setBook(s.Data) }

// Book is what the settings say now.
func (k *Keeper) Book() account.Book {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.book
}

// Session is a token of ours that is good.
type Session struct {
	access.Principal
	// Interactive says that a person has logged in with a password.
	Interactive bool
}

// Issued is a new token and what is to be recorded of it.
type Issued struct {
	Token, ID string
	// IssuedAt and ExpiresAt are Unix seconds; ExpiresAt 0 is never.
	IssuedAt, ExpiresAt int64
}

// errNoKey is a server that has not been set up.
var errNoKey = errors.New("server has no key to sign tokens: Secret argocd-secret lacks server.secretkey")

// Issue signs a token; an empty id is made up, lifetime 0 is without end. It is
// valid only while Verify finds what the subject refers to.
func (k *Keeper) Issue(subject, id string, lifetime time.Duration) (Issued, error) {
	key := k.Book().Key
	if key == "" {
		return Issued{}, errNoKey
	}
	if id == "" {
		fresh, err := uuid.NewRandomFromReader(k.Random)
		if err != nil {
			return Issued{}, fmt.Errorf("make an id: %w", err)
		}
		id = fresh.String()
	}
	now := k.Clock.Now().UTC().Truncate(time.Second)
	claims := jwt.RegisteredClaims{Issuer: account.Issuer, Subject: subject, IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), ID: id}
	out := Issued{ID: id, IssuedAt: now.Unix()}
	if lifetime > 0 {
		claims.ExpiresAt = jwt.NewNumericDate(now.Add(lifetime))
		out.ExpiresAt = claims.ExpiresAt.Unix()
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(key.Reveal()))
	if err != nil {
		return Issued{}, fmt.Errorf("sign a token: %w", err)
	}
	out.Token = token
	return out, nil
}

// skew is how far the clocks of two replicas may be apart.
const skew = 10 * time.Second

// Verify says who shows a token of ours: signed by us, in time, not revoked,
// and for an account or role that may still use it. The error is for its bearer.
func (k *Keeper) Verify(token string) (Session, error) {
	if len(token) > MaxToken {
		return Session{}, errors.New("token is too long")
	}
	book := k.Book()
	if book.Key == "" {
		return Session{}, errNoKey
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithoutClaimsValidation())
	var claims jwt.RegisteredClaims
	if _, err := parser.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return []byte(book.Key.Reveal()), nil }); err != nil {
		return Session{}, errors.New("token has no valid signature: log in again")
	}
	now, own := k.Clock.Now(), account.Claims{Subject: claims.Subject, ID: claims.ID}
	name, capability := account.SplitSubject(claims.Subject)
	switch {
	case claims.Issuer != account.Issuer:
		return Session{}, errors.New("token has another issuer")
	case claims.NotBefore != nil && claims.NotBefore.After(now.Add(skew)):
		return Session{}, errors.New("token is not valid yet")
	case claims.ExpiresAt != nil && !claims.ExpiresAt.After(now):
		return Session{}, errors.New("token is expired: log in again")
	case claims.ExpiresAt == nil && capability == account.Login:
		return Session{}, errors.New("token of a login has no end: log in again")
	}
	if claims.IssuedAt != nil {
		own.IssuedAt = claims.IssuedAt.Time
	}
	if claims.ExpiresAt != nil {
		own.ExpiresAt = claims.ExpiresAt.Time
	}
	who, err := account.Check(own, world{k, book})
	if err != nil {
		return Session{}, err
	}
	return Session{Principal: who, Interactive: capability == account.Login && who.Subject == name}, nil
}

// world is what claims are checked against.
type world struct {
	k    *Keeper
	book account.Book
}

func (w world) Account(name string) (account.Account, bool) {
	a, ok := w.book.Accounts[name]
	return a, ok
}

func (w world) Revoked(id string) bool { return w.k.ledger.revoked(id) }

func (w world) ProjectTokens(project, role string) ([]v1alpha1.JWTToken, bool) {
	p, ok := w.k.Hub.Project(project)
	if !ok {
		return nil, false
	}
	return account.ProjectTokens(p, role)
}

// Revoked says whether a token was revoked; tokens of other issuers are kept
// in the same place.
func (k *Keeper) Revoked(id string) bool { return k.ledger.revoked(id) }

// renewBefore is how long before its end a login gets a fresh token.
const renewBefore = 5 * time.Minute

// Renew gives a fresh token to a login that is about to end, with the lifetime
// that the settings give now (spec/api.md §2, auto-renew); empty is no need.
func (k *Keeper) Renew(s Session) (string, error) {
	if !s.Interactive || s.ExpiresAt.Sub(k.Clock.Now()) >= renewBefore {
		return "", nil
	}
	length := k.Book().Session
	if length <= renewBefore {
		return "", nil // it would be renewed for ever with every request
	}
	issued, err := k.Issue(account.Subject(s.Subject, account.Login), "", length)
	return issued.Token, err
}
