package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// failureMemory is how long a failure answers for a remote that has never
// answered, so that a thousand Applications do not ask it a thousand times.
const failureMemory = 3 * time.Second

// access is a mirror seen through one set of credentials: what the remote
// offers to them, and whether they open the mirror at all.
type access struct {
	all        *Mirrors
	mirror     *mirror
	id         string
	name       string // URL for messages
	repository repo.Repository
	endpoint   *endpoint
	inquiry    inquiry

	mu       sync.Mutex
	last     *Refs     // nil before the first answer, also of an earlier process
	kept     time.Time // when the last answer was written down
	asked    time.Time // of the last answer or failure
	failure  error     // of the last question, nil after an answer
	failures int       // in a row
	failedAt time.Time // when it began to fail
	used     time.Time
	subs     map[*subscription]struct{}
	polling  bool
	wake     chan struct{} // the pace may have changed
	hints    hints
	budget   bucket
}

func newAccess(to *mirror, id string, r repo.Repository, e *endpoint) *access {
	a := &access{
		all: to.all, mirror: to, id: id, name: to.name, repository: r, endpoint: e,
		subs: map[*subscription]struct{}{}, wake: make(chan struct{}, 1),
	}
	a.recall()
	return a
}

func (a *access) touch(now time.Time) {
	a.mu.Lock()
	a.used = now
	a.mu.Unlock()
	a.mirror.touch(now)
}

// tree reads a commit through these credentials.
func (a *access) tree(ctx context.Context, id string) (tree.Tree, error) {
	if err := a.admit(ctx); err != nil {
		return nil, err
	}
	return a.mirror.tree(ctx, a, id)
}

// admit makes sure that the remote has answered to these credentials: knowing
// a commit id must not be enough to read it from a mirror that others filled.
// An outage shuts nobody out; a refusal does, once it has lasted for the grace.
func (a *access) admit(ctx context.Context) error {
	a.mu.Lock()
	passed := a.last != nil
	refusal := a.failure
	if !errors.Is(refusal, errRefused) || !a.failing() {
		refusal = nil
	}
	a.mu.Unlock()
	switch {
	case refusal != nil:
		return refusal
	case passed:
		return nil
	}
	_, err := a.refs(ctx, false)
	return err
}

// refs is what the remote offers: its last answer, or a new one.
func (a *access) refs(ctx context.Context, fresh bool) (*Refs, error) {
	if fresh {
		return a.ask(ctx, true)
	}
	if refs, err, ok := a.known(); ok {
		return refs, err
	}
	refs, err := a.ask(ctx, false)
	if err == nil {
		return refs, nil
	}
	if refs, problem, ok := a.known(); ok && problem == nil {
		return refs, nil // the remote is away, but not for long
	}
	return nil, err
}

// known is the answer without asking; ok says that there is one.
func (a *access) known() (refs *Refs, err error, ok bool) { //nolint:revive // the error is part of the answer
	limit := a.all.options.Pace().Every
	if limit <= 0 {
		limit = a.all.options.Grace
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	age := a.all.options.Clock.Since(a.asked)
	switch unwatched := !a.polling && age > limit; {
	case a.asked.IsZero() || unwatched:
		return nil, nil, false
	case a.failing():
		return nil, a.failure, a.polling || age < failureMemory
	}
	return a.last, nil, true
}

// failing says that the remote has not answered for longer than the grace
// that its last answer gives. The caller holds the lock.
func (a *access) failing() bool {
	if a.failure == nil {
		return false
	}
	return a.last == nil || a.all.options.Clock.Since(a.failedAt) >= a.all.options.Grace
}

// note stores an answer and tells subscribers for whom it is news.
func (a *access) note(refs *Refs, err error) {
	a.mu.Lock()
	a.asked = a.all.options.Clock.Now()
	switch {
	case err != nil && a.failure == nil:
		a.failedAt, a.failures = a.asked, 1
	case err != nil:
		a.failures++
	case a.last == nil || a.last.digest != refs.digest:
		a.last, a.failures = refs, 0
	default:
		a.failures = 0
	}
	a.failure = err
	moved := a.news()
	a.mu.Unlock()
	for _, notify := range moved {
		notify()
	}
}

// news finds the subscribers that see something else than before; each target
// is resolved once. The caller holds the lock.
func (a *access) news() (moved []func()) {
	views := map[Target]view{}
	for s := range a.subs {
		now, ok := views[s.target]
		if !ok {
			now = a.view(s.target)
			views[s.target] = now
		}
		if now != s.seen {
			s.seen = now
			moved = append(moved, s.notify)
		}
	}
	return moved
}

// view is what a subscriber would be told now. The caller holds the lock.
func (a *access) view(t Target) view {
	if a.failing() {
		return view{known: true, failing: true}
	}
	if a.last == nil {
		return view{}
	}
	id, err := a.last.Resolve(t)
	if err != nil {
		return view{known: true, problem: err.Error()}
	}
	return view{known: true, id: id}
}

// expand completes an abbreviated id with the help of the mirror.
func (a *access) expand(ctx context.Context, id string) (string, error) {
	_, err := a.tree(ctx, id)
	if err == nil {
		var o object
		if o, err = a.mirror.objects.read(id + "^{commit}"); err == nil {
			return o.id, nil
		}
	}
	if ctx.Err() != nil || a.failed() {
		return "", err
	}
	return "", fmt.Errorf("repository %s: unable to resolve '%s' to a commit SHA: no commit, or more than one, starts with it", a.name, id)
}

func (a *access) failed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failure != nil
}
