package gitrepo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Mirrors are the local copies of all repositories. They are safe for
// concurrent use.
type Mirrors struct {
	options Options
	metrics *metrics
	folders *folders
	local   git    // git without a remote
	secrets string // private folder, gone after Close
	key     []byte // of remembered answers
	ctx     context.Context
	cancel  context.CancelFunc
	wait    sync.WaitGroup

	gate   sync.Mutex // innermost
	closed bool

	mu        sync.Mutex
	mirrors   map[string]*mirror  // by key
	accesses  map[string]*access  // by id
	byLocator map[string][]string // access ids by what webhooks name
	hosts     map[string]*semaphore.Weighted

	swept     time.Time  // guarded by tending
	tending   sync.Mutex // one upkeep at a time; outermost
	following sync.Mutex // before mu, and before that of an access
	subs      map[*subscription]struct{}
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
	secrets, err := secretsFolder(o)
	if err != nil {
		return nil, err
	}
	key, err := answersKey(dir, o.Random)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(secrets))
	}
	inner, cancel := context.WithCancel(ctx)
	m := &Mirrors{
		key:     key,
		options: o, metrics: newMetrics(o.Registerer), folders: newFolders(o.CacheBytes), secrets: secrets,
		ctx: inner, cancel: cancel, mirrors: map[string]*mirror{}, accesses: map[string]*access{},
		byLocator: map[string][]string{}, hosts: map[string]*semaphore.Weighted{}, subs: map[*subscription]struct{}{},
	}
	config := filepath.Join(secrets, "local")
	if err := os.WriteFile(config, []byte(baseConfig(o.AllowFile).text()), 0o600); err != nil {
		cancel()
		return nil, fmt.Errorf("credentials folder: %w", errors.Join(err, os.RemoveAll(secrets)))
	}
	m.local = newGit(o, secrets, config)
	if err := errors.Join(m.spawn(m.emptyTrash), m.spawn(m.keepUp)); err != nil {
		return nil, err
	}
	return m, nil
}

// secretsFolder makes a private folder and removes those of earlier processes
// on the same mirrors, which ended without a Close.
func secretsFolder(o Options) (string, error) {
	sum := sha256.Sum256([]byte(o.Dir))
	parent := o.SecretsDir
	if parent == "" {
		parent = os.TempDir()
	}
	prefix := "sluice-git-" + hex.EncodeToString(sum[:6]) + "-"
	stale, err := filepath.Glob(filepath.Join(parent, prefix+"*"))
	if err != nil {
		return "", fmt.Errorf("credentials folder: %w", err)
	}
	for _, dir := range stale {
		if err := os.RemoveAll(dir); err != nil {
			return "", fmt.Errorf("credentials folder of an earlier process: %w", err)
		}
	}
	dir, err := os.MkdirTemp(parent, prefix)
	if err != nil {
		return "", fmt.Errorf("credentials folder: %w", err)
	}
	return dir, nil
}

// Close ends pollers, requests and readers and removes keys from the disk.
// The mirrors stay for the next start.
func (m *Mirrors) Close() {
	m.gate.Lock()
	m.closed = true
	m.gate.Unlock()
	m.cancel()
	m.wait.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.mirrors {
		one.objects.close()
	}
	if err := os.RemoveAll(m.secrets); err != nil {
		m.options.Log.Warn("credentials folder not removed", "folder", m.secrets, "error", err.Error())
	}
}

// spawn runs f unless the mirrors are closed; Close waits for it.
func (m *Mirrors) spawn(f func()) error {
	m.gate.Lock()
	defer m.gate.Unlock()
	if m.closed {
		return errClosed
	}
	m.wait.Go(f)
	return nil
}

func (m *Mirrors) isClosed() bool {
	m.gate.Lock()
	defer m.gate.Unlock()
	return m.closed
}

