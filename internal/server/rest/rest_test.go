package rest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	testclock "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// who knows two tokens.
type who struct{ gone bool }

func (w *who) Authenticate(r *http.Request) (access.Principal, error) {
	switch token := r.Header.Get("Authorization"); {
	case w.gone:
		return access.Principal{}, fault.New(fault.Unauthenticated, "invalid session: token is revoked")
	case token == "":
		return access.Principal{}, fault.New(fault.Unauthenticated, "no session information")
	default:
		return access.Principal{Subject: strings.TrimPrefix(token, "Bearer "), Issuer: "argocd"}, nil
	}
}

// deciders by subject.
type decider map[string]string

func (d decider) Allowed(p access.Principal, what access.Request) bool {
	return strings.Contains(d[p.Subject], what.Resource+"/"+what.Action+"/"+what.Object+";")
}

type thing struct {
	Name  string            `json:"name" path:"name"`
	Sizes []int64           `json:"sizes,omitempty" query:"sizes,size"`
	Deep  *thing            `json:"deep,omitempty"`
	Force *bool             `json:"force,omitempty" query:"force"`
	Map   map[string]string `json:"map,omitempty"`
	Text  string            `json:"text,omitempty" query:"id.text"`
}

type message struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func (m *message) StreamKey() string { return m.Key }

func (m *message) Shared(_ string, encode func() ([]byte, error)) ([]byte, error) { return encode() }

func echo(_ context.Context, c *route.Call, q *thing) (*thing, error) {
	if err := c.Must(access.Request{Resource: "things", Action: "get", Object: q.Name}); err != nil {
		return nil, err
	}
	return q, nil
}

func table() route.Table {
	needs := route.Needs("things/get")
	spec := func(method, path string, rule route.Rule) route.Spec {
		return route.Spec{Method: method, Path: "/api/v1/" + path, RPC: "t.Things/" + method + path, Rule: rule, MaxBody: 1 << 10, Fields: true}
	}
	return route.Table{
		route.Unary(spec("GET", "things/{name}", needs), echo),
		route.Unary(spec("POST", "things/{name}", needs), echo),
		route.Unary(spec("GET", "forgotten", needs), func(context.Context, *route.Call, *thing) (*thing, error) { return &thing{Name: "secret"}, nil }),
		route.Unary(spec("GET", "undeclared", needs), func(_ context.Context, c *route.Call, _ *thing) (*thing, error) {
			c.Can(access.Request{Resource: "other", Action: "get"})
			return nil, route.Hidden()
		}),
		route.Unary(spec("GET", "panics", route.Public()), func(context.Context, *route.Call, *thing) (*thing, error) { panic("password hunter2") }),
		route.Unary(spec("GET", "fails", route.Public()), func(context.Context, *route.Call, *thing) (*thing, error) {
			return nil, errors.New("connect with hunter2")
		}),
		route.Unary(spec("GET", "large", route.Public()), func(context.Context, *route.Call, *thing) (*thing, error) {
			return &thing{Name: strings.Repeat("x", 5000)}, nil
		}),
		route.Stream(spec("GET", "stream/{name}", needs), func(_ context.Context, c *route.Call, q *thing, send func(*message) error) error {
			if err := c.Must(access.Request{Resource: "things", Action: "get", Object: q.Name}); err != nil {
				return err
			}
			for _, m := range []message{{"a", "1"}, {"b", "1"}, {"a", "1"}, {"a", "2"}} {
				if err := send(&m); err != nil {
					return err
				}
			}
			if q.Text == "break" {
				return fault.New(fault.NotFound, "it has gone")
			}
			return nil
		}),
		route.Stream(spec("GET", "waits/{name}", needs), func(ctx context.Context, c *route.Call, q *thing, send func(*message) error) error {
			if err := c.Must(access.Request{Resource: "things", Action: "get", Object: q.Name}); err != nil {
				return err
			}
			if err := send(nil); err != nil {
				return err
			}
			if q.Text == "hello" {
				if err := send(&message{"a", "hello"}); err != nil {
					return err
				}
			}
			<-ctx.Done()
			return ctx.Err()
		}),
	}
}

type rig struct {
	*httptest.Server
	who      *who
	decide   decider
	clock    *testclock.FakeClock
	registry *prometheus.Registry
	log      *bytes.Buffer
}

