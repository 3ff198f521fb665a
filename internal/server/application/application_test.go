package application

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testclock "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// rights are lines like "get p/a".
type rights string

func (r rights) Allowed(_ access.Principal, what access.Request) bool {
	return strings.Contains(string(r), what.Action+" "+what.Object+";")
}

func world(t *testing.T, apps ...*v1alpha1.Application) *Service {
	t.Helper()
	hub, err := store.NewHub("argocd", []string{"team"})
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range apps {
		a.ResourceVersion = fmt.Sprint(i + 1)
		hub.Apps.Put(a)
	}
	p := &v1alpha1.AppProject{Spec: v1alpha1.AppProjectSpec{
		SourceRepos: []string{"https://git/p/*"}, Destinations: []v1alpha1.ApplicationDestination{{Server: "https://c", Namespace: "x"}}, SourceNamespaces: []string{"team"},
	}}
	p.Name, p.Namespace = "p", "argocd"
	hub.Projects.Put(p)
	return New(Options{
		Hub: hub, Log: slog.New(slog.DiscardHandler), Clock: testclock.NewFakeClock(time.Unix(0, 0)),
		Settings: func() *settings.Snapshot {
			return &settings.Snapshot{Clusters: destination.Clusters{{Name: "c", Server: "https://c"}, {Name: "other", Server: "https://other"}}}
		},
	})
}

func app(project, namespace, name string) *v1alpha1.Application {
	a := &v1alpha1.Application{}
	a.Name, a.Namespace, a.Spec.Project = name, namespace, project
	a.Spec.Source = &v1alpha1.ApplicationSource{RepoURL: "https://git/p/a", Path: "x"}
	a.Spec.Destination = v1alpha1.ApplicationDestination{Server: "https://c", Namespace: "x"}
	return a
}

func (s *Service) call(method string, r rights) *route.Call {
	for _, line := range s.Routes() {
		if line.Operation() == method {
			return route.NewCall(&line, access.Principal{Subject: "ann", Issuer: "argocd"}, r)
		}
	}
	return nil
}

