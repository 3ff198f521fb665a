package gitrepo_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
	"github.com/sluice-cd/sluice/test/gitserver"
)

var main = gitrepo.Target{Revision: "main"}

// must stops the test when something that has to work does not.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func server(t testing.TB, o gitserver.Options) (*gitserver.Server, *gitserver.Repository) {
	t.Helper()
	s := must(gitserver.New(t.TempDir(), o))(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, must(s.Create("shop"))(t)
}

func mirrors(t testing.TB, change ...func(*gitrepo.Options)) *gitrepo.Mirrors {
	t.Helper()
	o := gitrepo.Options{Dir: t.TempDir()}
	for _, c := range change {
		c(&o)
	}
	m := must(gitrepo.New(t.Context(), o))(t)
	t.Cleanup(m.Close)
	return m
}

func open(t testing.TB, m *gitrepo.Mirrors, r repo.Repository, target gitrepo.Target) tree.Tree {
	t.Helper()
	id := must(m.Resolve(t.Context(), r, target, true))(t)
	return must(m.Tree(t.Context(), r, id))(t)
}

func content(t testing.TB, from tree.Tree, path string) string {
	t.Helper()
	return string(must(from.ReadFile(path))(t))
}

func TestReadsOverHTTP(t *testing.T) {
	s, r := server(t, gitserver.Options{Username: "bot", Password: "s3cret"})
	first := must(r.Commit("first", gitserver.Files{"a.yaml": "one", "d/b.yaml": "two"}))(t)
	must(r.Commit("second", gitserver.Files{"a.yaml": "changed"}))(t)
	if err := r.Tag("v1.0.0", first, "a release"); err != nil {
		t.Fatal(err)
	}
	m := mirrors(t)
	declared := repo.Repository{URL: s.URL("shop"), Username: "bot", Password: "s3cret"}
	inURL := repo.Repository{URL: strings.Replace(s.URL("shop"), "http://", "http://bot:s3cret@", 1)}
	for _, with := range []repo.Repository{declared, inURL} {
		if got := content(t, open(t, m, with, main), "a.yaml"); got != "changed" {
			t.Errorf("main has %q", got)
		}
		tagged := open(t, m, with, gitrepo.Target{Revision: "^1"})
		if got := content(t, tagged, "a.yaml"); got != "one" || tagged.Revision() != first {
			t.Errorf("^1 is %s with %q", tagged.Revision(), got)
		}
		if got := must(m.Resolve(t.Context(), with, gitrepo.Target{Revision: first[:8]}, true))(t); got != first {
			t.Errorf("%s expands to %s, want %s", first[:8], got, first)
		}
	}
	var names []string
	for _, e := range must(open(t, m, declared, main).ReadDir(""))(t) {
		names = append(names, e.Name)
	}
	if diff := cmp.Diff([]string{"a.yaml", "d"}, names); diff != "" {
		t.Errorf("root: %s", diff)
	}
}

func TestRefusedCredentialsSayWhatToDoAndLeakNothing(t *testing.T) {
	s, r := server(t, gitserver.Options{Username: "bot", Password: "s3cret"})
	must(r.Commit("first", gitserver.Files{"a": "1"}))(t)
	m := mirrors(t)
	for _, with := range []repo.Repository{
		{URL: s.URL("shop")},
		{URL: s.URL("shop"), Username: "bot", Password: "wr0ng"},
		{URL: strings.Replace(s.URL("shop"), "http://", "http://bot:wr0ng@", 1)},
	} {
		_, err := m.Resolve(t.Context(), with, main, false)
		if err == nil || !strings.Contains(err.Error(), s.URL("shop")) || !strings.Contains(err.Error(), "username and password") {
			t.Errorf("error %v, want the URL and a remedy", err)
		}
		if err != nil && (strings.Contains(err.Error(), "wr0ng") || strings.Contains(err.Error(), "bot")) {
			t.Errorf("error %v has credentials", err)
		}
	}
}

func TestRefusesOtherTransports(t *testing.T) {
	m := mirrors(t)
	proof := filepath.Join(t.TempDir(), "proof")
	for _, url := range []string{"ext::sh -c touch% " + proof, "--upload-pack=touch " + proof, "-oProxyCommand=touch " + proof, "ssh://-oProxyCommand=touch " + proof + "/x"} {
		if _, err := m.Resolve(t.Context(), repo.Repository{URL: url}, main, false); err == nil {
			t.Errorf("%s was accepted", url)
		}
	}
	if _, err := os.Stat(proof); err == nil {
		t.Error("a URL started a program")
	}
}

