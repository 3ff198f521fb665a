package gitrepo_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// silent accepts connections and never says a word.
func silent(t *testing.T) string {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		var open []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			open = append(open, c)
		}
		for _, c := range open {
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

// processes are those whose environment names a folder.
func processes(t *testing.T, folder string) (found []string) {
	t.Helper()
	for _, file := range must(filepath.Glob("/proc/[0-9]*/environ"))(t) {
		raw, err := os.ReadFile(file)
		if err == nil && bytes.Contains(raw, []byte(folder)) && filepath.Base(filepath.Dir(file)) != fmt.Sprint(os.Getpid()) {
			cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
			found = append(found, strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	return found
}

func TestHangingServersLeaveNoProcess(t *testing.T) {
	dir := t.TempDir()
	m := mirrors(t, func(o *gitrepo.Options) { o.Dir, o.RequestTimeout = dir, 300*time.Millisecond })
	address := silent(t)
	for _, url := range []string{"ssh://git@" + address + "/x", "http://" + address + "/x", "https://" + address + "/x"} {
		_, err := m.Resolve(t.Context(), repo.Repository{URL: url, Insecure: true}, main, false)
		if err == nil || !strings.Contains(err.Error(), "no answer in time") {
			t.Errorf("%s: error %v, want a timeout", url, err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; { // a killed process takes a moment
		left := processes(t, dir)
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still running: %q", left)
		}
	}
}

func TestFetchThatFallsSilentIsGivenUp(t *testing.T) {
	var hang atomic.Bool
	gate := make(chan struct{})
	s, r := server(t, gitserver.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			body, _ := io.ReadAll(q.Body)
			q.Body = io.NopCloser(bytes.NewReader(body))
			if hang.Load() && bytes.Contains(body, []byte("command=fetch")) {
				select {
				case <-gate:
				case <-q.Context().Done():
				}
				return
			}
			next.ServeHTTP(w, q)
		})
	}})
	defer close(gate)
	must(r.Commit("first", gitserver.Files{"a": "1"}))(t)
	m := mirrors(t, func(o *gitrepo.Options) { o.StallTimeout = 2 * time.Second })
	with := repo.Repository{URL: s.URL("shop")}
	open(t, m, with, main)
	second := must(r.Commit("second", gitserver.Files{"a": "2"}))(t)
	hang.Store(true)
	if _, err := m.Tree(t.Context(), with, second); err == nil || !strings.Contains(err.Error(), "silent for 2s") {
		t.Errorf("error %v, want that the server fell silent", err)
	}
	hang.Store(false)
	if got := content(t, must(m.Tree(t.Context(), with, second))(t), "a"); got != "2" {
		t.Errorf("afterwards: %q", got)
	}
}

func TestLimitsOfARemote(t *testing.T) {
	s, r := server(t, gitserver.Options{})
	must(r.Commit("first", gitserver.Files{"big": noise(2_000_000)}))(t)
	with := repo.Repository{URL: s.URL("shop")}
	small := mirrors(t, func(o *gitrepo.Options) { o.MaxPackBytes = 200_000 })
	id := must(small.Resolve(t.Context(), with, main, false))(t)
	if _, err := small.Tree(t.Context(), with, id); err == nil || !strings.Contains(err.Error(), "larger than 200000 bytes") || !strings.Contains(err.Error(), "--mirror-max-pack") {
		t.Errorf("a large pack gives %v", err)
	}
	must(r.Commit("zeros", gitserver.Files{"zeros": strings.Repeat("0", 60_000_000)}))(t) // small in the pack
	lean := mirrors(t, func(o *gitrepo.Options) { o.MaxGitMemory = 40 << 20 })
	id = must(lean.Resolve(t.Context(), with, main, false))(t)
	if _, err := lean.Tree(t.Context(), with, id); err == nil || !strings.Contains(err.Error(), "--git-memory") {
		t.Errorf("an object that is too large for memory gives %v", err)
	}
	few := mirrors(t, func(o *gitrepo.Options) { o.MaxRefsBytes = 20 })
	if _, err := few.Resolve(t.Context(), with, main, false); err == nil || !strings.Contains(err.Error(), "larger than 20 bytes") {
		t.Errorf("a long list of refs gives %v", err)
	}
}

// TestManyBranches clones and follows a repository with 50,000 branches.
func TestManyBranches(t *testing.T) {
	const n = 50_000
	s, r := server(t, gitserver.Options{})
	first := must(r.Commit("first", gitserver.Files{"a": "1"}))(t)
	var packed strings.Builder
	packed.WriteString("# pack-refs with: peeled fully-peeled sorted \n")
	for i := range n {
		fmt.Fprintf(&packed, "%s refs/heads/team/%06d\n", first, i)
	}
	if err := os.WriteFile(filepath.Join(r.Dir(), "packed-refs"), []byte(packed.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	m := mirrors(t)
	with := repo.Repository{URL: s.URL("shop")}
	if got := content(t, open(t, m, with, gitrepo.Target{Revision: "team/044444"}), "a"); got != "1" {
		t.Errorf("branch 44444 has %q", got)
	}
	must(r.Apply(gitserver.Change{Branch: "team/000007", Message: "x", Write: gitserver.Files{"a": "2"}}))(t)
	if got := content(t, open(t, m, with, gitrepo.Target{Revision: "team/000007"}), "a"); got != "2" {
		t.Errorf("branch 7 has %q", got)
	}
}

func TestFullDiskSaysSo(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Logf("no small disk can be mounted here (%v): the pack limit stands in", err)
		t.Run("limit", TestLimitsOfARemote)
		return
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s, r := server(t, gitserver.Options{})
	must(r.Commit("first", gitserver.Files{"a": "1"}))(t)
	m := must(gitrepo.New(t.Context(), gitrepo.Options{Dir: dir}))(t)
	t.Cleanup(m.Close)
	with := repo.Repository{URL: s.URL("shop")}
	open(t, m, with, main)
	big := must(r.Commit("big", gitserver.Files{"b": noise(4_000_000)}))(t)
	if _, err := m.Tree(t.Context(), with, big); err == nil || !strings.Contains(err.Error(), "the volume of the mirrors is full") {
		t.Errorf("a full disk gives %v", err)
	}
	must(r.Git("update-ref", "refs/heads/main", "main^"))(t)
	small := must(r.Commit("small", gitserver.Files{"a": "2"}))(t)
	if got := content(t, must(m.Tree(t.Context(), with, small))(t), "a"); got != "2" {
		t.Errorf("afterwards: %q", got)
	}
}

func TestFlippedBitsAreNeverRead(t *testing.T) {
	var flip atomic.Bool
	s, r := server(t, gitserver.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if flip.Load() && strings.HasSuffix(q.URL.Path, "/git-upload-pack") {
				w = &flipWriter{ResponseWriter: w, at: 60_000}
			}
			next.ServeHTTP(w, q)
		})
	}})
	must(r.Commit("first", gitserver.Files{"a": "1"}))(t)
	m := mirrors(t)
	with := repo.Repository{URL: s.URL("shop")}
	open(t, m, with, main)
	second := must(r.Commit("second", gitserver.Files{"a": noise(100_000)}))(t)
	flip.Store(true)
	if _, err := m.Tree(t.Context(), with, second); err == nil {
		t.Fatal("a pack with a flipped bit was accepted")
	}
	flip.Store(false)
	if got := content(t, must(m.Tree(t.Context(), with, second))(t), "a"); got != noise(100_000) {
		t.Error("the file differs afterwards")
	}
}

