package render_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/test/hostile"
)

// merged gives the values that a chart sees: its own, those of a file, and
// those of the Application, in this order.
func merged(t *testing.T, file, inline string) (map[string]any, error) {
	t.Helper()
	files := memory{
		"c/Chart.yaml": "{apiVersion: v2, name: c, version: 1.0.0}", "c/values.yaml": "own: {kept: 1, other: 2}\n", "c/v.yaml": file,
		"c/templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {v: {{ toJson .Values | b64enc | quote }}}\n",
	}
	result, err := render.Render(t.Context(), render.Request{
		App: render.App{Name: "a", Namespace: "n"}, Tree: files, KubeVersion: "1.36.0",
		Source: v1alpha1.ApplicationSource{Path: "c", Helm: &v1alpha1.SourceHelm{ValueFiles: []string{"v.yaml"}, Values: inline}},
	})
	if err != nil {
		return nil, err
	}
	data, _ := result.Objects[0].Object["data"].(map[string]any)
	var raw []byte
	if err := json.Unmarshal([]byte(fmt.Sprintf("%q", data["v"])), &raw); err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return out, nil
}

// plain reads values as JSON would; ok is false for what is no map.
func plain(text string) (out map[string]any, ok bool) {
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return nil, false
	}
	if json.Unmarshal(raw, &out) != nil {
		return nil, false
	}
	return out, true
}

// FuzzValues: of two layers of values the later one counts, key by key, and
// what neither names stays.
func FuzzValues(f *testing.F) {
	for _, s := range hostile.Streams() {
		f.Add(s, "own: {kept: 3}\n")
		f.Add("a: {b: 1, c: [1]}\n", s)
	}
	f.Add("a: {b: 1, c: 2}\nx: 1\n", "a: {b: 3}\ny: 1\n")
	f.Add("a: {b: 1}\n", "a: null\n")
	f.Add("a: 1\n", "a: {b: 1}\n")
	f.Add("own: null\n", "own: {}\n")
	f.Add("global: {a: 1}\n", "global: {b: 1}\n")
	f.Fuzz(func(t *testing.T, first, second string) {
		got, err := merged(t, first, second)
		if err != nil {
			return // explained elsewhere; a panic would end the process
		}
		again, err := merged(t, first, second)
		if err != nil || !reflect.DeepEqual(got, again) {
			t.Fatalf("twice the same values give\n%v\n%v (%v)", got, again, err)
		}
		low, ok := plain(first)
		high, okHigh := plain(second)
		if ok && okHigh {
			later(t, "", got, low, high)
		}
	})
}

// later checks that got has what high says, and what low says where high is
// silent. Nulls take a value away; the key global is Helm's own.
func later(t *testing.T, at string, got, low, high map[string]any) {
	t.Helper()
	for key, want := range high {
		if want == nil || at+key == "global" {
			continue
		}
		below, isMap := want.(map[string]any)
		if !isMap {
			same(t, at+key, got[key], want)
			continue
		}
		inner, ok := got[key].(map[string]any)
		if !ok {
			t.Errorf("%s%s is %v, want a map", at, key, got[key])
			continue
		}
		lower, _ := low[key].(map[string]any)
		later(t, at+key+".", inner, lower, below)
	}
	for key, want := range low {
		if _, said := high[key]; !said && want != nil && at+key != "global" {
			if _, isMap := want.(map[string]any); !isMap {
				same(t, at+key, got[key], want)
			}
		}
	}
	if _, said := high["own"]; at == "" && !said {
		if _, said := low["own"]; !said {
			same(t, "own", got["own"], map[string]any{"kept": 1.0, "other": 2.0})
		}
	}
}

func same(t *testing.T, name string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s is %v, want %v", name, got, want)
	}
}
