package gitrepo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
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
	// RequestTimeout bounds one ls-remote (default 15 s), FetchTimeout one
	// fetch (default 5 min).
	RequestTimeout, FetchTimeout time.Duration
	// Grace is how long the last answer of a repository that has stopped
	// answering still counts (default 3 min).
	Grace time.Duration
	// MaxFileBytes bounds one file that is read (default 50 MiB), CacheBytes
	// the folders remembered (default 64 MiB).
	MaxFileBytes int64
	CacheBytes   int
	// Environment is added to that of git, which otherwise inherits only
	// PATH: HTTPS_PROXY and the like.
	Environment []string
	Clock       clock.WithTicker
	Log         *slog.Logger
	Registerer  prometheus.Registerer
}

func (o *Options) defaults() {
	for value, standard := range map[*time.Duration]time.Duration{
		&o.RequestTimeout: 15 * time.Second, &o.FetchTimeout: 5 * time.Minute, &o.Grace: 3 * time.Minute,
	} {
		if *value == 0 {
			*value = standard
		}
	}
	if o.MaxFileBytes == 0 {
		o.MaxFileBytes = 50 << 20
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 64 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
}

// Mirrors are the local copies of all repositories. They are safe for
// concurrent use.
type Mirrors struct {
	options Options
	metrics *metrics
	folders *folders
	secrets string // private folder, gone after Close
	ctx     context.Context
	cancel  context.CancelFunc
	wait    sync.WaitGroup

	mu     sync.Mutex
	closed bool
	byID   map[string]*mirror
}

var errClosed = errors.New("the mirrors are closed")

// New opens the folder of mirrors. They work until ctx ends or Close.
func New(ctx context.Context, o Options) (*Mirrors, error) {
	o.defaults()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("mirror folder: %w", err)
	}
	dir, err := filepath.Abs(o.Dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("mirror folder: %w", err)
	}
	o.Dir = dir
	secrets, err := os.MkdirTemp("", "sluice-git-")
	if err != nil {
		return nil, fmt.Errorf("credentials folder: %w", err)
	}
	inner, cancel := context.WithCancel(ctx)
	return &Mirrors{
		options: o, metrics: newMetrics(o.Registerer), folders: newFolders(o.CacheBytes), secrets: secrets,
		ctx: inner, cancel: cancel, byID: map[string]*mirror{},
	}, nil
}

// Close ends pollers, requests and readers and removes keys from the disk.
// The mirrors stay for the next start.
func (m *Mirrors) Close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.cancel()
	m.wait.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.byID {
		one.objects.close()
	}
	if err := os.RemoveAll(m.secrets); err != nil {
		m.options.Log.Warn("credentials folder not removed", "folder", m.secrets, "error", err.Error())
	}
}

// spawn runs f unless the mirrors are closed; Close waits for it.
func (m *Mirrors) spawn(f func()) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return errClosed
	}
	m.wait.Go(f)
	return nil
}

// identity names a repository with its credentials: two credentials never
// share a mirror, so none reads what it may not.
func identity(r repo.Repository) string {
	sum := sha256.New()
	for _, part := range []string{
		r.URL, r.Username, r.Password, r.BearerToken, r.SSHPrivateKey, r.TLSClientCertData, r.TLSClientCertKey,
		r.Proxy, r.NoProxy, r.CAData, r.KnownHosts, fmt.Sprint(r.Insecure),
	} {
		_, _ = fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(sum.Sum(nil))[:32]
}

func (m *Mirrors) open(r repo.Repository) (*mirror, error) {
	if r.URL == "" {
		return nil, errors.New("the URL of the repository is empty: set repoURL")
	}
	id := identity(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errClosed
	}
	if found, ok := m.byID[id]; ok {
		return found, nil
	}
	secrets := filepath.Join(m.secrets, id)
	if err := os.MkdirAll(secrets, 0o700); err != nil {
		return nil, fmt.Errorf("repository %s: credentials folder: %w", Redact(r.URL), err)
	}
	e, err := newEndpoint(r, secrets, m.options.Environment)
	if err != nil {
		return nil, err
	}
	// Git looks for a repository in parent folders, too: not above ours.
	e.vars = append(e.vars, "GIT_CEILING_DIRECTORIES="+m.options.Dir)
	opened := newMirror(m, id, Redact(r.URL), e)
	if err := os.MkdirAll(opened.home, 0o700); err != nil {
		return nil, fmt.Errorf("repository %s: mirror folder: %w", opened.name, err)
	}
	if err := opened.tidy(); err != nil {
		return nil, err
	}
	m.byID[id] = opened
	return opened, nil
}

// Resolve turns a target into a commit id. Unless fresh, the last answer of
// the remote is used; the remote is asked when there is none.
func (m *Mirrors) Resolve(ctx context.Context, r repo.Repository, t Target, fresh bool) (string, error) {
	if fullID.MatchString(t.Revision) {
		return t.Revision, nil
	}
	one, err := m.open(r)
	if err != nil {
		return "", err
	}
	refs, err := one.refs(ctx, fresh)
	if err != nil {
		return "", err
	}
	id, err := refs.Resolve(t)
	if err != nil {
		return "", fmt.Errorf("repository %s: %w", one.name, err)
	}
	if !fullID.MatchString(id) {
		return one.expand(ctx, id)
	}
	return id, nil
}

// Tree reads a commit, fetching it when the mirror lacks it.
func (m *Mirrors) Tree(ctx context.Context, r repo.Repository, id string) (tree.Tree, error) {
	one, err := m.open(r)
	if err != nil {
		return nil, err
	}
	return one.tree(ctx, id)
}

// Refresh asks the remote now; callers at the same time share one request,
// which starts after each of them has called.
func (m *Mirrors) Refresh(ctx context.Context, r repo.Repository) error {
	one, err := m.open(r)
	if err != nil {
		return err
	}
	_, err = one.ask(ctx, true)
	return err
}