func start(t *testing.T, change func(*Options)) *rig {
	t.Helper()
	r := &rig{
		who: &who{}, decide: decider{"ann": "things/get/a;things/get/;"}, clock: testclock.NewFakeClock(time.Now()),
		registry: prometheus.NewRegistry(), log: &bytes.Buffer{},
	}
	o := Options{
		Table: table(), Origins: func() []string { return []string{"https://ui"} }, Who: r.who, Decide: r.decide, ContentTypes: []string{"application/json"}, Gzip: true, Ending: t.Context(),
		Log: slog.New(slog.NewTextHandler(r.log, nil)), Clock: r.clock, Registerer: r.registry,
		Outside: map[string]http.Handler{"/healthz": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })},
	}
	if change != nil {
		change(&o)
	}
	h, err := NewHandler(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Server = httptest.NewServer(h)
	t.Cleanup(r.Close)
	return r
}

// ask sends method, path and body as ann, with headers given as "name: value".
func (r *rig) ask(t *testing.T, method, path, body string, headers ...string) (reply, string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, r.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer ann")
	if method != "GET" {
		q.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		q.Header.Set(name, value)
	}
	resp, err := (&http.Transport{DisableCompression: true}).RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header}, string(raw)
}

// reply is the head of an answer.
type reply struct {
	StatusCode int
	Header     http.Header
}

func TestUnary(t *testing.T) {
	r := start(t, nil)
	for name, c := range map[string]struct {
		method, path, body string
		headers            []string
		status             int
		want               string
	}{
		"query and path":      {"GET", "/api/v1/things/a?size=1&sizes=2&force=true&id.text=x", "", nil, 200, `{"name":"a","sizes":[2,1],"force":true,"text":"x"}`},
		"escaped slash":       {"GET", "/api/v1/things/https%3A%2F%2Fx%2Fy", "", nil, 403, `things, get, https://x/y, sub: ann`},
		"body, path wins":     {"POST", "/api/v1/things/a", `{"name":"b","map":{"k":"v"}}`, nil, 200, `{"name":"a","map":{"k":"v"}}`},
		"fields":              {"POST", "/api/v1/things/a?fields=name,deep.name", `{"text":"x","deep":{"name":"d","text":"y"}}`, nil, 200, `{"name":"a","deep":{"name":"d"}}`},
		"without fields":      {"POST", "/api/v1/things/a?fields=-deep.name,text", `{"text":"x","deep":{"name":"d","text":"y"}}`, nil, 200, `{"name":"a","deep":{"text":"y"}}`},
		"wrong number":        {"GET", "/api/v1/things/a?size=x", "", nil, 400, "parameter sizes,size: want a whole number"},
		"wrong bool":          {"GET", "/api/v1/things/a?force=perhaps", "", nil, 400, "want true or false"},
		"wrong type":          {"POST", "/api/v1/things/a", `{"sizes":"hunter2"}`, nil, 400, `wrong type at \"sizes\"`},
		"no JSON":             {"POST", "/api/v1/things/a", `{"hunter2`, nil, 400, "no JSON at byte"},
		"large body":          {"POST", "/api/v1/things/a", `{"text":"` + strings.Repeat("x", 2000) + `"}`, nil, 400, "more than 1024 bytes"},
		"deep body":           {"POST", "/api/v1/things/a", strings.Repeat(`{"deep":`, 101) + "1" + strings.Repeat("}", 101), nil, 400, "deeper than 100"},
		"content type":        {"POST", "/api/v1/things/a", "{}", []string{"Content-Type: text/plain"}, 415, "Invalid content type"},
		"charset is fine":     {"POST", "/api/v1/things/a", "{}", []string{"Content-Type: application/json; charset=utf-8"}, 200, `"a"`},
		"delete needs one":    {"DELETE", "/api/v1/things/a", "", []string{"Content-Type: "}, 415, "Invalid content type"},
		"another site":        {"POST", "/api/v1/things/a", "{}", []string{"Sec-Fetch-Site: cross-site"}, 403, "another site"},
		"another origin":      {"POST", "/api/v1/things/a", "{}", []string{"Origin: https://evil"}, 403, "another site"},
		"trusted origin":      {"POST", "/api/v1/things/a", "{}", []string{"Origin: https://ui"}, 200, `"a"`},
		"denied":              {"GET", "/api/v1/things/b", "", nil, 403, `{"error":"permission denied: things, get, b, sub: ann","code":7,"message":"permission denied: things, get, b, sub: ann"}`},
		"no token":            {"GET", "/api/v1/things/a", "", []string{"Authorization: "}, 401, `"code":16`},
		"forgotten check":     {"GET", "/api/v1/forgotten", "", nil, 500, "was not checked"},
		"undeclared check":    {"GET", "/api/v1/undeclared", "", nil, 500, "is not declared"},
		"panic":               {"GET", "/api/v1/panics", "", nil, 500, "see the log"},
		"own fault":           {"GET", "/api/v1/fails", "", nil, 500, "see the log"},
		"no route":            {"GET", "/api/v1/nothing", "", nil, 404, ""},
		"no such method":      {"PUT", "/api/v1/things/a", "{}", nil, 405, ""},
		"long URL":            {"GET", "/api/v1/things/a?id.text=" + strings.Repeat("x", 70_000), "", nil, 414, "too long"},
		"too many fields":     {"GET", "/api/v1/things/a?fields=" + strings.Repeat("a,", 300), "", nil, 400, "more than 200"},
		"health":              {"GET", "/healthz", "", []string{"Authorization: "}, 200, "ok"},
		"query badly encoded": {"GET", "/api/v1/things/a?x=%zz", "", nil, 400, "percent"},
	} {
		r.who.gone = false
		resp, body := r.ask(t, c.method, c.path, c.body, c.headers...)
		if resp.StatusCode != c.status || !strings.Contains(body, c.want) || strings.Contains(body, "hunter2") {
			t.Errorf("%s: %d %s; want %d %s", name, resp.StatusCode, body, c.status, c.want)
		}
		if resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: no nosniff", name)
		}
		if (resp.StatusCode == 401) != (resp.Header.Get("WWW-Authenticate") != "") {
			t.Errorf("%s: WWW-Authenticate is %q", name, resp.Header.Get("WWW-Authenticate"))
		}
	}
	if text := r.log.String(); !strings.Contains(text, "failed unexpectedly") || !strings.Contains(text, "answers without its check") {
		t.Errorf("the log does not tell: %s", text)
	}
}

