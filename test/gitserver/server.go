package gitserver

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi" //nolint:gosec // served on loopback by Go 1.26, which is not affected by httpoxy
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Options of a Server; the zero value serves without a password on a free
// port of the loopback interface.
type Options struct {
	// Address to listen on, default 127.0.0.1:0.
	Address string
	// Username and Password are asked of every client when one is set.
	Username, Password string
	// Wrap stands between clients and git, for tests that break things.
	Wrap func(http.Handler) http.Handler
	// Clock dates the commits; default the real one.
	Clock clock.PassiveClock
}

// Server serves the repositories of a folder.
type Server struct {
	options  Options
	dir      string
	backend  string
	listener net.Listener
	http     *http.Server
	served   sync.WaitGroup

	mu     sync.Mutex
	counts map[string]int
}

// New serves the repositories below dir, which is made when missing.
func New(dir string, o Options) (*Server, error) {
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("git server: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("git server: %w", err)
	}
	libexec, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("git server: git --exec-path: %w: install git", err)
	}
	backend := filepath.Join(strings.TrimSpace(string(libexec)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		return nil, fmt.Errorf("git server: %w: install the complete git package", err)
	}
	listener, err := net.Listen("tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("git server: listen on %s: %w", o.Address, err)
	}
	s := &Server{options: o, dir: dir, backend: backend, listener: listener, counts: map[string]int{}}
	var handler http.Handler = http.HandlerFunc(s.serve)
	if o.Wrap != nil {
		handler = o.Wrap(handler)
	}
	s.http = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	s.served.Add(1)
	go func() {
		defer s.served.Done()
		_ = s.http.Serve(listener) // ends with Close
	}()
	return s, nil
}

// URL is the address of a repository, without credentials.
func (s *Server) URL(name string) string {
	return "http://" + s.listener.Addr().String() + "/" + name + ".git"
}

// Count says how often clients asked for refs ("ls-refs") or objects
// ("fetch") so far.
func (s *Server) Count(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[what]
}

// Close stops serving; the repositories stay.
func (s *Server) Close() error {
	err := s.http.Close()
	s.served.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("git server: %w", err)
	}
	return nil
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if !s.admitted(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(w, "password required", http.StatusUnauthorized)
		return
	}
	// CGI knows no chunked bodies, and git sends large ones that way.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	s.count(r, body)
	handler := &cgi.Handler{
		Path: s.backend, Dir: s.dir, Stderr: io.Discard, InheritEnv: []string{"PATH"},
		Env: append(cleanEnvironment(), "GIT_PROJECT_ROOT="+s.dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_PROTOCOL="+r.Header.Get("Git-Protocol")),
	}
	handler.ServeHTTP(w, r)
}

func (s *Server) admitted(r *http.Request) bool {
	if s.options.Username == "" && s.options.Password == "" {
		return true
	}
	user, password, ok := r.BasicAuth()
	return ok && subtle.ConstantTimeCompare([]byte(user), []byte(s.options.Username)) == 1 &&
		subtle.ConstantTimeCompare([]byte(password), []byte(s.options.Password)) == 1
}

func (s *Server) count(r *http.Request, body []byte) {
	if !strings.HasSuffix(r.URL.Path, "/git-upload-pack") {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes.Contains(body, []byte("command=ls-refs")) {
		s.counts["ls-refs"]++
		return
	}
	s.counts["fetch"]++
}

// cleanEnvironment keeps the settings of the machine and its user away.
func cleanEnvironment() []string {
	return []string{"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C", "HOME=/nonexistent"}
}