// flipWriter changes one byte on its way.
type flipWriter struct {
	http.ResponseWriter
	at int
}

func (f *flipWriter) Write(p []byte) (int, error) {
	if f.at >= 0 && f.at < len(p) {
		p = bytes.Clone(p)
		p[f.at] ^= 0x10
	}
	f.at -= len(p)
	return f.ResponseWriter.Write(p)
}

// TestCleaningKeepsWhatIsInUse makes garbage until it is collected: a commit
// that was force-pushed away stays readable, for those who read it before.
func TestCleaningKeepsWhatIsInUse(t *testing.T) {
	s, r := server(t, gitserver.Options{})
	must(r.Commit("base", gitserver.Files{"a": "0"}))(t)
	dir := t.TempDir()
	c := clocktesting.NewFakeClock(time.Now())
	m := mirrors(t, func(o *gitrepo.Options) { o.Dir, o.Clock = dir, c })
	with := repo.Repository{URL: s.URL("shop")}
	must(r.Commit("lost", gitserver.Files{"a": "lost"}))(t)
	pinned := open(t, m, with, main)
	for i := range 50 {
		must(r.Git("update-ref", "refs/heads/main", "main^"))(t)
		must(r.Commit("next", gitserver.Files{"a": fmt.Sprint(i), "b": noise(20_000 + i)}))(t)
		open(t, m, with, main)
		each(t, filepath.Join(dir, "*", "mirror.git"), func(bare string) error { // many small packs, as after weeks
			return os.WriteFile(filepath.Join(bare, "objects", "pack", fmt.Sprintf("pack-%040d.pack", i)), nil, 0o600)
		})
	}
	m.Tend(t.Context())
	if kept := must(filepath.Glob(filepath.Join(dir, "*", "mirror.git", "packed-refs")))(t); len(kept) != 1 || !strings.Contains(string(must(os.ReadFile(kept[0]))(t)), "refs/sluice/keep/") {
		t.Error("no garbage was collected, or nothing is kept")
	}
	if got := content(t, pinned, "a"); got != "lost" {
		t.Errorf("the pinned commit has %q", got)
	}
	fetches := s.Count("fetch")
	if got := content(t, must(m.Tree(t.Context(), with, pinned.Revision()))(t), "a"); got != "lost" {
		t.Errorf("opened again, the pinned commit has %q", got)
	}
	if s.Count("fetch") != fetches {
		t.Error("the pinned commit had to be fetched again")
	}
	if got := content(t, open(t, m, with, main), "a"); got != "49" {
		t.Errorf("main has %q", got)
	}
}