func TestAnswersAreCompressedAndNotSentTwice(t *testing.T) {
	r := start(t, nil)
	resp, body := r.ask(t, "GET", "/api/v1/large", "", "Accept-Encoding: gzip")
	z, err := gzip.NewReader(strings.NewReader(body))
	if err != nil || resp.Header.Get("Content-Encoding") != "gzip" || len(body) > 1000 {
		t.Fatalf("%v, %q, %d bytes", err, resp.Header.Get("Content-Encoding"), len(body))
	}
	raw, err := io.ReadAll(z)
	if err != nil || !json.Valid(raw) || len(raw) < 5000 {
		t.Errorf("%v, %d bytes", err, len(raw))
	}
	tag := resp.Header.Get("ETag")
	if resp, body = r.ask(t, "GET", "/api/v1/large", "", "If-None-Match: "+tag); resp.StatusCode != 304 || body != "" {
		t.Errorf("%d with %d bytes for %s", resp.StatusCode, len(body), tag)
	}
	if resp, _ = r.ask(t, "GET", "/api/v1/large", "", "If-None-Match: W/\"else\""); resp.StatusCode != 200 {
		t.Errorf("%d for another tag", resp.StatusCode)
	}
	if resp, _ = r.ask(t, "GET", "/api/v1/large", "", "Accept-Encoding: gzip;q=0"); resp.Header.Get("Content-Encoding") != "" {
		t.Error("compressed for one who refuses it")
	}
}

func TestStreams(t *testing.T) {
	r := start(t, nil)
	lines := `{"result":{"key":"a","value":"1"}}` + "\n" + `{"result":{"key":"b","value":"1"}}` + "\n" + `{"result":{"key":"a","value":"2"}}` + "\n"
	resp, body := r.ask(t, "GET", "/api/v1/stream/a", "")
	if body != lines || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s: %s", resp.Header.Get("Content-Type"), body)
	}
	events := "data: " + strings.ReplaceAll(strings.TrimSuffix(lines, "\n"), "\n", "\n\ndata: ") + "\n\n"
	resp, body = r.ask(t, "GET", "/api/v1/stream/a", "", "Accept: text/event-stream", "Accept-Encoding: gzip")
	if body != events || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Content-Encoding") != "" {
		t.Errorf("%s: %q", resp.Header.Get("Content-Type"), body)
	}
	if _, body = r.ask(t, "GET", "/api/v1/stream/a?fields=result.value", ""); body != `{"result":{"value":"1"}}`+"\n"+`{"result":{"value":"1"}}`+"\n"+`{"result":{"value":"2"}}`+"\n" {
		t.Errorf("fields: %s", body)
	}
	if _, body = r.ask(t, "GET", "/api/v1/stream/a?id.text=break", ""); !strings.HasSuffix(body, `{"error":{"grpc_code":5,"http_code":404,"message":"it has gone","http_status":"Not Found"}}`+"\n") {
		t.Errorf("broken: %s", body)
	}
	if resp, body = r.ask(t, "GET", "/api/v1/stream/b", ""); resp.StatusCode != 403 || !strings.Contains(body, `"code":7`) {
		t.Errorf("denied: %d %s", resp.StatusCode, body)
	}
	resp, body = r.ask(t, "GET", "/api/v1/stream/a", "", "Accept-Encoding: gzip")
	z, err := gzip.NewReader(strings.NewReader(body))
	if err != nil || resp.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("%v, %q", err, resp.Header.Get("Content-Encoding"))
	}
	if raw, err := io.ReadAll(z); err != nil || string(raw) != lines {
		t.Errorf("%v, %s", err, raw)
	}
	if n := testutil.ToFloat64(newCounted(t, r, "grpc_server_msg_sent_total", "GETstream/{name}")); n == 0 {
		t.Error("messages are not counted")
	}
}

