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

	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// mirror is the local copy of one repository, shared by all who may read it.
type mirror struct {
	all     *Mirrors
	key     string
	name    string // URL for messages
	home    string // folder of this mirror
	dir     string // the bare repository in it
	partial bool   // contents are fetched when read
	objects *objects
	fetches singleflight.Group

	writing   sync.Mutex // one fetch, repair or cleaning at a time
	rebuilt   time.Time  // guarded by writing
	unlimited bool       // the server does not serve partial clones; guarded by writing

	mu     sync.Mutex
	epoch  int  // grows when the mirror is made anew
	gone   bool // another one may be in its place
	used   time.Time
	bytes  int64
	reads  map[string]time.Time // commits by when they were read last
	marked time.Time            // when use was last written down
	trust  string               // keys and rules that passed has passed
	passed map[string]bool      // commits whose whole history is signed
}

func newMirror(m *Mirrors, key string, r repo.Repository) *mirror {
	home := filepath.Join(m.options.Dir, key)
	dir := filepath.Join(home, "mirror.git")
	reader := m.local
	if r.PartialClone {
		reader = reader.with("GIT_DIR="+filepath.Join(home, "reader.git"), "GIT_OBJECT_DIRECTORY="+filepath.Join(dir, "objects"))
	}
	return &mirror{
		all: m, key: key, name: repo.Redact(r.URL), home: home, dir: dir, partial: r.PartialClone,
		objects: &objects{ctx: m.ctx, dir: dir, git: reader, limit: m.options.MaxFileBytes, clock: m.options.Clock},
		reads:   map[string]time.Time{},
	}
}

func (m *mirror) touch(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used = now
}

