package identity

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/domain/account"
)

// ledger keeps an account.Ledger in its Secret. What is noted counts here at
// once; writes that come together are one.
type ledger struct {
	secrets Secrets
	limits  account.Limits
	clock   clock.Clock

	mu      sync.RWMutex
	current *account.Ledger
	pending []note

	writing sync.Mutex
}

// note is a change that is not yet in the Secret.
type note struct {
	id int
	do func(*account.Ledger) error
}

// maxPending bounds what is remembered while the hub cannot be written to.
const maxPending = 10000

// load takes the data of the Secret over.
func (l *ledger) load(data map[string][]byte) error {
	next, err := account.DecodeLedger(l.limits, data)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replay(next)
	return nil
}

// replay makes next current, with what is not yet written.
func (l *ledger) replay(next *account.Ledger) {
	for _, n := range l.pending {
		_ = n.do(next) // it was possible before; at worst the Ledger is full
	}
	l.current = next
}

// note changes the ledger here at once and then in the Secret. After an error
// it still counts here, and the next note writes it.
func (l *ledger) note(ctx context.Context, do func(*account.Ledger) error) error {
	l.mu.Lock()
	if err := do(l.current); err != nil {
		l.mu.Unlock()
		return err
	}
	id := 0
	if n := len(l.pending); n > 0 {
		id = l.pending[n-1].id + 1
	}
	if len(l.pending) >= maxPending {
		l.pending = slices.Delete(l.pending, 0, 1)
	}
	l.pending = append(l.pending, note{id, do})
	l.mu.Unlock()
	return l.flush(ctx)
}

// flush writes everything that is pending, once for all who wait.
func (l *ledger) flush(ctx context.Context) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.RLock()
	batch := slices.Clone(l.pending)
	l.mu.RUnlock()
	if len(batch) == 0 {
		return nil
	}
	secret, err := l.secrets.Mutate(ctx, LedgerName, func(data map[string][]byte) error {
		stored, err := account.DecodeLedger(l.limits, data)
		if err != nil {
			return err
		}
		for _, n := range batch {
			if err := n.do(stored); err != nil {
				return err
			}
		}
		return stored.Encode(data, l.clock.Now())
	})
	if err != nil {
		return err
	}
	stored, err := account.DecodeLedger(l.limits, secret.Data)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	last := batch[len(batch)-1].id
	l.pending = slices.DeleteFunc(l.pending, func(n note) bool { return n.id <= last })
	l.replay(stored)
	return nil
}

func (l *ledger) revoked(id string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.current.Revoked(id)
}

func (l *ledger) blocked(name, source string, now time.Time) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.current.Blocked(name, source, now)
}

func (l *ledger) knows(name, source string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.current.Knows(name, source)
}

// strangers counts failures of names that do not exist, so that they are
// answered like those that do. It holds a bounded number; what is forgotten
// belongs to nobody.
type strangers struct {
	limits   account.Limits
	mu       sync.Mutex
	failures map[string][]time.Time
}

// maxStrangers is how many invented names are counted at a time.
const maxStrangers = 10000

func (s *strangers) blocked(name, source string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.recent(name+"\x00"+source, now)) >= s.limits.Failures
}

func (s *strangers) recent(key string, now time.Time) []time.Time {
	return slices.DeleteFunc(slices.Clone(s.failures[key]), func(at time.Time) bool { return now.Sub(at) >= s.limits.Window })
}

func (s *strangers) failed(name, source string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := name + "\x00" + source
	at := append(s.recent(key, now), now)
	if _, known := s.failures[key]; !known && len(s.failures) >= maxStrangers {
		for other := range s.failures { // any
			delete(s.failures, other)
			break
		}
	}
	s.failures[key] = at
}
