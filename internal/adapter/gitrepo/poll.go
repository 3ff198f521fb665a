package gitrepo

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// subscription is one interest in (repository, target).
type subscription struct {
	source func() repo.Repository
	target Target
	notify func()
	seen   view
	on     *access // guarded by Mirrors.following
}

// view is what a target looked like.
type view struct {
	known, failing bool
	id, problem    string
}

// Watch calls notify when the target resolves differently than before, stops
// resolving, or the repository starts or stops failing; the first answer ever
// counts as a change. notify must return at once. Watch before Resolve, so
// that nothing is missed in between.
func (m *Mirrors) Watch(r repo.Repository, t Target, notify func()) (cancel func(), err error) {
	return m.Follow(func() repo.Repository { return r }, t, notify)
}

// Follow is Watch for a repository whose declaration may change: source is
// called now and at each Reload, and the subscription moves to the credentials
// that it gives.
func (m *Mirrors) Follow(source func() repo.Repository, t Target, notify func()) (cancel func(), err error) {
	if fullID.MatchString(t.Revision) {
		return func() {}, nil // a commit never changes
	}
	m.following.Lock()
	defer m.following.Unlock()
	on, err := m.open(source())
	if err != nil {
		return nil, err
	}
	s := &subscription{source: source, target: t, notify: notify}
	if err := on.subscribe(s, true); err != nil {
		return nil, err
	}
	m.subs[s] = struct{}{}
	return func() {
		m.following.Lock()
		defer m.following.Unlock()
		delete(m.subs, s)
		s.on.leave(s)
	}, nil
}

// Reload reads the declarations of all followed repositories again and asks
// those whose credentials changed at once; pollers read their pace anew. Call
// it when settings have changed.
func (m *Mirrors) Reload() {
	m.following.Lock()
	var moved []func()
	for s := range m.subs {
		to, err := m.open(s.source())
		if err == nil && to == s.on {
			continue
		}
		if err == nil {
			s.on.leave(s)
			err = to.subscribe(s, false)
		}
		if err != nil { // the subscriber meets the error when it resolves
			moved = append(moved, s.notify)
		}
	}
	m.following.Unlock()
	for _, notify := range moved {
		notify()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.accesses {
		a.rouse()
	}
}

// rouse lets the poller look at its pace.
func (a *access) rouse() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// subscribe adds a subscriber; the first one starts the poller. With anew, what is
// known already is no news to it.
func (a *access) subscribe(s *subscription, anew bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.on = a
	if anew {
		s.seen = a.view(s.target)
	}
	a.subs[s] = struct{}{}
	if a.polling {
		return nil
	}
	if err := a.all.spawn(a.poll); err != nil {
		return err
	}
	a.polling = true
	return nil
}

func (a *access) leave(s *subscription) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.subs, s)
	if len(a.subs) == 0 {
		a.rouse()
	}
}

// Pauses before a repository that failed is asked again. An outage is probed
// often, so that the end of it shows within ten seconds, but not for ever; a
// refusal lasts until somebody changes something; a host that says "too many"
// is left alone.
const (
	outageFirst, outageLast = time.Second, 8 * time.Second
	outageProbes            = 80 // about ten minutes
	refusalFirst, refusalLast,
	throttleFirst, throttleLast = 30 * time.Second, 5 * time.Minute, time.Minute, 10 * time.Minute
)

// pause is the time from one question to the next.
func pause(p Pace, failures int, failure error) time.Duration {
	switch {
	case failures == 0:
		return p.Every + random(p.Jitter)
	case errors.Is(failure, errRefused):
		return spread(max(p.Every, doubled(refusalFirst, refusalLast, failures)))
	case errors.Is(failure, errThrottled):
		return spread(max(p.Every, doubled(throttleFirst, throttleLast, failures)))
	case failures > outageProbes:
		return max(p.Every, outageLast) + random(p.Jitter)
	}
	return spread(doubled(outageFirst, outageLast, failures))
}

func doubled(first, last time.Duration, failures int) time.Duration {
	return min(last, first<<min(failures-1, 20))
}

// spread adds up to a fifth.
func spread(d time.Duration) time.Duration { return d + random(d/5) }

func random(limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	return rand.N(limit + 1) //nolint:gosec // spreads load, hides nothing
}

// due is when the remote should be asked again, counted from the last answer;
// ok is false when never.
func (a *access) due() (asked, at time.Time, ok bool) {
	p := a.all.options.Pace()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked.IsZero() {
		return a.asked, a.all.options.Clock.Now(), true
	}
	return a.asked, a.asked.Add(pause(p, a.failures, a.failure)), a.failures > 0 || p.Every > 0
}

// poll asks the remote for all subscribers until there are none. Failures are
// logged when they start and when they end.
func (a *access) poll() {
	o := a.all.options
	failed := false
	for {
		since, at, ok := a.due()
		roused := a.sleep(at.Sub(o.Clock.Now()), ok)
		if a.all.ctx.Err() != nil || !a.wanted() {
			return
		}
		if now, _, _ := a.due(); roused || now != since {
			continue // a new pace, or somebody else has asked meanwhile
		}
		_, err := a.ask(a.all.ctx, false)
		switch {
		case a.all.ctx.Err() != nil:
			return
		case err != nil && !failed:
			o.Log.Warn("repository does not answer", "repository", a.name, "error", err.Error())
		case err == nil && failed:
			o.Log.Info("repository answers again", "repository", a.name)
		}
		failed = err != nil
	}
}

// sleep waits for the pause, for ever unless timed, or until roused.
func (a *access) sleep(pause time.Duration, timed bool) (roused bool) {
	var alarm <-chan time.Time
	switch {
	case timed && pause <= 0:
		return false
	case timed:
		timer := a.all.options.Clock.NewTimer(pause)
		defer timer.Stop()
		alarm = timer.C()
	}
	select {
	case <-a.all.ctx.Done():
	case <-a.wake:
		return true
	case <-alarm:
	}
	return false
}

// wanted says whether anybody listens; if not, polling has ended.
func (a *access) wanted() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.polling = len(a.subs) > 0
	return a.polling
}
