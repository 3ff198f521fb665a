package gitrepo_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// signal is the value of a metric with exactly these labels, counts for
// histograms, or -1.
func signal(t *testing.T, from prometheus.Gatherer, name string, labels ...string) float64 {
	t.Helper()
	for _, family := range must(from.Gather())(t) {
		for _, m := range family.GetMetric() {
			var has []string
			for _, l := range m.GetLabel() {
				has = append(has, l.GetName(), l.GetValue())
			}
			if family.GetName() == name && slices.Equal(has, labels) {
				return value(m)
			}
		}
	}
	return -1
}

func value(m *dto.Metric) float64 {
	switch {
	case m.Counter != nil:
		return m.Counter.GetValue()
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	}
	return float64(m.Histogram.GetSampleCount())
}

// TestSignals is spec/observability.md §2.3 for Git, and the log lines of an
// outage.
func TestSignals(t *testing.T) {
	var down atomic.Bool
	s, r := server(t, gitserver.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if down.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, q)
		})
	}})
	must(r.Commit("first", gitserver.Files{"a": "1"}))(t)
	registry := prometheus.NewRegistry()
	var log bytes.Buffer
	var mu sync.Mutex
	m := mirrors(t, func(o *gitrepo.Options) {
		o.Registerer, o.Log = registry, slog.New(slog.NewTextHandler(&locked{&mu, &log}, nil))
		o.PollInterval, o.Grace = 20*time.Millisecond, time.Nanosecond
	})
	with := repo.Repository{URL: strings.Replace(s.URL("shop"), "http://", "http://bot:s3cret@", 1)}
	name := repo.Normalize(s.URL("shop"))
	open(t, m, with, main)
	m.Tend(t.Context())
	for metric, labels := range map[string][]string{
		"argocd_git_request_total": {"repo", name, "request_type", "ls-remote"}, "argocd_git_request_duration_seconds": {"repo", name, "request_type", "fetch"},
		"sluice_git_mirrors": nil, "sluice_git_mirror_bytes": nil,
	} {
		if got := signal(t, registry, metric, labels...); got < 1 {
			t.Errorf("%s%v is %v", metric, labels, got)
		}
	}
	if got := signal(t, registry, "argocd_repo_pending_request_total", "repo", name); got != 0 {
		t.Errorf("%v requests wait", got)
	}
	told := make(chan struct{}, 1000)
	must(m.Watch(with, main, func() { told <- struct{}{} }))(t)
	down.Store(true)
	await(t, told, "the outage")
	if _, err := m.Tree(t.Context(), with, strings.Repeat("ab", 20)); err == nil {
		t.Error("an unknown commit was read")
	}
	down.Store(false)
	await(t, told, "the end of the outage")
	for metric, revision := range map[string]string{"argocd_git_lsremote_fail_total": "", "argocd_git_fetch_fail_total": ""} {
		if got := signal(t, registry, metric, "repo", name, "revision", revision); got < 1 {
			t.Errorf("%s is %v", metric, got)
		}
	}
	stop := func() string { mu.Lock(); defer mu.Unlock(); return log.String() }
	for deadline := time.After(time.Minute); !strings.Contains(stop(), "answers again"); { // said after subscribers were told
		select {
		case <-deadline:
			t.Fatal("the poller does not say that the repository answers again")
		case <-time.After(5 * time.Millisecond):
		}
	}
	for _, want := range []string{"level=WARN", "repository does not answer", "repository=" + s.URL("shop"), "503", "repository answers again"} {
		if !strings.Contains(stop(), want) {
			t.Errorf("the log lacks %q: %s", want, stop())
		}
	}
	if strings.Contains(stop(), "s3cret") {
		t.Error("the log has a secret")
	}
}

func TestSecretsOfAKilledProcessAreRemoved(t *testing.T) {
	dir, secrets := t.TempDir(), t.TempDir()
	options := gitrepo.Options{Dir: dir, SecretsDir: secrets}
	killed := must(gitrepo.New(t.Context(), options))(t) // never closed before the next one starts
	t.Cleanup(killed.Close)
	other := must(gitrepo.New(t.Context(), gitrepo.Options{Dir: t.TempDir(), SecretsDir: secrets}))(t)
	t.Cleanup(other.Close)
	next := must(gitrepo.New(t.Context(), options))(t)
	t.Cleanup(next.Close)
	if left := must(filepath.Glob(filepath.Join(secrets, "*")))(t); len(left) != 2 {
		t.Errorf("%v: want the folder of the new process and that of another", left)
	}
	if info := must(os.Stat(must(filepath.Glob(filepath.Join(secrets, "*")))(t)[0]))(t); info.Mode().Perm() != 0o700 {
		t.Errorf("rights %s", info.Mode())
	}
}

// BenchmarkObjectRead reads files of 1 KiB by their ids, the hot path of every
// render: one answer of the long-lived git cat-file each.
func BenchmarkObjectRead(b *testing.B) {
	s, r := server(b, gitserver.Options{})
	files := gitserver.Files{}
	for i := range 500 {
		files[fmt.Sprintf("%d.yaml", i)] = noise(1024 + i)
	}
	must(r.Commit("first", files))(b)
	now := open(b, mirrors(b), repo.Repository{URL: s.URL("shop")}, main)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for i := 0; p.Next(); i++ {
			if _, err := now.ReadFile(fmt.Sprintf("%d.yaml", i%500)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkResolve is what an Application does at each look: a lookup in what
// the poller knows.
func BenchmarkResolve(b *testing.B) {
	s, r := server(b, gitserver.Options{})
	must(r.Commit("first", gitserver.Files{"a": "1"}))(b)
	m := mirrors(b, func(o *gitrepo.Options) { o.PollInterval = time.Hour })
	with := repo.Repository{URL: s.URL("shop")}
	open(b, m, with, main)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Resolve(b.Context(), with, main, false); err != nil {
			b.Fatal(err)
		}
	}
}