func TestFind(t *testing.T) {
	t.Parallel()
	s := world(t, app("p", "argocd", "a"), app("p", "team", "b"), app("", "argocd", "d"))
	for name, c := range map[string]struct {
		target Target
		rights rights
		action string
		code   fault.Code
		text   string
	}{
		"granted":                         {Target{Name: "a"}, "get p/a;", "get", 0, ""},
		"granted by project":              {Target{Name: "a", Project: "p"}, "get p/a;", "get", 0, ""},
		"in a namespace":                  {Target{Name: "b", AppNamespace: "team"}, "get p/team/b;", "get", 0, ""},
		"default project":                 {Target{Name: "d"}, "get default/d;", "get", 0, ""},
		"forbidden":                       {Target{Name: "a"}, "", "get", fault.PermissionDenied, "permission denied"},
		"absent":                          {Target{Name: "z"}, "get p/z;", "get", fault.PermissionDenied, "permission denied"},
		"absent in project":               {Target{Name: "z", Project: "p"}, "get p/z;", "get", fault.NotFound, "application 'z' not found in project 'p'"},
		"absent in project, no right":     {Target{Name: "z", Project: "p"}, "", "get", fault.PermissionDenied, "permission denied"},
		"other project":                   {Target{Name: "a", Project: "q"}, "get q/a;get p/a;", "get", fault.NotFound, "application 'a' not found in project 'q'"},
		"may see, may not sync":           {Target{Name: "a"}, "get p/a;", "sync", fault.PermissionDenied, "permission denied: applications, sync, p/a, sub: ann"},
		"may not see, may not sync":       {Target{Name: "a"}, "", "sync", fault.PermissionDenied, "permission denied"},
		"namespace that is not looked at": {Target{Name: "a", AppNamespace: "kube-system"}, "get p/a;", "get", fault.PermissionDenied, "namespace 'kube-system' is not permitted"},
		"no name":                         {Target{}, "", "get", fault.InvalidArgument, "set name"},
	} {
		_, err := s.find(s.call("TerminateOperation", c.rights), c.target, c.action)
		if code, text := fault.Of(err); code != c.code || text != c.text && !(c.text == "set name" && strings.Contains(text, c.text)) {
			t.Errorf("%s: %v %q, want %v %q", name, code, text, c.code, c.text)
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	one, two, three := app("p", "argocd", "one"), app("q", "argocd", "two"), app("p", "team", "three")
	one.Labels = map[string]string{"tier": "web"}
	one.Status.Health.Status, two.Status.Sync.Status = v1alpha1.HealthDegraded, v1alpha1.SyncStatusOutOfSync
	two.Spec.Source.RepoURL = "https://git/q/x.git"
	three.OwnerReferences = []metav1.OwnerReference{{Kind: "ApplicationSet", Name: "fleet"}}
	s := world(t, one, two, three)
	for query, want := range map[*ListQuery]string{
		{}:                          "one three two",
		{Query: Query{Name: "one"}}: "one",
		{Query: Query{Projects: []string{"q", "z"}}}:       "two",
		{Query: Query{Selector: "tier in (web,db)"}}:       "one",
		{Query: Query{Repo: "https://git/q/x"}}:            "two",
		{Query: Query{AppNamespace: "team"}}:               "three",
		{Query: Query{HealthStatus: []string{"Degraded"}}}: "one",
		{Query: Query{SyncStatus: []string{"OutOfSync"}}}:  "two",
		{Query: Query{Cluster: []string{"https://c"}}}:     "one three two",
		{Query: Query{Set: "fleet"}}:                       "three",
		{Page: store.Page{Search: "GIT/Q"}}:                "two",
		{Page: store.Page{Sort: "-project", Limit: 1}}:     "two",
	} {
		list, err := s.List(t.Context(), s.call("List", "get p/one;get q/two;get p/team/three;"), query)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, a := range list.Items {
			got = append(got, a.Name)
		}
		if text := strings.Join(got, " "); text != want || list.Metadata.ResourceVersion != "3" {
			t.Errorf("%+v: %s, want %s", query, text, want)
		}
	}
	list, err := s.List(t.Context(), s.call("List", ""), &ListQuery{})
	if err != nil || list.Items == nil || len(list.Items) != 0 {
		t.Errorf("without rights: %v, %v", list, err)
	}
	if _, err := s.List(t.Context(), s.call("List", ""), &ListQuery{Query: Query{Selector: "a=(b"}}); err == nil {
		t.Error("a broken selector is taken")
	}
}

func TestWatchShowsOnlyWhatMayBeSeen(t *testing.T) {
	t.Parallel()
	s := world(t, app("p", "argocd", "a"), app("hidden", "argocd", "h"))
	c := s.call("Watch", "get p/a;")
	ctx, cancel := context.WithCancel(t.Context())
	var got []string
	next := func(version int, project string) {
		a := app(project, "argocd", "a")
		a.ResourceVersion, a.Labels = fmt.Sprint(version), map[string]string{"secret": project}
		s.Hub.Apps.Put(a)
	}
	err := s.Watch(ctx, c, &Query{}, func(e *Event) error {
		if e == nil {
			return nil
		}
		got = append(got, fmt.Sprint(e.Type, " ", e.Application.Name, " ", e.Application.Labels["secret"]))
		switch len(got) {
		case 1:
			next(10, "p")
		case 2:
			next(11, "hidden") // moves where the caller has no right
		case 3:
			next(12, "p")
		case 4:
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if text := strings.Join(got, ", "); text != "ADDED a , MODIFIED a p, DELETED a , ADDED a p" {
		t.Errorf("seen: %s", text)
	}
	if s.Hub.Apps.Watchers() != 0 {
		t.Error("the watch is left behind")
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	s := world(t)
	for name, c := range map[string]struct {
		change func(*v1alpha1.Application)
		want   string
	}{
		"fine":              {func(*v1alpha1.Application) {}, ""},
		"name":              {func(a *v1alpha1.Application) { a.Name = "A_b" }, "metadata.name"},
		"no project":        {func(a *v1alpha1.Application) { a.Spec.Project = "zz" }, `app is not allowed in project "zz", or the project does not exist`},
		"namespace":         {func(a *v1alpha1.Application) { a.Namespace = "other" }, `app is not allowed in project "p"`},
		"cluster":           {func(a *v1alpha1.Application) { a.Spec.Destination.Server = "https://other" }, "is not permitted in project 'p'"},
		"unknown cluster":   {func(a *v1alpha1.Application) { a.Spec.Destination.Server = "https://unknown" }, "is not permitted in project 'p'"},
		"target namespace":  {func(a *v1alpha1.Application) { a.Spec.Destination.Namespace = "kube-system" }, "is not permitted in project 'p'"},
		"name and server":   {func(a *v1alpha1.Application) { a.Spec.Destination.Name = "c" }, "application spec is invalid"},
		"repository":        {func(a *v1alpha1.Application) { a.Spec.Source.RepoURL = "https://git/q/a" }, "is not permitted in project 'p'"},
		"no source":         {func(a *v1alpha1.Application) { a.Spec.Source = nil }, "one source is needed"},
		"no path":           {func(a *v1alpha1.Application) { a.Spec.Source.Path = "" }, "needs a path or a chart"},
		"path and chart":    {func(a *v1alpha1.Application) { a.Spec.Source.Chart = "c" }, "only one can be"},
		"chart, no version": {func(a *v1alpha1.Application) { a.Spec.Source.Path, a.Spec.Source.Chart = "", "c" }, "a chart needs a version"},
		"absolute path":     {func(a *v1alpha1.Application) { a.Spec.Source.Path = "/etc" }, "is absolute"},
		"names twice": {func(a *v1alpha1.Application) {
			src := *a.Spec.Source
			src.Name = "x"
			a.Spec.Sources = []v1alpha1.ApplicationSource{src, src}
		}, "spec.sources[1].name \"x\" is used twice"},
		"password in URL": {func(a *v1alpha1.Application) { a.Spec.Source.RepoURL = "https://u:hunter2@git/q/a" }, "is not permitted"},
	} {
		a := app("p", "argocd", "a")
		c.change(a)
		err := s.validate(t.Context(), a, true)
		if _, text := fault.Of(err); (err == nil) != (c.want == "") || !strings.Contains(text, c.want) || strings.Contains(text, "hunter2") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestSelected(t *testing.T) {
	t.Parallel()
	a := app("p", "argocd", "a")
	a.Status.Resources = []v1alpha1.ResourceStatus{{Group: "apps", Kind: "Deployment", Name: "d", Namespace: "x"}, {Kind: "Service", Name: "s", Namespace: "x"}}
	for name, c := range map[string]struct {
		ask  []SyncResource
		want string
	}{
		"all":            {nil, ""},
		"one":            {[]SyncResource{{Group: "apps", Kind: "Deployment", Name: "d"}}, "Deployment"},
		"all but one":    {[]SyncResource{{Group: "apps", Kind: "*", Name: "*", Exclude: true}}, "Service"},
		"none is left":   {[]SyncResource{{Group: "*", Kind: "*", Name: "*", Exclude: true}}, "error"},
		"without a name": {[]SyncResource{{Kind: "Service"}}, "error"},
	} {
		out, err := selected(a, c.ask)
		var got []string
		for _, r := range out {
			got = append(got, r.Kind)
		}
		if err != nil {
			got = []string{"error"}
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: %s, want %s (%v)", name, text, c.want, err)
		}
	}
}

func TestLogsAreMergedByTime(t *testing.T) {
	t.Parallel()
	logs := func(texts ...string) []*podLog {
		var out []*podLog
		for i, text := range texts {
			l := &podLog{pod: fmt.Sprint("p", i), entries: make(chan *LogEntry, 64)}
			go l.read(t.Context(), io.NopCloser(strings.NewReader(text)))
			out = append(out, l)
		}
		return out
	}
	var got []string
	err := merge(t.Context(), logs("2026-01-01T00:00:01Z b\n2026-01-01T00:00:04Z d\n", "2026-01-01T00:00:00.5Z a\n2026-01-01T00:00:02Z c\nno time\n"), false, func(e *LogEntry) error {
		got = append(got, e.PodName+e.Content)
		return nil
	})
	if text := strings.Join(got, " "); err != nil || text != "p1a p0b p1c p1no time p0d" {
		t.Errorf("%v, %s", err, text)
	}
	long := strings.Repeat("x", maxLine+10)
	total := 0
	if err := merge(t.Context(), logs(long+"\n"), false, func(e *LogEntry) error { total += len(e.Content); return nil }); err != nil || total != len(long) {
		t.Errorf("%v, %d of %d bytes of a long line", err, total, len(long))
	}
	for filter, want := range map[string]string{"": "Ab b", "a": "Ab", "!a": "b", "B": "Ab b"} {
		q := &LogsQuery{Filter: filter}
		accept := q.accepts()
		var kept []string
		for _, line := range []string{"Ab", "b"} {
			if accept(line) {
				kept = append(kept, line)
			}
		}
		if text := strings.Join(kept, " "); text != want {
			t.Errorf("filter %q keeps %s", filter, text)
		}
	}
}

func TestLogQueriesAreChecked(t *testing.T) {
	t.Parallel()
	for _, q := range []LogsQuery{{SinceTime: "yesterday"}, {UntilTime: "x"}, {TailLines: -1}, {SinceSeconds: -1}} {
		if _, _, err := q.options(time.Unix(0, 0)); err == nil {
			t.Errorf("%+v is taken", q)
		}
	}
	q := LogsQuery{Download: true, Namespace: "x", PodName: "../p\r\n", Container: "c\""}
	if name := q.Filename(); name != "x-.._p__-c_.log" {
		t.Errorf("file name %q", name)
	}
}
