package gitrepo_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// closing answers 503 while it is shut.
func closing(shut *atomic.Bool) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if shut.Load() {
				http.Error(w, "maintenance", http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, q)
		})
	}
}

// TestRestartDuringAnOutage: a process that starts while the remote is away
// resolves and reads what the one before it knew, for those who might read it
// then, and nobody else.
func TestRestartDuringAnOutage(t *testing.T) {
	var shut atomic.Bool
	s, r := server(t, gitserver.Options{Username: "bot", Password: "s3cret-word", Wrap: closing(&shut)})
	first := must(r.Commit("first", gitserver.Files{"a": "1"}))(t)
	with := repo.Repository{URL: s.URL("shop"), Username: "bot", Password: "s3cret-word"}
	dir, c := t.TempDir(), clocktesting.NewFakeClock(time.Now())
	start := func() *gitrepo.Mirrors {
		return mirrors(t, func(o *gitrepo.Options) { o.Dir, o.Clock = dir, c })
	}
	before := start()
	open(t, before, with, main)
	before.Close()
	shut.Store(true)
	m := start()
	if got := must(m.Resolve(t.Context(), with, main, false))(t); got != first {
		t.Errorf("it resolves to %s", got)
	}
	if got := content(t, must(m.Tree(t.Context(), with, first))(t), "a"); got != "1" {
		t.Errorf("it reads %q", got)
	}
	if _, err := m.Resolve(t.Context(), with, main, true); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("asked now, it resolves with %v", err)
	}
	guessed := with
	guessed.Password = "a guess"
	if _, err := m.Tree(t.Context(), guessed, first); err == nil {
		t.Error("other credentials read the commit")
	}
	c.Step(4 * time.Minute)
	if _, err := m.Resolve(t.Context(), with, main, false); err == nil {
		t.Error("it still resolves after the grace")
	}
	m.Close()
	answers := must(filepath.Glob(filepath.Join(dir, "*", "answer-*")))(t)
	if len(answers) != 1 {
		t.Fatalf("answers on disk: %v", answers)
	}
	good := must(os.ReadFile(answers[0]))(t)
	if bytes.Contains(good, []byte("s3cret")) || bytes.Contains(good, []byte("bot")) {
		t.Error("the answer has a secret")
	}
	unreadable := func(what string) {
		t.Helper()
		m := start()
		if _, err := m.Resolve(t.Context(), with, main, false); err == nil {
			t.Errorf("%s is believed", what)
		}
		if _, err := m.Tree(t.Context(), with, first); err == nil {
			t.Errorf("%s opens the mirror", what)
		}
		m.Close()
	}
	forged := bytes.Replace(good, []byte(first), []byte(strings.Repeat("ab", 20)), 1)
	for what, raw := range map[string][]byte{"a forged answer": forged, "a cut answer": good[:20], "an empty answer": nil} {
		if err := os.WriteFile(answers[0], raw, 0o600); err != nil {
			t.Fatal(err)
		}
		unreadable(what)
	}
	if err := os.WriteFile(answers[0], good, 0o600); err != nil {
		t.Fatal(err)
	}
	c.SetTime(time.Now().Add(8 * 24 * time.Hour))
	unreadable("an answer of last week")
	shut.Store(false)
	if got := content(t, open(t, start(), with, main), "a"); got != "1" {
		t.Errorf("afterwards it reads %q", got)
	}
}

// TestBranchThatWentBack: what only a replica that lags behind shows is not
// told; a branch that really went back is, after a second look.
func TestBranchThatWentBack(t *testing.T) {
	var lagging atomic.Int32 // questions still to be answered by a replica that lags behind
	var first, second string
	var r *gitserver.Repository
	var s *gitserver.Server
	s, r = server(t, gitserver.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if lagging.Load() == 0 || !strings.HasSuffix(q.URL.Path, "/git-upload-pack") {
				next.ServeHTTP(w, q)
				return
			}
			lagging.Add(-1)
			must(r.Git("update-ref", "refs/heads/main", first))(t)
			next.ServeHTTP(w, q)
			must(r.Git("update-ref", "refs/heads/main", second))(t)
		})
	}})
	first = must(r.Commit("first", gitserver.Files{"a": "1"}))(t)
	second = must(r.Commit("second", gitserver.Files{"a": "2"}))(t)
	with := repo.Repository{URL: s.URL("shop")}
	var said bytes.Buffer
	var mu sync.Mutex
	m := mirrors(t, func(o *gitrepo.Options) {
		o.Log = slog.New(slog.NewTextHandler(&locked{&mu, &said}, nil))
	})
	told := make(chan struct{}, 100)
	must(m.Watch(with, main, func() { told <- struct{}{} }))(t)
	await(t, told, "the first answer")
	open(t, m, with, main)
	words := func() string { mu.Lock(); defer mu.Unlock(); return said.String() }
	lagging.Store(1)
	if got := must(m.Resolve(t.Context(), with, main, true))(t); got != second || !strings.Contains(words(), "one of its replicas lags behind") {
		t.Errorf("what a replica shows is believed: %s, want %s; said %s", got, second, words())
	}
	must(r.Git("update-ref", "refs/heads/main", first))(t)
	if got := must(m.Resolve(t.Context(), with, main, true))(t); got != first {
		t.Errorf("a branch that went back resolves to %s, want %s", got, first)
	}
	await(t, told, "the branch that went back")
	if !strings.Contains(words(), "RefWentBack") {
		t.Errorf("nobody is told: %s", words())
	}
	must(r.Git("update-ref", "refs/heads/main", second))(t)
	if got := must(m.Resolve(t.Context(), with, main, true))(t); got != second {
		t.Errorf("a branch that moved on resolves to %s", got)
	}
}

// TestTooManyObjects: a pack is given up when git announces more objects than
// one fetch may bring.
func TestTooManyObjects(t *testing.T) {
	s, r := server(t, gitserver.Options{})
	files := gitserver.Files{}
	for i := range 500 {
		files[fmt.Sprint("f", i)] = fmt.Sprint("content ", i)
	}
	must(r.Commit("many", files))(t)
	with := repo.Repository{URL: s.URL("shop")}
	few := mirrors(t, func(o *gitrepo.Options) { o.MaxObjects = 100 })
	id := must(few.Resolve(t.Context(), with, main, false))(t)
	if _, err := few.Tree(t.Context(), with, id); err == nil || !strings.Contains(err.Error(), "more than 100 objects") {
		t.Errorf("a pack of many objects gives %v", err)
	}
	enough := mirrors(t, func(o *gitrepo.Options) { o.MaxObjects = 10_000 })
	open(t, enough, with, main)
}
