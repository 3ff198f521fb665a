package server_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/server"
	"github.com/sluice-cd/sluice/internal/server/session"
	"github.com/sluice-cd/sluice/internal/server/setting"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// outside is a client that knows paths, bodies and a token, and nothing of us.
type outside struct {
	url, token string
}

// ask sends a request; a body makes it JSON.
func (o *outside) ask(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, o.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method != http.MethodGet {
		q.Header.Set("Content-Type", "application/json")
	}
	if o.token != "" {
		q.Header.Set("Authorization", "Bearer "+o.token)
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // it is read
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// token takes the field of that name out of an answer.
func token(t *testing.T, body string) string {
	t.Helper()
	var answer struct{ Token string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Token == "" {
		t.Fatalf("no token: %s", body)
	}
	return answer.Token
}

// installed is a server over an empty hub, and the password of its first start.
func installed(t *testing.T) (*outside, string) {
	t.Helper()
	known := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(known); err != nil {
		t.Fatal(err)
	}
	if err := corev1.AddToScheme(known); err != nil {
		t.Fatal(err)
	}
	hub, err := store.NewHub("argocd", nil)
	if err != nil {
		t.Fatal(err)
	}
	hub.Client = fake.NewClientBuilder().WithScheme(known).Build()
	log := slog.New(slog.DiscardHandler)
	people, err := session.Assemble(t.Context(), session.AssemblyOptions{Hub: hub, Clock: clock.RealClock{}, Random: rand.Reader, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	go people.Run(t.Context())
	s, err := server.New(t.Context(), server.Options{
		Config: server.Config{Insecure: true, Gzip: true, ContentTypes: []string{"application/json"}, ReplaceAllowed: true}, Who: people.Auth, Decide: people.Policies, More: people.Routes(), Pages: people.Pages(),
		Hub: hub, Log: log, Clock: clock.RealClock{}, Build: setting.Build{Version: "v3.5.0+x", GitCommit: "abc"},
		Settings: func() *settings.Snapshot { return settings.Parse(nil, nil) },
		Probe:    func(context.Context, destination.Cluster) (string, error) { return "v1.36.0", nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, listener) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		end()
		if err := <-ended; err != nil {
			t.Errorf("the server ends with %v", err)
		}
	})
	o := &outside{url: "http://" + listener.Addr().String()}
	for status := 0; status != http.StatusOK; { // the listener is open: it answers, and after a moment well
		status, _ = o.ask(t, http.MethodGet, "/healthz", "")
	}
	initial, ok := hub.Secret("argocd-initial-admin-secret")
	if !ok {
		t.Fatal("no first password")
	}
	return o, string(initial.Data["password"])
}

const webApp = `{"metadata":{"name":"web"},"spec":{"project":"default","source":{"repoURL":"https://git.example/a","path":"app","targetRevision":"HEAD"},` +
	`"destination":{"server":"https://kubernetes.default.svc","namespace":"web"}}}`

// step is one request of an outside client and what it expects.
type step struct {
	method, path, body string
	status             int
	want               string
}

// strangers are told what spec/api.md §2 lets everybody know.
var strangers = []step{
	{"GET", "/api/version", "", 200, `{"Version":"v3.5.0+x"}`},
	{"GET", "/api/v1/session/userinfo", "", 200, `{}`},
	{"GET", "/api/v1/settings", "", 200, `"appLabelKey":"app.kubernetes.io/instance"`},
	{"GET", "/api/v1/applications", "", 401, `{"error":"no session information","code":16,"message":"no session information"}`},
	{"POST", "/api/v1/session", `{}`, 401, "no credentials supplied"},
	{"POST", "/api/v1/session", `{"token":"x"}`, 401, "not supported"},
	{"POST", "/api/v1/session", `{"username":"` + strings.Repeat("x", 33) + `","password":"y"}`, 400, "too long"},
	{"GET", "/auth/login", "", 404, ""}, {"GET", "/auth/logout", "", 400, ""}, {"GET", "/swagger.json", "", 200, `"/api/v1/applications"`}, {"GET", "/healthz", "", 200, "ok\n"},
	{"GET", "/api/badge?name=web", "", 200, "<svg"}, {"GET", "/api/badge?name=we%20b", "", 400, ""},
}

// administration is the first hour of an administrator with a script for Argo CD.
var administration = []step{
	{"GET", "/api/v1/session/userinfo", "", 200, `{"loggedIn":true,"username":"admin","iss":"argocd"}`},
	{"GET", "/api/version", "", 200, `"GitCommit":"abc"`},
	{"GET", "/api/v1/account", "", 200, `{"items":[{"name":"admin","enabled":true,"capabilities":["login"],"tokens":[]}]}`},
	{"POST", "/api/v1/account/admin/token", `{"id":"x"}`, 400, "account does not have apiKey capability"},
	{"PUT", "/api/v1/account/password", `{"currentPassword":"bad","newPassword":"long enough"}`, 400, "current password does not match"},
	{"GET", "/api/v1/account/can-i/projects/get", "", 200, `{"value":"yes"}`},
	{"GET", "/api/v1/account/can-i/bananas/get/x", "", 400, `"code":3`},
	{"GET", "/api/v1/projects", "", 200, `"name":"default","namespace":"argocd"`},
	{"GET", "/api/v1/clusters", "", 200, `"server":"https://kubernetes.default.svc","name":"in-cluster"`},
	{"GET", "/api/v1/clusters/https%3A%2F%2Fkubernetes.default.svc", "", 200, `"name":"in-cluster"`},
	{"GET", "/api/v1/clusters/in-cluster?id.type=name", "", 200, `"name":"in-cluster"`},
	{"GET", "/api/v1/clusters/https%3A%2F%2Fnope", "", 403, "permission denied"},
	{"POST", "/api/v1/clusters", `{"server":"https://eu:6443","name":"eu","config":{"bearerToken":"canary","tlsClientConfig":{"insecure":true}}}`, 200, `"serverVersion":"v1.36.0"`},
	{"POST", "/api/v1/repocreds", `{"url":"https://git.example/team","username":"u","password":"canary"}`, 200, `{"url":"https://git.example/team"}`},
	{"POST", "/api/v1/repocreds", `{"url":"https://git.example/team","username":"u","password":"canary"}`, 200, `{"url":"https://git.example/team"}`},
	{"DELETE", "/api/v1/repocreds/https%3A%2F%2Fgit.example%2Fteam", "", 200, `{}`},
	{"GET", "/api/v1/repocreds", "", 200, `"items":[]`},
	{"GET", "/api/v1/repositories/https%3A%2F%2Fx%2Fy", "", 403, "permission denied"},
	{"GET", "/api/v1/write-repositories", "", 501, `"code":12`},
	{"POST", "/api/v1/certificates", `{"items":[{"serverName":"h","certType":"bad"}]}`, 400, `"code":3`},
	{"POST", "/api/v1/gpgkeys", `{"keyData":"x"}`, 400, `"code":3`},
	{"GET", "/api/v1/gpgkeys/ABCDEF0123456789", "", 404, `"code":5`},
	{"GET", "/api/v1/notifications/triggers", "", 200, `{"items":[]}`},
	{"GET", "/api/v1/nope", "", 404, ""}, {"POST", "/api/v1/settings", `{}`, 405, ""},
	{"POST", "/api/v1/projects", `{"project":{"metadata":{"name":"team"},"spec":{"sourceRepos":["*"],"roles":[{"name":"ci","policies":["p, proj:team:ci, applications, *, team/*, allow"]}]}}}`, 200, `"name":"team"`},
	{"POST", "/api/v1/projects", `{"project":{"metadata":{"name":"team"},"spec":{"sourceRepos":["x"]}}}`, 400, "use upsert flag to force update"},
	{"POST", "/api/v1/projects/team/roles/none/token", `{}`, 404, "project 'team' does not have role 'none'"},
	{"DELETE", "/api/v1/projects/team/roles/ci/token/0?id=one", "", 200, `{}`},
	{"GET", "/api/v1/projects/nope", "", 404, `"code":5`},
	{"DELETE", "/api/v1/projects/default", "", 400, `"code":3`},
	{"DELETE", "/api/v1/projects/team", "", 200, `{}`},
}

// delivery is the life of an Application, as far as it needs no cluster.
var delivery = []step{
	{"POST", "/api/v1/applications", webApp, 200, `"name":"web","namespace":"argocd"`},
	{"POST", "/api/v1/applications", webApp, 200, `"name":"web"`},
	{"POST", "/api/v1/applications", strings.Replace(webApp, "HEAD", "main", 1), 400, `{"error":"existing application spec is different, use upsert flag to force update","code":3,`},
	{"POST", "/api/v1/applications?upsert=true", strings.Replace(webApp, "HEAD", "main", 1), 200, `"targetRevision":"main"`},
	{"POST", "/api/v1/applications", strings.Replace(webApp, `"default"`, `"nope"`, 1), 400, `app is not allowed in project \"nope\", or the project does not exist`},
	{"POST", "/api/v1/applications", `{"metadata":{`, 400, "no JSON"},
	{"GET", "/api/v1/applications/nope", "", 403, `{"error":"permission denied","code":7,"message":"permission denied"}`},
	{"GET", "/api/v1/applications/nope?project=default", "", 404, `"code":5`},
	{"GET", "/api/v1/applications/web?project=other", "", 404, `"code":5`},
	{"GET", "/api/v1/applications/web?project=a&project=b", "", 400, `"code":3`},
	{"GET", "/api/v1/applications?fields=items.metadata.name,items.spec.project", "", 200, `"items":[{"metadata":{"name":"web"},"spec":{"project":"default"}}]`},
	{"PATCH", "/api/v1/applications/web", `{"name":"web","patch":"{\"metadata\":{\"labels\":{\"a\":\"b\"}}}","patchType":"merge"}`, 200, `"labels":{"a":"b"}`},
	{"PATCH", "/api/v1/applications/web", `{"patch":"[{\"op\":\"add\",\"path\":\"/metadata/labels/c\",\"value\":\"d\"}]"}`, 200, `"labels":{"a":"b","c":"d"}`},
	{"PATCH", "/api/v1/applications/web", `{"patch":"{}","patchType":"strategic"}`, 400, "strategic"},
	{"GET", "/api/v1/applications?selector=a%3Db&fields=items.metadata.name", "", 200, `"items":[{"metadata":{"name":"web"}}]`},
	{"PUT", "/api/v1/applications/web/spec", `{"project":"default","source":{"repoURL":"https://git.example/a","path":"other"},"destination":{"server":"https://kubernetes.default.svc"}}`, 200, `"path":"other"`},
	{"PUT", "/api/v1/applications/web", webApp, 200, `"targetRevision":"HEAD"`},
	{"GET", "/api/v1/applications/web/syncwindows", "", 200, `{"canSync":true}`},
	{"GET", "/api/v1/applications/web/links", "", 200, `{"items":[]}`},
	{"GET", "/api/v1/applications/web/resource-tree", "", 503, `"code":14`},
	{"POST", "/api/v1/applications/web/rollback", `{"id":1}`, 400, "does not have deployment with id 1"},
	{"POST", "/api/v1/applications/web/sync", `{"prune":true}`, 200, `"operation":{"sync":{"revision":"HEAD","prune":true},"initiatedBy":{"username":"admin"}`},
	{"POST", "/api/v1/applications/web/sync", "", 400, `{"error":"another operation is already in progress","code":9,`},
	{"DELETE", "/api/v1/applications/web/operation", "", 400, "Unable to terminate operation. No operation is in progress"},
	{"GET", "/api/v1/stream/applications/nope/resource-tree", "", 403, "permission denied"},
	{"DELETE", "/api/v1/applications/web?cascade=false&propagationPolicy=foreground", "", 400, `"code":3`},
	{"DELETE", "/api/v1/applications/web?propagationPolicy=bad", "", 400, "invalid propagation policy: bad"},
	{"DELETE", "/api/v1/applications/web?cascade=true", "", 200, `{}`},
}

// TestOutsideClient is the first hour of a client that was written for Argo CD,
// over the wire, on a hub that never saw a server (spec/api.md §2 and §3).
func TestOutsideClient(t *testing.T) {
	o, password := installed(t)
	play := func(steps []step) {
		t.Helper()
		for i, s := range steps {
			status, body := o.ask(t, s.method, s.path, s.body)
			if status != s.status || !strings.Contains(body, s.want) || strings.Contains(body, "canary") {
				t.Errorf("%d: %s %s %s\ngave %d %s\nwant %d %s", i, s.method, s.path, s.body, status, body, s.status, s.want)
			}
		}
	}
	play(strangers)
	_, body := o.ask(t, http.MethodPost, "/api/v1/session", `{"username":"admin","password":"`+password+`"}`)
	o.token = token(t, body)
	play(administration)
	play(delivery)
}
