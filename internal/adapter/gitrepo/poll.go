package gitrepo

import (
	"math/rand/v2"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// subscription is one interest in (repository, target).
type subscription struct {
	target Target
	notify func()
	seen   view
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
	if fullID.MatchString(t.Revision) {
		return func() {}, nil // a commit never changes
	}
	one, err := m.open(r)
	if err != nil {
		return nil, err
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	s := &subscription{target: t, notify: notify, seen: one.view(t)}
	one.subs[s] = s
	if !one.polling && m.options.PollInterval > 0 {
		first := time.Duration(0)
		if !one.asked.IsZero() {
			first = max(0, m.options.PollInterval-m.options.Clock.Since(one.asked))
		}
		if err := m.spawn(func() { one.poll(first) }); err != nil {
			return nil, err
		}
		one.polling = true
	}
	return func() {
		one.mu.Lock()
		defer one.mu.Unlock()
		delete(one.subs, s)
	}, nil
}

// poll asks the remote for all subscribers until there are none. Failures are
// logged when they start and when they end.
func (m *mirror) poll(pause time.Duration) {
	o := m.all.options
	failed := false
	for {
		timer := o.Clock.NewTimer(pause)
		select {
		case <-m.all.ctx.Done():
			timer.Stop()
			return
		case <-timer.C():
		}
		if !m.wanted() {
			return
		}
		_, err := m.ask(m.all.ctx, false)
		switch {
		case m.all.ctx.Err() != nil:
			return
		case err != nil && !failed:
			o.Log.Warn("repository does not answer", "repository", m.name, "error", err.Error())
		case err == nil && failed:
			o.Log.Info("repository answers again", "repository", m.name)
		}
		failed = err != nil
		pause = o.PollInterval + rand.N(o.PollInterval/5+1) //nolint:gosec // spreads load, hides nothing
	}
}

// wanted says whether anybody listens; if not, polling has ended.
func (m *mirror) wanted() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.polling = len(m.subs) > 0
	return m.polling
}
