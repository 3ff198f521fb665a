package webhook_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/server/webhook"
)

// TestDiffstat asks a server that answers as Bitbucket Cloud does.
func TestDiffstat(t *testing.T) {
	t.Parallel()
	const from, to = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	answer, status, asked := "", http.StatusOK, 0
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		user, password, _ := r.BasicAuth()
		if r.URL.Path != "/2.0/repositories/acme/shop/diffstat/"+to+".."+from || user != "u" || password != "hunter2" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		if status == http.StatusFound {
			w.Header().Set("Location", "https://evil.example")
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(api.Close)
	d := &webhook.Diffstat{Base: api.URL, Repository: func(string) repo.Repository { return repo.Repository{Username: "u", Password: "hunter2"} }}
	push := func(url, repository, from, to string) webhook.Push {
		return webhook.Push{Push: repo.Push{URL: url}, Range: &webhook.Range{Repository: repository, From: from, To: to}}
	}
	const home = "https://bitbucket.org/acme/shop"
	for name, c := range map[string]struct {
		push    webhook.Push
		answer  string
		status  int
		want    string
		problem string
		silent  bool
	}{
		"changed, moved, added": {push(home, "acme/shop", from, to), `{"values":[{"old":{"path":"a"},"new":{"path":"a"}},{"old":{"path":"b"},"new":{"path":"c"}},{"old":null,"new":{"path":"d"}}]}`, 200, "a a b c d", "", false},
		"nothing":               {push(home, "acme/shop", from, to), `{"values":[]}`, 200, "", "", false},
		"another page":          {push(home, "acme/shop", from, to), `{"values":[{"new":{"path":"a"}}],"next":"https://evil.example"}`, 200, "", "more files", false},
		"a redirect":            {push(home, "acme/shop", from, to), ``, 302, "", "answers 302", false},
		"no JSON":               {push(home, "acme/shop", from, to), `<html>`, 200, "", "not understood", false},
		"another host":          {push("https://evil.example/acme/shop", "acme/shop", from, to), ``, 200, "", "answers 403", false},
		"a path":                {push(home, "acme/..", from, to), ``, 200, "", "no two commits", true},
		"no repository":         {push(home, "acme", from, to), ``, 200, "", "no two commits", true},
		"no commit":             {push(home, "acme/shop", "main", to), ``, 200, "", "no two commits", true},
		"a query":               {push(home, "acme/shop", from, to+"?x"), ``, 200, "", "no two commits", true},
	} {
		asked, answer, status = 0, c.answer, c.status
		files, err := d.Files(t.Context(), c.push)
		if got := strings.Join(files, " "); got != c.want || (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) || c.silent != (asked == 0) {
			t.Errorf("%s: %q %v after %d questions", name, got, err, asked)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: a secret: %v", name, err)
		}
	}
	api.Close()
	if _, err := d.Files(t.Context(), push(home, "acme/shop", from, to)); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("nobody there: %v", err)
	}
}

// TestFilesAreAskedForWhenTheyMatter: only when an Application goes by paths, and
// without an answer everybody looks again.
func TestFilesAreAskedForWhenTheyMatter(t *testing.T) {
	const shop = "https://bitbucket.org/acme/shop"
	asked := make(chan string, 10)
	answer := []string{"apps/a/x.yaml"}
	var problem error
	d, m, _ := dispatcher(t, func(o *webhook.DispatchOptions) {
		for name, path := range map[string]string{"a": "apps/a", "b": "apps/b"} {
			one := app(t, name, `{source: {repoURL: "`+shop+`", path: `+path+`}}`)
			one.Annotations = map[string]string{v1alpha1.AnnotationGeneratePaths: "."}
			o.Index.Set(one)
		}
		o.Index.Set(app(t, "all", `{source: {repoURL: "https://bitbucket.org/acme/other"}}`))
		o.Changed = func(_ context.Context, p webhook.Push) ([]string, error) {
			asked <- p.Range.Repository
			return answer, problem
		}
	})
	push := func(url string) webhook.Event {
		e := pushTo(url, "refs/heads/main")
		e.Pushes[0].Range = &webhook.Range{Repository: strings.TrimPrefix(url, "https://bitbucket.org/")}
		return e
	}
	d.Accept(push(shop))
	if got := m.take(t, 1); got != "a refresh" || <-asked != "acme/shop" {
		t.Errorf("a push marks %s", got)
	}
	d.Accept(push("https://bitbucket.org/acme/other"))
	if got := m.take(t, 1); got != "all refresh" || len(asked) != 0 {
		t.Errorf("a push that concerns all marks %s after %d questions", got, len(asked))
	}
	problem = errors.New("bitbucket answers 500")
	d.Accept(push(shop))
	if got := m.take(t, 1); got != "b refresh" { // a was told less than two seconds ago: it comes later
		t.Errorf("a push that nobody explains marks %s", got)
	}
}

// TestRangeOfAPush: a push of Bitbucket Cloud says what it spans; a new branch
// spans nothing.
func TestRangeOfAPush(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"new":{"type":"branch","name":"main","target":{"hash":"bbbbbbb"}},"old":{"type":"branch","name":"main","target":{"hash":"aaaaaaa"}}}`: "acme/shop aaaaaaa bbbbbbb",
		`{"new":{"type":"branch","name":"main","target":{"hash":"bbbbbbb"}},"old":null}`:                                                        "",
	} {
		r := newRig(t)
		r.secrets.BitbucketUUID = "id"
		header := http.Header{"X-Hook-Uuid": {"id"}, "X-Event-Key": {"repo:push"}}
		r.post(header, strings.NewReader(`{"push":{"changes":[`+body+`]},"repository":{"full_name":"acme/shop","links":{"html":{"href":"https://bitbucket.org/acme/shop"}}}}`))
		if len(r.events) != 1 || len(r.events[0].Pushes) != 1 {
			t.Fatalf("%s: %+v", body, r.events)
		}
		got := ""
		if x := r.events[0].Pushes[0].Range; x != nil {
			got = strings.Join([]string{x.Repository, x.From, x.To}, " ")
		}
		if got != want {
			t.Errorf("%s spans %q, want %q", body, got, want)
		}
	}
}
