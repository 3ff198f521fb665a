package generate_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/controller/generate"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// TestRules: a flag wins over argocd-cmd-params-cm, that over the default; what
// cannot be used is told and does no harm.
func TestRules(t *testing.T) {
	yes, no := true, false
	for name, c := range map[string]struct {
		flags   generate.Rules
		params  map[string]string
		want    generate.Rules
		problem string
	}{
		"nothing": {want: generate.Rules{Interval: 3 * time.Minute}},
		"params": {
			params: map[string]string{
				"policy": "create-update", "enable.policy.override": "true", "dryrun": "true", "enable.scm.providers": "false", "allowed.scm.providers": "https://a, https://b",
				"enable.tokenref.strict.mode": "true", "enable.new.git.file.globbing": "true", "global.preserved.annotations": "a,b", "global.preserved.labels": "c", "requeue.after": "1m",
			},
			want: generate.Rules{
				Policy: "create-update", PolicyOverride: &yes, DryRun: true, SCMProviders: &no, AllowedSCM: []string{"https://a", "https://b"}, StrictTokens: true, NewGlobs: true,
				PreservedAnnotations: []string{"a", "b"}, PreservedLabels: []string{"c"}, Interval: time.Minute,
			},
		},
		"flags": {
			flags: generate.Rules{Policy: "sync", PolicyOverride: &no, SCMProviders: &yes, AllowedSCM: []string{"https://x"}, Interval: time.Hour},
			params: map[string]string{
				"policy": "create-only", "enable.policy.override": "true", "enable.scm.providers": "false", "allowed.scm.providers": "https://a", "requeue.after": "1m",
			},
			want: generate.Rules{Policy: "sync", PolicyOverride: &no, SCMProviders: &yes, AllowedSCM: []string{"https://x"}, Interval: time.Hour},
		},
		"a policy that is none": {params: map[string]string{"policy": "never"}, want: generate.Rules{Policy: "create-only", Interval: 3 * time.Minute}, problem: `policy "never" is none of`},
		"no boolean":            {params: map[string]string{"dryrun": "maybe"}, want: generate.Rules{Interval: 3 * time.Minute}, problem: `"applicationsetcontroller.dryrun" is neither`},
		"no duration":           {params: map[string]string{"requeue.after": "10ms"}, want: generate.Rules{Interval: 3 * time.Minute}, problem: "requeue.after"},
	} {
		params := map[string]string{}
		for k, v := range c.params {
			params["applicationsetcontroller."+k] = v
		}
		got, problems := c.flags.With(params)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if all := strings.Join(problems, "; "); (all == "") != (c.problem == "") || !strings.Contains(all, c.problem) {
			t.Errorf("%s: problems %q, want %q", name, all, c.problem)
		}
	}
}

