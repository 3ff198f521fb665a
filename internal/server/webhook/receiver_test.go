package webhook_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/internal/server/webhook"
)

var rewrite = flag.Bool("update", false, "write what payloads say into testdata")

// TestPayloads reads the shapes that hosts send; those of the advisories
// (T-59531, T-59537, T-59538) are among them.
func TestPayloads(t *testing.T) {
	for _, p := range payloads(t) {
		t.Run(p.name, func(t *testing.T) {
			r := newRig(t)
			r.secrets = allSecrets
			w := r.post(sign(p.headers, p.body), bytes.NewReader(p.body))
			if w.Code != http.StatusOK {
				t.Errorf("%d %s, log %s", w.Code, w.Body, r.log.String())
			}
			got := says(r.events)
			if *rewrite {
				update(t, p.name, got)
				return
			}
			if diff := cmp.Diff(p.says, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestUnsigned: with a secret, what is not signed, wrongly signed, or signed
// for another body is refused; without one it is accepted with a warning.
func TestUnsigned(t *testing.T) {
	for _, p := range payloads(t) {
		if p.name == "bitbucketserver-ping" {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			want := http.StatusBadRequest
			if strings.HasPrefix(p.name, "ghcr") {
				want = http.StatusUnauthorized
			}
			for name, headers := range map[string]http.Header{
				"unsigned": p.headers, "for another body": sign(p.headers, append([]byte(" "), p.body...)), "no hex": func() http.Header {
					h := sign(p.headers, p.body)
					for _, key := range []string{"X-Hub-Signature-256", "X-Hub-Signature", "X-Gogs-Signature"} {
						h.Set(key, "sha256=zz")
					}
					return h
				}(),
			} {
				r := newRig(t)
				r.secrets = allSecrets
				if name != "unsigned" && (strings.HasPrefix(p.name, "gitlab") || strings.HasPrefix(p.name, "azure") || strings.HasPrefix(p.name, "bitbucket-")) {
					continue // these send a secret and no signature
				}
				w := r.post(headers, bytes.NewReader(p.body))
				if w.Code != want || len(r.events) > 0 || strings.Contains(w.Body.String()+r.log.String(), secret) {
					t.Errorf("%s: %d %s, %d events", name, w.Code, w.Body, len(r.events))
				}
			}
			open := newRig(t)
			if w := open.post(p.headers, bytes.NewReader(p.body)); w.Code != http.StatusOK || strings.Count(open.log.String(), "accepted from everybody") != 1 {
				t.Errorf("without secret: %d, log %s", w.Code, open.log.String())
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	push := payloads(t)[0]
	for _, p := range payloads(t) {
		if p.name == "github-push" {
			push = p
		}
	}
	with := func(key, value string) http.Header {
		h := push.headers.Clone()
		h.Set(key, value)
		return h
	}
	r := newRig(t)
	r.config["webhook.maxPayloadSizeMB"] = "1"
	for name, c := range map[string]struct {
		headers http.Header
		body    io.Reader
		want    int
	}{
		"unknown sender": {http.Header{}, bytes.NewReader(push.body), 400},
		"form":           {with("Content-Type", "application/x-www-form-urlencoded"), strings.NewReader("payload=x"), 400},
		"no JSON":        {push.headers, strings.NewReader("nonsense"), 400},
		"empty":          {push.headers, strings.NewReader(""), 400},
		"wrong types":    {push.headers, strings.NewReader(`{"ref":7}`), 400},
		"list":           {push.headers, strings.NewReader(`[]`), 400},
		"too large":      {push.headers, bytes.NewReader(bytes.Repeat([]byte(" "), 1<<20+1)), 400},
		"unknown length": {push.headers, io.MultiReader(bytes.NewReader(bytes.Repeat([]byte(" "), 1<<20)), strings.NewReader("{}")), 400},
		"breaks off":     {push.headers, io.MultiReader(strings.NewReader(`{"ref":`), failing{}), 400},
		"deeply nested":  {push.headers, strings.NewReader(strings.Repeat("[", 100000)), 400},
	} {
		if w := r.post(c.headers, c.body); w.Code != c.want || len(r.events) > 0 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	q := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/webhook", nil)
	w := httptest.NewRecorder()
	if r.ServeHTTP(w, q); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET: %d", w.Code)
	}
	r.full = true
	if w := r.post(push.headers, bytes.NewReader(push.body)); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("full: %d", w.Code)
	}
	r.full = false
	if w := r.post(push.headers, bytes.NewReader(push.body)); w.Code != http.StatusOK || len(r.events) != 1 {
		t.Errorf("the same event when there is room again: %d, %d events", w.Code, len(r.events))
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestTruncated cuts every payload at every byte: never a panic, never an event
// that nobody sent.
func TestTruncated(t *testing.T) {
	for _, p := range payloads(t) {
		r := newRig(t)
		for n := range len(bytes.TrimSpace(p.body)) {
			if w := r.post(p.headers, bytes.NewReader(p.body[:n])); w.Code != http.StatusBadRequest && len(r.events) > 0 {
				t.Fatalf("%s cut at %d: %d, %d events", p.name, n, w.Code, len(r.events))
			}
		}
		if strings.Contains(r.log.String(), "unexpectedly") {
			t.Errorf("%s: %s", p.name, r.log.String())
		}
	}
}

func TestReplayed(t *testing.T) {
	r := newRig(t)
	r.secrets = allSecrets
	for _, p := range payloads(t) {
		if p.name != "github-push" {
			continue
		}
		for range 1000 {
			if w := r.post(sign(p.headers, p.body), bytes.NewReader(p.body)); w.Code != http.StatusOK {
				t.Fatal(w.Code)
			}
		}
		if len(r.events) != 1 {
			t.Errorf("a thousand replays are %d events", len(r.events))
		}
		r.clock.SetTime(start.Add(5 * time.Minute))
		r.post(sign(p.headers, p.body), bytes.NewReader(p.body))
		if len(r.events) != 2 {
			t.Errorf("after the window: %d events", len(r.events))
		}
	}
}

// TestBodiesShareABudget is T-40634: whoever sends slowly or much cannot take
// the memory of the process.
func TestBodiesShareABudget(t *testing.T) {
	r := newRig(t)
	h := http.Header{"X-Github-Event": {"push"}}
	slow := make(chan int, 1)
	in, out := io.Pipe()
	go func() { slow <- r.post(h, in).Code }()
	if _, err := out.Write(bytes.Repeat([]byte(" "), 40<<20)); err != nil {
		t.Fatal(err)
	}
	second, more := io.Pipe()
	busy := make(chan int, 1)
	go func() { busy <- r.post(h, second).Code }()
	go func() { _, _ = more.Write(bytes.Repeat([]byte(" "), 40<<20)) }()
	if code := <-busy; code != http.StatusServiceUnavailable {
		t.Errorf("the second large body: %d", code)
	}
	_ = second.Close()
	_ = out.Close()
	if code := <-slow; code != http.StatusBadRequest {
		t.Errorf("the first: %d", code)
	}
	if w := r.post(h, bytes.NewReader(bytes.Repeat([]byte(" "), 40<<20))); w.Code != http.StatusBadRequest {
		t.Errorf("the memory is not given back: %d", w.Code)
	}
}

func TestBoundsOfAnEvent(t *testing.T) {
	changes := []map[string]any{}
	for range 5000 {
		changes = append(changes, map[string]any{"ref": map[string]any{"id": "refs/heads/x"}})
	}
	body, err := json.Marshal(map[string]any{"repository": map[string]any{"links": map[string]any{"clone": []map[string]any{{"href": "https://git/a/b"}}}}, "changes": changes})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	r.post(http.Header{"X-Event-Key": {"repo:refs_changed"}}, bytes.NewReader(body))
	if len(r.events) != 1 || len(r.events[0].Pushes) != 1 || r.events[0].Pushes[0].Ref != "" {
		t.Errorf("%d events, %+v", len(r.events), r.events)
	}
	long := `{"ref":"refs/heads/main","repository":{"html_url":"https://git/` + strings.Repeat("a", 5000) + `"}}`
	r.post(http.Header{"X-Github-Event": {"push"}}, strings.NewReader(long))
	if len(r.events) != 1 {
		t.Error("a URL of 5000 bytes is an event")
	}
	many := []string{}
	for range 4000 {
		many = append(many, "f")
	}
	body, err = json.Marshal(map[string]any{"ref": "refs/heads/main", "commits": []any{map[string]any{"added": many}}, "repository": map[string]any{"html_url": "https://git/a/b"}})
	if err != nil {
		t.Fatal(err)
	}
	r.post(http.Header{"X-Github-Event": {"push"}}, bytes.NewReader(body))
	if len(r.events) != 2 || r.events[1].Pushes[0].Files != nil {
		t.Error("4000 changed files are kept")
	}
}

func TestSecretsMayBeReferences(t *testing.T) {
	s := webhook.ParseSecrets(map[string][]byte{"webhook.github.secret": []byte("$other:key"), "webhook.gitlab.secret": []byte("plain\n")}, func(name, key string) (string, bool) {
		return "found", name == "other" && key == "key"
	})
	if s.GitHub.Reveal() != "found" || s.GitLab.Reveal() != "plain" || s.Gogs != "" {
		t.Errorf("%v", s)
	}
}

func FuzzWebhook(f *testing.F) {
	for _, p := range payloads(f) {
		for name, values := range p.headers {
			f.Add(name, values[0], p.headers.Get("X-Event-Key"), p.body)
		}
	}
	f.Fuzz(func(t *testing.T, header, value, key string, body []byte) {
		r := newRig(t)
		h := http.Header{}
		h.Set(header, value)
		if key != "" {
			h.Set("X-Event-Key", key)
		}
		r.post(h, bytes.NewReader(body))
		if strings.Contains(r.log.String(), "unexpectedly") {
			t.Error(r.log.String())
		}
		for _, e := range r.events {
			if len(e.Pushes) > 100 {
				t.Errorf("%d pushes", len(e.Pushes))
			}
		}
	})
}