// tree gives the tree of a commit, fetching it when the mirror lacks it. A
// fetch goes on when the caller gives up, so that a slow one ends some day.
func (m *mirror) tree(ctx context.Context, by *access, id string) (tree.Tree, error) {
	if t, err := m.read(by, id); err == nil {
		return t, nil
	}
	fetched := m.fetches.DoChan(by.id+id, func() (any, error) {
		type answer struct {
			t   *commitTree
			err error
		}
		done := make(chan answer, 1)
		if err := m.all.spawn(func() {
			t, err := m.fetch(m.all.ctx, by, id)
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
func (m *mirror) read(by *access, id string) (*commitTree, error) {
	o, err := m.objects.read(id + "^{tree}")
	if err != nil {
		return nil, err
	}
	if o.kind != "tree" {
		return nil, fmt.Errorf("is a %s, not a commit", o.kind)
	}
	entries, err := parseTree(o.content, len(o.id)/2)
	if err != nil {
		return nil, err
	}
	now := m.all.options.Clock.Now()
	m.all.folders.add(folderKey{m.key, o.id}, entries)
	m.mu.Lock()
	m.reads[id], m.used = now, now
	m.mu.Unlock()
	return &commitTree{store: commitStore{m, by, id}, revision: id, root: o.id}, nil
}

// fetch brings the mirror up to date until it has id.
func (m *mirror) fetch(ctx context.Context, by *access, id string) (*commitTree, error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	if t, err := m.read(by, id); err == nil {
		return t, nil // somebody else just fetched it
	}
	err := m.bring(ctx, by, id)
	if err == nil {
		m.measure()
		var t *commitTree
		if t, err = m.read(by, id); err == nil {
			return t, nil
		}
	}
	var failed *gitError
	switch {
	case ctx.Err() != nil || errors.Is(err, errNotOffered):
		return nil, err
	case errors.As(err, &failed) && failed.kind != nil:
		return nil, err // the remote's or the disk's fault, not the mirror's
	case errors.Is(err, errMissing) && !fullID.MatchString(id):
		return nil, errNotOffered
	}
	if o, readErr := m.objects.read(id); readErr == nil && o.kind != "commit" && o.kind != "tag" {
		return nil, fmt.Errorf("is a %s, not a commit", o.kind)
	}
	if rebuildErr := m.rebuild(ctx, by); rebuildErr != nil {
		return nil, err
	}
	if _, err := m.read(by, id); errors.Is(err, errMissing) && fullID.MatchString(id) {
		if err := m.bringOne(ctx, by, m.dir, id); err != nil {
			return nil, err
		}
	}
	return m.read(by, id)
}

// errNotOffered says that the remote does not have a commit.
var errNotOffered = errors.New("the repository does not have it")

// bring fetches all branches and tags, and id itself when it is on none.
func (m *mirror) bring(ctx context.Context, by *access, id string) error {
	if _, err := os.Stat(filepath.Join(m.dir, "HEAD")); err != nil {
		if err := m.make(ctx, by); err != nil {
			return err
		}
	} else if err := m.update(ctx, by); err != nil {
		return err
	}
	if !fullID.MatchString(id) {
		return nil
	}
	if _, err := m.objects.git.run(ctx, command{args: []string{"cat-file", "-e", id + "^{commit}"}, dir: m.dir, limit: time.Minute}); err == nil {
		return nil
	}
	return m.bringOne(ctx, by, m.dir, id)
}

// update fetches what is new.
func (m *mirror) update(ctx context.Context, by *access) error {
	if err := m.room(); err != nil {
		return err
	}
	args := []string{"fetch", "--progress", "--force", "--prune", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance"}
	if m.partial && !m.unlimited {
		args = append(args, "--filter=blob:none")
	}
	return by.remote(ctx, "fetch", "", func() error {
		return m.transfer(ctx, by, m.dir, append(args, "--", by.endpoint.target(), "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"))
	})
}

// bringOne fetches a commit that may be on no branch.
func (m *mirror) bringOne(ctx context.Context, by *access, dir, id string) error {
	args := []string{"fetch", "--progress", "--no-write-fetch-head", "--no-tags", "--no-recurse-submodules", "--no-auto-maintenance"}
	if m.partial && !m.unlimited {
		args = append(args, "--filter=blob:none")
	}
	err := by.remote(ctx, "fetch", id, func() error {
		return m.transfer(ctx, by, dir, append(args, "--", by.endpoint.target(), id))
	})
	if err == nil {
		return nil
	}
	by.mu.Lock()
	offered := by.last.offers(id)
	by.mu.Unlock()
	if strings.Contains(err.Error(), "not our ref") && !offered {
		return errNotOffered
	}
	return err
}

// make clones the repository beside its place and moves it there when whole.
func (m *mirror) make(ctx context.Context, by *access) error {
	if err := m.room(); err != nil {
		return err
	}
	fresh := m.dir + ".new"
	args := []string{"clone", "--progress", "--bare", "--no-local", "--template=", "--no-recurse-submodules"}
	if m.partial {
		args = append(args, "--filter=blob:none")
	}
	err := by.remote(ctx, "fetch", "", func() error {
		if err := os.RemoveAll(fresh); err != nil {
			return fmt.Errorf("mirror of %s: %w", m.name, err)
		}
		return m.transfer(ctx, by, m.home, append(args, "--", by.endpoint.target(), fresh))
	})
	if err == nil && m.partial {
		err = m.preparePartial(ctx, fresh)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	return m.replace(fresh)
}

// replace puts a fresh copy in the place of what is there.
func (m *mirror) replace(fresh string) error {
	m.objects.mu.Lock()
	defer m.objects.mu.Unlock()
	m.objects.stop()
	if err := m.all.discard(m.dir); err != nil {
		return fmt.Errorf("mirror of %s: %w", m.name, err)
	}
	if err := os.Rename(fresh, m.dir); err != nil {
		return fmt.Errorf("mirror of %s: %w", m.name, err)
	}
	m.mu.Lock()
	m.epoch++
	m.mu.Unlock()
	return nil
}

// transfer runs a git that brings objects; what a broken one leaves is removed.
func (m *mirror) transfer(ctx context.Context, by *access, dir string, args []string) error {
	o := m.all.options
	_, err := by.endpoint.run(ctx, command{args: args, dir: dir, limit: o.FetchTimeout, stall: o.StallTimeout, maxFile: o.MaxPackBytes, maxObjects: o.MaxObjects})
	if err != nil && dir == m.dir {
		if tidyErr := m.tidy(); tidyErr != nil {
			o.Log.Warn("remains of a fetch not removed", "repository", m.name, "error", tidyErr.Error())
		}
	}
	return err
}
