package generate_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/controller/generate"
)

// gitHost is GitHub with repositories r0 to rN; answer, when set, answers
// instead.
type gitHost struct {
	*httptest.Server
	repositories int
	answer       func(w http.ResponseWriter, r *http.Request) bool
	asked        atomic.Int64
}

func newGitHost(t *testing.T, repositories int) *gitHost {
	h := &gitHost{repositories: repositories}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		if h.answer != nil && h.answer(w, r) {
			return
		}
		switch {
		case strings.HasSuffix(r.URL.Path, "/pulls"):
			_, _ = io.WriteString(w, "["+h.list(`{"number": %[1]d, "title": "t", "head": {"ref": "feature/Foo_bar", "sha": "abcdefabcdef"}, "base": {"ref": "main"}}`)+"]")
		case strings.HasSuffix(r.URL.Path, "/repos"):
			_, _ = io.WriteString(w, "["+h.list(`{"id": %[1]d, "name": "r%[1]d", "owner": {"login": "acme"}, "default_branch": "main", "ssh_url": "git@x:r%[1]d"}`)+"]")
		default:
			_, _ = io.WriteString(w, `{"name": "main", "commit": {"sha": "abcdefabcdef"}}`)
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *gitHost) list(shape string) string {
	all := make([]string, h.repositories)
	for i := range all {
		all[i] = fmt.Sprintf(shape, i)
	}
	return strings.Join(all, ",")
}

const scmSet = `[{scmProvider: {github: {organization: acme, api: "%s"}}}]`

// TestHostsThatFail: whatever a host answers instead of its list, no Application
// goes, and people read since when the last complete answer is used.
func TestHostsThatFail(t *testing.T) {
	for name, c := range map[string]struct {
		repositories int
		answer       func(http.ResponseWriter, *http.Request) bool
		down         bool
		condition    string
		words        []string
	}{
		"down": {3, nil, true, v1alpha1.AppSetErrorOccurred, []string{"True ApplicationGenerationFromParamsError", "spec.generators[0]: scmProvider: github organization acme", "nothing is deleted; the last complete answer, of 2026-07-01T12:00:00Z, is used"}},
		"HTML": {3, func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<html>sign in</html>")
			return true
		}, false, v1alpha1.AppSetErrorOccurred, []string{"web page instead of data", "the last complete answer, of 2026-07-01T12:00:00Z, is used"}},
		"half a page": {3, func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = io.WriteString(w, `[{"id": 0, "name": "r0", "owner": {"login": "acme"}, "default_branch": "main"}, {"id": 1`)
			return true
		}, false, v1alpha1.AppSetErrorOccurred, []string{"the last complete answer, of 2026-07-01T12:00:00Z, is used"}},
		"half of the pages": {3, func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Get("page") == "2" {
				w.WriteHeader(http.StatusBadGateway)
				return true
			}
			w.Header().Set("Link", `<http://`+r.Host+`/x?page=2>; rel="next"`)
			return false
		}, false, v1alpha1.AppSetErrorOccurred, []string{"answers 502", "the last complete answer, of 2026-07-01T12:00:00Z, is used"}},
		"an empty list": {3, func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = io.WriteString(w, "[]")
			return true
		}, false, v1alpha1.AppSetDeletionGuarded, []string{"True DropExceedsLimit: 3 of 3 Applications are no longer generated and are kept since 2026-07-01T13:00:00Z: a-r0, a-r1, a-r2", "lists no repository at all"}},
		"an empty list instead of one": {1, func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = io.WriteString(w, "[]")
			return true
		}, false, v1alpha1.AppSetDeletionGuarded, []string{"1 of 1 Applications are no longer generated and are kept since 2026-07-01T13:00:00Z: a-r0"}},
	} {
		t.Run(name, func(t *testing.T) {
			host := newGitHost(t, c.repositories)
			w := newWorld(t, generate.Rules{})
			w.apply("set", spec(fmt.Sprintf(scmSet, host.URL), "a-{{repository}}"))
			if _, err := w.evaluate("set"); err != nil {
				t.Fatal(err)
			}
			want := w.apps(controlPlane)
			if len(want) != c.repositories {
				t.Fatalf("Applications %v", want)
			}
			w.clock.SetTime(start.Add(time.Hour))
			host.answer = c.answer
			if c.down {
				host.Close()
			}
			for range 3 {
				_, err := w.evaluate("set")
				if failed := c.condition == v1alpha1.AppSetErrorOccurred; (err != nil) != failed {
					t.Errorf("error %v", err)
				}
				w.wantApps(want...)
				w.wantCondition(c.condition, c.words...)
				if len(w.writes) > 0 || len(w.last.Applications) != map[bool]int{true: c.repositories, false: 0}[c.condition == v1alpha1.AppSetErrorOccurred] {
					t.Errorf("writes %v, %d Applications in the outcome", w.writes, len(w.last.Applications))
				}
			}
			if c.down {
				return
			}
			host.answer = nil // it recovers: the guard ends by itself
			w.clock.SetTime(start.Add(2 * time.Hour))
			if _, err := w.evaluate("set"); err != nil {
				t.Fatal(err)
			}
			w.wantApps(want...)
			if got := w.condition(v1alpha1.AppSetDeletionGuarded); got != "" {
				t.Errorf("the guard stands: %s", got)
			}
		})
	}
}

