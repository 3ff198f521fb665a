package cache_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/internal/adapter/cache"
)

// flood puts more into a cache of 20,000 bytes than it holds.
func flood(t *testing.T, c *cache.Cache) {
	t.Helper()
	noise := make([]byte, 3000)
	for i := range 20 {
		_, _ = rand.Read(noise)
		c.Put(t.Context(), fmt.Sprint("noise ", i), noise)
	}
}

// TestHeldEntriesStay: what a holder names survives a flood, other processes
// included, until the holder lets it go.
func TestHeldEntriesStay(t *testing.T) {
	dir := t.TempDir()
	small := func() *cache.Cache {
		return open(t, cache.Options{Disk: cache.DiskOptions{Dir: dir, Bytes: 20_000}})
	}
	c := small()
	c.Put(t.Context(), "before", []byte("put before it was held"))
	c.Hold("app", []string{"before", "after", "before"})
	c.Hold("other", []string{"after"})
	c.Put(t.Context(), "after", []byte("put afterwards"))
	flood(t, c)
	want(t, c, "before", "put before it was held")
	want(t, c, "after", "put afterwards")
	c = small()
	flood(t, c)
	want(t, c, "before", "put before it was held")
	c.Hold("app", nil)
	flood(t, c)
	want(t, c, "before", "")
	want(t, c, "after", "put afterwards")
	c.Hold("other", []string{"noise 19"})
	flood(t, c)
	want(t, c, "after", "")
}

// TestWhatIsHeldIsBounded: held entries have a room of the same size, and the
// others keep theirs.
func TestWhatIsHeldIsBounded(t *testing.T) {
	dir := t.TempDir()
	c := open(t, cache.Options{Disk: cache.DiskOptions{Dir: dir, Bytes: 20_000}})
	noise := make([]byte, 3000)
	for i := range 20 {
		_, _ = rand.Read(noise)
		name := fmt.Sprint("held ", i)
		c.Hold(name, []string{name})
		c.Put(t.Context(), name, noise)
	}
	flood(t, c)
	count := func(kind string) (n int) {
		for i := range 20 {
			if _, ok := c.Get(t.Context(), fmt.Sprint(kind, i)); ok {
				n++
			}
		}
		return n
	}
	if held, free := count("held "), count("noise "); held != 6 || free != 6 {
		t.Errorf("%d held and %d other entries of 3,000 bytes, want 6 and 6", held, free)
	}
}

// TestForgottenHolders: a holder that nobody named for a whole life of the
// process of a day or more holds nothing any more.
func TestForgottenHolders(t *testing.T) {
	dir, now := t.TempDir(), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	start := func(later time.Duration) *cache.Cache {
		now = now.Add(later)
		return open(t, cache.Options{Disk: cache.DiskOptions{Dir: dir, Bytes: 20_000}, Now: func() time.Time { return now }})
	}
	c := start(0)
	for _, name := range []string{"alive", "deleted"} {
		c.Hold(name, []string{name})
		c.Put(t.Context(), name, []byte(name))
	}
	for _, later := range []time.Duration{40 * 24 * time.Hour, time.Hour, time.Hour} {
		c = start(later)
		c.Hold("alive", []string{"alive"})
		flood(t, c)
		want(t, c, "alive", "alive")
		want(t, c, "deleted", "deleted") // no life of a day has passed without a word of it
	}
	c = start(25 * time.Hour)
	flood(t, c)
	want(t, c, "alive", "alive")
	want(t, c, "deleted", "")
}

func TestForgedHoldersHoldNothing(t *testing.T) {
	dir := t.TempDir()
	c := open(t, cache.Options{Disk: cache.DiskOptions{Dir: dir, Bytes: 20_000}})
	c.Hold("app", []string{"a"})
	c.Put(t.Context(), "a", []byte("value"))
	held, err := filepath.Glob(filepath.Join(dir, "held", "[0-9a-f]*"))
	if err != nil || len(held) != 1 {
		t.Fatal(held, err)
	}
	raw, err := os.ReadFile(held[0])
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(filepath.Dir(held[0]), "00ff")
	if err := os.WriteFile(other, raw, 0o600); err != nil { // of another holder
		t.Fatal(err)
	}
	raw[len(raw)-1] ^= 1
	if err := os.WriteFile(held[0], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	c = open(t, cache.Options{Disk: cache.DiskOptions{Dir: dir, Bytes: 20_000}})
	if left, err := filepath.Glob(filepath.Join(dir, "held", "[0-9a-f]*")); err != nil || len(left) > 0 {
		t.Errorf("forged files stay: %v %v", left, err)
	}
	flood(t, c)
	want(t, c, "a", "")
}