func digest(parts ...string) string {
	sum := sha256.New()
	for _, part := range parts {
		_, _ = fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(sum.Sum(nil))[:32]
}

// mirrorKey names a local copy: what is at the other end and how much of it is
// kept. Who asks is no part of it, so a new password keeps the copy; what could
// lead to another server is, so nobody is let in to a copy by a server of his
// own.
func mirrorKey(r repo.Repository) string {
	target, _, _ := splitUser(r)
	return digest(target, repo.Redact(r.Proxy.Reveal()), r.NoProxy, fmt.Sprint(r.Insecure), fmt.Sprint(r.PartialClone))
}

// identity names a repository together with who asks for it.
func identity(r repo.Repository) string {
	app := r.GitHubApp
	return digest(r.URL, r.Username, r.Password.Reveal(), r.BearerToken.Reveal(), r.SSHPrivateKey.Reveal(), r.TLSClientCertData,
		r.TLSClientCertKey.Reveal(), r.Proxy.Reveal(), r.NoProxy, r.CAData, r.KnownHosts,
		fmt.Sprint(app.ID, app.Installation, app.BaseURL), app.PrivateKey.Reveal(), fmt.Sprint(r.Insecure, r.EnableLFS, r.PartialClone))
}

// open finds or makes the access of r.
func (m *Mirrors) open(r repo.Repository) (*access, error) {
	if r.Invalid != "" {
		return nil, fmt.Errorf("repository %s: %s", repo.Redact(r.URL), r.Invalid)
	}
	address, err := repo.Parse(r.URL)
	if err != nil {
		return nil, err
	}
	if address.Scheme == "file" && !m.options.AllowFile {
		return nil, fmt.Errorf("repository %s: file URLs are switched off: serve the repository over https or ssh, or start with --allow-file-repositories", repo.Redact(r.URL))
	}
	id := identity(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return nil, errClosed
	}
	now := m.options.Clock.Now()
	if found, ok := m.accesses[id]; ok {
		found.touch(now)
		return found, nil
	}
	to, err := m.mirrorOf(r)
	if err != nil {
		return nil, err
	}
	secrets := filepath.Join(m.secrets, id)
	if err := os.MkdirAll(secrets, 0o700); err != nil {
		return nil, fmt.Errorf("repository %s: credentials folder: %w", to.name, err)
	}
	e, err := newEndpoint(r, address, secrets, m.options)
	if err != nil {
		return nil, err
	}
	opened := newAccess(to, id, r, e)
	opened.touch(now)
	m.accesses[id] = opened
	if l := repo.Locator(r.URL); l != "" {
		m.byLocator[l] = append(m.byLocator[l], id)
	}
	return opened, nil
}

// mirrorOf finds or makes the copy that r reads. The caller holds the lock.
func (m *Mirrors) mirrorOf(r repo.Repository) (*mirror, error) {
	key := mirrorKey(r)
	if found, ok := m.mirrors[key]; ok {
		return found, nil
	}
	made := newMirror(m, key, r)
	if err := os.MkdirAll(made.home, 0o700); err != nil {
		return nil, fmt.Errorf("repository %s: mirror folder: %w", made.name, err)
	}
	if err := made.tidy(); err != nil {
		return nil, err
	}
	m.mirrors[key] = made
	return made, nil
}

// host gives the limit of requests to one host.
func (m *Mirrors) host(kind, origin string) *semaphore.Weighted {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := kind + " " + origin
	if m.hosts[key] == nil {
		m.hosts[key] = semaphore.NewWeighted(int64(m.options.HostRequests))
	}
	return m.hosts[key]
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

// Tree reads a commit, fetching it when the mirror lacks it. r must have
// answered to its credentials once; else it is asked first.
func (m *Mirrors) Tree(ctx context.Context, r repo.Repository, id string) (tree.Tree, error) {
	if !shortID.MatchString(id) {
		return nil, fmt.Errorf("repository %s: %q is not a commit id: resolve the revision first", repo.Redact(r.URL), id)
	}
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

// Names are the branches and tags of a repository in name order, as of the last
// answer.
func (m *Mirrors) Names(ctx context.Context, r repo.Repository) (branches, tags []string, err error) {
	one, err := m.open(r)
	if err != nil {
		return nil, nil, err
	}
	refs, err := one.refs(ctx, false)
	if err != nil {
		return nil, nil, err
	}
	return refs.short("refs/heads/"), refs.short(tagPath), nil
}

// Token is the one that opens a repository of a GitHub App now, and for at
// least a while.
func (m *Mirrors) Token(ctx context.Context, r repo.Repository) (string, error) {
	one, err := m.open(r)
	if err != nil {
		return "", err
	}
	if one.endpoint.token == nil {
		return "", fmt.Errorf("repository %s: is not read by a GitHub App", one.name)
	}
	return one.endpoint.token.Token(ctx)
}

// Forget empties the memory of folders, as if the process had been started
// again: what is read next comes from the mirrors.
func (m *Mirrors) Forget() { m.folders.clear() }
