package webhook_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
	clocks "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/internal/server/webhook"
)

const secret = "canary-secret"

var start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// rig is a receiver whose events are kept.
type rig struct {
	*webhook.Receiver
	events  []webhook.Event
	secrets webhook.Secrets
	config  map[string]string
	full    bool
	clock   *clocks.FakePassiveClock
	log     bytes.Buffer
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{config: map[string]string{}, clock: clocks.NewFakePassiveClock(start)}
	receiver, err := webhook.NewReceiver(webhook.Options{
		Secrets: func() webhook.Secrets { return r.secrets }, Config: func() map[string]string { return r.config },
		Accept: func(e webhook.Event) bool {
			if r.full {
				return false
			}
			r.events = append(r.events, e)
			return true
		},
		Follows: func(string) bool { return false }, Log: slog.New(slog.NewTextHandler(&r.log, nil)), Clock: r.clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Receiver = receiver
	return r
}

func (r *rig) post(headers http.Header, body io.Reader) *httptest.ResponseRecorder {
	q := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/api/webhook", body)
	for name, values := range headers {
		q.Header[name] = values
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, q)
	return w
}

// payload is a file of testdata: headers, the body, and what it says.
type payload struct {
	name    string
	headers http.Header
	body    []byte
	says    string
}

func payloads(t testing.TB) []payload {
	t.Helper()
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatal(err, len(names))
	}
	var out []payload
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p := payload{name: strings.TrimSuffix(filepath.Base(name), ".txtar"), headers: http.Header{}}
		for _, f := range a.Files {
			switch f.Name {
			case "headers":
				for _, line := range strings.Split(strings.TrimSpace(string(f.Data)), "\n") {
					key, value, _ := strings.Cut(line, ": ")
					p.headers.Set(key, value)
				}
			case "body.json":
				p.body = f.Data
			case "says":
				p.says = string(f.Data)
			}
		}
		out = append(out, p)
	}
	return out
}

func update(t *testing.T, name, says string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txtar")
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.Files {
		if a.Files[i].Name == "says" {
			a.Files[i].Data = []byte(says)
			says = ""
		}
	}
	if says != "" {
		a.Files = append(a.Files, txtar.File{Name: "says", Data: []byte(says)})
	}
	if err := os.WriteFile(file, txtar.Format(a), 0o600); err != nil {
		t.Fatal(err)
	}
}

// says writes an event for people.
func says(all []webhook.Event) string {
	var out strings.Builder
	for _, e := range all {
		fmt.Fprintln(&out, e.Provider)
		for _, p := range e.Pushes {
			files := "files not known"
			if p.Files != nil {
				files = strings.Join(p.Files, " ")
			}
			fmt.Fprintf(&out, "push %s %s default %v commit %.8s: %s\n", p.URL, p.Ref, p.Default, p.Commit, files)
		}
		for _, i := range e.Images {
			fmt.Fprintf(&out, "image %s %s\n", i.URL, i.Tag)
		}
		if p := e.Pull; p != nil {
			fmt.Fprintf(&out, "pull request at %s %s owner %q repo %q project %q id %d action %q\n", p.Provider, p.URL, p.Owner, p.Repo, p.Project, p.ID, p.Action)
		}
	}
	if out.Len() == 0 {
		return "nothing\n"
	}
	return out.String()
}

func mac(body []byte) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

// sign adds what every provider would.
func sign(h http.Header, body []byte) http.Header {
	h = h.Clone()
	h.Set("X-Hub-Signature-256", "sha256="+mac(body))
	h.Set("X-Hub-Signature", "sha256="+mac(body))
	h.Set("X-Gogs-Signature", mac(body))
	h.Set("X-Gitlab-Token", secret)
	if h.Get("X-Hook-UUID") != "" {
		h.Set("X-Hook-UUID", "{"+strings.ToUpper(secret)+"}")
	}
	q := &http.Request{Header: http.Header{}}
	q.SetBasicAuth("azure", secret)
	h.Set("Authorization", q.Header.Get("Authorization"))
	return h
}

var allSecrets = webhook.Secrets{GitHub: secret, GitLab: secret, Gogs: secret, BitbucketServer: secret, BitbucketUUID: secret, AzureUser: "azure", AzurePassword: secret}
