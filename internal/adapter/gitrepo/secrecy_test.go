package gitrepo_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// TestSecretsShowNowhere lets every kind of credential fail while git hangs and
// looks for them in arguments and environments of all processes, in the
// mirrors, in errors and in logs.
func TestSecretsShowNowhere(t *testing.T) {
	const canary = "c4n4ryc4n4ry"
	arrived, gate := make(chan struct{}, 100), make(chan struct{})
	var echo atomic.Bool
	s, _ := server(t, gitserver.Options{Wrap: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if echo.Load() { // a server that sends back what it got
				w.Header().Set("Content-Type", "text/plain")
				w.WriteHeader(http.StatusForbidden)
				_, password, _ := q.BasicAuth()
				_, _ = fmt.Fprintf(w, "no: %s %s", q.Header.Get("Authorization"), password)
				return
			}
			arrived <- struct{}{}
			<-gate
			w.WriteHeader(http.StatusInternalServerError)
		})
	}})
	var log bytes.Buffer
	var mu sync.Mutex
	dir, secrets := t.TempDir(), t.TempDir()
	m := mirrors(t, func(o *gitrepo.Options) {
		o.Dir, o.SecretsDir, o.Log = dir, secrets, slog.New(slog.NewJSONHandler(&locked{&mu, &log}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	inURL := strings.Replace(s.URL("shop"), "http://", "http://bot:"+canary+"@", 1)
	kinds := []repo.Repository{
		{URL: s.URL("shop"), Username: "bot", Password: canary}, {URL: s.URL("shop"), BearerToken: canary}, {URL: inURL},
		{URL: s.URL("shop"), SSHPrivateKey: canary, TLSClientCertKey: canary},
		{URL: s.URL("shop"), Proxy: repo.Secret(strings.TrimSuffix(inURL, "/shop.git")), Username: "bot", Password: canary},
		{URL: "ssh://git:" + canary + "@" + mute(t, arrived, gate) + "/x", SSHPrivateKey: canary, Insecure: true}, {URL: "http://bot:" + canary + "@127.0.0.1:1/x"}, {URL: "https://bot:" + canary + "@127.0.0.1:1/x/../y"},
	}
	var failures []string
	var callers sync.WaitGroup
	for _, with := range kinds {
		callers.Go(func() {
			_, err := m.Resolve(t.Context(), with, main, false)
			mu.Lock()
			defer mu.Unlock()
			failures = append(failures, fmt.Sprint(err))
		})
	}
	for range 6 {
		await(t, arrived, "git at the server")
	}
	noProcessShows(t, dir, canary)
	close(gate)
	callers.Wait()
	echo.Store(true)
	for _, with := range kinds[:3] {
		_, err := m.Resolve(t.Context(), with, main, true)
		failures = append(failures, fmt.Sprint(err))
	}
	noFileShows(t, dir, secrets, canary)
	mu.Lock()
	defer mu.Unlock()
	for _, text := range append(failures, log.String()) {
		if text == "<nil>" || strings.Contains(text, canary) || strings.Contains(text, "Ym90OmM0bjRyeWM0bjRyeQ") {
			t.Errorf("no error, or a secret, in %s", text)
		}
	}
}

// mute accepts one connection, says so, and says nothing to it until the
// gate opens.
func mute(t *testing.T, arrived chan<- struct{}, gate <-chan struct{}) string {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		arrived <- struct{}{}
		<-gate
		_ = c.Close()
	}()
	return l.Addr().String()
}

// noProcessShows looks into every process of the machine.
func noProcessShows(t *testing.T, dir, canary string) {
	t.Helper()
	running := processes(t, dir)
	if len(running) < 5 {
		t.Errorf("%d processes of git, want at least 5", len(running))
	}
	for _, file := range must(filepath.Glob("/proc/[0-9]*/*"))(t) {
		if base := filepath.Base(file); base != "environ" && base != "cmdline" {
			continue
		}
		if raw, err := os.ReadFile(file); err == nil && bytes.Contains(raw, []byte(canary)) {
			t.Errorf("%s shows a secret: %q", file, raw)
		}
	}
}

// noFileShows looks into the mirrors, and at the rights of the secrets folder.
func noFileShows(t *testing.T, dir, secrets, canary string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if raw, err := os.ReadFile(name); err == nil && bytes.Contains(raw, []byte(canary)) {
			t.Errorf("%s holds a secret", name)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if err := filepath.WalkDir(secrets, func(name string, _ os.DirEntry, err error) error {
		if err == nil && must(os.Stat(name))(t).Mode().Perm()&0o077 != 0 && name != secrets {
			t.Errorf("%s is open to others", name)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

type locked struct {
	mu *sync.Mutex
	to *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(p)
}
