package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	clocks "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/server/webhook"
)

func app(t testing.TB, name, spec string) *v1alpha1.Application {
	t.Helper()
	a := &v1alpha1.Application{}
	if err := yaml.Unmarshal([]byte("metadata: {namespace: argocd, name: "+name+"}\nspec: "+spec), a); err != nil {
		t.Fatal(err)
	}
	return a
}

func names(marks []webhook.Mark) string {
	var out []string
	for _, m := range marks {
		name := m.Key.Name
		if m.Hydrate {
			name += "+hydrate"
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

func TestIndex(t *testing.T) {
	x := webhook.NewIndex()
	for name, spec := range map[string]string{
		"head":   `{source: {repoURL: "https://github.com/acme/shop", path: apps/a}}`,
		"ssh":    `{source: {repoURL: "git@github.com:acme/shop.git", targetRevision: main, path: apps/b}}`,
		"tag":    `{source: {repoURL: "https://github.com/acme/shop", targetRevision: "1.x"}}`,
		"other":  `{source: {repoURL: "https://github.com/acme/other"}}`,
		"multi":  `{sources: [{repoURL: "https://charts/x", chart: c}, {repoURL: "ssh://git@ssh.github.com:443/acme/shop", targetRevision: next}]}`,
		"dry":    `{sourceHydrator: {drySource: {repoURL: "https://github.com/acme/shop", targetRevision: main, path: dry}}}`,
		"oci":    `{source: {repoURL: "oci://ghcr.io/acme/web", targetRevision: ">=1.0.0"}}`,
		"helm":   `{source: {repoURL: ghcr.io/acme, chart: web, targetRevision: 1.4.0}}`,
		"latest": `{source: {repoURL: "oci://GHCR.io/acme/web/"}}`,
		"evil":   `{source: {repoURL: "https://github.com/acme/.*"}}`,
	} {
		x.Set(app(t, name, spec))
	}
	const web = "https://github.com/acme/shop"
	for want, p := range map[string]repo.Push{
		"dry+hydrate head ssh": {URL: web, Ref: "refs/heads/main", Default: true},
		"multi":                {URL: web, Ref: "refs/heads/next"},
		"tag":                  {URL: web, Ref: "refs/tags/1.4.2"},
		"":                     {URL: "https://github.com/acme/sho.", Ref: "refs/heads/main", Default: true},
		"other":                {URL: "https://github.com/acme/other", Ref: "refs/heads/main", Default: true},
	} {
		if got := names(x.Concerned(webhook.Push{Push: p})); got != want {
			t.Errorf("%+v concerns %q, want %q", p, got, want)
		}
	}
	for want, i := range map[string]webhook.Image{
		"helm latest oci": {URL: "oci://ghcr.io/acme/web", Tag: "1.4.0"},
		"latest":          {URL: "oci://ghcr.io/acme/web", Tag: "0.1.0"},
		"":                {URL: "oci://ghcr.io/acme/webx", Tag: "1.4.0"},
	} {
		if got := names(x.Published(i)); got != want {
			t.Errorf("%+v concerns %q, want %q", i, got, want)
		}
	}
	x.Set(app(t, "head", `{source: {repoURL: "https://github.com/acme/other"}}`))
	x.Delete(types.NamespacedName{Namespace: "argocd", Name: "ssh"})
	if got := names(x.Concerned(webhook.Push{Push: repo.Push{URL: web, Ref: "refs/heads/main", Default: true}})); got != "dry+hydrate" {
		t.Errorf("after a move and a deletion: %q", got)
	}
	if !x.Follows("git@github.com:acme/shop") || x.Follows("https://github.com/acme") || x.Follows("") {
		t.Error("Follows")
	}
}

func TestPaths(t *testing.T) {
	x := webhook.NewIndex()
	for name, annotation := range map[string]string{"own": ".", "up": "../shared;.", "root": "/base/**", "file": "/VERSION", "glob": "*.yaml", "none": "", "blank": " ; "} {
		a := app(t, name, `{source: {repoURL: "https://git/r/r", path: apps/a}}`)
		if annotation != "" {
			a.Annotations = map[string]string{v1alpha1.AnnotationGeneratePaths: annotation}
		}
		x.Set(a)
	}
	for files, want := range map[string]string{
		"apps/a/x.yaml":       "glob none own up",
		"apps/a/deep/x.yaml":  "none own up",
		"apps/ab/x.yaml":      "none",
		"apps/shared/lib":     "none up",
		"base/deep/y":         "none root",
		"VERSION":             "file none",
		"README other":        "none",
		"../../etc/passwd":    "none",
		"unknown to everyone": "none",
	} {
		got := names(x.Concerned(webhook.Push{Push: repo.Push{URL: "https://git/r/r", Default: true, Ref: "refs/heads/main"}, Files: strings.Fields(files)}))
		if got != want {
			t.Errorf("%s concerns %q, want %q", files, got, want)
		}
	}
	if got := names(x.Concerned(webhook.Push{Push: repo.Push{URL: "https://git/r/r"}})); got != "blank file glob none own root up" {
		t.Errorf("without a list of files: %q", got)
	}
}

// marks collects what is marked.
type marks struct {
	mu   sync.Mutex
	all  []string
	came chan struct{}
}

func (m *marks) mark(_ context.Context, o client.Object, annotations map[string]string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := o.GetName()
	for _, key := range []string{v1alpha1.AnnotationRefresh, v1alpha1.AnnotationHydrate, v1alpha1.AnnotationAppSetRefresh} {
		if annotations[key] != "" {
			text += " " + strings.TrimPrefix(key, "argocd.argoproj.io/")
		}
	}
	m.all = append(m.all, text)
	m.came <- struct{}{}
	return nil
}

func (m *marks) take(t testing.TB, n int) string {
	t.Helper()
	for range n {
		select {
		case <-m.came:
		case <-time.After(30 * time.Second):
			t.Fatal("not marked in time")
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	out := slices.Clone(m.all)
	slices.Sort(out)
	m.all = nil
	return strings.Join(out, ", ")
}

func dispatcher(t testing.TB, change func(*webhook.DispatchOptions)) (*webhook.Dispatcher, *marks, *clocks.FakeClock) {
	t.Helper()
	m, clk := &marks{came: make(chan struct{}, 10000)}, clocks.NewFakeClock(start)
	o := webhook.DispatchOptions{
		Index: webhook.NewIndex(), Mark: m.mark, Config: func() map[string]string { return nil }, Random: func(n int64) int64 { return n - 1 },
		Sets: func() []*v1alpha1.ApplicationSet { return nil }, World: func() appset.World { return appset.World{} },
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Clock: clk,
	}
	change(&o)
	d := webhook.NewDispatcher(o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { d.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	return d, m, clk
}

func pushTo(url, ref string) webhook.Event {
	return webhook.Event{Provider: "GitHub", Pushes: []webhook.Push{{Push: repo.Push{URL: url, Ref: ref, Default: true}}}}
}

func TestDispatch(t *testing.T) {
	set := func(name, generators string) *v1alpha1.ApplicationSet {
		s := &v1alpha1.ApplicationSet{}
		if err := yaml.Unmarshal([]byte("metadata: {namespace: argocd, name: "+name+"}\nspec: {goTemplate: true, generators: "+generators+"}"), s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	sets := []*v1alpha1.ApplicationSet{
		set("git", `[{git: {repoURL: "https://github.com/acme/shop", revision: HEAD}}]`),
		set("pulls", `[{pullRequest: {github: {owner: acme, repo: shop}}}]`),
		set("matrix", `[{matrix: {generators: [{git: {repoURL: "https://{{.x}}", revision: HEAD}}, {pullRequest: {github: {owner: acme, repo: shop}}}]}}]`),
		set("list", `[{list: {elements: []}}]`),
	}
	d, m, _ := dispatcher(t, func(o *webhook.DispatchOptions) {
		o.Index.Set(app(t, "one", `{source: {repoURL: "https://github.com/acme/shop"}}`))
		o.Index.Set(app(t, "dry", `{sourceHydrator: {drySource: {repoURL: "https://github.com/acme/shop"}}}`))
		o.Sets = func() []*v1alpha1.ApplicationSet { return sets }
	})
	d.Accept(pushTo("https://github.com/acme/shop", "refs/heads/main"))
	if got := m.take(t, 3); got != "dry refresh hydrate, git application-set-refresh, one refresh" {
		t.Errorf("a push marks %s", got)
	}
	d.Accept(webhook.Event{Pull: &appset.PullRequestEvent{Provider: "github", URL: "https://github.com/acme/shop", Owner: "ACME", Repo: "shop", Action: "opened"}})
	if got := m.take(t, 2); got != "matrix application-set-refresh, pulls application-set-refresh" {
		t.Errorf("a pull request marks %s", got)
	}
}

// TestMirrorsAreToldFirst: where the mirrors of this process follow a
// repository they ask at once; where they do not, Applications are marked.
func TestMirrorsAreToldFirst(t *testing.T) {
	var told []string
	following := 1
	var mu sync.Mutex
	hinted := make(chan struct{}, 10)
	d, m, _ := dispatcher(t, func(o *webhook.DispatchOptions) {
		o.Index.Set(app(t, "one", `{source: {repoURL: "https://github.com/acme/shop"}}`))
		o.Hint = func(p repo.Push) int {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, p.URL)
			return following
		}
		o.HintSets = func(context.Context, appset.Event) error { hinted <- struct{}{}; return nil }
	})
	d.Accept(pushTo("https://github.com/acme/shop", "refs/heads/main"))
	<-hinted
	mu.Lock()
	following = 0
	mu.Unlock()
	d.Accept(pushTo("https://github.com/acme/shop", "refs/heads/main"))
	if got := m.take(t, 1); got != "one refresh" || len(told) != 2 {
		t.Errorf("marked %s, told %v", got, told)
	}
}

// TestFlood: however many events, an object is marked at most once in two
// seconds.
func TestFlood(t *testing.T) {
	d, m, clk := dispatcher(t, func(o *webhook.DispatchOptions) {
		o.Index.Set(app(t, "one", `{source: {repoURL: "https://github.com/acme/shop"}}`))
	})
	for range 10000 {
		d.Accept(pushTo("https://github.com/acme/shop", "refs/heads/main"))
	}
	m.take(t, 1)
	for !clk.HasWaiters() {
		runtime.Gosched()
	}
	m.mu.Lock()
	n := len(m.all)
	m.mu.Unlock()
	if n != 0 {
		t.Errorf("%d marks more while no time passes", n)
	}
}

func TestQueueIsBounded(t *testing.T) {
	d := webhook.NewDispatcher(webhook.DispatchOptions{Queue: 3, Clock: clocks.NewFakeClock(start)})
	taken := 0
	for range 10 {
		if d.Accept(pushTo("https://x/y", "refs/heads/main")) {
			taken++
		}
	}
	if taken != 3 {
		t.Errorf("%d events wait", taken)
	}
}

// BenchmarkWebhook is one push that concerns all of 1,500 Applications: from the
// request until the last of them is marked.
func BenchmarkWebhook(b *testing.B) {
	const apps = 1500
	d, m, clk := dispatcher(b, func(o *webhook.DispatchOptions) {
		for i := range apps {
			o.Index.Set(app(b, fmt.Sprint("app-", i), `{source: {repoURL: "https://github.com/acme/shop", targetRevision: main, path: apps/a}}`))
		}
	})
	receiver, err := webhook.NewReceiver(webhook.Options{
		Secrets: func() webhook.Secrets { return allSecrets }, Config: func() map[string]string { return nil }, Accept: d.Accept,
		Follows: func(string) bool { return true }, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Clock: clk, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		b.Fatal(err)
	}
	r := &rig{Receiver: receiver}
	n := 0
	for b.Loop() {
		n++
		clk.Step(10 * time.Minute)
		body, err := json.Marshal(map[string]any{
			"ref": "refs/heads/main", "before": "a", "after": fmt.Sprint(n), "commits": []any{map[string]any{"modified": []string{"apps/a/x.yaml"}}},
			"repository": map[string]any{"html_url": "https://github.com/acme/shop", "default_branch": "main"},
		})
		if err != nil {
			b.Fatal(err)
		}
		if w := r.post(sign(http.Header{"X-Github-Event": {"push"}}, body), bytes.NewReader(body)); w.Code != http.StatusOK {
			b.Fatal(w.Code, w.Body)
		}
		m.take(b, apps)
	}
}
