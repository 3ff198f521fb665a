package webhook_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