// TestCompressedMessagesAreNotHeldBack reads a message of a stream that goes on.
func TestCompressedMessagesAreNotHeldBack(t *testing.T) {
	r := start(t, nil)
	q, err := http.NewRequestWithContext(t.Context(), "GET", r.URL+"/api/v1/waits/a?id.text=hello", nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Accept-Encoding", "gzip")
	q.Header.Set("Authorization", "Bearer ann")
	resp, err := r.Client().Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	z, err := gzip.NewReader(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(z).ReadString('\n'); err != nil || line != `{"result":{"key":"a","value":"hello"}}`+"\n" {
		t.Errorf("%q, %v", line, err)
	}
}

// newCounted reads one counter of the registry.
func newCounted(t *testing.T, r *rig, name, method string) prometheus.Collector {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "x"})
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "grpc_method" && l.GetValue() == method {
					g.Set(m.GetCounter().GetValue())
				}
			}
		}
	}
	return g
}

// waiting opens a stream that says nothing and returns what comes of it.
func (r *rig) waiting(t *testing.T, accept string) (reply, <-chan string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), "GET", r.URL+"/api/v1/waits/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer ann")
	q.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(q) //nolint:bodyclose // the reader below closes it
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan string, 1)
	go func() {
		defer resp.Body.Close()
		raw, _ := io.ReadAll(resp.Body)
		out <- string(raw)
	}()
	return reply{resp.StatusCode, resp.Header}, out
}

func (r *rig) step(t *testing.T, waiters int, d time.Duration) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); r.clock.Waiters() < waiters; {
		if time.Now().After(deadline) {
			t.Fatalf("%d timers run, want %d", r.clock.Waiters(), waiters)
		}
	}
	r.clock.Step(d)
}

func TestStreamEndsWhenTheTokenDoes(t *testing.T) {
	r := start(t, nil)
	resp, out := r.waiting(t, "application/json")
	if resp.StatusCode != 200 {
		t.Fatalf("%d", resp.StatusCode)
	}
	r.who.gone = true
	r.step(t, 1, recheckEvery)
	if got := <-out; !strings.Contains(got, `"grpc_code":16`) || !strings.Contains(got, "revoked") {
		t.Errorf("got %s", got)
	}
}

func TestStreamEndsWhenTheRightDoes(t *testing.T) {
	r := start(t, nil)
	_, out := r.waiting(t, "application/json")
	r.decide["ann"] = ""
	r.step(t, 1, recheckEvery)
	if got := <-out; !strings.Contains(got, `"grpc_code":7`) {
		t.Errorf("got %s", got)
	}
}

func TestIdleEventStreamIsKeptAliveAndEndsWithTheServer(t *testing.T) {
	ending, end := context.WithCancel(t.Context())
	r := start(t, func(o *Options) { o.Ending = ending })
	_, out := r.waiting(t, "text/event-stream")
	r.step(t, 2, 15*time.Second)
	r.step(t, 2, 15*time.Second)
	end()
	if got := <-out; !strings.HasPrefix(got, ":\n\n") || strings.Contains(got, "error") {
		t.Errorf("got %q", got)
	}
}

func TestRootPath(t *testing.T) {
	r := start(t, func(o *Options) { o.RootPath = "/sluice/" })
	for path, want := range map[string]int{"/sluice/api/v1/things/a": 200, "/api/v1/things/a": 404, "/healthz": 200} {
		if resp, body := r.ask(t, "GET", path, ""); resp.StatusCode != want {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}

func TestTableIsRefused(t *testing.T) {
	for name, rule := range map[string]route.Rule{"no rule": {}, "no check": {Access: route.Guarded}, "half a check": route.Needs("things"), "open with checks": {Access: route.Open, Must: []route.Check{{Resource: "a", Action: "b"}}}} {
		_, err := NewHandler(Options{Table: route.Table{route.Unary(route.Spec{Method: "GET", Path: "/x", RPC: "a.B/C", Rule: rule}, echo)}})
		if err == nil || !strings.Contains(err.Error(), "GET /x") {
			t.Errorf("%s: %v", name, err)
		}
	}
	twice := append(table(), table()[0])
	if err := twice.Validate(); err == nil || !strings.Contains(err.Error(), "there twice") {
		t.Errorf("twice: %v", err)
	}
}
