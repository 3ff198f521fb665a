package gitrepo

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Options of a set of mirrors.
type Options struct {
	// Dir holds the mirrors; it is private to this process.
	Dir string
	// PollInterval is the pause between two questions to one repository; up
	// to a fifth of it is added at random. Zero switches polling off.
	PollInterval time.Duration
	// RequestTimeout bounds one ls-remote, FetchTimeout one fetch.
	RequestTimeout, FetchTimeout time.Duration
	Clock                        clock.WithTicker
	Log                          *slog.Logger
	Registerer                   prometheus.Registerer
}

// Mirrors are the local copies of all repositories.
type Mirrors struct {
	options Options
	metrics *metrics
	ctx     context.Context
	cancel  context.CancelFunc
	wait    sync.WaitGroup

	mu   sync.Mutex
	byID map[string]*mirror
}

// New opens the folder of mirrors. They work until ctx ends or Close.
func New(ctx context.Context, o Options) (*Mirrors, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("mirror folder: %w", err)
	}
	if o.RequestTimeout == 0 {
		o.RequestTimeout = 15 * time.Second
	}
	if o.FetchTimeout == 0 {
		o.FetchTimeout = 5 * time.Minute
	}
	inner, cancel := context.WithCancel(ctx)
	return &Mirrors{options: o, metrics: newMetrics(o.Registerer), ctx: inner, cancel: cancel, byID: map[string]*mirror{}}, nil
}

// Close ends pollers and readers.
func (m *Mirrors) Close() {
	m.cancel()
	m.wait.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.byID {
		one.objects.close()
	}
}

// Resolve turns a revision into a commit id. Unless fresh, the last answer of
// the remote is used; the remote is asked when there is none.
func (m *Mirrors) Resolve(ctx context.Context, r repo.Repository, revision string, fresh bool) (string, error) {
	if fullID.MatchString(revision) {
		return revision, nil
	}
	one, err := m.open(r)
	if err != nil {
		return "", err
	}
	refs, ok, failure := one.known()
	if !fresh && !ok && failure != nil {
		return "", failure
	}
	if fresh || !ok {
		if refs, err = one.lsRemote(ctx); err != nil {
			return "", err
		}
	}
	id, err := refs.Resolve(revision)
	if err != nil {
		return "", fmt.Errorf("repository %s: %w", Redact(r.URL), err)
	}
	if !fullID.MatchString(id) {
		return one.expand(ctx, id)
	}
	return id, nil
}

// expand completes an abbreviated id with the help of the mirror.
func (m *mirror) expand(ctx context.Context, id string) (string, error) {
	if _, err := m.tree(ctx, id); err != nil {
		return "", fmt.Errorf("unable to resolve '%s' to a commit SHA", id)
	}
	_, full, _, err := m.objects.read(id + "^{commit}")
	if err != nil {
		return "", fmt.Errorf("unable to resolve '%s' to a commit SHA", id)
	}
	return full, nil
}

// Tree reads a commit, fetching it when the mirror lacks it.
func (m *Mirrors) Tree(ctx context.Context, r repo.Repository, id string) (tree.Tree, error) {
	one, err := m.open(r)
	if err != nil {
		return nil, err
	}
	return one.tree(ctx, id)
}

// Refresh asks the remote now; callers at the same time share one request.
func (m *Mirrors) Refresh(ctx context.Context, r repo.Repository) error {
	one, err := m.open(r)
	if err != nil {
		return err
	}
	_, err = one.lsRemote(ctx)
	return err
}

// subscription is one interest in (repository, revision).
type subscription struct {
	revision, last, problem string
	notify                  func()
}

// Watch calls notify when the revision resolves differently than before or
// when the repository starts or stops failing. The first poll starts at once.
func (m *Mirrors) Watch(r repo.Repository, revision string, notify func()) (cancel func(), err error) {
	one, err := m.open(r)
	if err != nil {
		return nil, err
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	id := one.nextSub
	one.nextSub++
	s := &subscription{revision: revision, notify: notify}
	if one.refs.ids != nil {
		s.last, _ = one.refs.Resolve(revision)
	}
	one.subs[id] = s
	if !one.polling && m.options.PollInterval > 0 {
		one.polling = true
		m.wait.Add(1)
		go one.poll()
	}
	return func() {
		one.mu.Lock()
		defer one.mu.Unlock()
		delete(one.subs, id)
	}, nil
}

// poll asks the remote for all subscribers until there are none.
func (m *mirror) poll() {
	defer m.mirrors.wait.Done()
	o := m.mirrors.options
	for {
		pause := o.PollInterval + rand.N(o.PollInterval/5+1)
		timer := o.Clock.NewTimer(pause)
		select {
		case <-m.mirrors.ctx.Done():
			timer.Stop()
			return
		case <-timer.C():
		}
		m.mu.Lock()
		if len(m.subs) == 0 {
			m.polling = false
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
		if _, err := m.lsRemote(m.mirrors.ctx); err != nil && m.mirrors.ctx.Err() == nil {
			o.Log.Warn("repository not reachable", "repository", Redact(m.repo.URL), "error", err.Error())
		}
	}
}
