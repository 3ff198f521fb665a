package render_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/domain/kustomize"
	"github.com/sluice-cd/sluice/internal/domain/tree"
	"github.com/sluice-cd/sluice/test/hostile"
)

// closed is a Remote that refuses everything, as one that permits nothing.
type closed struct{}

func (closed) Chart(_ context.Context, _ render.ChartRef) (tree.Tree, error) {
	return nil, errors.New("not here")
}

func (closed) File(_ context.Context, _ string) ([]byte, error) {
	return nil, errors.New("not here")
}

func (closed) Base(_ context.Context, _, _ string) (tree.Tree, error) {
	return nil, errors.New("not here")
}

// grounds is a tree with one folder per tool, and links to file everywhere.
func grounds(t *testing.T, file string) *tree.Builder {
	t.Helper()
	b := tree.NewBuilder()
	object := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
	for name, content := range map[string]string{
		"plain/c.yaml": object, "jsonnet/a.jsonnet": "{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'j'}}",
		"app/kustomization.yaml": "resources: [c.yaml]\n", "app/c.yaml": object, "parts/kustomization.yaml": "{apiVersion: kustomize.config.k8s.io/v1alpha1, kind: Component}",
		"chart/Chart.yaml": "{apiVersion: v2, name: c, version: 1.0.0}", "chart/templates/c.yaml": object + "data: {v: {{ toJson .Values | quote }}}\n", "chart/values.yaml": "a: 1\n",
	} {
		if err := b.Add(name, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 42 {
		if err := b.Link(fmt.Sprintf("chain%d", i), fmt.Sprintf("chain%d", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{"", "plain/", "jsonnet/", "app/", "chart/", "chart/templates/"} {
		if err := errors.Join(b.Link(folder+"linked", file), b.Link(folder+"loop", "loop")); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// leaves calls f for every text that v holds, with a way to set it.
func leaves(v reflect.Value, at string, f func(at string, set reflect.Value)) {
	switch v.Kind() {
	case reflect.String:
		f(at, v)
	case reflect.Pointer:
		if !v.IsNil() {
			leaves(v.Elem(), at, f)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				leaves(v.Field(i), at+"."+v.Type().Field(i).Name, f)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			leaves(v.Index(i), fmt.Sprintf("%s[%d]", at, i), f)
		}
	}
}

// fill gives every empty list, pointer and text of v something, so that no
// field of the API is left out, also one that is added later.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.Type() == reflect.TypeFor[*runtime.RawExtension]() || v.Type().Elem().Kind() == reflect.Bool {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fill(v.Index(0))
		}
	}
}

// bases are a harmless source of each kind with every field of the kind there.
func bases() map[string]v1alpha1.ApplicationSource {
	var all v1alpha1.ApplicationSource
	fill(reflect.ValueOf(&all).Elem())
	return map[string]v1alpha1.ApplicationSource{
		"plain":   {Path: "plain", Directory: all.Directory},
		"jsonnet": {Path: "jsonnet", Directory: all.Directory},
		"app":     {Path: "app", Kustomize: all.Kustomize},
		"chart":   {Path: "chart", Helm: all.Helm},
	}
}

// TestNoFieldReachesOutside puts every payload into every text of a source
// (SEC-01 and SEC-07 of the threat list): nothing outside the tree is opened,
// and no program is run.
func TestNoFieldReachesOutside(t *testing.T) {
	trap := hostile.Set(t)
	payloads := slices.Concat(hostile.Paths(trap.File), hostile.Arguments(trap.File, trap.Program), []string{"linked", "../linked", "loop", "chain0"})
	files := grounds(t, trap.File).Build("r")
	fields := 0
	for kind := range bases() {
		source := bases()[kind]
		var names []string
		leaves(reflect.ValueOf(&source).Elem(), "", func(at string, _ reflect.Value) { names = append(names, at) })
		for n, name := range names {
			fields++
			for i := n % 3; i < len(payloads); i += 3 { // each field gets a third of them, neighbours others
				source := bases()[kind]
				leaves(reflect.ValueOf(&source).Elem(), "", func(at string, set reflect.Value) {
					if at == name {
						set.SetString(payloads[i])
					}
				})
				safe(t, render.Request{
					App: render.App{Name: "a", Instance: "a", Namespace: "n"}, Tree: files, Refs: map[string]tree.Tree{"ref": files}, KubeVersion: "1.36.0", Source: source, Remote: closed{},
					Settings: render.Settings{Kustomize: kustomize.BuildOptions{Helm: true, Unrestricted: true}, RemoteBases: true},
				})
			}
		}
		trap.Check(t, kind)
	}
	if fields < 60 {
		t.Errorf("only %d fields were tried", fields)
	}
}

// TestNoContentReachesOutside renders every hostile kustomization, chart,
// archive, jsonnet file, link and YAML stream.
func TestNoContentReachesOutside(t *testing.T) {
	trap := hostile.Set(t)
	app := render.App{Name: "a", Instance: "a", Namespace: "n"}
	try := func(what string, source v1alpha1.ApplicationSource, b *tree.Builder) {
		t.Helper()
		safe(t, render.Request{
			App: app, Tree: b.Build("r"), KubeVersion: "1.36.0", Source: source, Remote: closed{},
			Settings: render.Settings{Kustomize: kustomize.BuildOptions{Helm: true, Unrestricted: true}, RemoteBases: true},
		})
		trap.Check(t, what)
	}
	with := func(files map[string]string, links map[string]string) *tree.Builder {
		b := tree.NewBuilder()
		for _, name := range slices.Sorted(maps.Keys(files)) {
			_ = b.Add(name, []byte(files[name])) // hostile names are refused
		}
		for _, name := range slices.Sorted(maps.Keys(links)) {
			_ = b.Link(name, links[name])
		}
		return b
	}
	object := "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}"
	for i, k := range hostile.Kustomizations(trap.File, trap.Program) {
		if i%2 == 0 {
			try(k, v1alpha1.ApplicationSource{Path: "app"}, with(map[string]string{"app/kustomization.yaml": k, "app/c.yaml": object}, map[string]string{"app/linked": trap.File}))
		}
	}
	for _, c := range hostile.Charts(trap.File, trap.Program) {
		try(c.Chart+c.Template, v1alpha1.ApplicationSource{Path: "c"}, with(map[string]string{"c/Chart.yaml": c.Chart, "c/templates/t.yaml": c.Template, "c/" + c.Name: c.Chart, "c/values.yaml": "a: [1]\n"}, nil))
	}
	for _, j := range hostile.Jsonnets(trap.File) {
		if !strings.Contains(j, "1e12") { // it ends with the memory of a worker
			try(j, v1alpha1.ApplicationSource{Path: "j"}, with(map[string]string{"j/a.jsonnet": j}, map[string]string{"j/linked": trap.File}))
		}
	}
	for _, target := range hostile.Links(trap.File) {
		for _, name := range []string{"p/a.yaml", "p/a.json", "p/a.jsonnet", "c/Chart.yaml", "c/Chart.lock", "c/values.yaml", "c/templates", "c/charts", "k/kustomization.yaml", "k/c.yaml", ".argocd-source.yaml", "p"} {
			folder, _, _ := strings.Cut(name, "/")
			files := map[string]string{"k/kustomization.yaml": "resources: [c.yaml]\n", "c/Chart.yaml": "{apiVersion: v2, name: c, version: 1.0.0}", "c/templates/t.yaml": object, "p/b.yaml": object}
			maps.DeleteFunc(files, func(file, _ string) bool { return file == name || strings.HasPrefix(file, name+"/") })
			try(name+" -> "+target, v1alpha1.ApplicationSource{Path: folder}, with(files, map[string]string{name: target, "loop": "loop"}))
		}
	}
	for what, raw := range hostile.Archives(trap.File) {
		b, err := tree.Untar(strings.NewReader(string(raw)), 1, tree.Limits{})
		if err != nil {
			continue
		}
		_ = b.Add("Chart.yaml", []byte("{apiVersion: v2, name: c, version: 1.0.0}"))
		try(what, v1alpha1.ApplicationSource{Chart: "c"}, b)
	}
	for i, s := range hostile.Streams() {
		try(fmt.Sprint("stream ", i), v1alpha1.ApplicationSource{Path: "p"}, with(map[string]string{"p/a.yaml": s}, nil))
		raw, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		try(fmt.Sprint("values ", i), v1alpha1.ApplicationSource{Path: "c", Helm: &v1alpha1.SourceHelm{Values: s, ValuesObject: &runtime.RawExtension{Raw: raw}}}, with(map[string]string{"c/Chart.yaml": "{apiVersion: v2, name: c, version: 1.0.0}", "c/values.yaml": s, "c/templates/t.yaml": object}, nil))
	}
}
