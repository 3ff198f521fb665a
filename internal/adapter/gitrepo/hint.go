package gitrepo

import (
	"time"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

const (
	// hintPause is the least time between two questions that hints cause.
	hintPause = 2 * time.Second
	// hintRepeats is how often a remote is asked again that does not show yet
	// what was announced: hosts answer from replicas.
	hintRepeats = 3
)

// hints are what webhooks announced and was not looked at yet.
type hints struct {
	pending bool
	asked   time.Time         // the last question because of a hint
	expect  map[string]string // id by full ref
}

// Hint says that something may have moved, for example because of a webhook: a
// hint is never trusted, it only makes the pollers concerned ask now. Each
// repository is asked at most once in two seconds however many hints come. The
// result is the number of repositories (by credentials) that will be asked: 0
// when no subscriber follows what moved.
func (m *Mirrors) Hint(p repo.Push) int {
	asked := 0
	m.mu.Lock()
	var found []*access
	for _, id := range m.byLocator[repo.Locator(p.URL)] {
		found = append(found, m.accesses[id])
	}
	m.mu.Unlock()
	for _, a := range found {
		if a.hint(p) {
			asked++
		}
	}
	return asked
}

// hint takes note and says whether anybody follows what moved.
func (a *access) hint(p repo.Push) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.concerns(p) {
		return false
	}
	h := &a.hints
	if fullID.MatchString(p.Commit) && p.Ref != "" && len(h.expect) < 100 {
		if h.expect == nil {
			h.expect = map[string]string{}
		}
		h.expect[p.Ref] = p.Commit
	}
	if !h.pending {
		wait := time.Duration(0)
		if !h.asked.IsZero() {
			wait = hintPause - a.all.options.Clock.Since(h.asked)
		}
		h.pending = a.all.spawn(func() { a.heed(wait) }) == nil
	}
	return true
}

// concerns says whether any subscriber follows what moved. The caller holds
// the lock.
func (a *access) concerns(p repo.Push) bool {
	looked := map[Target]bool{}
	for s := range a.subs {
		if looked[s.target] {
			continue
		}
		if p.Moves(s.target.Revision, s.target.TagPrefix) {
			return true
		}
		looked[s.target] = true
	}
	return false
}

// heed asks because of hints, again when the answer lacks what they announced.
func (a *access) heed(wait time.Duration) {
	o := a.all.options
	for repeat := 0; ; repeat++ {
		rest(a.all.ctx, o.Clock, wait)
		if a.all.ctx.Err() != nil {
			return
		}
		a.mu.Lock()
		before := a.last
		a.hints.asked = o.Clock.Now()
		expect := a.hints.expect
		a.hints.expect = nil
		if repeat == 0 {
			a.hints.pending = false // what comes from now on is for the next question
		}
		a.mu.Unlock()
		refs, err := a.ask(a.all.ctx, true)
		if err != nil || repeat == hintRepeats || !lags(before, refs, expect) {
			return
		}
		a.mu.Lock()
		again := !a.hints.pending // else a newer hint asks anyway
		if again {
			a.hints.expect = expect
		}
		a.mu.Unlock()
		if !again {
			return
		}
		o.Log.Info("repository does not show an announced commit yet", "repository", a.name)
		wait = hintPause
	}
}

// lags says that some ref is still where it was before it was announced.
func lags(before, now *Refs, expect map[string]string) bool {
	if before == nil {
		return false
	}
	for ref, id := range expect {
		was, _ := before.find(ref)
		is, _ := now.find(ref)
		if is != id && is == was {
			return true
		}
	}
	return false
}
