package diff

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// Shape is what a schema says of a value beside its type. Shapes refer to
// each other where schemas do, in circles too.
type Shape struct {
	// Required fields, sorted.
	Required []string
	Fields   map[string]*Shape
	// Items is the shape of the elements of a list, Values that of the values
	// of a map.
	Items, Values *Shape
	// Enum lists the texts that are allowed; none is any.
	Enum []string
}

// Schema is what a cluster publishes of one kind.
type Schema struct {
	Types
	// Shape of the kind, nil when it is not published.
	Shape *Shape
}

// Problem is one reason for which an object cannot be what it says.
type Problem struct {
	// Undeclared says that the schema does not have the field, Repeated that a
	// list holds a key twice: only a strict reader refuses these.
	Undeclared, Repeated bool
	Text                 string
}

// maxProblems bounds the list of problems of one object.
const maxProblems = 10

// Problems says without a request why the API server would refuse to create
// the object: values of the wrong type, missing fields, words that the schema
// does not know. None does not mean that it will be accepted, for there are
// rules that no schema holds. No value of a Secret is in the texts.
func (s Schema) Problems(desired *unstructured.Unstructured, missing bool) []Problem {
	o := withoutNulls(Prepare(desired))
	var out []Problem
	if s.Types != nil {
		if _, err := s.ObjectToTyped(o); err != nil {
			out = append(out, typeProblems(o, err)...)
		}
	}
	if s.Shape != nil && missing && !isSecret(o) {
		c := shapeCheck{}
		c.value("", o.Object, s.Shape)
		for _, text := range c.texts {
			out = append(out, Problem{Text: text})
		}
	}
	if len(out) > maxProblems {
		out = out[:maxProblems]
	}
	return out
}

func typeProblems(o *unstructured.Unstructured, err error) []Problem {
	var all typed.ValidationErrors
	if !errors.As(err, &all) {
		all = typed.ValidationErrors{{ErrorMessage: err.Error()}}
	}
	var out []Problem
	for _, e := range all {
		p := Problem{
			Undeclared: strings.Contains(e.ErrorMessage, "field not declared in schema"),
			Repeated:   strings.Contains(e.ErrorMessage, "duplicate entries"), Text: e.Error(),
		}
		if isSecret(o) {
			p.Text = "a field of the Secret is not valid (details are withheld, for they may show a value)"
		}
		out = append(out, p)
	}
	return out
}

// shapeCheck collects what is missing, and where.
type shapeCheck struct{ texts []string }

func (c *shapeCheck) value(path string, v any, s *Shape) {
	if s == nil || len(c.texts) >= maxProblems {
		return
	}
	switch t := v.(type) {
	case map[string]any:
		c.object(path, t, s)
	case []any:
		for i, item := range t {
			c.value(fmt.Sprintf("%s[%d]", path, i), item, s.Items)
		}
	case string:
		if len(s.Enum) > 0 && t != "" && !slices.Contains(s.Enum, t) {
			c.texts = append(c.texts, fmt.Sprintf("%s: %q is not one of %s", path, t, strings.Join(s.Enum, ", ")))
		}
	}
}

func (c *shapeCheck) object(path string, o map[string]any, s *Shape) {
	for _, field := range s.Required {
		if _, ok := o[field]; !ok {
			c.texts = append(c.texts, fmt.Sprintf("%s.%s: is required", path, field))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(o)) {
		if path == "" && (k == "status" || k == "metadata") {
			continue // not ours to send, or checked by nobody's schema alone
		}
		next := s.Values
		if f, ok := s.Fields[k]; ok {
			next = f
		}
		c.value(path+"."+k, o[k], next)
	}
}