// TestOneParameterSetFails: it is named; the others are created and updated;
// nothing is deleted while it stands.
func TestOneParameterSetFails(t *testing.T) {
	w := newWorld(t, generate.Rules{})
	const strict = "goTemplate: true\ngoTemplateOptions: [missingkey=error]\n"
	set := func(elements, project string) string {
		return strict + strings.Replace(spec("[{list: {elements: ["+elements+"]}}]", "app-{{.env}}"), "namespace: x", "namespace: '{{.ns}}'", 1)
	}
	w.apply("set", set("{env: a, ns: a}, {env: b, ns: b}, {env: c, ns: c}", "default"))
	if _, err := w.evaluate("set"); err != nil {
		t.Fatal(err)
	}
	w.wantApps("app-a", "app-b", "app-c")
	w.apply("set", set("{env: a, ns: changed}, {env: b}, {env: new, ns: new}", "default"))
	_, err := w.evaluate("set")
	if err == nil {
		t.Error("no error")
	}
	w.wantApps("app-a", "app-b", "app-c", "app-new")
	w.wantCondition(v1alpha1.AppSetErrorOccurred, "True RenderTemplateParamsError", `spec.generators[0], parameters {"env":"b"}`, "template.spec.destination.namespace", "nothing is deleted")
	var app v1alpha1.Application
	if err := w.hub.Get(t.Context(), client.ObjectKey{Namespace: controlPlane, Name: "app-a"}, &app); err != nil || app.Spec.Destination.Namespace != "changed" {
		t.Errorf("app-a goes to %s, %v", app.Spec.Destination.Namespace, err)
	}
	w.apply("set", set("{env: a, ns: a}, {env: b, ns: b}, {env: new, ns: new}", "default"))
	if _, err := w.evaluate("set"); err != nil {
		t.Fatal(err)
	}
	w.wantApps("app-a", "app-b", "app-new")
}

