package gitrepo_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/test/gitserver"
)

func lfsPointer(content string) (oid, text string) {
	oid = fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
	return oid, fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", oid, len(content))
}

func TestLargeFiles(t *testing.T) {
	good, goodText := lfsPointer("the large file")
	bad, badText := lfsPointer("something else")
	lost, lostText := lfsPointer("never pushed")
	_, hugeText := lfsPointer(strings.Repeat("x", 10))
	var downloads atomic.Int32
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		downloads.Add(1)
		if q.Header.Get("Authorization") != "" || q.Header.Get("X-Ticket") != "valid" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte("the large file"))
	}))
	t.Cleanup(store.Close)
	s, r := server(t, gitserver.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if user, password, _ := q.BasicAuth(); user != "bot" || password != "s3cret" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			if q.URL.Path != "/shop.git/info/lfs/objects/batch" {
				next.ServeHTTP(w, q)
				return
			}
			var ask struct {
				Operation string
				Objects   []struct {
					OID  string `json:"oid"`
					Size int64  `json:"size"`
				}
			}
			if err := json.NewDecoder(q.Body).Decode(&ask); err != nil || ask.Operation != "download" || len(ask.Objects) != 1 {
				w.WriteHeader(http.StatusUnprocessableEntity)
				return
			}
			answer := map[string]any{"oid": ask.Objects[0].OID, "size": ask.Objects[0].Size}
			switch ask.Objects[0].OID {
			case good, bad:
				answer["actions"] = map[string]any{"download": map[string]any{"href": store.URL + "/x", "header": map[string]string{"X-Ticket": "valid"}}}
			case lost:
				answer["error"] = map[string]any{"code": 404, "message": "s3cret gone"}
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"objects": []any{answer}})
		})
	}})
	must(r.Commit("first", gitserver.Files{
		"good": goodText, "bad": badText, "lost": lostText, "huge": strings.Replace(hugeText, "size 10", "size 1099511627776", 1), "almost": goodText + "more\n", ".lfsconfig": "[lfs]\n\turl = " + store.URL + "\n",
	}))(t)
	dir := t.TempDir()
	m := mirrors(t, func(o *gitrepo.Options) { o.Dir = dir })
	with := repo.Repository{URL: s.URL("shop"), Username: "bot", Password: "s3cret", EnableLFS: true}
	now := open(t, m, with, main)
	for range 3 {
		if got := content(t, now, "good"); got != "the large file" {
			t.Errorf("read %q", got)
		}
	}
	if n := downloads.Load(); n != 1 {
		t.Errorf("downloaded %d times, want once", n)
	}
	each(t, filepath.Join(dir, "*", "lfs", "*"), overwrite)
	if got := content(t, now, "good"); got != "the large file" || downloads.Load() != 2 {
		t.Errorf("a damaged copy gives %q after %d downloads", got, downloads.Load())
	}
	if got := content(t, now, "almost"); got != goodText+"more\n" {
		t.Errorf("a file that is no pointer gives %q", got)
	}
	for path, want := range map[string]string{"bad": "sent", "lost": "404", "huge": "too large: 1099511627776 bytes"} {
		if _, err := now.ReadFile(path); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s gives %v, want %q", path, err, want)
		}
	}
	with.EnableLFS = false
	if got := content(t, open(t, m, with, main), "good"); got != goodText {
		t.Errorf("with LFS switched off: %q", got)
	}
}

// TestLargeFilesOverSSH: the host says where its LFS server is.
func TestLargeFilesOverSSH(t *testing.T) {
	_, text := lfsPointer("the large file")
	_, r := server(t, gitserver.Options{})
	must(r.Commit("first", gitserver.Files{"good": text}))(t)
	a := newAuthority(t)
	cert, key := a.issue(t, time.Now().Add(time.Hour))
	var front *httptest.Server
	front = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch {
		case q.Header.Get("Authorization") != "RemoteAuth ticket":
			w.WriteHeader(http.StatusForbidden)
		case q.URL.Path == "/objects/batch":
			var ask struct{ Objects []map[string]any }
			_ = json.NewDecoder(q.Body).Decode(&ask)
			ask.Objects[0]["actions"] = map[string]any{"download": map[string]any{"href": front.URL + "/x", "header": map[string]string{"Authorization": "RemoteAuth ticket"}}}
			_ = json.NewEncoder(w).Encode(map[string]any{"objects": ask.Objects})
		default:
			_, _ = w.Write([]byte("the large file"))
		}
	}))
	front.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{must(tls.X509KeyPair([]byte(cert), []byte(key)))(t)}}
	front.StartTLS()
	t.Cleanup(front.Close)
	bin := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = '%s' ] && [ \"$2\" = download ] || exit 1\necho '{\"href\":\"%s\",\"header\":{\"Authorization\":\"RemoteAuth ticket\"}}'\n", r.Dir(), front.URL)
	if err := os.WriteFile(filepath.Join(bin, "git-lfs-authenticate"), []byte(script), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	port, sshKey, known := sshd(t, "SetEnv PATH="+bin+":"+os.Getenv("PATH"))
	user := strings.TrimSpace(string(must(exec.Command("id", "-un").Output())(t)))
	with := repo.Repository{URL: fmt.Sprintf("ssh://%s@127.0.0.1:%s%s", user, port, r.Dir()), SSHPrivateKey: repo.Secret(sshKey), KnownHosts: known, CAData: a.pem, EnableLFS: true}
	if got := content(t, open(t, mirrors(t), with, main), "good"); got != "the large file" {
		t.Errorf("read %q", got)
	}
}
