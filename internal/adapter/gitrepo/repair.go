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
func (m *mirror) rebuild(ctx context.Context, id string) error {
	now := m.all.options.Clock.Now()
	if _, err := os.Stat(m.dir); err != nil || (!m.rebuilt.IsZero() && now.Sub(m.rebuilt) < rebuildPause) {
		return errDamaged
	}
	m.rebuilt = now
	m.all.options.Log.Warn("mirror is damaged, fetching it anew", "repository", m.name)
	fresh := m.dir + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("mirror of %s: %w", m.name, err)
	}
	if err := m.fetchInto(ctx, fresh, id); err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	m.objects.mu.Lock()
	defer m.objects.mu.Unlock()
	m.objects.stop()
	if err := os.RemoveAll(m.dir); err != nil {
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

// commitStore reads objects for one commit. Whatever a commit refers to must
// be there, so a missing object means a damaged mirror.
type commitStore struct {
	m        *mirror
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
	if repairErr := m.repair(epoch, s.revision); repairErr != nil {
		return object{}, fmt.Errorf("mirror of %s: object %s: %w", m.name, id, err)
	}
	return m.objects.read(id)
}

// repair rebuilds the mirror unless that has happened since epoch.
func (m *mirror) repair(epoch int, id string) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	m.mu.Lock()
	done := m.epoch != epoch
	m.mu.Unlock()
	if done {
		return nil
	}
	return m.rebuild(m.all.ctx, id)
}

func (s commitStore) folder(id string) ([]tree.Entry, error) {
	key := folderKey{s.m.id, id}
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
	entries, err := parseTree(o.content)
	if err != nil {
		return nil, err
	}
	s.m.all.folders.add(key, entries)
	return entries, nil
}
