package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// rebuildPause is the least time between two complete fetches of a mirror
// that seems broken.
const rebuildPause = time.Minute

// tidy removes what a process that was killed has left in the mirror: locks,
// half a pack, half a mirror. No other process uses the folder.
func (m *mirror) tidy() error {
	if err := os.RemoveAll(m.dir + ".new"); err != nil {
		return fmt.Errorf("mirror of %s: %w", m.name, err)
	}
	err := filepath.WalkDir(m.dir, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && len(e.Name()) == 2 && filepath.Base(filepath.Dir(name)) == "objects":
			return filepath.SkipDir // loose objects are written at once
		case e.IsDir() || !strings.HasSuffix(e.Name(), ".lock") && !strings.HasPrefix(e.Name(), "tmp_"):
			return nil
		}
		return os.Remove(name)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("mirror of %s: %w", m.name, err)
	}
	return nil
}

// rebuild makes the mirror anew beside the old one and then takes its place.
// The caller holds m.writing.
func (m *mirror) rebuild(ctx context.Context, by *access) error {
	now := m.all.options.Clock.Now()
	if _, err := os.Stat(m.dir); err != nil || (!m.rebuilt.IsZero() && now.Sub(m.rebuilt) < rebuildPause) {
		return errDamaged
	}
	m.rebuilt = now
	m.all.options.Log.Warn("mirror is damaged, fetching it anew", "repository", m.name)
	m.all.metrics.rebuilds.Inc()
	return m.make(ctx, by)
}

// commitStore reads objects for one commit. Whatever a commit refers to must
// be there, so a missing object means a damaged mirror, or a partial one.
type commitStore struct {
	m        *mirror
	by       *access
	revision string
}

func (s commitStore) object(id string) (object, error) {
	m := s.m
	m.mu.Lock()
	epoch := m.epoch
	m.mu.Unlock()
	found, err := m.objects.read(id)
	if err == nil || errors.Is(err, errTooBig) || m.all.ctx.Err() != nil {
		return found, err
	}
	if m.partial && errors.Is(err, errMissing) {
		if fetchErr := m.fetchMissing(m.all.ctx, s.by, []string{id}); fetchErr != nil {
			return object{}, fetchErr
		}
		return m.objects.read(id)
	}
	if repairErr := m.repair(s, epoch); repairErr != nil {
		return object{}, fmt.Errorf("mirror of %s: object %s: %w", m.name, id, err)
	}
	return m.objects.read(id)
}

// file reads a file; in a partial mirror its neighbours come along.
func (s commitStore) file(id, folder string, isRoot bool) ([]byte, error) {
	o, err := s.m.objects.read(id)
	if err != nil && s.m.partial && errors.Is(err, errMissing) {
		if err := s.fill(folder, isRoot); err != nil {
			return nil, err
		}
	}
	if err != nil {
		o, err = s.object(id)
	}
	if p, ok := parsePointer(o.content); err == nil && ok && s.by.repository.EnableLFS {
		return s.large(p)
	}
	return o.content, err
}

// repair brings back what a mirror lacks, unless that has happened since epoch.
func (m *mirror) repair(s commitStore, epoch int) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	m.mu.Lock()
	done, gone := m.epoch != epoch, m.gone
	m.mu.Unlock()
	switch {
	case gone:
		return errors.New("the mirror was removed because nobody used it: open the commit again")
	case done:
		return nil
	}
	var err error
	if _, statErr := os.Stat(m.dir); errors.Is(statErr, fs.ErrNotExist) { // it had to make room for others
		err = m.make(m.all.ctx, s.by)
	} else {
		err = m.rebuild(m.all.ctx, s.by)
	}
	if err != nil {
		return err
	}
	if _, err := m.read(s.by, s.revision); errors.Is(err, errMissing) { // it is on no branch any more
		return m.bringOne(m.all.ctx, s.by, m.dir, s.revision)
	}
	return nil
}

func (s commitStore) folder(id string) ([]tree.Entry, error) {
	key := folderKey{s.m.key, id}
	if entries, ok := s.m.all.folders.find(key); ok {
		return entries, nil
	}
	o, err := s.object(id)
	if err != nil {
		return nil, err
	}
	if o.kind != "tree" {
		return nil, fmt.Errorf("object %s is a %s: %w", id, o.kind, errDamaged)
	}
	entries, err := parseTree(o.content, len(o.id)/2)
	if err != nil {
		return nil, err
	}
	s.m.all.folders.add(key, entries)
	return entries, nil
}
