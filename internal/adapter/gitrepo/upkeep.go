package gitrepo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Upkeep: how often, and after which time without use something goes.
const (
	upkeepPause   = time.Minute
	sweepPause    = 10 * time.Minute
	largeKept     = 14 * 24 * time.Hour
	readerIdle    = 5 * time.Minute
	accessIdle    = time.Hour
	mirrorIdle    = 30 * 24 * time.Hour
	commitKept    = 14 * 24 * time.Hour
	useMarkPause  = time.Hour
	useMark       = "used" // file whose time says when a mirror was used last
	evictionGrace = 10 * time.Minute
)

// A mirror is cleaned when it has this many packs, loose objects or loose refs.
const (
	maxPacks        = 40
	maxLooseObjects = 6000
	maxLooseRefs    = 2000
)

// keepUp runs until the mirrors are closed.
func (m *Mirrors) keepUp() {
	ticker := m.options.Clock.NewTicker(upkeepPause)
	defer ticker.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-ticker.C():
			m.Tend(m.ctx)
		}
	}
}

// Tend does the upkeep that is due: it ends idle readers, forgets credentials
// and mirrors nobody uses, collects garbage and holds the disk budget. The
// mirrors call it by themselves every minute.
func (m *Mirrors) Tend(ctx context.Context) {
	m.tending.Lock()
	defer m.tending.Unlock()
	now := m.options.Clock.Now()
	m.forget(now)
	for _, one := range m.all() {
		one.objects.rest(now.Add(-readerIdle))
		one.mark(now)
		if err := one.clean(ctx, now); err != nil && ctx.Err() == nil {
			m.options.Log.Warn("mirror not cleaned", "repository", one.name, "error", err.Error())
		}
	}
	if m.options.DiskBudget <= 0 && now.Sub(m.swept) < sweepPause {
		return
	}
	m.swept = now
	if _, err := m.evict(now, m.options.DiskBudget, nil); err != nil {
		m.options.Log.Warn("mirrors not swept", "error", err.Error())
	}
}

// trash is the prefix of folders that only wait for their removal.
const trash = "trash-"

// discard takes a folder out of its place at once and removes it afterwards:
// removing gigabytes takes time. A folder that is not there is no error.
func (m *Mirrors) discard(dir string) error {
	to, err := os.MkdirTemp(m.options.Dir, trash)
	if err != nil {
		return fmt.Errorf("mirror folder: %w", err)
	}
	if err := os.Rename(dir, filepath.Join(to, "old")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("mirror folder: %w", err)
	}
	return m.spawn(func() { m.burn(to) })
}

// emptyTrash removes what an earlier process did not get to remove.
func (m *Mirrors) emptyTrash() {
	left, err := filepath.Glob(filepath.Join(m.options.Dir, trash+"*"))
	if err != nil {
		return // the pattern is ours
	}
	for _, dir := range left {
		m.burn(dir)
	}
}

func (m *Mirrors) burn(dir string) {
	if err := os.RemoveAll(dir); err != nil {
		m.options.Log.Warn("old mirror not removed", "folder", filepath.Base(dir), "error", err.Error())
	}
}

func (m *Mirrors) all() []*mirror {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.mirrors))
}

// forget drops accesses that nobody follows or uses, with their secrets.
func (m *Mirrors) forget(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, a := range m.accesses {
		a.mu.Lock()
		idle := len(a.subs) == 0 && !a.polling && now.Sub(a.used) > accessIdle
		a.mu.Unlock()
		if !idle {
			continue
		}
		if err := os.RemoveAll(filepath.Join(m.secrets, id)); err != nil {
			m.options.Log.Warn("credentials not removed", "repository", a.name, "error", err.Error())
			continue
		}
		delete(m.accesses, id)
		for l, ids := range m.byLocator {
			if ids = slices.DeleteFunc(ids, func(x string) bool { return x == id }); len(ids) == 0 {
				delete(m.byLocator, l)
			} else {
				m.byLocator[l] = ids
			}
		}
	}
}

// mark writes down that the mirror is in use, for the process after this one.
func (m *mirror) mark(now time.Time) {
	m.mu.Lock()
	due := m.used.After(m.marked) && now.Sub(m.marked) > useMarkPause
	if due {
		m.marked = now
	}
	m.mu.Unlock()
	if due {
		file := filepath.Join(m.home, useMark)
		if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Chtimes(file, now, now)); err != nil {
			m.all.options.Log.Warn("use of mirror not noted", "repository", m.name, "error", err.Error())
		}
	}
}

