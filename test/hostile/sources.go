package hostile

import (
	"encoding/json"
	"slices"
	"strings"
)

// kustomizeFields are the fields of a kustomization that name a file, a
// folder, a URL or a program: CVE-2022-24877. The percent sign is the name.
var kustomizeFields = []string{
	"resources: [%]", "bases: [%]", "components: [%]", "crds: [%]", "configurations: [%]", "patches: [{path: %}]", "patchesStrategicMerge: [%]", "patchesJson6902: [{path: %, target: {kind: A, name: b}}]",
	"replacements: [{path: %}]", "generators: [%]", "transformers: [%]", "validators: [%]", "configMapGenerator: [{name: a, files: [%]}]", "configMapGenerator: [{name: a, files: [\"k=\" + %]}]", "configMapGenerator: [{name: a, env: %}]",
	"secretGenerator: [{name: a, envs: [%]}]", "secretGenerator: [{name: a, files: [%]}]", "openapi: {path: %}", "helmCharts: [{name: %, repo: %}]", "helmCharts: [{name: a, valuesFile: %}]", "helmCharts: [{name: a, additionalValuesFiles: [%]}]",
	"helmCharts: [{name: a, version: %, repo: \"https://host/x\"}]", "helmCharts: [{name: a, releaseName: %, namespace: %}]", "helmGlobals: {chartHome: %}", "helmGlobals: {configHome: %}", "helmChartInflationGenerator: [{chartName: %, chartRepoUrl: %}]",
	"images: [{name: %, newName: %}]", "namePrefix: %", "nameSuffix: %", "namespace: %", "commonLabels: {a: %}", "metadata: {name: %}", "%: x",
}

// Kustomizations put names into every field that names something, and are
// ones that do not end or would run a program: CVE-2022-24878. A link "linked"
// beside them leads to file.
func Kustomizations(file, program string) []string {
	var out []string
	put := func(field, name string) {
		if quoted, err := json.Marshal(name); err == nil {
			out = append(out, strings.ReplaceAll(field, "%", string(quoted)))
		}
	}
	for i, name := range slices.Concat(Paths(file), URLs(file, program), Arguments(file, program)) {
		put(kustomizeFields[i%len(kustomizeFields)], name)
		put(kustomizeFields[(i+7)%len(kustomizeFields)], name)
	}
	up := strings.Repeat("../", 40) + file[1:]
	for _, field := range kustomizeFields {
		for _, name := range []string{file, up, "file://" + file, "git::file://" + file, "http://127.0.0.1:1/x", "linked", "--helm-command=" + program, ".."} {
			put(field, name)
		}
	}
	return append(out,
		"resources: [.]", "resources: [../app]", "resources: [../app/../app]", "components: [.]", "components: [../app]", "bases: [../app]", "resources: [c.yaml, c.yaml]",
		"transformers:\n- |-\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: x}\n  path: "+file+"\n",
		"generators:\n- |-\n  apiVersion: builtin\n  kind: ConfigMapGenerator\n  metadata: {name: x}\n  files: ["+file+"]\n",
		"generators:\n- |-\n  apiVersion: builtin\n  kind: HelmChartInflationGenerator\n  metadata: {name: x}\n  name: x\n  repo: file://"+file+"\n",
		"generators:\n- |-\n  apiVersion: v1\n  kind: X\n  metadata: {name: x, annotations: {config.kubernetes.io/function: 'exec: {path: "+program+"}'}}\n",
		"transformers:\n- |-\n  apiVersion: v1\n  kind: X\n  metadata: {name: x, annotations: {config.kubernetes.io/function: 'container: {image: x, mounts: [{type: bind, src: /, dst: /x}]}'}}\n",
		"transformers:\n- |-\n  apiVersion: v1\n  kind: X\n  metadata: {name: x, annotations: {config.kubernetes.io/function: 'starlark: {path: "+file+", name: x}'}}\n",
		"validators:\n- |-\n  apiVersion: someteam.example.com/v1\n  kind: Exec\n  metadata: {name: x}\n  argsOneLiner: "+program+"\n",
		"vars: [{name: A, objref: {kind: A, name: a, apiVersion: v1}, fieldref: {fieldpath: ../../x}}]", "openapi: {version: "+file+"}", "buildMetadata: [originAnnotations, "+file+"]",
		strings.Repeat("a: &a [", 500), "a: &a [*a]\nresources: *a",
	)
}

// Chart is a chart that was fetched from anybody.
type Chart struct {
	// Name is of one more file, which has the content of Chart.yaml.
	Name string
	// Chart is Chart.yaml, Template a file of templates/.
	Chart, Template string
}

