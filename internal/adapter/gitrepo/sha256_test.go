package gitrepo_test

import (
	"os"
	"testing"

	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// TestSHA256 reads a repository in the other format of objects: refs, folders,
// links, commits, short ids and tags, as a whole and as a partial clone.
func TestSHA256(t *testing.T) {
	s, r := server(t, gitserver.Options{})
	if err := os.RemoveAll(r.Dir()); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(r.Dir(), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--bare", "--initial-branch=main", "--object-format=sha256"}, {"config", "http.receivepack", "true"}, {"config", "uploadpack.allowFilter", "true"}, {"config", "uploadpack.allowAnySHA1InWant", "true"},
	} {
		must(r.Git(args...))(t)
	}
	first := must(r.Apply(gitserver.Change{Message: "first", Write: gitserver.Files{"d/a": "one", "b": "two"}, Links: gitserver.Files{"l": "d/a"}}))(t)
	if len(first) != 64 {
		t.Fatalf("the server makes ids like %s", first)
	}
	if err := r.Tag("v1.0.0", first, "a release"); err != nil {
		t.Fatal(err)
	}
	second := must(r.Commit("second", gitserver.Files{"b": "three"}))(t)
	for _, partial := range []bool{false, true} {
		m, with := mirrors(t), repo.Repository{URL: s.URL("shop"), PartialClone: partial}
		for target, want := range map[string]string{"main": second, "v1.0.0": first, "1.x": first, first: first, second[:9]: second} {
			if got := must(m.Resolve(t.Context(), with, gitrepo.Target{Revision: target}, false))(t); got != want {
				t.Errorf("%s resolves to %s, want %s", target, got, want)
			}
		}
		old := must(m.Tree(t.Context(), with, first))(t)
		if got := content(t, old, "d/a") + content(t, old, "l") + content(t, old, "b") + content(t, open(t, m, with, main), "b"); got != "oneonetwothree" {
			t.Errorf("partial %t: read %q", partial, got)
		}
		commit, _, err := m.Commit(t.Context(), with, second, nil)
		if err != nil || commit.Message != "second" || len(commit.Parents) != 1 || commit.Parents[0] != first {
			t.Errorf("partial %t: %+v, %v", partial, commit, err)
		}
	}
}