// clean collects garbage when there is much of it. Commits read within two
// weeks stay, on a branch or not: a rollout may be pinned to one.
func (m *mirror) clean(ctx context.Context, now time.Time) error {
	if !m.writing.TryLock() {
		return nil // it is being fetched
	}
	defer m.writing.Unlock()
	if err := m.cleanLarge(now); err != nil {
		return err
	}
	if untidy, err := m.untidy(); err != nil || !untidy {
		return err
	}
	if err := m.keep(ctx, now); err != nil {
		return err
	}
	_, err := m.all.local.run(ctx, command{args: []string{"gc", "--quiet", "--prune=2.weeks.ago"}, dir: m.dir, limit: time.Hour})
	m.objects.close() // a reader would go on with what is gone
	m.all.metrics.cleanings.Inc()
	m.measure()
	return err
}

// cleanLarge removes files of Git LFS that nobody has read for two weeks; they
// come again when somebody does.
func (m *mirror) cleanLarge(now time.Time) error {
	files, err := os.ReadDir(m.largeDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("mirror of %s: %w", m.name, err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || now.Sub(info.ModTime()) <= largeKept {
			continue
		}
		if err := os.Remove(filepath.Join(m.largeDir(), f.Name())); err != nil {
			return fmt.Errorf("mirror of %s: %w", m.name, err)
		}
	}
	return nil
}

// keep holds commits that are in use by a ref of our own, and lets go of those
// that are not any more.
func (m *mirror) keep(ctx context.Context, now time.Time) error {
	today := now.Unix() / 86400
	m.mu.Lock()
	var in strings.Builder
	for id, read := range m.reads {
		if now.Sub(read) > commitKept || !fullID.MatchString(id) {
			delete(m.reads, id)
			continue
		}
		fmt.Fprintf(&in, "update refs/sluice/keep/%d/%s %s\n", read.Unix()/86400, id, id)
	}
	m.mu.Unlock()
	out, err := m.all.local.run(ctx, command{args: []string{"for-each-ref", "--format=%(refname)", "refs/sluice/keep/"}, dir: m.dir, limit: time.Minute})
	if err != nil {
		return err
	}
	for ref := range strings.Lines(string(out)) {
		ref = strings.TrimSpace(ref)
		day, err := strconv.ParseInt(path.Base(path.Dir(ref)), 10, 64)
		if err != nil || today-day > int64(commitKept/(24*time.Hour)) {
			fmt.Fprintf(&in, "delete %s\n", ref)
		}
	}
	if in.Len() == 0 {
		return nil
	}
	_, err = m.all.local.run(ctx, command{args: []string{"update-ref", "--stdin"}, dir: m.dir, stdin: in.String(), limit: time.Minute})
	return err
}

// untidy says that a mirror is worth cleaning.
func (m *mirror) untidy() (bool, error) {
	packs, err := filepath.Glob(filepath.Join(m.dir, "objects", "pack", "*.pack"))
	if err != nil {
		return false, fmt.Errorf("mirror of %s: %w", m.name, err)
	}
	if len(packs) > maxPacks {
		return true, nil
	}
	sample, err := os.ReadDir(filepath.Join(m.dir, "objects", "17")) // ids are spread evenly
	if err == nil && len(sample)*256 > maxLooseObjects {
		return true, nil
	}
	loose := 0
	err = filepath.WalkDir(filepath.Join(m.dir, "refs"), func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !e.IsDir() {
			if loose++; loose > maxLooseRefs {
				return fs.SkipAll
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("mirror of %s: %w", m.name, err)
	}
	return loose > maxLooseRefs, nil
}

// measure notes what the mirror takes on disk.
func (m *mirror) measure() int64 {
	size := folderBytes(m.home)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes = size
	return size
}

func folderBytes(dir string) (size int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error { // what vanishes meanwhile counts nothing
		if err != nil || e.IsDir() {
			return nil
		}
		if info, err := e.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	return size
}

// room says whether another fetch fits into the disk budget, after mirrors
// that nobody uses have gone.
func (m *mirror) room() error {
	budget := m.all.options.DiskBudget
	if budget <= 0 {
		return nil
	}
	used, err := m.all.evict(m.all.options.Clock.Now(), budget, m)
	if err == nil && used >= budget { // perhaps only because the upkeep holds some of them
		m.all.tending.Lock()
		used, err = m.all.evict(m.all.options.Clock.Now(), budget, m)
		m.all.tending.Unlock()
	}
	if err != nil || used < budget {
		return err
	}
	return &gitError{verb: "fetch", kind: errFull, said: fmt.Sprintf(
		"the mirrors take %d MiB of a disk budget of %d MiB and all of them are in use: raise --mirror-disk-budget, or use partialClone for large repositories", used>>20, budget>>20)}
}

// candidate is a mirror on disk.
type candidate struct {
	key   string
	bytes int64
	used  time.Time
	one   *mirror // nil when no access of this process uses it
}

// evict removes mirrors, least recently used first, until the rest fits; those
// that somebody follows or has just read stay. It returns what the rest takes.
func (m *Mirrors) evict(now time.Time, budget int64, except *mirror) (int64, error) {
	found, err := m.candidates()
	if err != nil {
		return 0, err
	}
	total, left := int64(0), len(found)
	for _, c := range found {
		total += c.bytes
	}
	slices.SortFunc(found, func(a, b candidate) int { return cmp.Compare(a.used.UnixNano(), b.used.UnixNano()) })
	for _, c := range found {
		over := budget > 0 && total >= budget && now.Sub(c.used) > evictionGrace
		if (!over && now.Sub(c.used) <= mirrorIdle) || (except != nil && c.one == except) || !m.remove(c) {
			continue
		}
		total -= c.bytes
		left--
		m.metrics.evictions.Inc()
		m.options.Log.Info("mirror removed", "folder", c.key, "bytes", c.bytes, "unusedSince", c.used.UTC().Format(time.RFC3339))
	}
	m.metrics.bytes.Set(float64(total))
	m.metrics.count.Set(float64(left))
	return total, nil
}

// candidates are the mirrors on disk, of this process or not.
func (m *Mirrors) candidates() ([]candidate, error) {
	folders, err := os.ReadDir(m.options.Dir)
	if err != nil {
		return nil, fmt.Errorf("mirror folder: %w", err)
	}
	var out []candidate
	for _, f := range folders {
		if !f.IsDir() || len(f.Name()) != 32 {
			continue
		}
		c := candidate{key: f.Name()}
		m.mu.Lock()
		c.one = m.mirrors[c.key]
		m.mu.Unlock()
		if c.one != nil {
			c.one.mu.Lock()
			c.bytes, c.used = c.one.bytes, c.one.used
			c.one.mu.Unlock()
		} else {
			c.used = m.lastUse(c.key, f)
		}
		switch {
		case c.bytes > 0:
		case c.one != nil:
			c.bytes = c.one.measure()
		default:
			c.bytes = folderBytes(filepath.Join(m.options.Dir, c.key))
		}
		out = append(out, c)
	}
	return out, nil
}

func (m *Mirrors) lastUse(key string, f fs.DirEntry) time.Time {
	info, err := os.Stat(filepath.Join(m.options.Dir, key, useMark))
	if err != nil {
		info, err = f.Info()
	}
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// remove deletes a mirror unless somebody follows it or it is being fetched.
func (m *Mirrors) remove(c candidate) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	dirs := []string{filepath.Join(m.options.Dir, c.key)}
	if one := m.mirrors[c.key]; one != nil {
		known := false
		for _, a := range m.accesses {
			a.mu.Lock()
			followed := len(a.subs) > 0
			a.mu.Unlock()
			if a.mirror == one && followed {
				return false
			}
			known = known || a.mirror == one
		}
		if !one.writing.TryLock() {
			return false
		}
		defer one.writing.Unlock()
		one.objects.close()
		if known {
			dirs = []string{one.dir, one.largeDir()} // its folder stays: git starts there
			one.vacate(m.options.Clock.Now())
		} else {
			one.mu.Lock()
			one.gone = true
			one.mu.Unlock()
			delete(m.mirrors, c.key)
		}
	}
	for _, dir := range dirs {
		if err := m.discard(dir); err != nil {
			m.options.Log.Warn("mirror not removed", "folder", c.key, "error", err.Error())
			return false
		}
	}
	return true
}

// vacate forgets what was known of the copy.
func (m *mirror) vacate(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes, m.used, m.reads = 0, now, map[string]time.Time{}
}
