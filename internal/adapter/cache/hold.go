package cache

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// heldFolder holds one sealed file per holder: the files that it keeps.
const heldFolder = "held"

// lastStart is a file in it that tells when the process was started last. A
// holder that was not heard of in a life of a day or more is no more: its
// object may have been deleted while nobody watched.
const (
	lastStart = ".start"
	wholeLife = 24 * time.Hour
)

// Hold keeps the entries with these names on disk, whatever else needs the
// room, until the same holder names others; nil lets all go. Held entries have
// a room of their own, as large as that of the others. Without a disk nothing
// is held.
func (c *Cache) Hold(holder string, names []string) {
	if c.disk == nil {
		return
	}
	var files []string
	for _, name := range names {
		files = append(files, fileName(name))
	}
	slices.Sort(files)
	if err := c.disk.hold(c.sealer, fileName(holder), slices.Compact(files), c.now()); err != nil {
		c.failed(c.disk, fmt.Errorf("hold entries: %w", err))
	}
}

// hold replaces what a holder keeps, in memory and on disk.
func (d *disk) hold(s *sealer, holder string, files []string, now time.Time) error {
	d.mu.Lock()
	same := slices.Equal(d.holders[holder], files)
	d.grasp(holder, files)
	d.trim()
	d.mu.Unlock()
	path := filepath.Join(d.dir, heldFolder, holder)
	if len(files) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if same && os.Chtimes(path, now, now) == nil {
		return nil
	}
	raw, err := json.Marshal(files)
	if err != nil {
		return err
	}
	entry, err := s.seal(heldFolder+"/"+holder, raw)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := d.replace(path, entry); err != nil {
		return err
	}
	return os.Chtimes(path, now, now)
}

// grasp moves files between the shelves.
func (d *disk) grasp(holder string, files []string) {
	before := d.holders[holder]
	for _, file := range slices.Concat(before, files) {
		if at, ok := d.files[file]; ok {
			f := at.Value.(diskFile)
			d.drop(at)
			defer d.note(f)
		}
	}
	for _, file := range before {
		if d.holds[file]--; d.holds[file] == 0 {
			delete(d.holds, file)
		}
	}
	for _, file := range files {
		d.holds[file]++
	}
	if d.holders[holder] = files; len(files) == 0 {
		delete(d.holders, holder)
	}
}

// recall reads what holders kept before the process was started. Holders that
// are no more, and files that are not ours, are removed.
func (d *disk) recall(s *sealer, now time.Time) error {
	folder := filepath.Join(d.dir, heldFolder)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("cache folder: %w", err)
	}
	mark := filepath.Join(folder, lastStart)
	var since time.Time
	if info, err := os.Stat(mark); err == nil && now.Sub(info.ModTime()) >= wholeLife {
		since = info.ModTime()
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("cache folder: %w", err)
	}
	for _, e := range entries {
		if e.Name() == lastStart {
			continue
		}
		files, err := d.heldBy(s, folder, e)
		if info, infoErr := e.Info(); err != nil || infoErr != nil || info.ModTime().Before(since) {
			if err := os.RemoveAll(filepath.Join(folder, e.Name())); err != nil {
				return fmt.Errorf("cache folder: %w", err)
			}
			continue
		}
		d.grasp(e.Name(), files)
	}
	if err := errors.Join(os.WriteFile(mark, nil, 0o600), os.Chtimes(mark, now, now)); err != nil {
		return fmt.Errorf("cache folder: %w", err)
	}
	return nil
}

func (d *disk) heldBy(s *sealer, folder string, e fs.DirEntry) (files []string, err error) {
	entry, err := os.ReadFile(filepath.Join(folder, e.Name()))
	if err != nil {
		return nil, err
	}
	raw, err := s.open(heldFolder+"/"+e.Name(), entry)
	if err != nil {
		return nil, err
	}
	return files, json.NewDecoder(bytes.NewReader(raw)).Decode(&files)
}

func (d *disk) heldBytes() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return float64(d.kept.bytes)
}