func TestFileRepositoryAndCommitOnNoBranch(t *testing.T) {
	_, r := server(t, gitserver.Options{})
	must(r.Commit("first", gitserver.Files{"a": "1"}))(t)
	lost := must(r.Commit("lost", gitserver.Files{"a": "lost"}))(t)
	must(r.Git("update-ref", "refs/heads/main", "main^"))(t)
	m := mirrors(t, func(o *gitrepo.Options) { o.AllowFile = true })
	with := repo.Repository{URL: "file://" + r.Dir()}
	if _, err := mirrors(t).Resolve(t.Context(), with, main, false); err == nil || !strings.Contains(err.Error(), "--allow-file-repositories") {
		t.Errorf("without the flag a file URL gives %v", err)
	}
	if got := content(t, open(t, m, with, main), "a"); got != "1" {
		t.Errorf("main has %q", got)
	}
	// The commit is on no branch any more; protocol 2 serves it by its id.
	if got := content(t, must(m.Tree(t.Context(), with, lost))(t), "a"); got != "lost" {
		t.Errorf("the commit on no branch has %q", got)
	}
	if _, err := m.Tree(t.Context(), with, strings.Repeat("ab", 20)); err == nil || !strings.Contains(err.Error(), "does not have it") {
		t.Errorf("an unknown commit gives %v", err)
	}
	blob := must(r.Git("rev-parse", "main:a"))(t)
	if _, err := m.Tree(t.Context(), with, blob); err == nil || !strings.Contains(err.Error(), "not a commit") {
		t.Errorf("a blob gives %v", err)
	}
	if _, err := m.Resolve(t.Context(), with, gitrepo.Target{Revision: "fffffff"}, false); err == nil || !strings.Contains(err.Error(), "unable to resolve 'fffffff'") {
		t.Errorf("an unknown short id gives %v", err)
	}
}

func TestPollerTellsSubscribersOfTheirRevisionOnly(t *testing.T) {
	s, r := server(t, gitserver.Options{})
	must(r.Commit("first", gitserver.Files{"a": "1"}))(t)
	must(r.Git("branch", "other", "main"))(t)
	m := mirrors(t, func(o *gitrepo.Options) { o.PollInterval = 20 * time.Millisecond })
	with := repo.Repository{URL: s.URL("shop")}
	moved, others := make(chan struct{}, 100), make(chan struct{}, 100)
	stop := must(m.Watch(with, main, func() { moved <- struct{}{} }))(t)
	must(m.Watch(with, gitrepo.Target{Revision: "other"}, func() { others <- struct{}{} }))(t)
	await(t, moved, "the first answer")
	await(t, others, "the first answer for the other branch")
	second := must(r.Commit("second", gitserver.Files{"a": "2"}))(t)
	await(t, moved, "a new commit")
	if got := must(m.Resolve(t.Context(), with, main, false))(t); got != second {
		t.Errorf("resolved %s without asking, want %s", got, second)
	}
	// A force push, and a branch that disappears.
	must(r.Git("update-ref", "refs/heads/main", "main^"))(t)
	forced := must(r.Commit("forced", gitserver.Files{"a": "forced"}))(t)
	await(t, moved, "a force push")
	for must(m.Resolve(t.Context(), with, main, false))(t) != forced {
		await(t, moved, "the forced commit")
	}
	if got := content(t, open(t, m, with, main), "a"); got != "forced" {
		t.Errorf("after a force push: %q", got)
	}
	must(r.Git("update-ref", "-d", "refs/heads/main"))(t)
	await(t, moved, "a deleted branch")
	if _, err := m.Resolve(t.Context(), with, main, false); err == nil || !strings.Contains(err.Error(), "unable to resolve 'main'") {
		t.Errorf("a deleted branch gives %v", err)
	}
	if len(others) != 0 {
		t.Errorf("the other branch was told %d times of nothing", len(others))
	}
	stop()
}

func await(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("no word of %s", what)
	}
}