// TestAnswersAreReused: a host is asked again at its interval, when the question
// changes, and when somebody says so; not because of something else.
func TestAnswersAreReused(t *testing.T) {
	host := newGitHost(t, 1)
	w := newWorld(t, generate.Rules{})
	w.apply("set", spec(fmt.Sprintf(`[{pullRequest: {requeueAfterSeconds: 600, github: {owner: acme, repo: api, api: "%s"}}}]`, host.URL), "a-{{number}}"))
	look := func(what string, want int64, again time.Duration) {
		t.Helper()
		before := host.asked.Load()
		wake, err := w.evaluate("set")
		if err != nil {
			t.Fatal(err)
		}
		if got := host.asked.Load() - before; got != want || wake != again {
			t.Errorf("%s: asked %d times, again after %s; want %d and %s", what, got, wake, want, again)
		}
	}
	look("first", 1, 10*time.Minute)
	look("something else changed", 0, 10*time.Minute)
	w.clock.SetTime(start.Add(4 * time.Minute))
	look("later", 0, 6*time.Minute)
	host.repositories = 2
	w.clock.SetTime(start.Add(10 * time.Minute))
	look("at the interval", 1, 10*time.Minute)
	w.wantApps("a-0", "a-1")
	w.annotate("set", v1alpha1.AnnotationAppSetRefresh, "now")
	look("a hint", 1, 10*time.Minute)
	var set v1alpha1.ApplicationSet
	if err := w.hub.Get(t.Context(), client.ObjectKey{Namespace: controlPlane, Name: "set"}, &set); err != nil || len(set.Annotations) > 0 {
		t.Errorf("annotations %v, %v", set.Annotations, err)
	}
	look("after the hint", 0, 10*time.Minute)
	w.apply("set", spec(fmt.Sprintf(`[{pullRequest: {requeueAfterSeconds: 0, github: {owner: acme, repo: web, api: "%s"}}}]`, host.URL), "a-{{number}}"))
	look("another question", 1, 0)
	w.apply("set", spec(fmt.Sprintf(`[{matrix: {generators: [{list: {elements: [{x: a}, {x: b}]}}, {pullRequest: {github: {owner: acme, repo: web, api: "%s"}}}]}}]`, host.URL), "a-{{x}}-{{number}}"))
	w.annotate("set", v1alpha1.AnnotationAppSetRefresh, "now")
	look("the same question twice", 1, 30*time.Minute)
	host.answer = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(500); return true }
	w.annotate("set", v1alpha1.AnnotationAppSetRefresh, "now")
	if _, err := w.evaluate("set"); err == nil {
		t.Error("a hint does not ask the host")
	}
	if err := w.hub.Get(t.Context(), client.ObjectKey{Namespace: controlPlane, Name: "set"}, &set); err != nil || set.Annotations[v1alpha1.AnnotationAppSetRefresh] != "now" {
		t.Errorf("a hint is lost with a failure: %v, %v", set.Annotations, err)
	}
}

// TestThrottledHostsAreLeftAlone: what the host says about when to ask again is
// kept to.
func TestThrottledHostsAreLeftAlone(t *testing.T) {
	host := newGitHost(t, 1)
	host.answer = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "900")
		w.WriteHeader(429)
		return true
	}
	w := newWorld(t, generate.Rules{})
	w.apply("set", spec(fmt.Sprintf(scmSet, host.URL), "a-{{repository}}"))
	_, err := w.evaluate("set")
	if at, ok := generate.RetryAt(err); !ok || !at.Equal(start.Add(15*time.Minute)) {
		t.Errorf("again at %s, %v: %v", at, ok, err)
	}
	w.wantCondition(v1alpha1.AppSetErrorOccurred, "asks for fewer requests until 2026-07-01T12:15:00Z")
}

// TestM24MissingRepository: it yields nothing when the set says so, which the
// guard holds and a person confirms, unless the policy keeps the Applications.
func TestM24MissingRepository(t *testing.T) {
	for policy, want := range map[string]int{"sync": 0, "create-update": 3} {
		host := newGitHost(t, 3)
		w := newWorld(t, generate.Rules{Policy: policy})
		w.apply("set", spec(fmt.Sprintf(`[{pullRequest: {continueOnRepoNotFoundError: true, github: {owner: acme, repo: api, api: "%s"}}}]`, host.URL), "a-{{number}}"))
		if _, err := w.evaluate("set"); err != nil {
			t.Fatal(err)
		}
		host.answer = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(404); return true }
		w.clock.SetTime(start.Add(time.Hour))
		again, err := w.evaluate("set")
		if err != nil || again != 30*time.Minute {
			t.Fatalf("again after %s, %v", again, err)
		}
		w.wantApps("a-0", "a-1", "a-2")
		if policy == "sync" {
			w.wantCondition(v1alpha1.AppSetDeletionGuarded, "3 of 3 Applications are no longer generated")
			w.annotate("set", v1alpha1.AnnotationConfirmDeletion, "3")
			if _, err := w.evaluate("set"); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.apps(controlPlane); len(got) != want {
			t.Errorf("%s: %v stay, want %d", policy, got, want)
		}
	}
	host := newGitHost(t, 1)
	host.answer = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(404); return true }
	w := newWorld(t, generate.Rules{})
	w.apply("set", spec(fmt.Sprintf(`[{pullRequest: {github: {owner: acme, repo: api, api: "%s"}}}]`, host.URL), "a-{{number}}"))
	if _, err := w.evaluate("set"); err == nil {
		t.Error("a missing repository is nothing unless the set says so")
	}
}

