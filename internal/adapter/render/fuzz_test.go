package render_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// FuzzDecode: nothing panics, and a stream of one document is what the API
// machinery would read.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		"apiVersion: v1\nkind: A\nmetadata: {name: a}\n", "a: 1\n---\nb: 2\n--- # c\n---\n", "--- x\n", "---", "apiVersion: v1\nkind: List\nitems: null\n",
		"a: &a [*a]\n", "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n",
		"{" + strings.Repeat("[", 2000), "? {a: b}\n: c\n", "1: x\ntrue: y\n1.5: z\n~: n\n", "x: .nan\n", "x: 0x7fffffffffffffff\ny: 18446744073709551615\nz: 1e400\n",
		"x: !!binary gIGC\n", "x: !!python/object:os.system\n", "%YAML 1.1\n---\na: b\n", "\xEF\xBB\xBFa: b\n", "a: \"\\ud800\"\n", "<<: {a: b}\n", "x: 2020-01-01\ny: 1:30\nz: 0o14\n",
		"apiVersion: v1\nkind: A\nmetadata: {name: a}\nspec: {f: 1.0, g: 1e3, h: -0.0, i: 9007199254740993}\n",
	} {
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

// canary is a file of the machine that no render may show.
func canary(t testing.TB) (file, secret string) {
	t.Helper()
	file, secret = filepath.Join(t.TempDir(), "canary.yaml"), "c4n4ry-outside"
	if err := os.WriteFile(file, []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "+secret+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, secret
}

// safe renders and fails the test when the machine shows through.
func safe(t *testing.T, r render.Request, secret string) {
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
	if strings.Contains(text, secret) || strings.Contains(text, "root:x:0") {
		t.Fatalf("shows a file of the machine: %s", text)
	}
}

// spellings of a path that must not be followed.
func spellings(file string) []string {
	out := []string{
		file, "/etc/passwd", "../../../../../../etc/passwd", "file://" + file, "file:///etc/passwd", "./" + file, "..", "/", "//" + file, "%2fetc%2fpasswd", "/proc/self/environ",
		"/proc/self/fd/0", "/dev/stdin", "--values=/etc/passwd", "-f/etc/passwd", "--post-renderer=/bin/sh", "$(cat /etc/passwd)", "`id`", ";id", "|id", "ext::sh -c id", "git::file:///",
		"http://127.0.0.1:1/x", "http://169.254.169.254/", "\\\\host\\share", "C:\\x", "a\x00b", "*", "**", "[", "{a,b}", "$ref/../../x", "$HOME/x", "${ARGOCD_APP_NAME}/../..", strings.Repeat("../", 50) + strings.TrimPrefix(file, "/"),
	}
	return append(out, "a/"+strings.Repeat("../", 50)+strings.TrimPrefix(file, "/"))
}

// FuzzHelm: value files, parameters and values from anybody.
func FuzzHelm(f *testing.F) {
	file, secret := canary(f)
	for _, s := range spellings(file) {
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
		}, secret)
		safe(t, render.Request{
			App: render.App{Name: "a", Instance: "a", Namespace: "n"}, Tree: files, KubeVersion: "1.36.0",
			Source: v1alpha1.ApplicationSource{Path: "c", Helm: &v1alpha1.SourceHelm{ValuesObject: &runtime.RawExtension{Raw: raw}, ReleaseName: name}},
		}, secret)
	})
}

// FuzzKustomization: a kustomization from anybody, with every field that names
// a file.
func FuzzKustomization(f *testing.F) {
	file, secret := canary(f)
	for _, s := range spellings(file) {
		quoted, err := json.Marshal(s)
		if err != nil {
			continue
		}
		for _, field := range []string{
			"resources: [%]", "bases: [%]", "components: [%]", "crds: [%]", "configurations: [%]", "patches: [{path: %}]", "patchesStrategicMerge: [%]",
			"patchesJson6902: [{path: %, target: {kind: A, name: b}}]", "replacements: [{path: %}]", "generators: [%]", "transformers: [%]", "validators: [%]",
			"configMapGenerator: [{name: a, files: [%]}]", "secretGenerator: [{name: a, envs: [%]}]", "openapi: {path: %}", "helmCharts: [{name: %, repo: %}]", "helmGlobals: {chartHome: %}",
		} {
			f.Add(strings.ReplaceAll(field, "%", string(quoted)))
		}
	}
	f.Add("transformers:\n- |-\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: x}\n  path: " + file + "\n")
	f.Add("generators:\n- |-\n  apiVersion: v1\n  kind: X\n  metadata: {name: x, annotations: {config.kubernetes.io/function: 'exec: {path: /bin/sh}'}}\n")
	f.Fuzz(func(t *testing.T, kustomization string) {
		files := memory{"app/kustomization.yaml": kustomization, "app/c.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}"}
		safe(t, render.Request{App: render.App{Name: "a"}, Tree: files, Source: v1alpha1.ApplicationSource{Path: "app"}, Settings: render.Settings{Kustomize: render.BuildOptions{Helm: true, Unrestricted: true}}}, secret)
	})
}

// FuzzChartArchive: a chart that was fetched from anybody.
func FuzzChartArchive(f *testing.F) {
	file, secret := canary(f)
	f.Add("Chart.yaml", "{apiVersion: v2, name: c, version: 1.0.0}", "{{ .Files.Get \""+file+"\" }}")
	f.Add("../Chart.yaml", "{apiVersion: v2, name: ../../x, version: 1.0.0, dependencies: [{name: x, repository: \"file://../../../../etc\"}]}", "{{ tpl . . }}")
	f.Add("charts/x.tgz", "apiVersion: v1\nname: \"\"\nversion: \"\"", "{{ lookup \"v1\" \"Secret\" \"\" \"\" | toJson }}")
	f.Add("values.schema.json", "{apiVersion: v2, name: c, version: 1.0.0, type: library}", "{{ getHostByName \"localhost\" }}{{ env \"PATH\" }}")
	f.Add("requirements.yaml", "{apiVersion: v1, name: c, version: 1.0.0}", "{{ include \"x\" . }}{{ define \"x\" }}{{ include \"x\" . }}{{ end }}")
	f.Add("Chart.lock", "dependencies: [{}]", "{{ fromYaml \"- a\" }}{{ toYaml . }}")
	f.Fuzz(func(t *testing.T, name, chart, template string) {
		b := tree.NewBuilder()
		_ = b.Add("Chart.yaml", []byte(chart))
		_ = b.Add("templates/t.yaml", []byte(template))
		_ = b.Add(name, []byte(chart)) // hostile names are refused
		safe(t, render.Request{App: render.App{Name: "a", Namespace: "n"}, Tree: b.Build(""), KubeVersion: "1.36.0", Source: v1alpha1.ApplicationSource{Chart: "c"}}, secret)
	})
}
