package server

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	sigs "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// TestHeadersOfEveryAnswer: no browser guesses what an answer is, whatever the
// route and the error.
func TestHeadersOfEveryAnswer(t *testing.T) {
	w := open(t, true, nil)
	check := func(where string, h http.Header) {
		t.Helper()
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", where, h)
		}
		// Badges are made to be shown by other sites.
		if h.Get("Access-Control-Allow-Origin") != "" && !strings.Contains(where, "/api/badge") || h.Get("Server") != "" {
			t.Errorf("%s tells too much: %v", where, h)
		}
		if kind := h.Get("Content-Type"); strings.HasPrefix(kind, "text/html") {
			t.Errorf("%s is shown as a page: %s", where, kind)
		}
	}
	for _, r := range inOrder(w.api.Table()) {
		for _, as := range []string{"none", "admin"} {
			_, h, _ := w.ask(t, as, r.Method, target(t, r), bodyOf(r))
			check(r.Name()+" as "+as, h)
		}
	}
	for _, q := range [][2]string{
		{"GET", "/nothing"}, {"GET", "/api/v1/nothing"}, {"PATCH", "/api/v1/clusters"}, {"GET", "/healthz"}, {"GET", "/swagger.json"}, {"GET", "/api/badge?name=web"},
		{"GET", "/api/v1/applications?name=" + strings.Repeat("x", 70_000)}, {"POST", "/api/webhook"}, {"GET", "//evil.example/%2e%2e"},
	} {
		_, h, _ := w.ask(t, "none", q[0], q[1], "{}")
		check(strings.Join(q[:], " ")[:min(60, len(q[0]+q[1]))], h)
	}
}

// TestNothingLeadsElsewhere: no path makes the server send a browser to another
// host.
func TestNothingLeadsElsewhere(t *testing.T) {
	w := open(t, true, nil)
	plain := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, path := range []string{"//evil.example", "//evil.example/..", "/\\evil.example", "/%2f%2fevil.example", "/api//evil.example/", "/api/v1/..//evil.example", "///evil.example/%2e%2e", "/api/v1/applications/..;/evil.example"} {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL, nil)
		must(t, err)
		q.URL.Opaque = strings.TrimPrefix(w.URL, "http:") + path
		resp, err := plain.Do(q)
		must(t, err)
		must(t, resp.Body.Close())
		to, err := resp.Location()
		if err == nil && to.Host != strings.TrimPrefix(w.URL, "http://") {
			t.Errorf("%s leads to %s", path, to)
		}
		if raw := resp.Header.Get("Location"); strings.HasPrefix(raw, "//") || strings.HasPrefix(raw, "/\\") {
			t.Errorf("%s leads to %s", path, raw)
		}
	}
}

// TestOpenRoutes: these need no token, and no others.
func TestOpenRoutes(t *testing.T) {
	w := open(t, true, nil)
	var got []string
	for _, r := range w.api.Table() {
		if r.Rule.Access == route.Open {
			got = append(got, r.Name())
		}
		if r.Method == http.MethodGet && r.Changes() {
			t.Errorf("%s changes something", r.Name())
		}
	}
	slices.Sort(got)
	want := []string{"DELETE /api/v1/session", "GET /api/v1/session/userinfo", "GET /api/v1/settings", "GET /api/version", "POST /api/v1/session"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("open routes:\n%s", diff)
	}
	_, _, body := w.ask(t, "none", "GET", "/api/version", "")
	var version map[string]any
	must(t, json.Unmarshal([]byte(body), &version))
	if len(version) != 1 || version["Version"] == nil {
		t.Errorf("the version for strangers is %s", body)
	}
}

