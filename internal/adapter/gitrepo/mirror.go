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

	"golang.org/x/sync/singleflight"

	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// mirror is the local copy of one repository.
type mirror struct {
	repo    repo.Repository
	dir     string
	env     environment
	mirrors *Mirrors
	objects *objects
	flight  singleflight.Group

	fetching sync.Mutex

	mu      sync.Mutex
	refs    Refs
	asked   time.Time // of the last complete answer
	failure error     // of the last request, nil after a success
	trees   map[string]*commitTree
	subs    map[int]*subscription
	nextSub int
	polling bool
}

// identity names a repository with its credentials: two credentials never
// share a mirror, so none reads what it may not.
func identity(r repo.Repository) string {
	sum := sha256.New()
	for _, part := range []string{r.URL, r.Username, r.Password, r.BearerToken, r.SSHPrivateKey, r.TLSClientCertData, r.Proxy, r.CAData, r.KnownHosts, fmt.Sprint(r.Insecure)} {
		fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(sum.Sum(nil))[:32]
}

func (m *Mirrors) open(r repo.Repository) (*mirror, error) {
	id := identity(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	if found, ok := m.byID[id]; ok {
		return found, nil
	}
	dir := filepath.Join(m.options.Dir, id)
	secrets := filepath.Join(dir, "credentials")
	if err := os.MkdirAll(secrets, 0o700); err != nil {
		return nil, fmt.Errorf("mirror of %s: %w", Redact(r.URL), err)
	}
	env, err := newEnvironment(r, secrets)
	if err != nil {
		return nil, err
	}
	opened := &mirror{
		repo: r, dir: filepath.Join(dir, "mirror.git"), env: env, mirrors: m,
		trees: map[string]*commitTree{}, subs: map[int]*subscription{},
	}
	opened.objects = newObjects(m.ctx, opened.dir, env)
	m.byID[id] = opened
	return opened, nil
}

// lsRemote asks the remote once for all who wait.
func (m *mirror) lsRemote(ctx context.Context) (Refs, error) {
	answer := m.flight.DoChan("ls-remote", func() (any, error) {
		begin := m.mirrors.options.Clock.Now()
		raw, err := m.env.run(m.mirrors.ctx, m.mirrors.options.RequestTimeout, "", "ls-remote", "--", m.repo.URL)
		m.mirrors.metrics.observe(m.repo.URL, "ls-remote", m.mirrors.options.Clock.Since(begin))
		if err != nil {
			err = fmt.Errorf("repository %s: %w", Redact(m.repo.URL), err)
			m.note(Refs{}, err)
			return Refs{}, err
		}
		refs := parseRefs(raw)
		m.note(refs, nil)
		return refs, nil
	})
	select {
	case <-ctx.Done():
		return Refs{}, fmt.Errorf("repository %s: %w", Redact(m.repo.URL), ctx.Err())
	case r := <-answer:
		refs, _ := r.Val.(Refs)
		return refs, r.Err
	}
}

// note stores an answer and tells subscribers whose revision moved.
func (m *mirror) note(refs Refs, err error) {
	m.mu.Lock()
	m.asked, m.failure = m.mirrors.options.Clock.Now(), err
	var moved []func()
	if err == nil {
		m.refs = refs
	}
	for _, s := range m.subs {
		id, problem := "", ""
		switch {
		case err != nil:
			id, problem = s.last, err.Error()
		default:
			resolved, rerr := refs.Resolve(s.revision)
			if id = resolved; rerr != nil {
				problem = rerr.Error()
			}
		}
		if id != s.last || problem != s.problem {
			s.last, s.problem = id, problem
			moved = append(moved, s.notify)
		}
	}
	m.mu.Unlock()
	for _, f := range moved {
		f()
	}
}

// known is the last answer of the remote, or the last failure when there has
// not been an answer yet.
func (m *mirror) known() (refs Refs, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refs.ids != nil {
		return m.refs, true, m.failure
	}
	if m.failure != nil && m.mirrors.options.Clock.Since(m.asked) < failureMemory {
		return Refs{}, false, m.failure
	}
	return Refs{}, false, nil
}

// failureMemory is how long a failure answers for the remote.
const failureMemory = 3 * time.Second

// tree gives the tree of a commit, fetching it when the mirror lacks it.
func (m *mirror) tree(ctx context.Context, id string) (tree.Tree, error) {
	if t, ok := m.cached(id); ok {
		return t, nil
	}
	t, err := m.read(id)
	if err == nil {
		return t, nil
	}
	if err := m.fetch(ctx, id); err != nil {
		return nil, err
	}
	t, err = m.read(id)
	if err != nil {
		return nil, fmt.Errorf("repository %s: commit %s is not there: %w", Redact(m.repo.URL), id, err)
	}
	return t, nil
}

func (m *mirror) cached(id string) (*commitTree, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.trees[id]
	return t, ok
}

// maxTrees bounds the commits whose folders are remembered.
const maxTrees = 16

func (m *mirror) read(id string) (*commitTree, error) {
	if _, err := os.Stat(m.dir); err != nil {
		return nil, errMissing
	}
	t, err := newCommitTree(m.objects, id)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.trees) >= maxTrees {
		clear(m.trees)
	}
	m.trees[id] = t
	return t, nil
}

// fetch brings the mirror up to date; a damaged mirror is made anew once.
func (m *mirror) fetch(ctx context.Context, id string) error {
	m.fetching.Lock()
	defer m.fetching.Unlock()
	if _, err := m.read(id); err == nil {
		return nil // somebody else just fetched it
	}
	err := m.fetchOnce(ctx, id)
	if err == nil || errors.Is(err, errTimeout) || ctx.Err() != nil {
		return err
	}
	if _, statErr := m.env.run(ctx, time.Minute, m.dir, "rev-parse", "--git-dir"); statErr == nil {
		return err
	}
	m.objects.close()
	if removeErr := os.RemoveAll(m.dir); removeErr != nil {
		return err
	}
	return m.fetchOnce(ctx, id)
}

func (m *mirror) fetchOnce(ctx context.Context, id string) error {
	begin := m.mirrors.options.Clock.Now()
	defer func() {
		m.mirrors.metrics.observe(m.repo.URL, "fetch", m.mirrors.options.Clock.Since(begin))
	}()
	limit := m.mirrors.options.FetchTimeout
	if _, err := os.Stat(filepath.Join(m.dir, "HEAD")); err != nil {
		if _, err := m.env.run(ctx, limit, "", "init", "--quiet", "--bare", "--", m.dir); err != nil {
			return fmt.Errorf("mirror of %s: %w", Redact(m.repo.URL), err)
		}
	}
	base := []string{"fetch", "--quiet", "--force", "--prune", "--no-write-fetch-head", "--", m.repo.URL}
	_, err := m.env.run(ctx, limit, m.dir, append(base, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")...)
	if err != nil {
		return fmt.Errorf("repository %s: %w", Redact(m.repo.URL), err)
	}
	if _, err := m.read(id); err == nil || !fullID.MatchString(id) {
		return nil
	}
	direct := []string{"fetch", "--quiet", "--no-write-fetch-head", "--", m.repo.URL, id}
	if _, err := m.env.run(ctx, limit, m.dir, direct...); err != nil {
		return fmt.Errorf("repository %s: commit %s: %w", Redact(m.repo.URL), id, err)
	}
	return nil
}