func TestRulesThatMustNotStart(t *testing.T) {
	off := false
	for want, r := range map[string]generate.Rules{
		"":                         {Namespaces: []string{controlPlane}},
		"--policy=x: want one of":  {Policy: "x"},
		"not from 1s":              {Interval: time.Millisecond},
		"want 1 to 200":            {Writers: 201},
		"--applicationset-namespa": {Namespaces: []string{"team"}},
	} {
		if err := r.Check(controlPlane); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", r, err, want)
		}
	}
	for _, r := range []generate.Rules{{Namespaces: []string{"team"}, AllowedSCM: []string{"x"}}, {Namespaces: []string{"team"}, SCMProviders: &off}} {
		if err := r.Check(controlPlane); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestWatches(t *testing.T) {
	r := generate.Rules{Namespaces: []string{"team-a", "dev-*", "/qa-[0-9]+/", "/("}}
	for namespace, want := range map[string]bool{controlPlane: true, "team-a": true, "team-b": false, "dev-x": true, "qa-12": true, "qa-x": false, "xqa-12": false, "(": false} {
		if got := r.Watches(namespace, controlPlane); got != want {
			t.Errorf("%s: %v", namespace, got)
		}
	}
}

// TestPolicies (spec/applicationset.md §6.1): what is created, updated and
// deleted under which policy, and whose policy counts.
func TestPolicies(t *testing.T) {
	yes, no := true, false
	for name, c := range map[string]struct {
		rules generate.Rules
		of    string
		want  string // writes, after one element changed, one went and one came
		err   string
	}{
		"default":                 {generate.Rules{}, "", "create new,delete b,patch a", ""},
		"sync":                    {generate.Rules{}, "sync", "create new,delete b,patch a", ""},
		"create-only":             {generate.Rules{}, "create-only", "create new", ""},
		"create-update":           {generate.Rules{}, "create-update", "create new,patch a", ""},
		"create-delete":           {generate.Rules{}, "create-delete", "create new,delete b", ""},
		"none of these":           {generate.Rules{}, "create_only", "", `spec.syncPolicy.applicationsSync "create_only" is none of`},
		"of the installation":     {generate.Rules{Policy: "create-only"}, "", "create new", ""},
		"the installation's wins": {generate.Rules{Policy: "create-only"}, "sync", "create new", ""},
		"the set's may win":       {generate.Rules{Policy: "create-only", PolicyOverride: &yes}, "sync", "create new,delete b,patch a", ""},
		"the set's may not":       {generate.Rules{PolicyOverride: &no}, "create-only", "create new,delete b,patch a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.rules)
			set := func(elements string) string {
				policy := ""
				if c.of != "" {
					policy = "syncPolicy: {applicationsSync: " + c.of + "}\n"
				}
				return policy + strings.Replace(spec("[{list: {elements: ["+elements+"]}}]", "{{id}}"), "namespace: x", "namespace: '{{ns}}'", 1)
			}
			w.apply("set", set("{id: a, ns: x}, {id: b, ns: x}"))
			if _, err := w.evaluate("set"); err != nil && c.err == "" {
				t.Fatal(err)
			}
			w.apply("set", set("{id: a, ns: changed}, {id: new, ns: x}"))
			_, err := w.evaluate("set")
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("%v, want %q", err, c.err)
			}
			got := slices.DeleteFunc(slices.Clone(w.writes), func(s string) bool { return s == "patch b" }) // its finalizer
			slices.Sort(got)
			if all := strings.Join(got, ","); all != c.want {
				t.Errorf("writes %s, want %s", all, c.want)
			}
		})
	}
}

// TestAdoption: an Application that nobody owns is taken over under every
// policy, one of somebody else under none.
func TestAdoption(t *testing.T) {
	free := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: controlPlane, Name: "free"}}
	yes := true
	others := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: controlPlane, Name: "others", OwnerReferences: []metav1.OwnerReference{
		{APIVersion: "argoproj.io/v1alpha1", Kind: v1alpha1.ApplicationSetKind, Name: "another", UID: "1", Controller: &yes},
	}}}
	w := newWorld(t, generate.Rules{Policy: "create-only"}, free, others)
	w.apply("set", spec("[{list: {elements: [{id: free}, {id: others}, {id: new}]}}]", "{{id}}"))
	_, err := w.evaluate("set")
	if err == nil || !strings.Contains(err.Error(), "application others: is owned by ApplicationSet another: give it another name") {
		t.Errorf("%v", err)
	}
	slices.Sort(w.writes)
	if got := strings.Join(w.writes, ","); got != "create new,patch free" {
		t.Errorf("writes %s", got)
	}
	var app v1alpha1.Application
	if err := w.hub.Get(t.Context(), client.ObjectKeyFromObject(free), &app); err != nil || !metav1.IsControlledBy(&app, &v1alpha1.ApplicationSet{ObjectMeta: metav1.ObjectMeta{UID: "uid-set"}}) {
		t.Errorf("owners %v, %v", app.OwnerReferences, err)
	}
}

// TestPreservedByTheInstallation: its lists count beside those of the set.
func TestPreservedByTheInstallation(t *testing.T) {
	w := newWorld(t, generate.Rules{PreservedAnnotations: []string{"kept"}, PreservedLabels: []string{"kept"}})
	w.apply("set", spec("[{list: {elements: [{id: a}]}}]", "{{id}}"))
	if _, err := w.evaluate("set"); err != nil {
		t.Fatal(err)
	}
	var app v1alpha1.Application
	key := client.ObjectKey{Namespace: controlPlane, Name: "a"}
	if err := w.hub.Get(t.Context(), key, &app); err != nil {
		t.Fatal(err)
	}
	app.Labels["kept"], app.Labels["gone"] = "x", "x"
	app.Annotations = map[string]string{"kept": "x", "gone": "x"}
	if err := w.hub.Update(t.Context(), &app); err != nil {
		t.Fatal(err)
	}
	if _, err := w.evaluate("set"); err != nil {
		t.Fatal(err)
	}
	if err := w.hub.Get(t.Context(), key, &app); err != nil || app.Labels["kept"] != "x" || app.Labels["gone"] != "" || app.Annotations["kept"] != "x" || app.Annotations["gone"] != "" {
		t.Errorf("labels %v, annotations %v, %v", app.Labels, app.Annotations, err)
	}
}

