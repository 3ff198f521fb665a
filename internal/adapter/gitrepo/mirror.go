package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// mirror is the local copy of one repository.
type mirror struct {
	all      *Mirrors
	id       string
	name     string // URL for messages
	home     string // folder of this mirror
	dir      string // the bare repository in it
	endpoint endpoint
	objects  *objects
	inquiry  inquiry
	fetches  singleflight.Group

	writing sync.Mutex // one fetch or repair at a time
	rebuilt time.Time  // guarded by writing
	epoch   int        // guarded by mu; grows when the mirror is made anew

	mu       sync.Mutex
	last     Refs
	asked    time.Time // of the last answer or failure
	failure  error     // of the last question, nil after an answer
	failedAt time.Time // when it began to fail
	subs     map[*subscription]*subscription
	polling  bool
}

func newMirror(m *Mirrors, id, name string, e endpoint) *mirror {
	home := filepath.Join(m.options.Dir, id)
	dir := filepath.Join(home, "mirror.git")
	return &mirror{
		all: m, id: id, name: name, home: home, dir: dir, endpoint: e,
		objects: &objects{ctx: m.ctx, dir: dir, endpoint: e, limit: m.options.MaxFileBytes},
		subs:    map[*subscription]*subscription{},
	}
}

// tree gives the tree of a commit, fetching it when the mirror lacks it. A
// fetch goes on when the caller gives up, so that a slow one ends some day.
func (m *mirror) tree(ctx context.Context, id string) (tree.Tree, error) {
	if t, err := m.read(id); err == nil {
		return t, nil
	}
	fetched := m.fetches.DoChan(id, func() (any, error) {
		type answer struct {
			t   *commitTree
			err error
		}
		done := make(chan answer, 1)
		if err := m.all.spawn(func() {
			t, err := m.fetch(m.all.ctx, id)
			done <- answer{t, err}
		}); err != nil {
			return nil, err
		}
		a := <-done
		return a.t, a.err
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("repository %s: commit %s is still being fetched: %w", m.name, id, ctx.Err())
	case a := <-fetched:
		if a.Err != nil {
			return nil, fmt.Errorf("repository %s: commit %s: %w", m.name, id, a.Err)
		}
		return a.Val.(*commitTree), nil
	}
}

// read gives the tree of a commit that is in the mirror.
func (m *mirror) read(id string) (*commitTree, error) {
	o, err := m.objects.read(id + "^{tree}")
	if err != nil {
		return nil, err
	}
	if o.kind != "tree" {
		return nil, fmt.Errorf("is a %s, not a commit", o.kind)
	}
	entries, err := parseTree(o.content)
	if err != nil {
		return nil, err
	}
	m.all.folders.add(folderKey{m.id, o.id}, entries)
	return &commitTree{store: commitStore{m, id}, revision: id, root: o.id}, nil
}

// expand completes an abbreviated id with the help of the mirror.
func (m *mirror) expand(ctx context.Context, id string) (string, error) {
	_, err := m.tree(ctx, id)
	if err == nil {
		var o object
		if o, err = m.objects.read(id + "^{commit}"); err == nil {
			return o.id, nil
		}
	}
	if ctx.Err() != nil {
		return "", err
	}
	return "", fmt.Errorf("repository %s: unable to resolve '%s' to a commit SHA: no commit, or more than one, starts with it", m.name, id)
}

// fetch brings the mirror up to date until it has id.
func (m *mirror) fetch(ctx context.Context, id string) (*commitTree, error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	if t, err := m.read(id); err == nil {
		return t, nil // somebody else just fetched it
	}
	err := m.fetchInto(ctx, m.dir, id)
	if err == nil {
		var t *commitTree
		if t, err = m.read(id); err == nil {
			return t, nil
		}
	}
	switch {
	case ctx.Err() != nil || errors.Is(err, errTimeout) || errors.Is(err, errNotOffered):
		return nil, err
	case errors.Is(err, errMissing) && !fullID.MatchString(id):
		return nil, errNotOffered
	}
	if o, readErr := m.objects.read(id); readErr == nil && o.kind != "commit" && o.kind != "tag" {
		return nil, fmt.Errorf("is a %s, not a commit", o.kind)
	}
	if rebuildErr := m.rebuild(ctx, id); rebuildErr != nil {
		return nil, err
	}
	return m.read(id)
}

// errNotOffered says that the remote does not have a commit.
var errNotOffered = errors.New("the repository does not have it")

// fetchInto fetches all branches and tags, and id itself when it is on none.
func (m *mirror) fetchInto(ctx context.Context, dir, id string) error {
	begin := m.all.options.Clock.Now()
	defer func() { m.all.metrics.observe(m.name, "fetch", m.all.options.Clock.Since(begin)) }()
	limit := m.all.options.FetchTimeout
	if _, err := os.Stat(filepath.Join(dir, "HEAD")); err != nil {
		if _, err := m.endpoint.run(ctx, limit, m.home, "init", "--quiet", "--bare", "--template=", "--", dir); err != nil {
			return err
		}
	}
	options := []string{"fetch", "--quiet", "--force", "--prune", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance"}
	all := append(options, "--", m.endpoint.url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
	if _, err := m.endpoint.run(ctx, limit, dir, all...); err != nil {
		return err
	}
	if !fullID.MatchString(id) {
		return nil
	}
	if _, err := m.endpoint.run(ctx, limit, dir, "cat-file", "-e", id+"^{commit}"); err == nil {
		return nil
	}
	_, err := m.endpoint.run(ctx, limit, dir, "fetch", "--quiet", "--no-write-fetch-head", "--no-tags", "--", m.endpoint.url, id)
	if err == nil {
		return nil
	}
	m.mu.Lock()
	offered := m.last.offers(id)
	m.mu.Unlock()
	if strings.Contains(err.Error(), "not our ref") && !offered {
		return errNotOffered
	}
	return err
}