// TestClustersAndRepositoriesLookAlike: who may not see one cannot tell by name
// or by address whether there is one.
func TestClustersAndRepositoriesLookAlike(t *testing.T) {
	w := open(t, true, nil)
	const prod, none = "https%3A%2F%2Fprod.example%3A6443", "https%3A%2F%2Fnone.example%3A6443"
	pairs := [][2]string{
		{prod, none}, {"prod?id.type=name", "none?id.type=name"},
	}
	same := strings.NewReplacer("prod", "none", "alpha", "none")
	compare := func(method, a, b, body string) {
		t.Helper()
		for _, as := range []string{"nobody", "beta-dev", "fenced"} {
			statusA, headerA, bodyA := w.ask(t, as, method, a, body)
			statusB, headerB, bodyB := w.ask(t, as, method, b, body)
			for _, h := range []http.Header{headerA, headerB} {
				h.Del("Date")
				h.Del("Content-Length")
			}
			if statusA != statusB || same.Replace(bodyA) != same.Replace(bodyB) || cmp.Diff(headerA, headerB) != "" {
				t.Errorf("%s %s as %s tells what exists: %d %s and %d %s", method, a, as, statusA, bodyA, statusB, bodyB)
			}
		}
	}
	for _, pair := range pairs {
		a, b := "/api/v1/clusters/"+pair[0], "/api/v1/clusters/"+pair[1]
		compare("GET", a, b, "")
		compare("DELETE", a, b, "")
		compare("PUT", a, b, `{"labels":{"a":"b"}}`)
		verb := func(path, name string) string {
			at, query, _ := strings.Cut(path, "?")
			return at + "/" + name + "?" + query
		}
		compare("POST", verb(a, "rotate-auth"), verb(b, "rotate-auth"), "{}")
		compare("POST", verb(a, "invalidate-cache"), verb(b, "invalidate-cache"), "{}")
	}
	const app, absent = "https%3A%2F%2Fgit.example%2Falpha%2Fapp", "https%3A%2F%2Fgit.example%2Fnone%2Fapp"
	for _, suffix := range []string{"", "/refs", "/helmcharts", "/oci-tags", "/apps"} {
		compare("GET", "/api/v1/repositories/"+app+suffix, "/api/v1/repositories/"+absent+suffix, "")
	}
}

// TestTheStoredObjectDecides: a body that names another object than the path
// changes neither.
func TestTheStoredObjectDecides(t *testing.T) {
	w := open(t, false, nil)
	var before, after corev1.Secret
	key := sigs.ObjectKey{Namespace: namespace, Name: "prod"}
	must(t, w.write.Get(t.Context(), key, &before))
	for path, body := range map[string]string{
		"/api/v1/clusters/https%3A%2F%2Fkubernetes.default.svc":   `{"server":"https://prod.example:6443","name":"taken","config":{"bearerToken":"x"}}`,
		"/api/v1/clusters/https%3A%2F%2Fprod.example%3A6443":      `{"server":"https://other.example","name":"taken"}`,
		"/api/v1/clusters/prod?id.type=name":                      `{"server":"https://kubernetes.default.svc","name":"taken"}`,
		"/api/v1/applications/web":                                `{"metadata":{"name":"shop"},"spec":{"project":"beta"}}`,
		"/api/v1/projects/alpha":                                  `{"project":{"metadata":{"name":"beta"},"spec":{"sourceRepos":["*"]}}}`,
		"/api/v1/repositories/https%3A%2F%2Fgit.example%2Fother":  `{"repo":"https://git.example/alpha/app","project":"alpha","username":"taken"}`,
		"/api/v1/applications/web/spec?project=beta":              `{"project":"alpha"}`,
		"/api/v1/applications/web?appNamespace=kube-system":       `{"metadata":{"name":"web"},"spec":{"project":"alpha"}}`,
		"/api/v1/repocreds/https%3A%2F%2Fgit.example%2Felsewhere": `{"url":"https://git.example/alpha","username":"taken"}`,
	} {
		if status, _, answer := w.ask(t, "admin", http.MethodPut, path, body); status < 400 || status >= 500 {
			t.Errorf("PUT %s with %s: %d %s", path, body, status, answer)
		}
	}
	must(t, w.write.Get(t.Context(), key, &after))
	if after.ResourceVersion != before.ResourceVersion {
		t.Error("the cluster was written")
	}
	var shop v1alpha1.Application
	must(t, w.write.Get(t.Context(), sigs.ObjectKey{Namespace: namespace, Name: "shop"}, &shop))
	if shop.Spec.Source == nil || shop.Spec.Source.Path != "shop" {
		t.Errorf("the other Application was written: %+v", shop.Spec)
	}
}