// TestM22HostsThatAreNotAllowed are not asked at all.
func TestM22HostsThatAreNotAllowed(t *testing.T) {
	host := newGitHost(t, 1)
	off := false
	for name, c := range map[string]struct {
		rules generate.Rules
		want  string
	}{
		"not on the list": {generate.Rules{AllowedSCM: []string{"https://ghe.example"}}, "is not on the list of --allowed-scm-providers"},
		"switched off":    {generate.Rules{SCMProviders: &off}, "switched off: set --enable-scm-providers"},
		"on the list":     {generate.Rules{AllowedSCM: []string{host.URL}}, ""},
	} {
		for _, generator := range []string{scmSet, `[{pullRequest: {github: {owner: acme, repo: api, api: "%s"}}}]`} {
			before := host.asked.Load()
			w := newWorld(t, c.rules)
			w.apply("set", spec(fmt.Sprintf(generator, host.URL), "a-{{branchNormalized}}{{branch_slug}}"))
			_, err := w.evaluate("set")
			asked := host.asked.Load() - before
			if c.want == "" {
				if err != nil || asked == 0 {
					t.Errorf("%s: %v, asked %d times", name, err, asked)
				}
				continue
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || asked != 0 {
				t.Errorf("%s: %v, asked %d times", name, err, asked)
			}
			w.wantCondition(v1alpha1.AppSetErrorOccurred, c.want)
		}
	}
}

// TestM37Tokens: a token comes from a permitted Secret of the set's own
// namespace and from nowhere else.
func TestM37Tokens(t *testing.T) {
	sent := ""
	host := newGitHost(t, 1)
	host.answer = func(_ http.ResponseWriter, r *http.Request) bool { sent = r.Header.Get("Authorization"); return false }
	secret := func(namespace, name string, labels map[string]string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}, Data: map[string][]byte{"token": []byte("t-" + name)}}
	}
	labelled := map[string]string{v1alpha1.LabelSecretType: "scm-creds"}
	for name, c := range map[string]struct {
		rules                   generate.Rules
		namespace, secret, want string
	}{
		"plain":                  {generate.Rules{}, controlPlane, "plain", ""},
		"strict":                 {generate.Rules{StrictTokens: true}, controlPlane, "plain", "secret plain does not carry label argocd.argoproj.io/secret-type=scm-creds"},
		"strict, labelled":       {generate.Rules{StrictTokens: true}, controlPlane, "labelled", ""},
		"a cluster":              {generate.Rules{}, controlPlane, "cluster", "secret cluster is not for generators"},
		"the control plane's":    {generate.Rules{}, controlPlane, "argocd-secret", "secret argocd-secret is not for generators"},
		"an internal one":        {generate.Rules{}, controlPlane, "internal", "secret internal is not for generators"},
		"missing":                {generate.Rules{}, controlPlane, "missing", `secrets "missing" not found`},
		"another key":            {generate.Rules{}, controlPlane, "keyless", "secret keyless has no key token"},
		"a namespace of people":  {generate.Rules{Namespaces: []string{"team"}, AllowedSCM: []string{host.URL}}, "team", "own", "secret own does not carry label"},
		"of people, labelled":    {generate.Rules{Namespaces: []string{"team"}, AllowedSCM: []string{host.URL}}, "team", "labelled-team", ""},
		"of another namespace's": {generate.Rules{Namespaces: []string{"team"}, AllowedSCM: []string{host.URL}}, "team", "labelled", `secrets "labelled" not found`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.rules, secret(controlPlane, "plain", nil), secret(controlPlane, "labelled", labelled), secret(controlPlane, "argocd-secret", nil),
				secret(controlPlane, "cluster", map[string]string{v1alpha1.LabelSecretType: "cluster"}), secret("team", "own", nil), secret("team", "labelled-team", labelled),
				secret(controlPlane, "internal", map[string]string{"app.kubernetes.io/part-of": "argocd"}),
				&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: controlPlane, Name: "keyless"}})
			sent = ""
			w.applyIn(c.namespace, "set", spec(fmt.Sprintf(`[{scmProvider: {github: {organization: acme, api: "%s", tokenRef: {secretName: %s, key: token}}}}]`, host.URL, c.secret), "a"))
			_, err := w.evaluateIn(c.namespace, "set")
			if c.want == "" {
				if err != nil || sent != "Bearer t-"+c.secret {
					t.Errorf("%v, sent %q", err, sent)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || sent != "" {
				t.Errorf("%v, sent %q; want %s", err, sent, c.want)
			}
		})
	}
}
