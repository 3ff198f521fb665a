package server

import (
	"encoding/base64"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/internal/server/route"
)

var update = flag.Bool("update", false, "rewrite golden files")

// canary is a secret that must not be seen anywhere.
func canary(slot string) string { return "CANARY-" + slot }

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// marker is in every canary.
const marker = "CANARY"

// wildcards of paths by the beginning of the path, and what stands for them.
var wildcards = []struct{ prefix, name, value string }{
	{"/api/v1/applicationsets", "name", "fleet"},
	{"/api/v1/stream/applications", "name", "web"},
	{"/api/v1/applications", "name", "web"},
	{"/api/v1/projects", "name", "alpha"},
	{"/api/v1/projects", "project", "alpha"},
	{"/api/v1/account", "name", "reader"},
	{"/api/v1/account/can-i", "resource", "applications"},
	{"/api/v1/account/can-i", "action", "get"},
	{"/api/v1/account", "subresource...", "alpha/web"},
	{"/api/v1/clusters", "id", "https://prod.example:6443"},
	{"", "repo", "https://git.example/alpha/app"},
	{"", "url", "https://git.example/alpha"},
	{"", "revision", "abcdef0123456789"},
	{"", "role", "ci"},
	{"", "iat", "1"},
	{"", "keyID", "0123456789ABCDEF"},
	{"", "verb", "pause"},
	{"", "podName", "p"},
	{"", "id", "token-1"},
}

const spec = `{"project":"alpha","source":{"repoURL":"https://git.example/alpha/app","path":"web"},"destination":{"server":"https://prod.example:6443","namespace":"x"}}`

// bodies of requests by route; others send {}.
var bodies = map[string]string{
	"POST /api/v1/applications":                            `{"metadata":{"name":"new"},"spec":` + spec + `}`,
	"PUT /api/v1/applications/{name}":                      `{"metadata":{"name":"web"},"spec":` + spec + `}`,
	"PUT /api/v1/applications/{name}/spec":                 spec,
	"PATCH /api/v1/applications/{name}":                    `{"patchType":"merge","patch":"{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"}`,
	"POST /api/v1/applications/{name}/rollback":            `{"id":3}`,
	"POST /api/v1/applications/manifestsWithFiles":         `{"query":{"name":"web","checksum":"00"}}`,
	"POST /api/v1/applications/{name}/resource":            `"{}"`,
	"POST /api/v1/applications/{name}/resource/actions":    `"restart"`,
	"POST /api/v1/applications/{name}/resource/actions/v2": `{"resourceName":"db","kind":"Secret","namespace":"x","action":"restart"}`,
	"POST /api/v1/applicationsets":                         `{"metadata":{"name":"fleet"},"spec":{"template":{"spec":{"project":"alpha"}}}}`,
	"POST /api/v1/applicationsets/generate":                `{"applicationSet":{"metadata":{"name":"fleet"},"spec":{"template":{"spec":{"project":"alpha"}}}}}`,
	"POST /api/v1/applicationsets/{name}/rollout/plan":     `{"applicationSet":{"spec":{"template":{"spec":{"project":"alpha"}}}}}`,
	"POST /api/v1/projects":                                `{"project":{"metadata":{"name":"gamma"}}}`,
	"PUT /api/v1/projects/{name}":                          `{"project":{"metadata":{"name":"alpha"},"spec":{"sourceRepos":["https://git.example/alpha/*"],"destinations":[{"server":"*","namespace":"x"}]}}}`,
	"POST /api/v1/clusters":                                `{"server":"https://new.example","name":"new"}`,
	"PUT /api/v1/clusters/{id}":                            `{"project":"alpha","labels":{"a":"b"}}`,
	"POST /api/v1/repositories":                            `{"repo":"https://git.example/new"}`,
	"PUT /api/v1/repositories/{repo}":                      `{"repo":"https://git.example/alpha/app","project":"alpha"}`,
	"POST /api/v1/repositories/{repo}/validate":            `"https://git.example/alpha/app"`,
	"POST /api/v1/repositories/{repo}/appdetails":          `{"source":{"repoURL":"https://git.example/alpha/app","path":"web"},"appName":"web","appProject":"alpha"}`,
	"POST /api/v1/repocreds":                               `{"url":"https://git.example/new"}`,
	"PUT /api/v1/repocreds/{url}":                          `{"url":"https://git.example/alpha"}`,
	"POST /api/v1/write-repositories/{repo}/validate":      `"https://git.example/alpha/app"`,
	"POST /api/v1/certificates":                            `{"items":[]}`,
	"POST /api/v1/gpgkeys":                                 `{"keyData":"x"}`,
	"POST /api/v1/session":                                 `{"username":"reader","password":"wrong"}`,
	"PUT /api/v1/account/password":                         `{"name":"reader","currentPassword":"a","newPassword":"b"}`,
	"POST /api/v1/projects/{project}/roles/{role}/token":   `{"expiresIn":60}`,
	"POST /api/v1/applicationsets/{name}/rollout/{verb}":   `{}`,
}