// Charts try to read file, to reach the network, to run program, or not to end:
// CVE-2023-25165, CVE-2024-25620, CVE-2025-53547, CVE-2026-35206, CVE-2025-55199.
func Charts(file, program string) []Chart {
	const good = "{apiVersion: v2, name: c, version: 1.0.0}"
	with := func(field string) string { return strings.TrimSuffix(good, "}") + ", " + field + "}" }
	out := []Chart{
		{"../Chart.yaml", "{apiVersion: v2, name: ../../x, version: 1.0.0}", "{{ tpl . . }}"}, {"x", "{apiVersion: v2, name: ., version: 1.0.0}", ""}, {"x", "{apiVersion: v2, name: .., version: ../1.0.0}", ""},
		{"x", "{apiVersion: v2, name: \"--x\", version: \"-1.0.0\"}", ""}, {"x", "{apiVersion: v2, name: \"" + strings.Repeat("a", 5000) + "\", version: 1.0.0}", ""}, {"charts/x.tgz", "apiVersion: v1\nname: \"\"\nversion: \"\"", ""},
		{"values.schema.json", good, ""}, {"values.schema.json", "{\"$ref\": \"file://" + file + "\"}", ""}, {"values.schema.json", "{\"$ref\": \"http://127.0.0.1:1/x\"}", ""}, {"values.schema.json", "{\"$ref\": \"#\"}", ""},
		{"values.schema.json", "{\"allOf\": [{\"$ref\": \"#/allOf/0\"}]}", ""}, {"values.schema.json", "null", ""}, {"values.schema.json", "{\"$ref\": \"" + file + "\", \"properties\": null}", ""}, {"requirements.yaml", "{apiVersion: v1, name: c, version: 1.0.0}", ""},
		{"Chart.lock", "dependencies: [{}]", ""}, {"Chart.lock", "dependencies: [{name: x, repository: \"file://" + file + "\", version: 1}]", ""}, {".helmignore", "../*\n/\n!" + file + "\n**", ""}, {"crds/x.yaml", "{{ .Files.Get \"x\" }}", ""}, {"plugin.yaml", "command: " + program, ""},
		{"templates/NOTES.txt", good, "{{ $.Files.Glob \"**\" }}"}, {"templates/../../x", good, ""}, {"/abs", good, ""}, {"a\x00b", good, ""},
	}
	for _, dependency := range append(URLs(file, program), "file://..", "file://../..", "file://../c", "file://.", "@x", "alias:x", "file://"+file[:strings.LastIndexByte(file, '/')]) {
		quoted, err := json.Marshal(dependency)
		if err == nil {
			out = append(out, Chart{"x", with("dependencies: [{name: d, version: \">0\", repository: " + string(quoted) + "}]"), ""}, Chart{"x", with("dependencies: [{name: " + string(quoted) + ", alias: " + string(quoted) + ", version: " + string(quoted) + ", repository: \"\"}]"), ""})
		}
	}
	for _, template := range []string{
		"{{ .Files.Get \"" + file + "\" }}", "{{ .Files.Get \"../../../../../../" + file + "\" }}", "{{ .Files.Lines \"" + file + "\" }}", "{{ (.Files.Glob \"/**\").AsConfig }}", "{{ (.Files.Glob \"../**\").AsSecrets }}", "{{ readFile \"" + file + "\" }}", "{{ readDir \"/\" }}",
		"{{ env \"PATH\" }}", "{{ expandenv \"$PATH\" }}", "{{ getHostByName \"localhost\" }}", "{{ lookup \"v1\" \"Secret\" \"\" \"\" | toJson }}", "{{ include \"x\" . }}{{ define \"x\" }}{{ include \"x\" . }}{{ end }}", "{{ template \"" + file + "\" }}", "{{ exec \"" + program + "\" }}",
		"{{ tpl (.Files.Get \"templates/t.yaml\") . }}", "{{ fromYaml \"- a\" }}{{ toYaml . }}", "{{ toToml . }}", "{{ regexMatch \"(a+)+$\" \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\" }}", "{{ index .Values \"a\" 99999999999 }}", "{{ .Template.BasePath }}{{ .Chart.Name.X }}", "{{ call .Files.Get \"x\" }}",
		"{{ printf \"%*d\" 999999999 1 }}", "{{ $x := . }}{{ range $x }}{{ end }}", "{{ fail \"" + program + "\" }}", "{{ required \"" + program + "\" nil }}", "{{ .Capabilities.KubeVersion.Version | toString | b64dec }}", "{{ genPrivateKey \"x\" }}", "{{ urlParse \"file://" + file + "\" }}",
	} {
		out = append(out, Chart{"x", good, template})
	}
	return out
}

// Jsonnets try to read file: CVE-2022-24904.
func Jsonnets(file string) []string {
	var out []string
	for _, name := range Paths(file) {
		quoted, err := json.Marshal(name)
		if err != nil {
			continue
		}
		for _, verb := range []string{"import", "importstr", "importbin"} {
			out = append(out, "{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'a'}, x: "+verb+" "+string(quoted)+"}")
		}
	}
	return append(out, "local f(x) = f(x); f(1)", "{a: self.a}", "std.native('exec')('x')", "std.extVar('PATH')", "std.range(0, 1e12)", "error importstr '"+file+"'", "[import 'a.jsonnet']")
}

// Streams are YAML that is large once it is read, or not what it seems.
func Streams() []string {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
	return []string{
		bomb, "a: &a [*a]\n", "a: &a\n  <<: *a\n", "{" + strings.Repeat("[", 2000), strings.Repeat("{a: ", 2000), strings.Repeat("- ", 3000), strings.Repeat("---\n", 11_000), strings.Repeat("---\na: 1\n", 300), "? {a: b}\n: c\n", "? [a]\n: c\n",
		"x: !!python/object:os.system\n", "x: !!binary gIGC\n", "x: !<tag:yaml.org,2002:js/function> f\n", "%YAML 1.1\n---\na: b\n", "%TAG ! tag:x,2000:\n---\na: !b c\n", "\xEF\xBB\xBFa: b\n", "\xff\xfea\x00:\x00", "a: \"\\ud800\"\n", "<<: {a: b}\n", "a: 1\na: 2\n",
		"1: x\ntrue: y\n1.5: z\n~: n\n", "x: .nan\n", "x: .inf\n", "x: 0x7fffffffffffffff\ny: 18446744073709551615\nz: 1e400\n", "x: 2020-01-01\ny: 1:30\nz: 0o14\n", "\x00", "a: \x07", "a:\tb", "--- x\n", "---", "...", "--- |\n a\n---\n", strings.Repeat("a", 100_000) + ": b", "&a a: *a",
	}
}
