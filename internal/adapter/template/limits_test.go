package template_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/template"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// TestHostileTemplates: what would take all time or memory is an error.
func TestHostileTemplates(t *testing.T) {
	engine := template.New(testclock.NewFakePassiveClock(time.Unix(1, 0))) // time stands still: steps count
	for text, want := range map[string]string{
		`{{repeat 1000000000 "x"}}`:          "more than 1048576 bytes",
		`{{until 1000000000 | len}}`:         "at most 100000",
		`{{untilStep 0 1000000000 1 | len}}`: "at most 100000",
		`{{seq 1 1000000000 | len}}`:         "at most 100000",
		`{{randAlphaNum 1000000000 | len}}`:  "at most 65536",
		`{{indent 1000000000 "x"}}`:          "more than 1048576 bytes",
		`{{printf "%1000000000d" 1}}`:        "a width of a format",
		`{{printf "%*d" 1000000 1}}`:         "a width of a format",
		`{{$x := "aaaaaaaa"}}{{range until 60}}{{$x = print $x $x}}{{end}}{{len $x}}`: "more than 1048576 bytes",
		`{{$x := list 1}}{{range until 60}}{{$x = list $x $x}}{{end}}{{toJson $x}}`:   "more than 1048576 bytes",
		`{{$x := list 1}}{{range until 60}}{{$x = concat $x $x}}{{end}}{{len $x}}`:    "more than 1048576 bytes",
		`{{replace "a" (repeat 10000 "b") (repeat 10000 "a") | len}}`:                 "more than 1048576 bytes",
		`{{regexReplaceAll "a" (repeat 10000 "a") (repeat 10000 "b") | len}}`:         "more than 1048576 bytes",
		`{{join (repeat 10000 "b") (until 10000) | len}}`:                             "more than 1048576 bytes",
		`{{range until 100000}}{{range until 100000}}{{end}}{{end}}`:                  "steps",
		`{{define "x"}}{{template "x"}}{{template "x"}}{{end}}{{template "x"}}`:       "",
		`{{uniq (until 100000) | len}}`:                                               "compares 100000 elements",
		`{{range until 1000}}{{.}}` + strings.Repeat("x", 5000) + `{{end}}`:           "output exceeds",
		strings.Repeat(`{{genPrivateKey "rsa"}}`, 21):                                 "more than 20 times",
		`{{env "HOME"}}`:                    `function "env" not defined`,
		`{{expandenv "$HOME"}}`:             `function "expandenv" not defined`,
		`{{getHostByName "x"}}`:             `function "getHostByName" not defined`,
		`{{fail "no"}}`:                     "no",
		`{{index . "x" "y" 3}}`:             "",
		`{{repeat}}`:                        "wrong number of args",
		`{{seq}}{{untilStep 0 10 0 | len}}`: "-", // no error
	} {
		out, err := engine.Render(text, map[string]any{}, nil)
		if want == "-" {
			if err != nil {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %.40q, %v, want %q", text, out, err, want)
		}
	}
}

// TestTime: a template that computes for too long is stopped in its loop.
func TestTime(t *testing.T) {
	slow := slowClock{testclock.NewFakePassiveClock(time.Unix(1, 0))}
	if _, err := template.New(slow).Render("{{range until 5000}}{{end}}", map[string]any{}, nil); err == nil || !strings.Contains(err.Error(), "takes more than 5s") {
		t.Errorf("%v", err)
	}
}

// slowClock is one on which every look takes a second.
type slowClock struct{ *testclock.FakePassiveClock }

func (c slowClock) Since(at time.Time) time.Duration {
	c.SetTime(c.Now().Add(time.Second))
	return c.FakePassiveClock.Since(at)
}

// FuzzSet evaluates sets of hostile templates and parameters: nothing panics,
// and no Application leaves the set's namespace or its project.
func FuzzSet(f *testing.F) {
	f.Add("{{name}}", "{{.name}}", "a: b", "spec: {project: admin}\nmetadata: {namespace: kube-system}", false)
	f.Add("{{.name}}", "{{range until 3}}{{.}}{{end}}", "a: {b: [1, {c: d}]}", `{"spec": {"project": "admin"}}`, true)
	f.Add("{{", "}}{{ {{name}}", "- {name: '{{name}}'}\n- {metadata: {namespace: x}}", "&a [*a]", false)
	f.Add("{{set . \"name\" .}}{{.}}", "{{template \"x\"}}", "name: \"a\\nspec:\\n  project: admin\"", "{{.name}}", true)
	f.Add("x", "x", "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]", "spec:\n", true)
	engine := template.New(clock.RealClock{})
	f.Fuzz(func(t *testing.T, name, path, content, patch string, goTemplate bool) {
		set := &v1alpha1.ApplicationSet{}
		set.Namespace, set.Name = "team", "set"
		set.Spec.GoTemplate = goTemplate
		set.Spec.Template.Name, set.Spec.Template.Namespace = name, path
		set.Spec.Template.Spec.Project = "team"
		set.Spec.Template.Spec.Source = &v1alpha1.ApplicationSource{RepoURL: "https://git.example/x", Path: path}
		set.Spec.Template.Labels = map[string]string{path: name}
		set.Spec.TemplatePatch = &patch
		set.Spec.Generators = []v1alpha1.ApplicationSetGenerator{
			{List: &v1alpha1.ListGenerator{ElementsYaml: content}},
			{Git: &v1alpha1.GitGenerator{Files: []v1alpha1.GitFileItem{{Path: path}, {Path: "*"}}, PathParamPrefix: name, Values: map[string]string{"v": path}}},
			{Clusters: &v1alpha1.ClusterGenerator{Values: map[string]string{name: path}}},
		}
		world := appset.World{
			Go: engine, Clusters: destination.Clusters{{Name: name, Server: path, SecretName: "s", Labels: map[string]string{name: path}}},
			Tree: func(string, string) (tree.Tree, error) { return files{"a/b.yaml": content}, nil },
		}
		for _, only := range set.Spec.Generators {
			one := set.DeepCopy()
			one.Spec.Generators = []v1alpha1.ApplicationSetGenerator{only}
			got, err := appset.Evaluate(one, world)
			if err != nil {
				continue
			}
			for _, app := range got.Applications {
				if app.Namespace != "team" || app.Spec.Project != "team" {
					t.Errorf("%s/%s of project %q leaves", app.Namespace, app.Name, app.Spec.Project)
				}
				if _, err := yaml.Marshal(app); err != nil {
					t.Errorf("%v", err)
				}
			}
		}
	})
}