// TestM38Namespaces: sets of namespaces that are not looked at are ignored;
// those of others make Applications in their own, in projects that let them in.
func TestM38Namespaces(t *testing.T) {
	open := &v1alpha1.AppProject{ObjectMeta: metav1.ObjectMeta{Namespace: controlPlane, Name: "open"}, Spec: v1alpha1.AppProjectSpec{SourceNamespaces: []string{"team-*"}}}
	theirs := &v1alpha1.AppProject{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "theirs"}, Spec: v1alpha1.AppProjectSpec{SourceNamespaces: []string{"*"}}}
	w := newWorld(t, generate.Rules{Namespaces: []string{"team-*"}}, open, theirs)
	in := func(project string) string {
		return strings.Replace(spec("[{list: {elements: [{id: a}]}}]", "{{id}}"), "project: default", "project: "+project, 1)
	}
	w.applyIn("other", "set", in("open"))
	if _, err := w.evaluateIn("other", "set"); err != nil || w.offered != 0 || len(w.apps("other")) != 0 {
		t.Errorf("a set of a namespace that is not looked at: %v, %d outcomes, %v", err, w.offered, w.apps("other"))
	}
	w.applyIn("team-a", "set", in("open"))
	if _, err := w.evaluateIn("team-a", "set"); err != nil || len(w.apps("team-a")) != 1 || len(w.apps(controlPlane)) != 0 {
		t.Errorf("%v, %v, %v", err, w.apps("team-a"), w.apps(controlPlane))
	}
	for project, want := range map[string]string{
		"default": "project default does not let Applications of namespace team-a in", "theirs": "project theirs does not exist",
	} {
		w.applyIn("team-a", "other", in(project))
		if _, err := w.evaluateIn("team-a", "other"); err != nil {
			t.Fatal(err)
		}
		w.wantCondition(v1alpha1.AppSetErrorOccurred, "True ApplicationValidationError", want)
	}
	if got := w.apps("team-a"); len(got) != 1 {
		t.Errorf("Applications %v", got)
	}
}

// TestDryRun writes nothing and offers nothing.
func TestDryRun(t *testing.T) {
	w := newWorld(t, generate.Rules{DryRun: true})
	w.apply("set", spec("[{list: {elements: [{id: a}]}}]", "{{id}}"))
	if _, err := w.evaluate("set"); err != nil || len(w.writes) > 0 || w.offered > 0 {
		t.Errorf("%v, writes %v, %d outcomes", err, w.writes, w.offered)
	}
}

// TestTemplatedProject: people are told once, by condition and event.
func TestTemplatedProject(t *testing.T) {
	w := newWorld(t, generate.Rules{})
	w.apply("set", strings.Replace(spec("[{list: {elements: [{id: a, p: default}]}}]", "{{id}}"), "project: default", "project: '{{p}}'", 1))
	for range 3 {
		if _, err := w.evaluate("set"); err != nil {
			t.Fatal(err)
		}
		w.wantCondition(v1alpha1.AppSetTemplatedProject, `True ParametersChooseProject: spec.template.spec.project is "{{p}}": whoever controls generators[0] (list) chooses`)
	}
	told := 0
	for len(w.events.Events) > 0 {
		if strings.Contains(<-w.events.Events, "TemplatedProject") {
			told++
		}
	}
	if told != 1 {
		t.Errorf("told %d times", told)
	}
	w.wantApps("a")
}

