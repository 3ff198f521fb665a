package rest

import (
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

type word struct {
	Word string `json:"word"`
}

type words struct {
	Kind  string            `json:"-" query:"kind"`
	Words route.Lines[word] `json:"-" body:"*"`
}

// TestLines: a body of many messages is read as it comes, and bounded.
func TestLines(t *testing.T) {
	t.Parallel()
	sent := &words{Kind: "k", Words: route.Lines[word]{Messages: []word{{"one"}, {"two"}}}}
	target, body, err := Encode("/api/v1/words", sent, "POST")
	if err != nil || target != "/api/v1/words?kind=k" || string(body) != "{\"word\":\"one\"}\n{\"word\":\"two\"}\n" {
		t.Fatalf("%s %q %v", target, body, err)
	}
	for name, c := range map[string]struct {
		body, want, problem string
	}{
		"two":        {string(body), "one two", ""},
		"none":       {"", "", ""},
		"no newline": {`{"word":"one"}{"word":"two"}`, "one two", ""},
		"cut":        {`{"word":"one"}` + "\n" + `{"wo`, "one", "broke off"},
		"no JSON":    {`{"word":"one"}` + "\nhello", "one", "not one JSON message"},
		"wrong type": {`{"word":7}`, "", "not one JSON message"},
		"too large":  {`{"word":"one"}` + "\n" + `{"word":"` + strings.Repeat("x", 100) + `"}`, "one", "too large"},
	} {
		got := &words{}
		if err := decode(got, httptest.NewRequest("POST", target, strings.NewReader(c.body)), 64); err != nil {
			t.Fatal(err)
		}
		var all []string
		var last error
		for last == nil {
			var m *word
			if m, last = got.Words.Next(); last == nil {
				all = append(all, m.Word)
			}
		}
		code, _ := fault.Of(last)
		if text := strings.Join(all, " "); text != c.want || got.Kind != "k" || (c.problem == "") != errors.Is(last, io.EOF) ||
			c.problem != "" && (code != fault.InvalidArgument || !strings.Contains(last.Error(), c.problem)) {
			t.Errorf("%s: %q %v", name, text, last)
		}
	}
}
