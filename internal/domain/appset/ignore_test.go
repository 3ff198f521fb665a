package appset_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/jq"
	"github.com/sluice-cd/sluice/internal/domain/appset"
)

func application(t *testing.T, text string) *v1alpha1.Application {
	t.Helper()
	app := &v1alpha1.Application{}
	if err := yaml.UnmarshalStrict([]byte(text), app); err != nil {
		t.Fatal(err)
	}
	return app
}

// find evaluates jq as the product does.
func find(t *testing.T) appset.Finder {
	t.Helper()
	return func(expression string, object map[string]any) ([][]any, error) {
		query, err := jq.Compiler{}.Compile(expression)
		if err != nil {
			return nil, err
		}
		paths, err := query.Paths(t.Context(), object)
		out := make([][]any, len(paths))
		for i, p := range paths {
			out[i] = p
		}
		return out, err
	}
}

func TestIgnore(t *testing.T) {
	rendered := `{metadata: {name: web, labels: {a: new, b: new}}, spec: {project: p, destination: {server: s}, sources: [{repoURL: r, targetRevision: v2, path: new}, {repoURL: q}], syncPolicy: {automated: {prune: true}}}}`
	live := `{metadata: {name: web, labels: {a: old, c/d: old}}, spec: {project: p, destination: {server: s, namespace: n}, sources: [{repoURL: r, targetRevision: v1, path: old}, {repoURL: q}], syncPolicy: {automated: {enabled: false}, retry: {limit: 3}}}}`
	for _, c := range []struct{ name, rule, want, err string }{
		{"nothing", `{}`, rendered, ""},
		{"another Application", `{name: other, jsonPointers: [/spec/syncPolicy]}`, rendered, ""},
		{"a block", `{name: web, jsonPointers: [/spec/syncPolicy]}`, strings.Replace(rendered, "{automated: {prune: true}}", "{automated: {enabled: false}, retry: {limit: 3}}", 1), ""},
		{"one field", `{jsonPointers: [/spec/syncPolicy/automated/enabled]}`, strings.Replace(rendered, "{prune: true}", "{prune: true, enabled: false}", 1), ""},
		{"a field that only lives", `{jsonPointers: [/spec/destination/namespace]}`, strings.Replace(rendered, "{server: s}", "{server: s, namespace: n}", 1), ""},
		{"a field that does not live", `{jsonPointers: [/spec/syncPolicy/automated/prune]}`, strings.Replace(rendered, "{prune: true}", "{}", 1), ""},
		{"a nested field whose parents only live", `{jsonPointers: [/spec/syncPolicy/retry/limit]}`, strings.Replace(rendered, "{automated: {prune: true}}", "{automated: {prune: true}, retry: {limit: 3}}", 1), ""},
		{"one member of a list", `{jsonPointers: [/spec/sources/0/targetRevision]}`, strings.Replace(rendered, "v2", "v1", 1), ""},
		{"a member that is not there", `{jsonPointers: [/spec/sources/7/targetRevision, /spec/sources/x]}`, rendered, ""},
		{"a label with a slash", `{jsonPointers: [/metadata/labels/c~1d, /metadata/labels/a]}`, strings.Replace(rendered, "{a: new, b: new}", "{a: old, b: new, c/d: old}", 1), ""},
		{"no pointer", `{jsonPointers: [spec]}`, "", `spec.ignoreApplicationDifferences[0].jsonPointers[0]: "spec" is not a pointer`},
		{"the status", `{jsonPointers: [/status]}`, "", "is not a pointer below"},
		{"the name", `{jsonPointers: [/metadata/name]}`, "", "is not a pointer below"},
		{"jq", `{jqPathExpressions: [.spec.syncPolicy]}`, strings.Replace(rendered, "{automated: {prune: true}}", "{automated: {enabled: false}, retry: {limit: 3}}", 1), ""},
		{"jq, a member that has moved", `{jqPathExpressions: ['.spec.sources[] | select(.repoURL == "r") | .targetRevision']}`, strings.Replace(rendered, "v2", "v1", 1), ""},
		{"jq, a field that only lives", `{jqPathExpressions: ['.metadata.labels | select(has("c/d")) | .["c/d"]']}`, strings.Replace(rendered, "{a: new, b: new}", "{a: new, b: new, c/d: old}", 1), ""},
		{"jq, members of lists of different lengths", `{jqPathExpressions: ['.spec.sources[] | select(.path == "old") | .path']}`, rendered, ""},
		{"jq, nowhere", `{jqPathExpressions: ['.spec.sources[] | select(.repoURL == "nope")']}`, rendered, ""},
		{"jq, another Application", `{name: other, jqPathExpressions: [.spec.syncPolicy]}`, rendered, ""},
		{"jq, the name", `{jqPathExpressions: [.metadata.name]}`, "", "spec.ignoreApplicationDifferences[0].jqPathExpressions[0]: \".metadata.name\" names /metadata/name, which is not below"},
		{"jq, everything", `{jqPathExpressions: [..]}`, "", "which is not below"},
		{"jq, malformed", `{jqPathExpressions: ['.spec[']}`, "", "is not a jq expression"},
	} {
		set := &v1alpha1.ApplicationSet{}
		var rule v1alpha1.ApplicationSetIgnoreRule
		if err := yaml.UnmarshalStrict([]byte(c.rule), &rule); err != nil {
			t.Fatal(err)
		}
		set.Spec.IgnoreApplicationDifferences = []v1alpha1.ApplicationSetIgnoreRule{rule}
		got, err := appset.Ignore(set, application(t, rendered), application(t, live), find(t))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %s", c.name, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if diff := cmp.Diff(application(t, c.want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestLetGo(t *testing.T) {
	set := &v1alpha1.ApplicationSet{}
	set.Name = "payment"
	held := `{metadata: {name: web, annotations: {argocd.argoproj.io/rollout-held-by: payment, keep: "1"}}, spec: {project: p, destination: {}, syncPolicy: {automated: {prune: true, enabled: false}}}}`
	free := `{metadata: {name: web, annotations: {keep: "1"}}, spec: {project: p, destination: {}, syncPolicy: {automated: {prune: true}}}}`
	for _, c := range []struct{ name, live, rendered, want string }{
		{"nothing is rendered", held, "", free},
		{"silence is rendered", held, free, free},
		{"on is rendered", held, strings.Replace(free, "prune: true", "prune: true, enabled: true", 1), strings.Replace(free, "prune: true", "prune: true, enabled: true", 1)},
		{"off is rendered", held, strings.Replace(free, "prune: true", "prune: true, enabled: false", 1), strings.Replace(free, "prune: true", "prune: true, enabled: false", 1)},
		{"somebody else holds it", strings.Replace(held, "by: payment", "by: other", 1), "", ""},
		{"nobody holds it", strings.Replace(free, "prune: true", "enabled: false", 1), "", ""},
	} {
		var rendered *v1alpha1.Application
		if c.rendered != "" {
			rendered = application(t, c.rendered)
		}
		got, changed := appset.LetGo(set, application(t, c.live), rendered)
		want := c.want
		if want == "" {
			want = c.live
		}
		if diff := cmp.Diff(application(t, want), got); diff != "" || changed != (c.want != "") {
			t.Errorf("%s: changed %v (-want +got):\n%s", c.name, changed, diff)
		}
	}
}
