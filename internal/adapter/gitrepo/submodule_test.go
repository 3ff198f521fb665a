package gitrepo_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
	"github.com/sluice-cd/sluice/test/gitserver"
)

func modules(entries ...string) string {
	var b strings.Builder
	for i := 0; i < len(entries); i += 2 {
		fmt.Fprintf(&b, "[submodule \"m%d\"]\n\tpath = %s\n\turl = %s\n", i, entries[i], entries[i+1])
	}
	return b.String()
}

func TestSubmodules(t *testing.T) {
	var down atomic.Bool
	s, shop := server(t, gitserver.Options{Username: "bot", Password: "pw", Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if down.Load() && strings.HasPrefix(q.URL.Path, "/broken") {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, q)
		})
	}})
	inner, lib, broken := must(s.Create("inner"))(t), must(s.Create("lib"))(t), must(s.Create("broken"))(t)
	innerID := must(inner.Commit("inner", gitserver.Files{"deep.yaml": "deep"}))(t)
	brokenID := must(broken.Commit("broken", gitserver.Files{"x": "x"}))(t)
	old := must(lib.Apply(gitserver.Change{
		Message: "lib", Write: gitserver.Files{"a/b.yaml": "old", ".gitmodules": modules("nested", "../inner.git")}, Submodules: gitserver.Files{"nested": innerID},
		Links: gitserver.Files{"up": "../../top", "out": "../../../../etc/passwd"},
	}))(t)
	must(lib.Commit("newer", gitserver.Files{"a/b.yaml": "new"}))(t)
	must(shop.Apply(gitserver.Change{
		Message: "shop", Write: gitserver.Files{"top": "top", ".gitmodules": modules("vendor/lib", s.URL("lib"), "broken", "../broken.git", "evil", "ext::sh", "denied", s.URL("denied"))},
		Submodules: gitserver.Files{"vendor/lib": old, "broken": brokenID, "evil": old, "denied": old, "unnamed": old, "gone": old},
	}))(t)
	with := repo.Repository{URL: s.URL("shop"), Username: "bot", Password: "pw", Asker: "team"}
	c := clocktesting.NewFakeClock(time.Now())
	m := mirrors(t, func(o *gitrepo.Options) {
		o.Clock = c
		o.Submodule = func(parent repo.Repository, url string) (repo.Repository, error) {
			if parent.Asker != "team" || strings.Contains(url, "denied") {
				return repo.Repository{}, errors.New("project team does not permit it")
			}
			return repo.Repository{URL: url, Username: "bot", Password: "pw", Asker: parent.Asker}, nil
		}
	})
	down.Store(true)
	now := open(t, m, with, main)
	for path, want := range map[string]string{
		"top": "top", "vendor/lib/a/b.yaml": "old", "vendor/lib/nested/deep.yaml": "deep", "vendor/lib/../../top": "top", "vendor/lib/up": "top", "vendor/lib/nested/../a/b.yaml": "old",
	} {
		if got, err := now.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("ReadFile(%q) = %q, %v; want %q", path, got, err, want)
		}
	}
	for path, want := range map[string]string{
		"evil/x": "helper transports", "denied/x": "does not permit", "unnamed/x": ".gitmodules does not name it", "broken/x": "503", "vendor/lib/out": "leaves the repository", "vendor/lib/none": "not exist",
	} {
		if _, err := now.ReadFile(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ReadFile(%q) gives %v, want %q", path, err, want)
		}
	}
	down.Store(false)
	c.Step(4 * time.Second) // a failure is remembered for three
	if got, err := now.ReadFile("broken/x"); err != nil || string(got) != "x" {
		t.Errorf("when the other server is back: %q, %v", got, err)
	}
	var listed []string
	for _, e := range must(now.ReadDir("vendor"))(t) {
		if e.Kind == tree.Dir {
			listed = append(listed, e.Name+" "+e.ID)
		}
	}
	if stat := must(now.Stat("vendor/lib"))(t); len(listed) != 1 || listed[0] != "lib "+stat.ID || stat.ID != old {
		t.Errorf("listed %v, stat %+v", listed, stat)
	}
	if n := len(must(now.ReadDir("vendor/lib/a"))(t)); n != 1 {
		t.Errorf("a folder in a submodule has %d entries", n)
	}
	off := mirrors(t)
	if _, err := open(t, off, with, main).ReadFile("vendor/lib/a/b.yaml"); err == nil || !strings.Contains(err.Error(), "submodules are not read") {
		t.Errorf("with submodules switched off: %v", err)
	}
}

func TestSubmoduleOfItselfEnds(t *testing.T) {
	s, r := server(t, gitserver.Options{})
	id := must(r.Commit("first", gitserver.Files{"a": "1"}))(t)
	for range 12 {
		id = must(r.Apply(gitserver.Change{Message: "again", Write: gitserver.Files{".gitmodules": modules("x", "./../shop.git")}, Submodules: gitserver.Files{"x": id}}))(t)
	}
	m := mirrors(t, func(o *gitrepo.Options) {
		o.Submodule = func(_ repo.Repository, url string) (repo.Repository, error) { return repo.Repository{URL: url}, nil }
	})
	now := open(t, m, repo.Repository{URL: s.URL("shop")}, main)
	if got, err := now.ReadFile(strings.Repeat("x/", 8) + "a"); err != nil || string(got) != "1" {
		t.Errorf("eight deep: %q, %v", got, err)
	}
	if _, err := now.ReadFile(strings.Repeat("x/", 9) + "a"); err == nil || !strings.Contains(err.Error(), "more than 8 submodules") {
		t.Errorf("nine deep: %v", err)
	}
}
