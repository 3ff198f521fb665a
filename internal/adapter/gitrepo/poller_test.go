package gitrepo_test

import (
	"fmt"
	"net/http"
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

// gauge counts the questions that reach a server, and can make it fail.
type gauge struct {
	asked     chan struct{}
	questions atomic.Int32
	fail      atomic.Int32 // status to answer with
	versions  sync.Map
}

func (g *gauge) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.HasSuffix(q.URL.Path, "/info/refs") {
			g.questions.Add(1)
			g.versions.Store(q.Header.Get("Git-Protocol"), true)
			g.asked <- struct{}{}
		}
		if code := g.fail.Load(); code != 0 {
			http.Error(w, "broken", int(code))
			return
		}
		next.ServeHTTP(w, q)
	})
}

// polled is a repository with a poller on a clock that the test moves.
func polled(t *testing.T, change ...func(*gitrepo.Options)) (*gauge, *gitserver.Repository, *gitrepo.Mirrors, *clocktesting.FakeClock, repo.Repository) {
	t.Helper()
	g := &gauge{asked: make(chan struct{}, 1000)}
	s, r := server(t, gitserver.Options{Wrap: g.wrap})
	must(r.Commit("first", gitserver.Files{"a": "1"}))(t)
	c := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
	m := mirrors(t, append([]func(*gitrepo.Options){func(o *gitrepo.Options) {
		o.Clock, o.Pace = c, func() gitrepo.Pace { return gitrepo.Pace{Every: time.Minute} }
	}}, change...)...)
	return g, r, m, c, repo.Repository{URL: s.URL("shop")}
}

// settle waits until everybody waits for the clock: the poller and the upkeep.
func settle(t *testing.T, c *clocktesting.FakeClock, waiters int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); c.Waiters() != waiters; {
		if time.Now().After(deadline) {
			t.Fatalf("%d wait for the clock, want %d", c.Waiters(), waiters)
		}
	}
}

func TestOneQuestionPerIntervalForAll(t *testing.T) {
	g, r, m, c, with := polled(t)
	told := make(chan struct{}, 10_000)
	must(m.Watch(with, main, func() { told <- struct{}{} }))(t)
	await(t, told, "the first answer")
	settle(t, c, 2)
	for i := range 999 {
		target := main
		if i%2 == 0 {
			target = gitrepo.Target{}
		}
		must(m.Watch(with, target, func() { told <- struct{}{} }))(t)
	}
	for round := range 3 {
		must(r.Commit("next", gitserver.Files{"a": fmt.Sprint(round)}))(t)
		c.Step(59 * time.Second)
		settle(t, c, 2)
		if n := len(told); n != 0 {
			t.Fatalf("%d were told before the minute was over", n)
		}
		c.Step(time.Second)
		for range 1000 {
			await(t, told, "a new commit")
		}
		settle(t, c, 2)
	}
	if n := g.questions.Load(); n != 4 {
		t.Errorf("%d questions for 1000 subscribers in three minutes, want 4", n)
	}
	g.versions.Range(func(v, _ any) bool {
		if v != "version=2" {
			t.Errorf("a question in protocol %q, want version=2", v)
		}
		return true
	})
	// A refresh counts: the next question comes a minute after it.
	c.Step(30 * time.Second)
	if err := m.Refresh(t.Context(), with); err != nil {
		t.Fatal(err)
	}
	c.Step(31 * time.Second)
	settle(t, c, 2)
	if n := g.questions.Load(); n != 5 {
		t.Errorf("%d questions, want 5: one because of the refresh, none since", n)
	}
}

func TestPaceIsReadAgain(t *testing.T) {
	var every atomic.Int64
	g, _, m, c, with := polled(t, func(o *gitrepo.Options) {
		o.Pace = func() gitrepo.Pace { return gitrepo.Pace{Every: time.Duration(every.Load())} }
	})
	told := make(chan struct{}, 10)
	must(m.Watch(with, main, func() { told <- struct{}{} }))(t)
	await(t, told, "the first answer, which comes without polling too")
	c.Step(24 * time.Hour)
	if n := g.questions.Load(); n != 1 {
		t.Errorf("%d questions with polling switched off, want 1", n)
	}
	<-g.asked
	every.Store(int64(time.Minute))
	m.Reload()
	await(t, g.asked, "a question after polling was switched on")
}