// TestM33Requeue: the smallest interval counts; zero is never.
func TestM33Requeue(t *testing.T) {
	const git, pull = "git: {repoURL: x, revision: y, directories: [{path: a}]", "pullRequest: {github: {owner: a, repo: b}"
	for generators, want := range map[string]time.Duration{
		"[{" + git + ", requeueAfterSeconds: 60}}, {" + pull + "}}]": time.Minute,
		"[{" + git + "}}, {" + pull + ", requeueAfterSeconds: 90}}]": 90 * time.Second,
		"[{" + git + "}}]":                                          5 * time.Minute,
		"[{" + pull + "}}]":                                         30 * time.Minute,
		"[{" + git + ", requeueAfterSeconds: 0}}]":                  0,
		"[{" + git + ", requeueAfterSeconds: 0}}, {" + pull + "}}]": 30 * time.Minute,
		"[{list: {elements: []}}, {clusters: {}}]":                  0,
		"[{matrix: {generators: [{list: {elements: []}}, {merge: {mergeKeys: [a], generators: [{clusters: {}}, {" + git + ", requeueAfterSeconds: 7}}]}}]}}]": 7 * time.Second,
		"[{plugin: {configMapRef: {name: a}, requeueAfterSeconds: 9223372036854775807}}]":                                                                     8760 * time.Hour,
		"[{plugin: {configMapRef: {name: a}}}, {clusterDecisionResource: {configMapRef: a, name: b}}]":                                                        5 * time.Minute,
		"[{scmProvider: {github: {organization: a}, requeueAfterSeconds: -1}}]":                                                                               30 * time.Minute,
	} {
		w := newWorld(t, generate.Rules{Interval: 5 * time.Minute})
		w.sources.Tree = func(context.Context, string, string, string, bool) (tree.Tree, error) {
			return nil, context.DeadlineExceeded
		}
		w.apply("set", spec(generators, "a"))
		var set v1alpha1.ApplicationSet
		if err := w.hub.Get(t.Context(), client.ObjectKey{Namespace: controlPlane, Name: "set"}, &set); err != nil {
			t.Fatal(err)
		}
		if got := appset.Interval(&set, 5*time.Minute); got != want {
			t.Errorf("%s: %s, want %s", generators, got, want)
		}
	}
}

// TestHint marks the sets that an event concerns, and the mark goes with the
// evaluation that it asked for and no other.
func TestHint(t *testing.T) {
	w := newWorld(t, generate.Rules{})
	const generators = "[{git: {repoURL: 'https://git.example/acme/fleet', revision: HEAD, directories: [{path: '*'}]}}]"
	w.apply("concerned", spec(generators, "a"))
	w.apply("other", spec("[{list: {elements: [{id: a}]}}]", "b"))
	w.applyIn("nobody", "elsewhere", spec(generators, "a"))
	push := appset.Event{Push: &repo.Push{URL: "https://git.example/acme/fleet", Ref: "refs/heads/main", Default: true}}
	marked, err := w.Hint(t.Context(), w.hub, push)
	if err != nil || len(marked) != 1 || marked[0].Name != "concerned" {
		t.Fatalf("%v, %v", marked, err)
	}
	mark := func(name string) string {
		var set v1alpha1.ApplicationSet
		if err := w.hub.Get(t.Context(), client.ObjectKey{Namespace: controlPlane, Name: name}, &set); err != nil {
			t.Fatal(err)
		}
		return set.Annotations[v1alpha1.AnnotationAppSetRefresh]
	}
	if mark("concerned") == "" || mark("other") != "" {
		t.Errorf("marks %q and %q", mark("concerned"), mark("other"))
	}
	asked := []bool{}
	w.sources.Tree = func(_ context.Context, _, _, _ string, fresh bool) (tree.Tree, error) {
		asked = append(asked, fresh)
		w.clock.SetTime(start.Add(time.Minute))
		if len(asked) == 1 { // another push meanwhile
			if _, err := w.Hint(t.Context(), w.hub, push); err != nil {
				t.Fatal(err)
			}
		}
		return empty{}, nil
	}
	w.renew()
	if _, err := w.evaluate("concerned"); err != nil || mark("concerned") == "" {
		t.Errorf("%v: the second hint is lost", err)
	}
	if _, err := w.evaluate("concerned"); err != nil || mark("concerned") != "" {
		t.Errorf("%v: the mark stays: %q", err, mark("concerned"))
	}
	if _, err := w.evaluate("concerned"); err != nil || !slices.Equal(asked, []bool{true, true, false}) {
		t.Errorf("%v: repositories were asked past their cache: %v", err, asked)
	}
}

// empty is a commit without files.
type empty struct{}

func (empty) Revision() string                     { return "0123456789abcdef0123456789abcdef01234567" }
func (empty) ReadFile(string) ([]byte, error)      { return nil, context.Canceled }
func (empty) Stat(string) (tree.Entry, error)      { return tree.Entry{}, context.Canceled }
func (empty) ReadDir(string) ([]tree.Entry, error) { return nil, nil }
