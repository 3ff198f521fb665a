package account

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Limits bound how often somebody may guess (spec/api.md §2, login limits).
type Limits struct {
	// Failures within Window of one account from one source refuse it there.
	Failures int
	Window   time.Duration
	// Account is how many failures within Window of one account, from all
	// sources, refuse it everywhere but where it has logged in before.
	Account int
	// Known is how many sources of good logins are remembered per account.
	Known int
	// Revoked is how many revoked tokens are remembered.
	Revoked int
}

// DefaultLimits are those of the format where it has any.
var DefaultLimits = Limits{Failures: 5, Window: 300 * time.Second, Account: 100, Known: 16, Revoked: 15000}

// ErrFull is a Ledger that can remember no more revoked tokens.
var ErrFull = errors.New("too many tokens are revoked and not yet expired: change server.secretkey in Secret argocd-secret to end all sessions")

// Ledger remembers what must outlive a process: revoked tokens, and failed
// logins of accounts that exist. Names that do not exist are never in it, so
// nobody can fill it with inventions; ids and sources are kept as digests.
type Ledger struct {
	limits  Limits
	revoked map[string]int64
	logins  map[string]*logins
}

// logins of one account.
type logins struct {
	// Failures by source: Unix seconds, oldest first.
	Failures map[string][]int64 `json:"failures,omitempty"`
	// Known sources of good logins, the latest last.
	Known []string `json:"known,omitempty"`
}

// Keys of the Secret that holds a Ledger.
const (
	keyRevoked = "revoked.json"
	keyLogins  = "logins.json"
)

// NewLedger is empty.
func NewLedger(l Limits) *Ledger {
	return &Ledger{limits: l, revoked: map[string]int64{}, logins: map[string]*logins{}}
}

// DecodeLedger reads what Encode wrote; no data is an empty Ledger.
func DecodeLedger(l Limits, data map[string][]byte) (*Ledger, error) {
	out := NewLedger(l)
	for key, into := range map[string]any{keyRevoked: &out.revoked, keyLogins: &out.logins} {
		if len(data[key]) == 0 {
			continue
		}
		if err := json.Unmarshal(data[key], into); err != nil {
			return nil, fmt.Errorf("key %s cannot be read: %w", key, err)
		}
	}
	if out.revoked == nil {
		out.revoked = map[string]int64{}
	}
	if out.logins == nil {
		out.logins = map[string]*logins{}
	}
	for name, l := range out.logins {
		if l == nil {
			delete(out.logins, name)
		}
	}
	return out, nil
}

// Encode writes the Ledger into the data of a Secret, without what is over.
func (l *Ledger) Encode(data map[string][]byte, now time.Time) error {
	for id, expires := range l.revoked {
		if expires != 0 && expires <= now.Unix() {
			delete(l.revoked, id)
		}
	}
	for name, a := range l.logins {
		for source, at := range a.Failures {
			if at = l.recent(at, now); len(at) == 0 {
				delete(a.Failures, source)
			} else {
				a.Failures[source] = at
			}
		}
		if len(a.Failures)+len(a.Known) == 0 {
			delete(l.logins, name)
		}
	}
	for key, from := range map[string]any{keyRevoked: l.revoked, keyLogins: l.logins} {
		raw, err := json.Marshal(from)
		if err != nil {
			return fmt.Errorf("encode %s: %w", key, err)
		}
		data[key] = raw
	}
	return nil
}

// recent are the failures that count at now. A clock that was set back does not
// make them count longer than the window.
func (l *Ledger) recent(at []int64, now time.Time) []int64 {
	window := int64(l.limits.Window / time.Second)
	return slices.DeleteFunc(slices.Clone(at), func(t int64) bool { return now.Unix()-t >= window || t-now.Unix() > window })
}

// digest keeps ids and addresses out of what is stored.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// Revoke remembers a token until it expires; the zero time is never.
func (l *Ledger) Revoke(id string, expires time.Time) error {
	if _, ok := l.revoked[digest(id)]; !ok && len(l.revoked) >= l.limits.Revoked {
		return ErrFull
	}
	at := int64(0)
	if !expires.IsZero() {
		at = expires.Unix()
	}
	l.revoked[digest(id)] = at
	return nil
}

// Revoked says whether a token was revoked.
func (l *Ledger) Revoked(id string) bool {
	_, ok := l.revoked[digest(id)]
	return ok
}

// Blocked says whether attempts on an account from a source are refused at now.
func (l *Ledger) Blocked(name, source string, now time.Time) bool {
	a := l.logins[name]
	if a == nil {
		return false
	}
	s := digest(source)
	if len(l.recent(a.Failures[s], now)) >= l.limits.Failures {
		return true
	}
	if slices.Contains(a.Known, s) {
		return false
	}
	all := 0
	for _, at := range a.Failures {
		all += len(l.recent(at, now))
	}
	return all >= l.limits.Account
}

// Failed counts a wrong password.
func (l *Ledger) Failed(name, source string, now time.Time) {
	a := l.of(name)
	if a.Failures == nil {
		a.Failures = map[string][]int64{}
	}
	s := digest(source)
	at := append(l.recent(a.Failures[s], now), now.Unix())
	a.Failures[s] = at[max(0, len(at)-l.limits.Failures):]
}

// Succeeded forgets the failures of a source and remembers it as good.
func (l *Ledger) Succeeded(name, source string) {
	a, s := l.of(name), digest(source)
	delete(a.Failures, s)
	a.Known = append(slices.DeleteFunc(a.Known, func(o string) bool { return o == s }), s)
	a.Known = a.Known[max(0, len(a.Known)-l.limits.Known):]
}

// Knows says whether a good login from the source is remembered and no failure
// is: then Succeeded changes nothing that matters.
func (l *Ledger) Knows(name, source string) bool {
	a, s := l.logins[name], digest(source)
	return a != nil && slices.Contains(a.Known, s) && len(a.Failures[s]) == 0
}

func (l *Ledger) of(name string) *logins {
	a := l.logins[name]
	if a == nil {
		a = &logins{}
		l.logins[name] = a
	}
	return a
}
