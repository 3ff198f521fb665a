package gitserver_test

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-cd/sluice/test/gitserver"
)

func TestServesCommitsOverHTTP(t *testing.T) {
	s, err := gitserver.New(t.TempDir(), gitserver.Options{Username: "ci", Password: "pw"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	r, err := s.Create("team/shop")
	if err != nil {
		t.Fatal(err)
	}
	first, err := r.Commit("first", gitserver.Files{"a": "1\n", "d/b": "2\n"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := r.Apply(gitserver.Change{Message: "second", Write: gitserver.Files{"a": "changed\n", "new": "x"}, Remove: []string{"d"}})
	if err != nil {
		t.Fatal(err)
	}
	third, err := r.Revert(second)
	if err != nil {
		t.Fatal(err)
	}
	trees, err := r.Git("rev-parse", first+"^{tree}", third+"^{tree}")
	if err != nil {
		t.Fatal(err)
	}
	if was, is, _ := strings.Cut(trees, "\n"); was != is {
		t.Errorf("a revert gives tree %s, want %s", is, was)
	}
	url := strings.Replace(s.URL("team/shop"), "http://", "http://ci:pw@", 1)
	out, err := exec.Command("git", "ls-remote", url, "refs/heads/main").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), third) {
		t.Errorf("ls-remote: %v: %s, want %s", err, out, third)
	}
	if out, err := exec.Command("git", "-c", "credential.helper=", "ls-remote", strings.Replace(url, "pw", "no", 1)).CombinedOutput(); err == nil {
		t.Errorf("a wrong password was accepted: %s", out)
	}
	if got := s.Count("ls-refs"); got != 1 {
		t.Errorf("counted %d questions for refs, want 1", got)
	}
}

// TestCommitsOfManyFollowOneAnother loses none of those made side by side.
func TestCommitsOfManyFollowOneAnother(t *testing.T) {
	s, err := gitserver.New(t.TempDir(), gitserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	r, err := s.Create("shop")
	if err != nil {
		t.Fatal(err)
	}
	const writers = 12
	ids := make([]string, writers)
	var wait sync.WaitGroup
	for i := range writers {
		wait.Go(func() {
			id, err := r.Commit("one of many", gitserver.Files{fmt.Sprintf("%d/file", i): "x"})
			if err != nil {
				t.Error(err)
			}
			ids[i] = id
		})
	}
	wait.Wait()
	if n, err := r.Git("rev-list", "--count", "main"); err != nil || n != fmt.Sprint(writers) {
		t.Errorf("%s commits, want %d: %v", n, writers, err)
	}
	for i, id := range ids {
		if _, err := r.Git("cat-file", "-e", fmt.Sprintf("%s:%d/file", id, i)); err != nil {
			t.Errorf("commit %d does not hold its own file: %v", i, err)
		}
	}
}
