package cluster

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// gate answers 401 until it was asked often enough; it writes into requests as
// the layer with the credential does.
type gate struct {
	refusals int
	bodies   []string
}

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Authorization") != "" {
		panic("an old credential is sent again")
	}
	r.Header.Set("Authorization", "Bearer x")
	text := ""
	if r.Body != nil {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		text = string(raw)
	}
	g.bodies = append(g.bodies, text)
	code := http.StatusOK
	if len(g.bodies) <= g.refusals {
		code = http.StatusUnauthorized
	}
	return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader(""))}, nil
}

func TestRenewing(t *testing.T) {
	for name, c := range map[string]struct {
		refusals int
		body     io.Reader
		sent     int
		code     int
	}{
		"accepted":                   {0, strings.NewReader("b"), 1, 200},
		"a new credential is enough": {1, strings.NewReader("b"), 2, 200},
		"without a body":             {1, nil, 2, 200},
		"refused for good":           {9, strings.NewReader("b"), 2, 401},
		"a body that is gone":        {1, io.MultiReader(strings.NewReader("b")), 1, 401},
	} {
		g := &gate{refusals: c.refusals}
		n := &renewing{next: g}
		send := func() int {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, "http://x", c.body)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := n.RoundTrip(r) //nolint:bodyclose // the gate answers without one
			if err != nil {
				t.Fatal(err)
			}
			return answer.StatusCode
		}
		if code := send(); code != c.code || len(g.bodies) != c.sent {
			t.Errorf("%s: %d after %d requests, want %d after %d", name, code, len(g.bodies), c.code, c.sent)
		}
		if c.body != nil && c.sent == 2 && g.bodies[0] != g.bodies[1] {
			t.Errorf("%s: the second request is another: %q", name, g.bodies)
		}
		if c.refusals == 9 {
			if send(); len(g.bodies) != 3 {
				t.Errorf("%s: asked twice again, %d in all", name, len(g.bodies))
			}
			g.refusals = 0
			send()
			g.refusals = len(g.bodies) + 1
			if code := send(); code != 200 {
				t.Errorf("%s: after one success the next refusal is not tried again: %d", name, code)
			}
		}
	}
}
