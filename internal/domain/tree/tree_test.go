package tree_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/internal/domain/tree"
	"github.com/sluice-cd/sluice/test/hostile"
)

func build(t testing.TB, files, links map[string]string) *tree.Memory {
	t.Helper()
	b := tree.NewBuilder()
	for name, content := range files {
		if err := b.Add(name, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range links {
		if err := b.Link(name, target); err != nil {
			t.Fatal(err)
		}
	}
	return b.Build("")
}

func TestLinksStayInside(t *testing.T) {
	m := build(t, map[string]string{"a/b/f": "content", "top": "top"}, map[string]string{
		"a/l": "b/f", "a/up": "../top", "dir": "a/b", "chain": "a/l", "out": "../x", "deep/out": "../../x", "abs": "/etc/passwd", "loop": "loop", "one": "two", "two": "one",
		"empty": "", "dot": ".", "inout": "a/../../x", "back": "a/../top",
	})
	for name, want := range map[string]string{
		"a/l": "a/b/f", "a/up": "top", "dir/f": "a/b/f", "chain": "a/b/f", "dot/a/l": "a/b/f", "back": "top", "dir/../b/f": "dir/../b/f", "a//b/./f": "a/b/f",
		"out": "!", "deep/out": "!", "abs": "!", "loop": "!", "one": "!", "empty": "!", "inout": "!", "..": "!", "../top": "!", "/top": "!", "a/../../top": "!", "top\x00": "!",
		"gone": "-", "a/gone/x": "-", "top/x": "-", "dir/gone": "-",
	} {
		if name == "dir/../b/f" {
			want = "-" // a path is cleaned before links are followed, as Git paths are
		}
		got, err := m.RealPath(name)
		switch {
		case errors.Is(err, tree.ErrNotExist):
			got = "-"
		case err != nil:
			got = "!"
		}
		if got != want {
			t.Errorf("%q leads to %q (%v), want %q", name, got, err, want)
		}
	}
}

func TestFoldersAndFilesDoNotMix(t *testing.T) {
	b := tree.NewBuilder()
	if err := b.Add("a/b", nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "a/b/c", "../x", "/x", ".", "", "a/../../x", "x\x00"} {
		if err := b.Add(name, nil); err == nil {
			t.Errorf("%q was added", name)
		}
	}
}

// TestDifferenceIsExact changes random files and wants to be told of exactly
// those, and of the folders above them.
func TestDifferenceIsExact(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test
	for round := range 300 {
		before := map[string]string{"keep/x": "x"}
		for range random.IntN(20) {
			before[fmt.Sprintf("%d/%d/f%d", random.IntN(3), random.IntN(3), random.IntN(4))] = fmt.Sprint(random.IntN(3))
		}
		after := maps.Clone(before)
		for range random.IntN(6) {
			name := fmt.Sprintf("%d/%d/f%d", random.IntN(3), random.IntN(3), random.IntN(4))
			if random.IntN(2) == 0 {
				delete(after, name)
			} else {
				after[name] = fmt.Sprint(random.IntN(3))
			}
		}
		want := map[string]bool{}
		for name := range before {
			if v, ok := after[name]; !ok || v != before[name] {
				want[name] = true
			}
		}
		for name := range after {
			if _, ok := before[name]; !ok {
				want[name] = true
			}
		}
		changes, err := tree.Difference(build(t, before, nil), build(t, after, nil))
		if err != nil || changes.Everything() {
			t.Fatal(err, changes)
		}
		all := slices.Concat(slices.Collect(maps.Keys(before)), slices.Collect(maps.Keys(after)))
		for _, name := range all {
			if changes.Has(name) != want[name] {
				t.Fatalf("round %d: %s changed: %v", round, name, changes.Has(name))
			}
			if want[name] {
				for dir := path.Dir(name); ; dir = path.Dir(dir) {
					if !changes.Has(dir) {
						t.Fatalf("round %d: folder %s of %s did not change", round, dir, name)
					}
					if dir == "." {
						break
					}
				}
			}
		}
	}
}

func TestChangedLinksMayChangeEverything(t *testing.T) {
	a := build(t, map[string]string{"a/f": "1", "b/f": "2"}, map[string]string{"l": "a"})
	b := build(t, map[string]string{"a/f": "1", "b/f": "2"}, map[string]string{"l": "b"})
	if c, err := tree.Difference(a, b); err != nil || !c.Everything() || !c.Has("anything") {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestTarAndBack(t *testing.T) {
	m := build(t, map[string]string{"a/b": "1", "c": "2", ".git/config": "x", "a/skip/me": "y"}, map[string]string{"l": "a/b", "away": "../x", "d": "a"})
	var out bytes.Buffer
	n, err := tree.Tar(&out, m, tree.Packing{Root: ".", Exclude: []string{".git", "a/sk*"}})
	if err != nil || n != 3 {
		t.Fatal(n, err)
	}
	b, err := tree.Untar(&out, 0, tree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := b.Build("").Revision(), build(t, map[string]string{"a/b": "1", "c": "2", "l": "1"}, nil).Revision(); got != want {
		t.Error("what was packed and unpacked differs")
	}
	if _, err := tree.Tar(io.Discard, m, tree.Packing{Exclude: []string{"["}}); err == nil {
		t.Error("a broken exclusion is accepted")
	}
	if _, err := tree.Tar(io.Discard, m, tree.Packing{Root: ".", Bytes: 2}); err == nil {
		t.Error("the limit does not hold")
	}
}

func FuzzMemoryPaths(f *testing.F) {
	for _, p := range slices.Concat(hostile.Paths("/outside/canary"), hostile.Links("/outside/canary")) {
		f.Add(p, p)
		f.Add("a/l/"+p, "../"+p)
		f.Add(p, "b")
	}
	f.Fuzz(func(t *testing.T, name, target string) {
		b := tree.NewBuilder()
		for _, file := range []string{"a/f", "b/f"} {
			if err := b.Add(file, []byte("inside "+file)); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Link("a/l", target); err != nil {
			t.Fatal(err)
		}
		_ = b.Add(name, []byte("inside")) // most are refused
		m := b.Build("")
		for _, question := range []string{name, "a/l", "a/l/" + name, target} {
			real, err := m.RealPath(question)
			if err != nil {
				continue
			}
			if parts, err := tree.Parts(real); err != nil || slices.Contains(parts, "..") {
				t.Errorf("%q leads to %q", question, real)
			}
			if content, err := m.ReadFile(question); err == nil && !bytes.HasPrefix(content, []byte("inside")) {
				t.Errorf("%q reads %q", question, content)
			}
		}
	})
}

func FuzzUntar(f *testing.F) {
	for _, raw := range hostile.Archives("/outside/canary") {
		f.Add(raw, 0)
		f.Add(raw, 1)
	}
	f.Fuzz(func(t *testing.T, raw []byte, strip int) {
		b, err := tree.Untar(bytes.NewReader(raw), strip&3, tree.Limits{Expanded: 1 << 20, Entries: 100})
		if err != nil {
			return
		}
		var walk func(dir string, depth int)
		m := b.Build("")
		walk = func(dir string, depth int) {
			entries, err := m.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if strings.ContainsAny(e.Name, "/\x00") || e.Name == ".." || e.Name == "." || e.Name == "" {
					t.Errorf("entry %q in %q", e.Name, dir)
				}
				if e.Kind == tree.Dir && depth < 50 {
					walk(path.Join(dir, e.Name), depth+1)
				}
			}
		}
		walk(".", 0)
	})
}