func TestDiskBudget(t *testing.T) {
	s, r := server(t, gitserver.Options{})
	must(r.Commit("first", gitserver.Files{"a": noise(600_000)}))(t)
	other := must(s.Create("other"))(t)
	must(other.Commit("first", gitserver.Files{"a": noise(600_000)}))(t)
	c := clocktesting.NewFakeClock(time.Now())
	m := mirrors(t, func(o *gitrepo.Options) { o.Clock, o.DiskBudget = c, 300_000 })
	shop, also := repo.Repository{URL: s.URL("shop")}, repo.Repository{URL: s.URL("other")}
	stop := must(m.Watch(shop, main, func() {}))(t)
	held := open(t, m, shop, main)
	id := must(m.Resolve(t.Context(), also, main, false))(t)
	if _, err := m.Tree(t.Context(), also, id); err == nil || !strings.Contains(err.Error(), "--mirror-disk-budget") {
		t.Errorf("with all mirrors in use a further one gives %v", err)
	}
	stop()
	c.Step(11 * time.Minute)
	if got := content(t, must(m.Tree(t.Context(), also, id))(t), "a"); got != noise(600_000) {
		t.Error("the second repository cannot be read")
	}
	c.Step(11 * time.Minute)
	if got := content(t, held, "a"); got != noise(600_000) {
		t.Error("a tree of the evicted repository cannot be read")
	}
	if got := content(t, open(t, m, shop, main), "a"); got != noise(600_000) {
		t.Error("the evicted repository does not come back")
	}
}

func TestUnusedMirrorsAndSecretsGo(t *testing.T) {
	s, r := server(t, gitserver.Options{Username: "bot", Password: "s3cret"})
	must(r.Commit("first", gitserver.Files{"a": "1"}))(t)
	dir, secrets := t.TempDir(), t.TempDir()
	c := clocktesting.NewFakeClock(time.Now())
	m := mirrors(t, func(o *gitrepo.Options) { o.Dir, o.SecretsDir, o.Clock = dir, secrets, c })
	with := repo.Repository{URL: s.URL("shop"), Username: "bot", Password: "s3cret"}
	open(t, m, with, main)
	count := func(pattern string) int { return len(must(filepath.Glob(pattern))(t)) }
	if count(filepath.Join(secrets, "*", "*", "config")) != 1 || count(filepath.Join(dir, "*", "mirror.git")) != 1 {
		t.Fatal("the test looks in the wrong place")
	}
	c.Step(61 * time.Minute)
	m.Tend(t.Context())
	if n := count(filepath.Join(secrets, "*", "*", "config")); n != 0 {
		t.Errorf("%d secrets after an hour without use", n)
	}
	if got := content(t, open(t, m, with, main), "a"); got != "1" {
		t.Errorf("used again: %q", got)
	}
	c.Step(31 * 24 * time.Hour)
	m.Tend(t.Context())
	if n := count(filepath.Join(dir, "[0-9a-f]*")); n != 0 {
		t.Errorf("%d mirrors after a month without use", n)
	}
	if got := content(t, open(t, m, with, main), "a"); got != "1" {
		t.Errorf("used again: %q", got)
	}
}
