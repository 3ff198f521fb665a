package parameters_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/internal/adapter/parameters"
)

const token = "s3cr3t"

func TestAsk(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization") + " " + r.Header.Get("Content-Type") + " " + string(body)
		_, _ = io.WriteString(w, `{"output": {"parameters": [{"name": "a", "n": 3, "deep": {"x": [true]}}, {}]}}`)
	}))
	defer server.Close()
	q := parameters.Question{BaseURL: server.URL + "/", Token: token, ApplicationSet: "shop", Parameters: map[string]json.RawMessage{"a": json.RawMessage(`{"b": [1]}`)}}
	answer, err := parameters.New(nil).Ask(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if want := `POST /api/v1/getparams.execute Bearer s3cr3t application/json {"applicationSetName":"shop","input":{"parameters":{"a":{"b":[1]}}}}`; got != want {
		t.Errorf("asked %s\nwant  %s", got, want)
	}
	want := []map[string]any{{"name": "a", "n": 3.0, "deep": map[string]any{"x": []any{true}}}, {}}
	if diff := gocmp.Diff(want, answer); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestFailures: an answer is whole or an error, which never says what the
// service said.
func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		status     int
		body, want string
	}{
		"refused":       {401, token, "answers 401"},
		"in trouble":    {500, token, "answers 500"},
		"elsewhere":     {302, "", "answers 302"},
		"a web page":    {200, "<html>", "output.parameters, a list"},
		"half":          {200, `{"output": {"parameters": [{"a": `, "output.parameters, a list"},
		"nothing":       {200, `{}`, "output.parameters, a list"},
		"no parameters": {200, `{"output": {}}`, "output.parameters, a list"},
		"no objects":    {200, `{"output": {"parameters": ["` + token + `"]}}`, "output.parameters, a list"},
		"null":          {200, `{"output": {"parameters": [null]}}`, "parameters[0] that is no object"},
		"too much":      {200, strings.Repeat(" ", 33<<20), "more than 32 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "https://elsewhere.example")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}))
			defer server.Close()
			answer, err := parameters.New(nil).Ask(t.Context(), parameters.Question{BaseURL: server.URL, Token: token})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), token) {
				t.Errorf("%v, %v, want %q", answer, err, c.want)
			}
		})
	}
	for _, base := range []string{"", "ftp://x", "https://ann:" + token + "@x"} {
		if _, err := parameters.New(nil).Ask(t.Context(), parameters.Question{BaseURL: base}); err == nil || strings.Contains(err.Error(), token) {
			t.Errorf("%q: %v", base, err)
		}
	}
}

// TestM26Timeout: a service that does not answer ends the question in time.
func TestM26Timeout(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	_, err := parameters.New(nil).Ask(t.Context(), parameters.Question{BaseURL: server.URL, Timeout: 50 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Errorf("%v", err)
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	if _, err := parameters.New(nil).Ask(t.Context(), parameters.Question{BaseURL: gone.URL}); err == nil || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("%v", err)
	}
}
