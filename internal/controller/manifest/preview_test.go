package manifest_test

import (
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/domain/tree"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// TestPreviews: manifests at any revision, with overrides, and of uploaded files
// are what they would be, say which commit they are of, and change nothing of
// what the Application itself gets.
func TestPreviews(t *testing.T) {
	w := start(t)
	chart := gitserver.Files{"app/Chart.yaml": "{apiVersion: v2, name: c, version: 1.0.0}", "app/templates/c.yaml": configMap("c", "{{ .Values.a | quote }}"), "app/values.yaml": "a: first\n"}
	w.commit(t, chart)
	first, err := w.Resolve(t.Context(), "default", v1alpha1.ApplicationSource{RepoURL: w.url, Path: "app"}, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.repository.Tag("v1.0.0", first, "a release"); err != nil {
		t.Fatal(err)
	}
	w.commit(t, gitserver.Files{"app/values.yaml": "a: second\n"})
	local := tree.NewBuilder()
	for name, content := range map[string]string{"app/Chart.yaml": chart["app/Chart.yaml"], "app/templates/c.yaml": chart["app/templates/c.yaml"], "app/values.yaml": "a: mine\n"} {
		if err := local.Add(name, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	source := func(revision string, helm *v1alpha1.SourceHelm) v1alpha1.ApplicationSource {
		return v1alpha1.ApplicationSource{RepoURL: w.url, Path: "app", TargetRevision: revision, Helm: helm}
	}
	override := &v1alpha1.SourceHelm{Parameters: []v1alpha1.HelmParameter{{Name: "a", Value: "overridden"}}}
	for _, c := range []struct {
		what string
		q    manifest.Query
		src  v1alpha1.ApplicationSource
		want string
	}{
		{"the branch", manifest.Query{}, source("main", nil), "second"},
		{"a tag", manifest.Query{}, source("v1.0.0", nil), "first"},
		{"a range of tags", manifest.Query{}, source("1.x", nil), "first"},
		{"a commit", manifest.Query{}, source(first, nil), "first"},
		{"a short commit", manifest.Query{}, source(first[:8], nil), "first"},
		{"an override", manifest.Query{}, source("main", override), "overridden"},
		{"an override at a tag", manifest.Query{}, source("v1.0.0", override), "overridden"},
		{"uploaded files", manifest.Query{Local: local.Build("streamed")}, source("main", nil), "mine"},
		{"uploaded files with an override", manifest.Query{Local: local.Build("streamed")}, source("main", override), "overridden"},
		{"the branch again", manifest.Query{}, source("main", nil), "second"},
	} {
		m, err := w.sources(t, c.q, c.src)
		if err != nil || !strings.Contains(data(t, m, 0), c.want) {
			t.Errorf("%s: %+v, %v; want %s", c.what, m, err, c.want)
			continue
		}
		said, err := w.Describe(t.Context(), "default", c.src, m.Revisions[0], nil)
		if err != nil || said.Commit == nil || said.Commit.Message != "change" || said.Commit.Author.Name == "" || said.Commit.Author.At.IsZero() || said.Signature == "" {
			t.Errorf("%s: described as %+v, %v", c.what, said, err)
		}
	}
	if _, err := w.sources(t, manifest.Query{}, source("no-such-branch", nil)); err == nil || !strings.Contains(err.Error(), "no-such-branch") {
		t.Errorf("an unknown revision: %v", err)
	}
}