// TestPrivilegedFieldsAreNotSmuggled: what only the controllers write cannot be
// brought by a create, an update or a patch.
func TestPrivilegedFieldsAreNotSmuggled(t *testing.T) {
	w := open(t, false, nil)
	const smuggled = `"operation":{"sync":{"manifests":["{}"]}},"status":{"sync":{"status":"Synced"},"health":{"status":"Healthy"}}`
	const body = `{"metadata":{"name":"smuggler","ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"x","uid":"u"}]},
	 "spec":{"project":"alpha","source":{"repoURL":"https://git.example/alpha/app","path":"web"},"destination":{"server":"https://prod.example:6443","namespace":"x"}},` + smuggled + `}`
	status, _, answer := w.ask(t, "admin", http.MethodPost, "/api/v1/applications?validate=false", body)
	if status != http.StatusOK {
		t.Fatalf("create: %d %s", status, answer)
	}
	key := sigs.ObjectKey{Namespace: namespace, Name: "smuggler"}
	t.Cleanup(func() {
		app := &v1alpha1.Application{}
		app.Name, app.Namespace = key.Name, key.Namespace
		_ = w.write.Delete(context.WithoutCancel(t.Context()), app) // the hub ends with the tests
	})
	clean := func(after string) {
		t.Helper()
		var app v1alpha1.Application
		must(t, w.write.Get(t.Context(), key, &app))
		if app.Operation != nil || app.Status.Sync.Status != "" || len(app.OwnerReferences) > 0 {
			t.Errorf("after %s: operation %v, status %v, owners %v", after, app.Operation, app.Status.Sync, app.OwnerReferences)
		}
	}
	clean("the create")
	for what, q := range map[string][3]string{
		"an update":  {http.MethodPut, "/api/v1/applications/smuggler?validate=false", body},
		"an upsert":  {http.MethodPost, "/api/v1/applications?validate=false&upsert=true", strings.Replace(body, `"path":"web"`, `"path":"other"`, 1)},
		"a patch":    {http.MethodPatch, "/api/v1/applications/smuggler", `{"patchType":"merge","patch":"{\"operation\":{\"sync\":{\"manifests\":[\"{}\"]}},\"status\":{\"sync\":{\"status\":\"Synced\"}}}"}`},
		"JSON patch": {http.MethodPatch, "/api/v1/applications/smuggler", `{"patchType":"json","patch":"[{\"op\":\"add\",\"path\":\"/operation\",\"value\":{\"sync\":{}}}]"}`},
	} {
		if status, _, answer := w.ask(t, "admin", q[0], q[1], q[2]); status >= 500 {
			t.Errorf("%s: %d %s", what, status, answer)
		}
		clean(what)
	}
}

// TestNothingInForeignNamespaces: no route reaches an Application in a namespace that is
// not admitted, not even for the administrator.
func TestNothingInForeignNamespaces(t *testing.T) {
	w := open(t, true, nil)
	for _, r := range inOrder(w.api.Table()) {
		if !strings.Contains(r.Path, "/applications/{name}") && !strings.Contains(r.Path, "/stream/applications/{name}") {
			continue
		}
		path := target(t, r)
		if strings.Contains(path, "?") {
			path += "&appNamespace=kube-system"
		} else {
			path += "?appNamespace=kube-system"
		}
		body := bodyOf(r)
		if r.Name() == "PUT /api/v1/applications/{name}" { // the object itself says where it is
			body = strings.Replace(body, `"metadata":{`, `"metadata":{"namespace":"kube-system",`, 1)
		}
		if status, _, answer := w.ask(t, "admin", r.Method, path, body); status < 400 || status >= 500 {
			t.Errorf("%s in kube-system: %d %s", r.Name(), status, answer)
		}
	}
	const app = `{"metadata":{"name":"outside","namespace":"kube-system"},"spec":{"project":"alpha","source":{"repoURL":"https://git.example/alpha/app","path":"web"},"destination":{"server":"https://prod.example:6443","namespace":"x"}}}`
	if status, _, answer := w.ask(t, "admin", http.MethodPost, "/api/v1/applications?validate=false", app); status != http.StatusForbidden {
		t.Errorf("create in kube-system: %d %s", status, answer)
	}
}