func TestFailingRepositoryIsAskedLess(t *testing.T) {
	g, _, m, c, with := polled(t, func(o *gitrepo.Options) {
		o.Pace = func() gitrepo.Pace { return gitrepo.Pace{Every: 10 * time.Second} }
	})
	must(m.Watch(with, main, func() {}))(t)
	await(t, g.asked, "the first question")
	settle(t, c, 2)
	for _, kind := range []struct {
		code  int32
		first time.Duration
	}{{http.StatusServiceUnavailable, time.Second}, {http.StatusForbidden, 30 * time.Second}, {http.StatusTooManyRequests, time.Minute}} {
		g.fail.Store(kind.code)
		c.Step(time.Minute)
		await(t, g.asked, "the question that fails")
		settle(t, c, 2)
		c.Step(kind.first - time.Millisecond)
		settle(t, c, 2)
		if n := len(g.asked); n != 0 {
			t.Errorf("%d: asked again before %s", kind.code, kind.first)
		}
		g.fail.Store(0)
		c.Step(kind.first/5 + time.Millisecond)
		await(t, g.asked, "the next try")
		settle(t, c, 2)
	}
}

func TestHintAsksAtOnceButNotOften(t *testing.T) {
	g, r, m, c, with := polled(t)
	told := make(chan struct{}, 1000)
	must(m.Watch(with, main, func() { told <- struct{}{} }))(t)
	await(t, told, "the first answer")
	await(t, g.asked, "the first question")
	settle(t, c, 2)
	push := repo.Push{URL: strings.TrimSuffix(strings.ToUpper(with.URL), ".GIT"), Ref: "refs/heads/main"}
	push.URL = strings.Replace(push.URL, "HTTP", "http", 1)
	for _, other := range []repo.Push{{URL: with.URL, Ref: "refs/heads/other"}, {URL: "https://elsewhere/shop"}, {URL: "ext::sh"}} {
		if n := m.Hint(other); n != 0 {
			t.Errorf("a hint about %+v makes %d ask", other, n)
		}
	}
	push.Commit = must(r.Commit("second", gitserver.Files{"a": "2"}))(t)
	if n := m.Hint(push); n != 1 {
		t.Fatalf("a hint makes %d ask, want 1", n)
	}
	await(t, told, "the announced commit, though the clock stands still")
	await(t, g.asked, "its question")
	for range 1000 {
		m.Hint(repo.Push{URL: with.URL})
	}
	settle(t, c, 3) // poller, upkeep, and the next hint
	if n := len(g.asked); n != 0 {
		t.Errorf("%d questions within two seconds of the last", n)
	}
	c.Step(2 * time.Second)
	await(t, g.asked, "one question for a thousand hints")
	settle(t, c, 2)
	if n := g.questions.Load(); n != 3 {
		t.Errorf("%d questions in all, want 3", n)
	}
}

func TestHintAboutACommitThatTheServerDoesNotShowYet(t *testing.T) {
	g, r, m, c, with := polled(t)
	told := make(chan struct{}, 1000)
	must(m.Watch(with, main, func() { told <- struct{}{} }))(t)
	await(t, told, "the first answer")
	await(t, g.asked, "the first question")
	settle(t, c, 2)
	// The commit exists, but the branch shows it later, as on a replica.
	id := must(r.Apply(gitserver.Change{Branch: "hidden", From: "refs/heads/main", Message: "x", Write: gitserver.Files{"a": "2"}}))(t)
	m.Hint(repo.Push{URL: with.URL, Ref: "refs/heads/main", Commit: id})
	await(t, g.asked, "the question at once")
	settle(t, c, 3)
	must(r.Git("update-ref", "refs/heads/main", id))(t)
	c.Step(2 * time.Second)
	await(t, told, "the announced commit at the second try")
	if got := must(m.Resolve(t.Context(), with, main, false))(t); got != id {
		t.Errorf("main is %s, want %s", got, id)
	}
}

func TestReloadMovesSubscribersToNewCredentials(t *testing.T) {
	s, r := server(t, gitserver.Options{Username: "bot", Password: "right"})
	must(r.Commit("first", gitserver.Files{"a": "1"}))(t)
	c := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
	m := mirrors(t, func(o *gitrepo.Options) { o.Clock, o.PollInterval = c, time.Minute })
	var password atomic.Value
	password.Store("wrong")
	source := func() repo.Repository {
		return repo.Repository{URL: s.URL("shop"), Username: "bot", Password: repo.Secret(password.Load().(string))}
	}
	told := make(chan struct{}, 100)
	stop := must(m.Follow(source, main, func() { told <- struct{}{} }))(t)
	await(t, told, "the refusal")
	if _, err := m.Resolve(t.Context(), source(), main, false); err == nil {
		t.Fatal("a wrong password resolves")
	}
	password.Store("right")
	m.Reload() // no time passes
	await(t, told, "the answer to the new password")
	must(m.Resolve(t.Context(), source(), main, false))(t)
	stop()
}
