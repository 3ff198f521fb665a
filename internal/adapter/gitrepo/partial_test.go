package gitrepo_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/test/gitserver"
)

func TestPartialClone(t *testing.T) {
	s, r := server(t, gitserver.Options{})
	files := gitserver.Files{"root.yaml": "root"}
	for i := range 50 {
		files[fmt.Sprintf("apps/one/%d.yaml", i)] = fmt.Sprintf("one %d", i)
		files[fmt.Sprintf("apps/one/sub/%d.yaml", i)] = fmt.Sprintf("sub %d", i)
		files[fmt.Sprintf("apps/two/%d.bin", i)] = noise(10_000 + i)
	}
	must(r.Commit("first", files))(t)
	dir := t.TempDir()
	m := mirrors(t, func(o *gitrepo.Options) { o.Dir = dir })
	with := repo.Repository{URL: s.URL("shop"), PartialClone: true}
	now := open(t, m, with, main)
	if n := packBytes(t, dir); n > 100_000 {
		t.Errorf("the partial mirror has %d bytes of packs", n)
	}
	if n := len(must(now.ReadDir("apps/one"))(t)); n != 51 {
		t.Errorf("%d entries without any file", n)
	}
	before := s.Count("fetch")
	for i := range 50 {
		if got := content(t, now, fmt.Sprintf("apps/one/%d.yaml", i)); got != fmt.Sprintf("one %d", i) {
			t.Errorf("read %q", got)
		}
		if got := content(t, now, fmt.Sprintf("apps/one/sub/%d.yaml", i)); got != fmt.Sprintf("sub %d", i) {
			t.Errorf("read %q", got)
		}
	}
	if n := s.Count("fetch") - before; n != 1 {
		t.Errorf("a folder of 100 files took %d requests, want 1", n)
	}
	if got := content(t, now, "root.yaml"); got != "root" {
		t.Errorf("read %q", got)
	}
	if n := packBytes(t, dir); n > 100_000 {
		t.Errorf("files that nobody read came along: %d bytes", n)
	}
	must(r.Commit("second", gitserver.Files{"apps/one/3.yaml": "changed"}))(t)
	before = s.Count("fetch")
	later := open(t, m, with, main)
	if got := content(t, later, "apps/one/3.yaml"); got != "changed" {
		t.Errorf("read %q", got)
	}
	if got := content(t, later, "apps/one/4.yaml"); got != "one 4" {
		t.Errorf("read %q", got)
	}
	if n := s.Count("fetch") - before; n != 2 {
		t.Errorf("a new commit took %d requests, want 2: folders, then files", n)
	}
	for i := range 50 { // many packs, as after weeks
		each(t, filepath.Join(dir, "*", "mirror.git", "objects", "pack"), func(packs string) error {
			return os.WriteFile(filepath.Join(packs, fmt.Sprintf("pack-%040d.pack", i)), nil, 0o600)
		})
	}
	asked := s.Count("fetch")
	m.Tend(t.Context())
	if got := content(t, now, "apps/one/3.yaml"); got != "one 3" {
		t.Errorf("the older commit has %q", got)
	}
	if s.Count("fetch") != asked || packBytes(t, dir) > 100_000 {
		t.Error("collecting garbage fetched what was left out, or lost what was there")
	}
	must(r.Commit("third", gitserver.Files{"apps/one/3.yaml": "third"}))(t)
	if got := content(t, open(t, m, with, main), "apps/one/3.yaml"); got != "third" {
		t.Errorf("after collecting garbage: %q", got)
	}
	if _, err := now.ReadFile("apps/none"); err == nil || !strings.Contains(err.Error(), "not exist") {
		t.Errorf("a missing file gives %v", err)
	}
}

func TestPartialCloneOfAServerWithoutIt(t *testing.T) {
	s, r := server(t, gitserver.Options{})
	must(r.Git("config", "uploadpack.allowFilter", "false"))(t)
	must(r.Commit("first", gitserver.Files{"a": "1"}))(t)
	m := mirrors(t)
	with := repo.Repository{URL: s.URL("shop"), PartialClone: true}
	if got := content(t, open(t, m, with, main), "a"); got != "1" {
		t.Errorf("read %q", got)
	}
	must(r.Commit("second", gitserver.Files{"a": "2"}))(t)
	if got := content(t, open(t, m, with, main), "a"); got != "2" {
		t.Errorf("read %q", got)
	}
}

func packBytes(t *testing.T, dir string) (size int64) {
	t.Helper()
	for _, f := range must(filepath.Glob(filepath.Join(dir, "*", "mirror.git", "objects", "pack", "*.pack")))(t) {
		size += must(os.Stat(f))(t).Size()
	}
	return size
}