func TestRefreshIsShared(t *testing.T) {
	arrived, gate := make(chan struct{}, 100), make(chan struct{})
	s, r := server(t, gitserver.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if strings.HasSuffix(q.URL.Path, "/info/refs") {
				arrived <- struct{}{}
				<-gate
			}
			next.ServeHTTP(w, q)
		})
	}})
	must(r.Commit("first", gitserver.Files{"a": "1"}))(t)
	registry := prometheus.NewRegistry()
	m := mirrors(t, func(o *gitrepo.Options) { o.Registerer = registry })
	with := repo.Repository{URL: s.URL("shop")}
	var callers sync.WaitGroup
	var failures atomic.Int32
	for range 50 {
		callers.Go(func() {
			if m.Refresh(t.Context(), with) != nil {
				failures.Add(1)
			}
		})
	}
	await(t, arrived, "a request")
	close(gate)
	callers.Wait()
	if failures.Load() != 0 {
		t.Errorf("%d of 50 refreshes failed", failures.Load())
	}
	// One that was under way, and one for all who came later.
	if got := s.Count("ls-refs"); got > 2 {
		t.Errorf("50 callers caused %d requests, want at most 2", got)
	}
	if got := counted(t, registry, "argocd_git_request_total", "ls-remote"); got != float64(s.Count("ls-refs")) {
		t.Errorf("the metric counts %v requests, the server %d", got, s.Count("ls-refs"))
	}
}

func counted(t *testing.T, from prometheus.Gatherer, name, kind string) float64 {
	t.Helper()
	total := 0.0
	for _, family := range must(from.Gather())(t) {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if family.GetName() == name && l.GetValue() == kind {
					total += m.GetCounter().GetValue()
				}
			}
		}
	}
	return total
}

func TestHangingServerFailsInTime(t *testing.T) {
	gate := make(chan struct{})
	s, _ := server(t, gitserver.Options{Wrap: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
			select {
			case <-gate:
			case <-q.Context().Done():
			}
		})
	}})
	defer close(gate)
	m := mirrors(t, func(o *gitrepo.Options) { o.RequestTimeout = 200 * time.Millisecond })
	_, err := m.Resolve(t.Context(), repo.Repository{URL: s.URL("shop")}, main, false)
	if err == nil || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("error %v, want a timeout", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := m.Resolve(short, repo.Repository{URL: s.URL("other")}, main, false); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the caller's deadline", err)
	}
}

func TestSilentRepositoryKeepsItsLastAnswerForAGrace(t *testing.T) {
	var down atomic.Bool
	s, r := server(t, gitserver.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if down.Load() {
				http.Error(w, "maintenance", http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, q)
		})
	}})
	first := must(r.Commit("first", gitserver.Files{"a": "1"}))(t)
	with := repo.Repository{URL: s.URL("shop")}
	patient := mirrors(t)
	strict := mirrors(t, func(o *gitrepo.Options) { o.PollInterval, o.Grace = 20*time.Millisecond, time.Nanosecond })
	moved := make(chan struct{}, 100)
	must(strict.Watch(with, main, func() { moved <- struct{}{} }))(t)
	await(t, moved, "the first answer")
	open(t, patient, with, main)
	down.Store(true)
	if _, err := patient.Resolve(t.Context(), with, main, true); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("asked now, it resolves with %v", err)
	}
	if got := must(patient.Resolve(t.Context(), with, main, false))(t); got != first {
		t.Errorf("within the grace it resolves to %s", got)
	}
	await(t, moved, "a failure after the grace")
	if _, err := strict.Resolve(t.Context(), with, main, false); err == nil || !strings.Contains(err.Error(), s.URL("shop")) {
		t.Errorf("after the grace it resolves with %v", err)
	}
	down.Store(false)
	await(t, moved, "an answer again")
	if got := must(strict.Resolve(t.Context(), with, main, false))(t); got != first {
		t.Errorf("after recovery it resolves to %s", got)
	}
}

func TestTruncatedFetchIsRepeated(t *testing.T) {
	var cut atomic.Bool
	s, r := server(t, gitserver.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if cut.Load() && strings.HasSuffix(q.URL.Path, "/git-upload-pack") {
				w = &cutWriter{ResponseWriter: w, left: 2000} // enough to list refs
			}
			next.ServeHTTP(w, q)
		})
	}})
	must(r.Commit("first", gitserver.Files{"a": "1"}))(t)
	m := mirrors(t)
	with := repo.Repository{URL: s.URL("shop")}
	open(t, m, with, main)
	second := must(r.Commit("second", gitserver.Files{"a": "2", "big": noise(100_000)}))(t)
	cut.Store(true)
	if _, err := m.Tree(t.Context(), with, second); err == nil {
		t.Fatal("half a pack was accepted")
	}
	cut.Store(false)
	if got := content(t, must(m.Tree(t.Context(), with, second))(t), "a"); got != "2" {
		t.Errorf("after a repeated fetch: %q", got)
	}
}

