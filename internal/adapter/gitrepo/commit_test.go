package gitrepo_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
	"github.com/sluice-cd/sluice/test/gitserver"
)

func TestLinksStayInTheTree(t *testing.T) {
	s, r := server(t, gitserver.Options{})
	must(r.Apply(gitserver.Change{Message: "links", Write: gitserver.Files{
		"base/a": "A", "base/deep/b": "B", "other/x": "X", "a-file": "f", "base.txt": "sorted after the folder",
	}, Links: gitserver.Files{
		"link": "base/a", "dir": "base/deep", "up/link": "../base/a", "chain": "link", "dirup": "dir/../a",
		"abs": "/etc/passwd", "out": "../../etc/passwd", "outdir": "..", "loop": "loop", "ping": "pong", "pong": "ping",
		"gone": "nowhere", "self": ".", "sneaky": "base/../../etc",
	}}))(t)
	m := mirrors(t)
	now := open(t, m, repo.Repository{URL: s.URL("shop")}, main)
	for path, want := range map[string]string{
		"base/a": "A", "./base//a": "A", "link": "A", "chain": "A", "dir/b": "B", "up/link": "A", "self/self/base/a": "A",
		"dirup":          "A", // as a file system would: dir leads to base/deep, whose parent is base
		"base/deep/../a": "A", "base.txt": "sorted after the folder",
	} {
		if got, err := now.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("ReadFile(%q) = %q, %v; want %q", path, got, err, want)
		}
	}
	for path, want := range map[string]string{
		"abs": "leaves the repository", "out": "leaves the repository", "outdir": "leaves the repository", "sneaky": "leaves the repository",
		"outdir/etc/passwd": "leaves the repository", "../etc/passwd": "leaves the repository", "base/../../x": "leaves the repository",
		"/etc/passwd": "path is absolute", "loop": "symbolic links", "ping": "symbolic links", "base": "is not a file",
		"gone": "not exist", "nope": "not exist", "a-file/x": "not exist", "": "is not a file",
		strings.Repeat("self/", 41) + "a-file": "symbolic links", strings.Repeat("n/", 600): "not exist",
	} {
		_, err := now.ReadFile(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("ReadFile(%q) gives %v, want the path and %q", path, err, want)
		}
		if errors.Is(err, tree.ErrNotExist) != (want == "not exist") {
			t.Errorf("ReadFile(%q): %v: wrong about being missing", path, err)
		}
	}
	if _, err := now.ReadDir("a-file"); err == nil || !strings.Contains(err.Error(), "is not a directory") {
		t.Errorf("ReadDir of a file gives %v", err)
	}
	real, ok := now.(interface{ RealPath(string) (string, error) })
	if !ok {
		t.Fatal("a tree does not know real paths")
	}
	for path, want := range map[string]string{"dirup": "base/a", "self/chain": "base/a", ".": "", "dir": "base/deep"} {
		if got := must(real.RealPath(path))(t); got != want {
			t.Errorf("RealPath(%q) = %q, want %q", path, got, want)
		}
	}
	if e := must(now.Stat("dir"))(t); e.Kind != tree.Dir {
		t.Errorf("Stat follows no link: %v", e)
	}
}

func TestLimits(t *testing.T) {
	s, r := server(t, gitserver.Options{})
	must(r.Commit("big", gitserver.Files{"big": strings.Repeat("x", 2000), "small": "y"}))(t)
	m := mirrors(t, func(o *gitrepo.Options) { o.MaxFileBytes, o.CacheBytes = 1000, 1 })
	now := open(t, m, repo.Repository{URL: s.URL("shop")}, main)
	if _, err := now.ReadFile("big"); err == nil || !strings.HasPrefix(err.Error(), "big: too large: 2000 bytes") {
		t.Errorf("a large file gives %v", err)
	}
	if got := content(t, now, "small"); got != "y" {
		t.Errorf("after a refused file: %q", got)
	}
}

// TestManyReadersOfManyRevisions: ten revisions of one repository, read by two
// hundred at once while it is fetched and tended, give what one reader gets.
func TestManyReadersOfManyRevisions(t *testing.T) {
	s, r := server(t, gitserver.Options{})
	var ids []string
	for i := range 10 {
		files := gitserver.Files{"rev": fmt.Sprint(i)}
		for n := range 20 {
			files[fmt.Sprintf("d%d/f", n)] = fmt.Sprintf("%d in %d", n, i)
		}
		ids = append(ids, must(r.Commit("next", files))(t))
	}
	m := mirrors(t)
	with := repo.Repository{URL: s.URL("shop")}
	var readers sync.WaitGroup
	for i := range 200 {
		readers.Go(func() {
			rev := i % 10
			now, err := m.Tree(t.Context(), with, ids[rev])
			if err != nil {
				t.Error(err)
				return
			}
			for n := range 20 {
				if got, err := now.ReadFile(fmt.Sprintf("d%d/f", n)); err != nil || string(got) != fmt.Sprintf("%d in %d", n, rev) {
					t.Errorf("revision %d: %q, %v", rev, got, err)
				}
			}
		})
		if i%50 == 0 {
			readers.Go(func() { m.Tend(t.Context()) })
		}
	}
	readers.Wait()
	if n := s.Count("fetch"); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
	branches, tags, err := m.Names(t.Context(), with)
	if err != nil || fmt.Sprint(branches, tags) != "[main] []" {
		t.Errorf("branches %v, tags %v, %v", branches, tags, err)
	}
}

// BenchmarkTreeRead reads files of a monorepo: "warm" with the folders
// remembered, "cold" with every folder parsed again.
func BenchmarkTreeRead(b *testing.B) {
	s, r := server(b, gitserver.Options{})
	files := gitserver.Files{}
	for i := range 1000 {
		files[fmt.Sprintf("apps/team-%d/app-%d/deploy.yaml", i%20, i)] = fmt.Sprintf("kind: X # %d\n", i)
	}
	must(r.Commit("monorepo", files))(b)
	for name, size := range map[string]int{"warm": 0, "cold": 1} {
		b.Run(name, func(b *testing.B) {
			m := mirrors(b, func(o *gitrepo.Options) { o.CacheBytes = size })
			now := open(b, m, repo.Repository{URL: s.URL("shop")}, gitrepo.Target{Revision: "main"})
			i := 0
			for b.Loop() {
				path := fmt.Sprintf("apps/team-%d/app-%d/deploy.yaml", i%20, i%1000)
				if _, err := now.ReadFile(path); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}
