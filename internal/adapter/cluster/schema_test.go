package cluster

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/spec3"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/domain/diff"
)

const document = `
schemas:
  Thing:
    type: object
    x-kubernetes-group-version-kind: [{group: example.com, version: v1, kind: Thing}]
    required: [spec]
    properties:
      apiVersion: {type: string}
      kind: {type: string}
      metadata: {type: object, x-kubernetes-preserve-unknown-fields: true}
      spec: {allOf: [{$ref: '#/components/schemas/Spec'}], default: {}}
  Spec:
    type: object
    required: [parts, mode, filled]
    properties:
      mode: {type: string, enum: [fast, slow]}
      filled: {type: string, default: x}
      count: {type: integer}
      parts:
        type: array
        x-kubernetes-list-type: map
        x-kubernetes-list-map-keys: [name]
        items: {allOf: [{$ref: '#/components/schemas/Part'}], default: {}}
      named: {type: object, additionalProperties: {$ref: '#/components/schemas/Part'}}
  Part:
    type: object
    required: [name]
    properties:
      name: {type: string}
      again: {$ref: '#/components/schemas/Spec'}
`

func things(t *testing.T, builtIn bool) diff.Schema {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	var components spec3.Components
	if err := json.Unmarshal(raw, &components); err != nil {
		t.Fatal(err)
	}
	types, err := managedfields.NewTypeConverter(components.Schemas, false)
	if err != nil {
		t.Fatal(err)
	}
	return diff.Schema{Types: types, Shape: shapes(components.Schemas, builtIn)[schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Thing"}]}
}

// TestProblemsBySchema finds without a request what the API server would
// refuse.
func TestProblemsBySchema(t *testing.T) {
	s := things(t, false)
	for name, c := range map[string]struct {
		spec    string
		present bool
		want    []string
	}{
		"right": {spec: "{mode: fast, parts: [{name: a}]}"},
		"what is missing": {spec: "{parts: [{}], named: {x: {again: {}}}}", want: []string{
			".spec.mode: is required", ".spec.named.x.again.mode: is required", ".spec.named.x.again.parts: is required",
			".spec.named.x.name: is required",
			`.spec.parts: element 0: associative list with keys has an element that omits all key fields ["name"] (and doesn't have default values for any key fields)`,
			".spec.parts[0].name: is required",
		}},
		"but it exists":       {spec: "{count: 1}", present: true},
		"a word":              {spec: "{mode: sometimes, parts: []}", want: []string{`.spec.mode: "sometimes" is not one of fast, slow`}},
		"an empty word":       {spec: "{mode: '', parts: []}"},
		"null says nothing":   {spec: "{mode: fast, parts: [], count: null}"},
		"another type":        {spec: "{mode: fast, parts: [], count: many}", want: []string{".spec.count: expected numeric (int or float), got string"}},
		"an undeclared field": {spec: "{mode: fast, parts: [], colour: red}", want: []string{"undeclared: .spec.colour: field not declared in schema"}},
		"a key twice":         {spec: "{mode: fast, parts: [{name: a}, {name: a}]}", want: []string{`repeated: .spec.parts: duplicate entries for key [name="a"]`}},
	} {
		u := &unstructured.Unstructured{}
		text := "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: a, namespace: shop}\nspec: " + c.spec
		raw, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := u.UnmarshalJSON(raw); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range s.Problems(u, !c.present) {
			line := p.Text
			if p.Undeclared {
				line = "undeclared: " + line
			}
			if p.Repeated {
				line = "repeated: " + line
			}
			got = append(got, line)
		}
		slices.Sort(got)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestBuiltInKindsFillInMuch asks of built-in kinds only for fields that their
// API server never fills in.
func TestBuiltInKindsFillInMuch(t *testing.T) {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Thing", "metadata": map[string]any{"name": "a"}, "spec": map[string]any{"named": map[string]any{"x": map[string]any{}}},
	}}
	var got []string
	for _, p := range things(t, true).Problems(u, true) {
		got = append(got, p.Text)
	}
	if diff := cmp.Diff([]string{".spec.named.x.name: is required"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for group, want := range map[string]bool{"": true, "apps": true, "rbac.authorization.k8s.io": true, "example.com": false, "argoproj.io": false} {
		if builtIn(group) != want {
			t.Errorf("group %q is built in: %v", group, !want)
		}
	}
}

func TestProblemsShowNoSecret(t *testing.T) {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "a"}, "data": map[string]any{"hunter2": int64(5)}, "hunter2": "hunter2",
	}}
	s := diff.Schema{Types: talkative{}, Shape: &diff.Shape{Required: []string{"hunter2x"}}}
	all := s.Problems(u, true)
	if len(all) != 1 || strings.Contains(all[0].Text, "hunter2") {
		t.Errorf("want one problem that shows no secret, got %+v", all)
	}
}

// talkative refuses an object and quotes a value of it.
type talkative struct{}

func (talkative) ObjectToTyped(runtime.Object, ...typed.ValidationOptions) (*typed.TypedValue, error) {
	return nil, typed.ValidationErrors{{Path: ".data.hunter2", ErrorMessage: "expected string, got hunter2"}}
}
