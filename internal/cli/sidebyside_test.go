package cli_test

import (
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-cd/sluice/internal/cli/config"
	"github.com/sluice-cd/sluice/test/apiserver"
)

// side is a folder with a configuration file that processes share.
type side struct {
	*testing.T
	self, path string
}

// run runs the command line as a process of its own.
func (s *side) run(args ...string) error {
	cmd := &exec.Cmd{Path: s.self, Args: append([]string{"argocd"}, args...), Env: append(os.Environ(), "ARGOCD_CONFIG_DIR="+filepath.Dir(s.path))}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", args, err, out)
	}
	return nil
}

// TestNoContextIsLost has many processes change the file at the same time: each
// change is there in the end, whichever was last.
func TestNoContextIsLost(t *testing.T) {
	t.Parallel()
	api, err := apiserver.Load([]byte("token: h.e30.s\nusername: admin\npassword: secret\n"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api)
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &side{T: t, self: self, path: filepath.Join(t.TempDir(), "config")}
	const each = 6
	err = config.Update(t.Context(), s.path, func(f *config.File) error {
		for n := range each {
			for _, kind := range []string{"kept", "dropped", "ended"} {
				name := fmt.Sprintf("%s-%d", kind, n)
				f.Put(config.Context{Name: name, Server: config.Server{Server: "127.0.0.1:1", PlainText: true}, User: config.User{Name: name, AuthToken: "token"}})
			}
		}
		f.CurrentContext = "kept-0"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	calls := [][]string{{"configure", "--prompts-enabled"}}
	for n := range each {
		at := func(kind string) string { return fmt.Sprintf("%s-%d", kind, n) }
		calls = append(calls,
			[]string{"login", address, "--plaintext", "--username", "admin", "--password", "secret", "--name", at("new")},
			[]string{"login", "--core", "--name", at("core")}, []string{"context", at("dropped"), "--delete"}, []string{"logout", at("ended")}, []string{"context", at("kept")})
	}
	failures := make([]error, len(calls))
	var all sync.WaitGroup
	for n, call := range calls {
		all.Go(func() { failures[n] = s.run(call...) })
	}
	all.Wait()
	for _, err := range failures {
		if err != nil {
			t.Error(err)
		}
	}
	s.check(each)
}

func (s *side) check(each int) {
	s.Helper()
	f, err := config.Read(s.path)
	if err != nil || f == nil {
		s.Fatalf("the file in the end: %v, %v", f, err)
	}
	var names []string
	for _, c := range f.Contexts {
		one, err := f.Resolve(c.Name)
		if err != nil {
			s.Errorf("context %s: %v", c.Name, err)
			continue
		}
		names = append(names, c.Name)
		if ended := strings.HasPrefix(c.Name, "ended"); ended != (one.User.AuthToken == "") && !strings.HasPrefix(c.Name, "core") {
			s.Errorf("context %s has a token: %t", c.Name, one.User.AuthToken != "")
		}
	}
	var want []string
	for n := range each {
		for _, kind := range []string{"kept", "ended", "new", "core"} {
			want = append(want, fmt.Sprintf("%s-%d", kind, n))
		}
	}
	slices.Sort(names)
	slices.Sort(want)
	if !slices.Equal(names, want) {
		s.Errorf("contexts are %q, want %q", names, want)
	}
	if !f.PromptsEnabled || !slices.Contains(names, f.CurrentContext) {
		s.Errorf("prompts %t, current context %q", f.PromptsEnabled, f.CurrentContext)
	}
}