// cutWriter breaks the connection after some bytes.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (c *cutWriter) Write(p []byte) (int, error) {
	if len(p) > c.left {
		_, _ = c.ResponseWriter.Write(p[:c.left])
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

// noise is text that does not compress well.
func noise(n int) string {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = 'a' + byte(x>>24)%26
	}
	return string(b)
}

func TestDamagedMirrorIsMadeAnew(t *testing.T) {
	damages := map[string]func(t *testing.T, dir string){
		"packs removed": func(t *testing.T, dir string) {
			each(t, filepath.Join(dir, "objects", "pack", "*"), os.Remove)
			each(t, filepath.Join(dir, "objects", "??"), os.RemoveAll)
		},
		"packs overwritten": func(t *testing.T, dir string) {
			each(t, filepath.Join(dir, "objects", "pack", "*.pack"), func(f string) error { return overwrite(f) })
			each(t, filepath.Join(dir, "objects", "??", "*"), func(f string) error { return overwrite(f) })
		},
		"HEAD removed": func(t *testing.T, dir string) { each(t, filepath.Join(dir, "HEAD"), os.Remove) },
		"locks left behind": func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "packed-refs.lock"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "refs", "heads", "main.lock"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			s, r := server(t, gitserver.Options{})
			must(r.Commit("first", gitserver.Files{"a": "1", "d/e/f": noise(3000)}))(t)
			dir := t.TempDir()
			with := repo.Repository{URL: s.URL("shop")}
			before := must(gitrepo.New(t.Context(), gitrepo.Options{Dir: dir}))(t)
			open(t, before, with, main)
			before.Close()
			damage(t, must(filepath.Glob(filepath.Join(dir, "*", "mirror.git")))(t)[0])
			must(r.Commit("second", gitserver.Files{"b": "2"}))(t)
			m := mirrors(t, func(o *gitrepo.Options) { o.Dir = dir })
			now := open(t, m, with, main)
			if content(t, now, "b") != "2" || content(t, now, "d/e/f") != noise(3000) {
				t.Error("the mirror is not complete")
			}
		})
	}
}

func TestDamageWhileReadingIsRepaired(t *testing.T) {
	s, r := server(t, gitserver.Options{})
	must(r.Commit("first", gitserver.Files{"a": "1", "d/e/f": "deep"}))(t)
	dir := t.TempDir()
	m := mirrors(t, func(o *gitrepo.Options) { o.Dir = dir })
	with := repo.Repository{URL: s.URL("shop")}
	now := open(t, m, with, main)
	each(t, filepath.Join(dir, "*", "mirror.git", "objects", "??"), os.RemoveAll)
	each(t, filepath.Join(dir, "*", "mirror.git", "objects", "pack", "*"), os.Remove)
	if got := content(t, now, "d/e/f"); got != "deep" {
		t.Errorf("read %q", got)
	}
}

func each(t *testing.T, pattern string, do func(string) error) {
	t.Helper()
	for _, f := range must(filepath.Glob(pattern))(t) {
		if err := do(f); err != nil {
			t.Fatal(err)
		}
	}
}

func overwrite(file string) error {
	if err := os.Chmod(file, 0o600); err != nil {
		return err
	}
	return os.WriteFile(file, []byte("not a pack at all, nor an object"), 0o600)
}

func TestCloseLeavesNoKeysAndRefusesWork(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	m := must(gitrepo.New(t.Context(), gitrepo.Options{Dir: t.TempDir()}))(t)
	with := repo.Repository{URL: "ssh://git@127.0.0.1:1/x", SSHPrivateKey: "key", KnownHosts: "hosts"}
	if _, err := m.Resolve(t.Context(), with, main, false); err == nil {
		t.Error("nobody listens, but it resolves")
	}
	if n := len(must(filepath.Glob(filepath.Join(os.TempDir(), "sluice-git-*", "*", "id")))(t)); n != 1 {
		t.Errorf("%d key files while open, want 1", n)
	}
	m.Close()
	if left := must(filepath.Glob(filepath.Join(os.TempDir(), "sluice-git-*")))(t); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := m.Refresh(t.Context(), with); err == nil {
		t.Error("works after Close")
	}
}
