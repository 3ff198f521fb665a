package gitrepo_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// TestMain lets this binary be what ssh starts to get through a proxy.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == gitrepo.TunnelCommand {
		if err := gitrepo.Tunnel(context.Background(), os.Args[2], os.Args[3], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// join copies between two connections until one ends.
func join(a, b net.Conn) {
	go func() {
		_, _ = io.Copy(a, b)
		_ = a.Close()
	}()
	_, _ = io.Copy(b, a)
	_ = b.Close()
}

// connectProxy lets those through who know the password.
func connectProxy(t *testing.T, used *atomic.Int32) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Authorization", r.Header.Get("Proxy-Authorization"))
		if user, password, _ := r.BasicAuth(); r.Method != http.MethodConnect || user != "me" || password != "pr0xy-word" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		to, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		used.Add(1)
		from, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, err = io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
		}
		if err == nil {
			join(from, to)
		}
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// socksProxy speaks as much of SOCKS 5 as a client without a password needs.
func socksProxy(t *testing.T, used *atomic.Int32) string {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				head := make([]byte, 2)
				if _, err := io.ReadFull(from, head); err != nil {
					return
				}
				_, _ = io.ReadFull(from, make([]byte, head[1]))
				_, _ = from.Write([]byte{5, 0})
				request := make([]byte, 10) // an IPv4 address and a port
				if _, err := io.ReadFull(from, request); err != nil {
					return
				}
				to, err := net.Dial("tcp", fmt.Sprintf("%d.%d.%d.%d:%d", request[4], request[5], request[6], request[7], binary.BigEndian.Uint16(request[8:])))
				if err != nil {
					return
				}
				used.Add(1)
				_, _ = from.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
				join(from, to)
			}()
		}
	}()
	return l.Addr().String()
}

// TestSSHThroughAProxy reaches a real sshd through proxies of both kinds; the
// password of a proxy shows nowhere.
func TestSSHThroughAProxy(t *testing.T) {
	port, key, known := sshd(t)
	_, r := server(t, gitserver.Options{})
	must(r.Commit("first", gitserver.Files{"a": "over ssh"}))(t)
	self := must(os.Executable())(t)
	lines := recordGit(t)
	user := strings.TrimSpace(string(must(exec.Command("id", "-un").Output())(t)))
	var used atomic.Int32
	with := repo.Repository{URL: fmt.Sprintf("ssh://%s@127.0.0.1:%s%s", user, port, r.Dir()), SSHPrivateKey: repo.Secret(key), KnownHosts: known}
	http, socks := connectProxy(t, &used), socksProxy(t, &used)
	m := mirrors(t, func(o *gitrepo.Options) { o.Tunnel = []string{self, gitrepo.TunnelCommand} })
	for _, proxy := range []string{"http://me:pr0xy-word@" + http, "socks5://" + socks} {
		with.Proxy = repo.Secret(proxy)
		used.Store(0)
		if got := content(t, open(t, m, with, main), "a"); got != "over ssh" || used.Load() == 0 {
			t.Errorf("%s: %q over %d tunnels", proxy, got, used.Load())
		}
	}
	for _, hosts := range []string{"127.0.0.1", "other, 127.0.0.0/8", "*"} {
		with.NoProxy = hosts
		used.Store(0)
		if got := content(t, open(t, m, with, main), "a"); got != "over ssh" || used.Load() != 0 {
			t.Errorf("all but %s: %q over %d tunnels", hosts, got, used.Load())
		}
	}
	with.NoProxy = ""
	for proxy, want := range map[string]string{"http://me:wr0ng-word@" + http: "407", "ftp://x": "scheme \"ftp\" is not known", "http://127.0.0.1:1": "refused"} {
		with.Proxy = repo.Secret(proxy)
		_, err := m.Resolve(t.Context(), with, main, true)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "wr0ng") {
			t.Errorf("%s: error %v, want %s", proxy, err, want)
		}
	}
	for _, line := range lines() {
		if strings.Contains(line, "pr0xy-word") {
			t.Errorf("a password stands among the arguments of %s", line)
		}
	}
	if _, err := mirrors(t).Resolve(t.Context(), with, main, true); err == nil || !strings.Contains(err.Error(), "ssh through a proxy is not available here") {
		t.Errorf("without a tunnel: %v", err)
	}
}
