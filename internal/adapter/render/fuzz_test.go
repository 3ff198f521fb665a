package render_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/domain/kustomize"
	"github.com/sluice-cd/sluice/internal/domain/tree"
	"github.com/sluice-cd/sluice/test/hostile"
)

// FuzzDecode: nothing panics, and a stream of one document is what the API
// machinery would read.
func FuzzDecode(f *testing.F) {
	for _, s := range append(hostile.Streams(),
		"apiVersion: v1\nkind: A\nmetadata: {name: a}\n", "a: 1\n---\nb: 2\n--- # c\n---\n", "apiVersion: v1\nkind: List\nitems: null\n",
		"apiVersion: v1\nkind: A\nmetadata: {name: a}\nspec: {f: 1.0, g: 1e3, h: -0.0, i: 9007199254740993}\n",
	) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		objects, err := render.Decode(stream, "f.yaml")
		if err != nil && !strings.HasPrefix(err.Error(), "f.yaml") {
			t.Errorf("error %v does not name the file", err)
		}
		for _, o := range objects {
			if o.GetKind() == "" || o.GetAPIVersion() == "" {
				t.Errorf("an object without a type: %v", o.Object)
			}
			o.DeepCopy() // panics on numbers that the API machinery does not know
		}
		if err != nil || len(objects) != 1 || bytes.Contains(stream, []byte("---")) || bytes.Contains(stream, []byte("List")) {
			return
		}
		raw, err := yaml.YAMLToJSON(stream)
		if err != nil {
			t.Fatalf("read, but the API machinery says %v", err)
		}
		var want unstructured.Unstructured
		if err := want.UnmarshalJSON(raw); err != nil {
			return
		}
		a, err := json.Marshal(objects[0].Object)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(want.Object)
		if err != nil {
			t.Fatal(err)
		}
		var x, y any
		if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
			t.Fatal("not JSON")
		}
		a, _ = json.Marshal(x)
		b, _ = json.Marshal(y)
		if !bytes.Equal(a, b) {
			t.Errorf("%s\nthe API machinery reads\n%s", a, b)
		}
	})
}

// safe renders and fails the test when the machine shows through.
func safe(t *testing.T, r render.Request) {
	t.Helper()
	result, err := render.Render(t.Context(), r)
	text := ""
	if err != nil {
		if text = err.Error(); strings.Contains(text, "failed unexpectedly") {
			t.Fatalf("a panic: %s", text)
		}
	}
	for _, o := range result.Objects {
		raw, err := json.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		text += string(raw)
	}
	if strings.Contains(text, hostile.Secret) || strings.Contains(text, "root:x:0") {
		t.Fatalf("shows a file of the machine: %s", text)
	}
}

// outside makes a file that no render may show, and names a program.
func outside(t testing.TB) (file, program string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "canary.yaml")
	if err := os.WriteFile(file, []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "+hostile.Secret+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, filepath.Join(filepath.Dir(file), "sh")
}

// FuzzHelm: value files, parameters and values from anybody.
func FuzzHelm(f *testing.F) {
	file, program := outside(f)
	for _, s := range slices.Concat(hostile.Paths(file), hostile.Arguments(file, program), hostile.URLs(file, program)) {
		f.Add(s, "a.b[0]", s, "a: "+s)
	}
	for _, s := range []string{"a[99999999999]", "a[-1]", "a..b", "a={", "a={b,c", "a.b=null", strings.Repeat("a.", 100), "a[65536].b", "\\", "a\\", ",", "=", "{}", "a[0][0][0][0]"} {
		f.Add("v.yaml", s, "x", s)
	}
	files := memory{
		"c/Chart.yaml": "{apiVersion: v2, name: c, version: 1.0.0}", "c/v.yaml": "x: 1\n", "c/values.yaml": "a: {b: [1]}\n",
		"c/templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {v: {{ toJson .Values | quote }}, f: {{ .Files.Get .Values.path | default \"\" | quote }}}\n",
	}
	f.Fuzz(func(t *testing.T, valueFile, name, value, values string) {
		raw, err := json.Marshal(map[string]any{"path": value})
		if err != nil {
			t.Skip()
		}
		safe(t, render.Request{
			App: render.App{Name: "a", Instance: "a", Namespace: "n"}, Tree: files, KubeVersion: "1.36.0",
			Source: v1alpha1.ApplicationSource{Path: "c", Helm: &v1alpha1.SourceHelm{
				ValueFiles: []string{valueFile}, Parameters: []v1alpha1.HelmParameter{{Name: name, Value: value}, {Name: value, Value: name, ForceString: true}},
				FileParameters: []v1alpha1.HelmFileParameter{{Name: "f", Path: valueFile}}, Values: values, IgnoreMissingValueFiles: len(name)%2 == 0,
			}},
		})
		safe(t, render.Request{
			App: render.App{Name: "a", Instance: "a", Namespace: "n"}, Tree: files, KubeVersion: "1.36.0",
			Source: v1alpha1.ApplicationSource{Path: "c", Helm: &v1alpha1.SourceHelm{ValuesObject: &runtime.RawExtension{Raw: raw}, ReleaseName: name}},
		})
	})
}

// FuzzKustomization: a kustomization from anybody, with every field that names
// a file.
func FuzzKustomization(f *testing.F) {
	file, program := outside(f)
	for _, k := range hostile.Kustomizations(file, program) {
		f.Add(k)
	}
	f.Fuzz(func(t *testing.T, kustomization string) {
		files := memory{"app/kustomization.yaml": kustomization, "app/c.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}"}
		safe(t, render.Request{App: render.App{Name: "a"}, Tree: files, Source: v1alpha1.ApplicationSource{Path: "app"}, Settings: render.Settings{Kustomize: kustomize.BuildOptions{Helm: true, Unrestricted: true}}})
	})
}

// FuzzChartArchive: a chart that was fetched from anybody.
func FuzzChartArchive(f *testing.F) {
	file, program := outside(f)
	for _, c := range hostile.Charts(file, program) {
		f.Add(c.Name, c.Chart, c.Template)
	}
	f.Fuzz(func(t *testing.T, name, chart, template string) {
		b := tree.NewBuilder()
		_ = b.Add("Chart.yaml", []byte(chart))
		_ = b.Add("templates/t.yaml", []byte(template))
		_ = b.Add(name, []byte(chart)) // hostile names are refused
		safe(t, render.Request{App: render.App{Name: "a", Namespace: "n"}, Tree: b.Build(""), KubeVersion: "1.36.0", Source: v1alpha1.ApplicationSource{Chart: "c"}})
	})
}