// queries by route.
var queries = map[string]string{
	"GET /api/v1/applications/{name}/resource":          "kind=Secret&version=v1&namespace=x&resourceName=db",
	"POST /api/v1/applications/{name}/resource":         "kind=Secret&version=v1&namespace=x&resourceName=db&patchType=application/merge-patch%2Bjson",
	"DELETE /api/v1/applications/{name}/resource":       "kind=Secret&version=v1&namespace=x&resourceName=db",
	"GET /api/v1/applications/{name}/resource/actions":  "kind=Secret&version=v1&namespace=x&resourceName=db",
	"POST /api/v1/applications/{name}/resource/actions": "kind=Secret&version=v1&namespace=x&resourceName=db",
	"GET /api/v1/applications/{name}/resource/links":    "kind=Secret&version=v1&namespace=x&resourceName=db",
	"GET /api/v1/applications/{name}/server-side-diff":  "targetManifests=" + url.QueryEscape(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db","namespace":"x"},"stringData":{"a":"CANARY-sent"}}`),
	"GET /api/v1/repositories/{repo}":                   "appProject=alpha",
	"DELETE /api/v1/repositories/{repo}":                "appProject=alpha",
	"GET /api/v1/repositories/{repo}/refs":              "appProject=alpha",
	"GET /api/v1/repositories/{repo}/oci-tags":          "appProject=alpha",
	"GET /api/v1/repositories/{repo}/helmcharts":        "appProject=alpha",
	"GET /api/v1/repositories/{repo}/apps":              "appProject=alpha&appName=web",
	"DELETE /api/v1/certificates":                       "hostNamePattern=none.example",
	"DELETE /api/v1/gpgkeys":                            "keyID=0123456789ABCDEF",
}

var wildcard = regexp.MustCompile(`\{([^}]+)\}`)

// target is the URL of a route.
func target(t *testing.T, r *route.Route) string {
	t.Helper()
	path := wildcard.ReplaceAllStringFunc(r.Path, func(m string) string {
		for _, w := range wildcards {
			if w.name == strings.Trim(m, "{}") && strings.HasPrefix(r.Path, w.prefix) {
				if strings.HasSuffix(w.name, "...") {
					return w.value
				}
				return url.PathEscape(w.value)
			}
		}
		t.Fatalf("%s: nothing stands for %s", r.Name(), m)
		return ""
	})
	if q := queries[r.Name()]; q != "" {
		path += "?" + q
	}
	return path
}

func bodyOf(r *route.Route) string {
	if r.Method == http.MethodGet || r.Method == http.MethodDelete {
		return ""
	}
	if b, ok := bodies[r.Name()]; ok {
		return b
	}
	return "{}"
}

// inOrder walks a table so that what deletes comes last.
func inOrder(table route.Table) []*route.Route {
	var out []*route.Route
	for i := range table {
		out = append(out, &table[i])
	}
	slices.SortStableFunc(out, func(a, b *route.Route) int {
		rank := func(r *route.Route) int { return strings.Index("GET  POST PUT  PATCHDELET", r.Method[:3]) }
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a.Path, b.Path)
	})
	return out
}

// TestEveryRouteAsEverybody walks all routes with eight kinds of principal, and
// compares with what was reviewed; no answer and no log line holds a secret.
func TestEveryRouteAsEverybody(t *testing.T) {
	answers := map[string][]string{}
	var routes []string
	for _, p := range principals {
		w := open(t, true, nil) // what one has done the next does not see
		for _, r := range inOrder(w.api.Table()) {
			status, header, body := w.ask(t, p.name, r.Method, target(t, r), bodyOf(r))
			if answers[r.Name()] == nil {
				routes = append(routes, r.Name())
			}
			answers[r.Name()] = append(answers[r.Name()], fmt.Sprint(status))
			if status == http.StatusInternalServerError {
				t.Errorf("%s as %s: %s", r.Name(), p.name, body)
			}
			search(t, r.Name()+" as "+p.name, body+fmt.Sprint(header))
			if p.who.Issuer == "" && r.Rule.Access != route.Open && status != http.StatusUnauthorized {
				t.Errorf("%s without a token: %d %s", r.Name(), status, body)
			}
		}
		search(t, "log for "+p.name, w.log.String())
	}
	var out strings.Builder
	out.WriteString("#")
	for _, p := range principals {
		out.WriteString(" " + p.name)
	}
	out.WriteString("\n")
	slices.Sort(routes)
	for _, name := range routes {
		fmt.Fprintf(&out, "%-75s %s\n", name, strings.Join(answers[name], " "))
	}
	golden(t, "testdata/permissions.golden", out.String())
}

// search looks for secrets in every form.
func search(t *testing.T, where, text string) {
	t.Helper()
	for _, form := range forms(marker) {
		if at := strings.Index(text, form); at >= 0 {
			t.Errorf("%s shows a secret: ...%s...", where, text[max(0, at-60):min(len(text), at+60)])
		}
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs; review, then run with -update:\n%s", file, diff)
	}
}

// TestAbsentAndForbiddenLookAlike asks without a project for what exists and
// for what does not.
func TestAbsentAndForbiddenLookAlike(t *testing.T) {
	w := open(t, true, nil)
	for _, r := range inOrder(w.api.Table()) {
		if !strings.Contains(r.Path, "{name}") || !strings.Contains(r.Path, "/application") {
			continue
		}
		there := target(t, r)
		absent := strings.NewReplacer("/web", "/nothing", "/fleet", "/nothing").Replace(there)
		body := bodyOf(r)
		statusA, headerA, bodyA := w.ask(t, "nobody", r.Method, there, body)
		statusB, headerB, bodyB := w.ask(t, "nobody", r.Method, absent, strings.ReplaceAll(body, `"name":"web"`, `"name":"nothing"`))
		for _, h := range []http.Header{headerA, headerB} {
			h.Del("Date")
			h.Del("Content-Length") // of the name that the caller himself has sent
		}
		same := strings.NewReplacer("fleet", "nothing", "web", "nothing") // which the answer may repeat
		bodyA, bodyB = same.Replace(bodyA), same.Replace(bodyB)
		if statusA != statusB || bodyA != bodyB || cmp.Diff(headerA, headerB) != "" {
			t.Errorf("%s tells what exists: %d %s and %d %s", r.Name(), statusA, bodyA, statusB, bodyB)
		}
	}
}
