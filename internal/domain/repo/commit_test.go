package repo_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

func TestParseCommit(t *testing.T) {
	raw := "tree aaaa\nparent bbbb\nparent cccc\nauthor Ann Onymous <ann@example.com> 1700000000 +0130\ncommitter Bot <> 1700000100 -0800\ngpgsig -----BEGIN\n author not <me> 1 +0000\n\nsubject\n\nbody\n\nSigned-off-by: Ann\nArgocd-reference-commit-sha: 1234\nArgocd-reference-commit-repourl: https://host/x\n"
	c, err := repo.ParseCommit("dddd", []byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"aaaa", "bbbb", "cccc"}, append([]string{c.Tree}, c.Parents...)); diff != "" {
		t.Error(diff)
	}
	if got := c.Author.String() + " " + c.Author.At.Format(time.RFC3339); got != "Ann Onymous <ann@example.com> 2023-11-14T23:43:20+01:30" {
		t.Errorf("author %s", got)
	}
	if got := c.Committer.String() + " " + c.Committer.At.Format(time.RFC3339); got != "Bot <> 2023-11-14T14:15:00-08:00" {
		t.Errorf("committer %s", got)
	}
	if !strings.HasPrefix(c.Message, "subject\n\nbody") || c.Trailers()["signed-off-by"] != "Ann" {
		t.Errorf("message %q, trailers %v", c.Message, c.Trailers())
	}
	if diff := cmp.Diff([]repo.Reference{{SHA: "1234", RepoURL: "https://host/x"}}, c.References()); diff != "" {
		t.Error(diff)
	}
	if _, err := repo.ParseCommit("x", []byte("nonsense")); err == nil {
		t.Error("nonsense is a commit")
	}
}

func FuzzCommit(f *testing.F) {
	f.Add([]byte("tree a\nauthor <> 99999999999 +9999\n\n\xff\x00"))
	f.Add([]byte("tree a\nauthor\ncommitter a <b> -1 -0000"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := repo.ParseCommit("x", raw)
		if err == nil && (strings.ContainsRune(c.Message, 0) || strings.ToValidUTF8(c.Message, "") != c.Message || c.Tree == "") {
			t.Errorf("%q gives %+v", raw, c)
		}
		c.References()
	})
}
