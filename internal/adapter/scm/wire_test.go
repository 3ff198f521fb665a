package scm_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/tools/txtar"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/scm"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

var update = flag.Bool("update", false, "write what is answered into testdata")

const (
	token  = "s3cr3t-t0ken"
	now    = 1_790_000_000
	secret = "tokens"
)

// client is a client whose public addresses are those of the server.
func client(server *httptest.Server, environment ...string) *scm.Client {
	at := "http://127.0.0.1:1"
	if server != nil {
		at = server.URL
	}
	return scm.New(scm.Options{
		Environment: environment, Bitbucket: at + "/2.0", AWS: func(service, region string) string { return at + "/" + service + "." + region },
		Timeout: 5 * time.Minute, GitHubMetrics: true, ReadFile: os.ReadFile,
		Log: slog.New(slog.DiscardHandler), Clock: testclock.NewFakePassiveClock(time.Unix(now, 0)), Registerer: prometheus.NewRegistry(),
	})
}

// access reads tokens from one Secret.
func access() scm.Access {
	return scm.Access{
		Namespace: "argocd", Name: "set", Default: true,
		Token: func(_ context.Context, ref v1alpha1.SecretRef) (repo.Secret, error) {
			if ref.SecretName != secret {
				return "", fmt.Errorf("secret %s does not exist", ref.SecretName)
			}
			return token, nil
		},
		CA: func(context.Context, v1alpha1.ConfigMapKeyRef) (string, error) {
			return "", errors.New("no config map")
		},
		App: func(_ context.Context, name string) (repo.GitHubApp, error) {
			return repo.GitHubApp{}, fmt.Errorf("secret %s does not exist", name)
		},
	}
}

// recorded answers with the files of an archive that are named "METHOD path",
// for AWS "POST service Operation body". "{{server}}" stands for its address; a
// file may begin with "STATUS" and header lines, ended by an empty line.
type recorded struct {
	archive *txtar.Archive
	at      string

	mu    sync.Mutex
	asked map[string]bool
	wrong []string
}

func (s *recorded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Method + " " + r.URL.RequestURI()
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		body, _ := io.ReadAll(r.Body)
		_, operation, _ := strings.Cut(target, ".")
		key = fmt.Sprintf("POST %s %s %s", strings.Trim(r.URL.Path, "/"), operation, body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.archive.Files {
		if f.Name == "auth" && r.Header.Get(strings.TrimSpace(strings.SplitN(string(f.Data), ":", 2)[0])) != strings.TrimSpace(strings.SplitN(string(f.Data), ":", 2)[1]) {
			s.wrong = append(s.wrong, fmt.Sprintf("%s came as %v", key, r.Header))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
	}
	for _, f := range s.archive.Files {
		if f.Name != key {
			continue
		}
		s.asked[key] = true
		text := strings.ReplaceAll(string(f.Data), "{{server}}", s.at)
		status := 200
		if strings.HasPrefix(text, "STATUS ") {
			head, body, _ := strings.Cut(text, "\n\n")
			text = body
			for i, line := range strings.Split(head, "\n") {
				if i == 0 {
					_, _ = fmt.Sscanf(line, "STATUS %d", &status)
					continue
				}
				name, value, _ := strings.Cut(line, ": ")
				w.Header().Set(name, value)
			}
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
		return
	}
	s.wrong = append(s.wrong, "there is no answer to "+key)
	w.WriteHeader(http.StatusTeapot)
}

// question is the part of a case that says what is asked.
type question struct {
	SCMProvider *v1alpha1.SCMProviderGenerator `json:"scmProvider"`
	PullRequest *v1alpha1.PullRequestGenerator `json:"pullRequest"`
	Environment []string                       `json:"environment"`
}

// TestAtTheWire asks servers that answer in recorded shapes. An archive of
// testdata holds "ask", what requests carry in "auth", the answers, and "want":
// one repository or pull request a line, or the error. All answers must have
// been asked for. Run with -update to accept what is answered.
func TestAtTheWire(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			handler := &recorded{archive: archive, asked: map[string]bool{}}
			server := httptest.NewServer(handler)
			defer server.Close()
			handler.at = server.URL
			want := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == "want" })
			got := ask(t, server, archive)
			for _, wrong := range handler.wrong {
				t.Error(wrong)
			}
			for _, f := range archive.Files {
				if (strings.HasPrefix(f.Name, "GET ") || strings.HasPrefix(f.Name, "POST ")) && !handler.asked[f.Name] {
					t.Errorf("nobody asks for %s", f.Name)
				}
			}
			if *update {
				if want < 0 {
					archive.Files = append(archive.Files, txtar.File{Name: "want"})
					want = len(archive.Files) - 1
				}
				archive.Files[want].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want < 0 {
				t.Fatalf("there is no want; got\n%s", got)
			}
			if diff := gocmp.Diff(string(archive.Files[want].Data), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func ask(t *testing.T, server *httptest.Server, archive *txtar.Archive) string {
	t.Helper()
	var q question
	for _, f := range archive.Files {
		if f.Name == "ask" {
			if err := yaml.UnmarshalStrict([]byte(strings.ReplaceAll(string(f.Data), "{{server}}", server.URL)), &q); err != nil {
				t.Fatal(err)
			}
		}
	}
	var out strings.Builder
	line := func(v any) {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(raw)
		out.WriteByte('\n')
	}
	c := client(server, q.Environment...)
	var err error
	if q.SCMProvider != nil {
		listing, failure := c.Repositories(t.Context(), access(), q.SCMProvider)
		err = failure
		for _, r := range listing.Repositories {
			line(r)
		}
		if err == nil {
			fmt.Fprintf(&out, "seen %d\n", listing.Seen)
		}
	} else {
		requests, failure := c.PullRequests(t.Context(), access(), q.PullRequest)
		err = failure
		for _, r := range requests {
			line(r)
		}
	}
	if err != nil {
		fmt.Fprintf(&out, "error: %s\n", strings.ReplaceAll(err.Error(), server.URL, "{{server}}"))
	}
	return out.String()
}
