package gitrepo_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// recordGit puts a git before the real one that writes down its arguments
// when the mirrors start it, not the server of the test.
func recordGit(t *testing.T) (lines func() []string) {
	t.Helper()
	dir := t.TempDir()
	record := filepath.Join(dir, "record")
	script := fmt.Sprintf("#!/bin/sh\nif [ \"$GIT_OPTIONAL_LOCKS\" = 0 ]; then { printf '<%%s>' \"$@\"; echo; } >> '%s'; fi\nexec '%s' \"$@\"\n", record, must(exec.LookPath("git"))(t))
	if err := os.WriteFile(filepath.Join(dir, "git"), []byte(script), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() []string {
		raw, err := os.ReadFile(record)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(raw)), "\n")
	}
}

// TestNothingHostileReachesGit gives git's arguments every chance: payloads as
// URL, as revision, tag prefix, commit, pushed URL and submodule. Each run has
// a known verb, and what is not ours stands after "--".
func TestNothingHostileReachesGit(t *testing.T) {
	proof := filepath.Join(t.TempDir(), "proof")
	payloads := []string{
		"--upload-pack=touch " + proof, "--upload-pack=touch${IFS}" + proof, "-c core.sshCommand=touch " + proof, "-oProxyCommand=touch " + proof, "--config-env=x=PATH", "--exec=touch " + proof,
		"ext::sh -c touch% " + proof, "ext::sh", "fd::3", "file:///etc", "/etc", "ssh://-oProxyCommand=touch%20" + proof + "/x", "ssh://a@-oProxyCommand=x/y", "-oProxyCommand=x:y",
		"https://host/x\n--upload-pack=touch " + proof, "https://host/\r\nx", "https://host/%0d%0aHost:evil", "git@host:-x", "$(touch " + proof + ")", "`touch " + proof + "`", "a;touch " + proof, "|touch " + proof,
		"--output=" + proof, "--git-dir=/", "-C/", "@{u}", "HEAD:secret", ":/x", "..", "x..y", "^{tree}", "refs/heads/../../x", "\x00", "main\x00--upload-pack=x",
	}
	s, r := server(t, gitserver.Options{})
	must(r.Commit("first", gitserver.Files{"a": "1"}))(t)
	lines := recordGit(t)
	m := mirrors(t, func(o *gitrepo.Options) {
		o.Submodule = func(_ repo.Repository, url string) (repo.Repository, error) { return repo.Repository{URL: url}, nil }
	})
	good := repo.Repository{URL: s.URL("shop")}
	open(t, m, good, main)
	before := len(lines())
	for _, p := range payloads {
		if p != "HEAD:secret" { // a path on a host called head
			if _, err := m.Resolve(t.Context(), repo.Repository{URL: p}, main, true); err == nil {
				t.Errorf("URL %q was accepted", p)
			}
		}
		if _, err := m.Tree(t.Context(), good, p); err == nil {
			t.Errorf("commit %q was accepted", p)
		}
		if _, _, err := m.Commit(t.Context(), good, p, nil); err == nil {
			t.Errorf("commit %q was accepted", p)
		}
		if _, err := m.Changed(t.Context(), good, p, p); err == nil {
			t.Errorf("commits %q were accepted", p)
		}
		_, _ = m.Resolve(t.Context(), good, gitrepo.Target{Revision: p}, false)
		_, _ = m.Resolve(t.Context(), good, gitrepo.Target{Revision: "1.x", TagPrefix: p}, false)
		m.Hint(repo.Push{URL: p, Ref: p, Commit: p})
	}
	if now := lines(); len(now) != before {
		t.Errorf("git was started: %q", now[before:])
	}
	for i, p := range payloads {
		if strings.ContainsAny(p, "\x00\n\r") {
			continue
		}
		id := must(r.Commit("m", gitserver.Files{".gitmodules": modules("sub", p)}))(t)
		id = must(r.Apply(gitserver.Change{Message: fmt.Sprint(i), Submodules: gitserver.Files{"sub": id}}))(t)
		now, err := m.Tree(t.Context(), good, id)
		if err != nil { // git itself refuses some in .gitmodules; go on without
			must(r.Git("update-ref", "refs/heads/main", "main~2"))(t)
			continue
		}
		if _, err := now.ReadFile("sub/a"); err == nil {
			t.Errorf("submodule %q was read", p)
		}
	}
	if _, err := os.Stat(proof); err == nil {
		t.Error("a payload started a program")
	}
	verbs := map[string]bool{"ls-remote": true, "clone": true, "fetch": true, "cat-file": true, "config": true}
	for _, line := range lines() {
		args := strings.Split(strings.Trim(line, "<>"), "><")
		if !verbs[args[0]] {
			t.Errorf("git was started as %q", args)
		}
		options, _, _ := strings.Cut(strings.Join(args, " "), " -- ")
		for _, p := range payloads {
			if len(p) > 3 && strings.Contains(options, p) {
				t.Errorf("%q stands among the options of %q", p, args)
			}
		}
	}
}
