package cache

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// DiskOptions configure the tier on local disk.
type DiskOptions struct {
	// Dir is private to this process; empty switches the tier off.
	Dir string
	// Bytes is how much it may hold (default 1 GiB); the entries that were
	// not used for the longest time go first.
	Bytes int64
}

type disk struct {
	dir   string
	limit int64

	mu    sync.Mutex
	files map[string]*list.Element
	// free go when there are too many of them, kept are those that a holder
	// names; each may take the limit.
	free, kept shelf
	holders    map[string][]string // file names by holder
	holds      map[string]int      // holders by file name
}

// shelf is a list of files, those used last first.
type shelf struct {
	order list.List // of diskFile
	bytes int64
}

type diskFile struct {
	name string
	size int64
}

var _ tier = (*disk)(nil)

// newDisk takes over what an earlier process left.
func newDisk(o DiskOptions, s *sealer, now time.Time) (*disk, error) {
	if o.Bytes == 0 {
		o.Bytes = 1 << 30
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cache folder: %w", err)
	}
	d := &disk{dir: o.Dir, limit: o.Bytes, files: map[string]*list.Element{}, holders: map[string][]string{}, holds: map[string]int{}}
	type found struct {
		diskFile
		at time.Time
	}
	var all []found
	err := filepath.WalkDir(o.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if path == filepath.Join(o.Dir, heldFolder) {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasPrefix(e.Name(), ".") {
			return os.Remove(path) // a write that was interrupted
		}
		info, err := e.Info()
		if err == nil {
			all = append(all, found{diskFile{e.Name(), info.Size()}, info.ModTime()})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cache folder: %w", err)
	}
	if err := d.recall(s, now); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b found) int { return a.at.Compare(b.at) })
	for _, one := range all {
		d.note(one.diskFile)
	}
	d.trim()
	return d, nil
}

func (*disk) name() string { return "disk" }
func (*disk) close()       {}

// path spreads entries over folders; the names of entries never become paths.
func (d *disk) path(file string) string { return filepath.Join(d.dir, file[:2], file) }

// fileName gives the file of an entry.
func fileName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

func (d *disk) get(_ context.Context, name string) ([]byte, error) {
	file := fileName(name)
	content, err := os.ReadFile(d.path(file))
	if errors.Is(err, fs.ErrNotExist) {
		d.forget(file)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, ok := d.files[file]; ok {
		d.shelf(file).order.MoveToFront(at)
	}
	return content, nil
}

func (d *disk) put(_ context.Context, name string, entry []byte) error {
	file := fileName(name)
	if int64(len(entry)) > d.limit/4 {
		return nil // it would push everything else out
	}
	if err := os.MkdirAll(filepath.Dir(d.path(file)), 0o700); err != nil {
		return err
	}
	if err := d.replace(d.path(file), entry); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(diskFile{file, int64(len(entry))})
	d.trim()
	return nil
}

// replace writes a file whole or not at all.
func (d *disk) replace(path string, content []byte) error {
	temporary, err := os.CreateTemp(d.dir, ".new-")
	if err != nil {
		return err
	}
	_, err = temporary.Write(content)
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return nil
}

func (d *disk) remove(_ context.Context, name string) {
	file := fileName(name)
	d.forget(file)
	_ = os.Remove(d.path(file)) // a file that stays is found damaged again
}

func (d *disk) forget(file string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, ok := d.files[file]; ok {
		d.drop(at)
	}
}

// shelf is where a file belongs.
func (d *disk) shelf(file string) *shelf {
	if d.holds[file] > 0 {
		return &d.kept
	}
	return &d.free
}

func (d *disk) note(f diskFile) {
	if at, ok := d.files[f.name]; ok {
		d.drop(at)
	}
	s := d.shelf(f.name)
	d.files[f.name] = s.order.PushFront(f)
	s.bytes += f.size
}

func (d *disk) drop(at *list.Element) {
	f := at.Value.(diskFile)
	s := d.shelf(f.name)
	s.order.Remove(at)
	s.bytes -= f.size
	delete(d.files, f.name)
}

func (d *disk) trim() {
	for _, s := range []*shelf{&d.free, &d.kept} {
		for s.bytes > d.limit && s.order.Len() > 1 {
			at := s.order.Back()
			_ = os.Remove(d.path(at.Value.(diskFile).name)) // if it stays, the next start counts it again
			d.drop(at)
		}
	}
}
