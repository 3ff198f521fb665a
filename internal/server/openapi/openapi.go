// Package openapi writes down what a table of routes can do, as an OpenAPI
// document (Swagger 2.0, which clients of Argo CD read). Types are those of the
// handlers: what is not in a handler's type is not in the document.
package openapi

import (
	"bytes"
	"encoding/json"
	"path"
	"reflect"
	"regexp"
	"strings"

	"github.com/sluice-cd/sluice/internal/server/route"
)

// object is a JSON object of the document.
type object = map[string]any

// writer collects definitions.
type writer struct {
	definitions object
	names       map[reflect.Type]string
	taken       map[string]reflect.Type
}

// Document describes a table.
func Document(table route.Table, version string) ([]byte, error) {
	w := &writer{definitions: object{}, names: map[reflect.Type]string{}, taken: map[string]reflect.Type{}}
	paths := object{}
	for i := range table {
		r := &table[i]
		at := wildcardTail.ReplaceAllString(r.Path, "}")
		if paths[at] == nil {
			paths[at] = object{}
		}
		methods, _ := paths[at].(object)
		methods[strings.ToLower(r.Method)] = w.operation(r)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(object{
		"swagger": "2.0", "info": object{"title": "Sluice", "description": "The API of Sluice, compatible with that of Argo CD.", "version": version},
		"consumes": []string{"application/json"}, "produces": []string{"application/json"}, "paths": paths, "definitions": w.definitions,
		"securityDefinitions": object{"bearer": object{"type": "apiKey", "name": "Authorization", "in": "header"}},
	})
	return out.Bytes(), err
}

var wildcardTail = regexp.MustCompile(`\.\.\.\}`)

// failure is the form of every error.
type failure struct {
	Error   string `json:"error"`
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// message is one of a stream.
func (w *writer) message(r *route.Route) object {
	answer := w.schema(r.Answer)
	if !r.Streams {
		return answer
	}
	return object{"type": "object", "title": "Stream of " + r.Answer.Name(), "properties": object{"result": answer, "error": object{"type": "object", "properties": object{
		"grpc_code": object{"type": "integer", "format": "int32"}, "http_code": object{"type": "integer", "format": "int32"},
		"message": object{"type": "string"}, "http_status": object{"type": "string"},
	}}}}
}

func (w *writer) operation(r *route.Route) object {
	out := object{
		"operationId": path.Base(strings.ReplaceAll(r.Service(), ".", "/")) + "_" + r.Operation(), "summary": r.Summary, "tags": []string{path.Base(strings.ReplaceAll(r.Service(), ".", "/"))},
		"responses": object{
			"200":     object{"description": "The answer.", "schema": w.message(r)},
			"default": object{"description": "An error; code is that of gRPC.", "schema": w.schema(reflect.TypeFor[failure]())},
		},
		"x-sluice-rule": rule(r.Rule),
	}
	if r.Rule.Access != route.Open {
		out["security"] = []object{{"bearer": []string{}}}
	}
	parameters := []object{}
	body := reflect.Type(nil)
	w.parameters(r, r.Request, &parameters, &body)
	if r.Changes() && body == nil && hasBody(r.Request) && r.Method != "DELETE" {
		body = r.Request
	}
	if body != nil {
		parameters = append(parameters, object{"name": "body", "in": "body", "required": true, "schema": w.schema(body)})
	}
	if r.Fields {
		parameters = append(parameters, object{"name": "fields", "in": "query", "type": "string", "description": "Comma list of dotted paths to keep, or with a leading - to drop."})
	}
	if len(parameters) > 0 {
		out["parameters"] = parameters
	}
	return out
}

func rule(r route.Rule) object {
	out := object{"access": r.Access.String()}
	for key, checks := range map[string][]route.Check{"must": r.Must, "may": r.May} {
		var texts []string
		for _, c := range checks {
			texts = append(texts, c.String())
		}
		if texts != nil {
			out[key] = texts
		}
	}
	return out
}

// hasBody says that some field of a request comes in its body.
func hasBody(t reflect.Type) bool {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && f.Type.Kind() == reflect.Struct && f.Tag.Get("json") == "" {
			if hasBody(f.Type) {
				return true
			}
			continue
		}
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "-" && name != "" && f.Tag.Get("path") == "" {
			return true
		}
	}
	return false
}

func (w *writer) parameters(r *route.Route, t reflect.Type, out *[]object, body *reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && f.Type.Kind() == reflect.Struct && f.Tag.Get("json") == "" {
			w.parameters(r, f.Type, out, body)
			continue
		}
		if f.Tag.Get("body") != "" {
			*body = f.Type
			if lines, ok := reflect.New(f.Type).Interface().(route.LinesBody); ok {
				*body = lines.Message()
			}
		}
		if name := f.Tag.Get("path"); name != "" && (strings.Contains(r.Path, "{"+name+"}") || strings.Contains(r.Path, "{"+name+"...}")) {
			*out = append(*out, object{"name": name, "in": "path", "required": true, "type": "string"})
			continue
		}
		if names := f.Tag.Get("query"); names != "" {
			for name := range strings.SplitSeq(names, ",") { // clients know one or the other
				p := w.schema(f.Type)
				p["name"], p["in"] = name, "query"
				if p["type"] == "array" {
					p["collectionFormat"] = "multi"
				}
				*out = append(*out, p)
			}
		}
	}
}

// special are types that JSON shows otherwise than Go.
var special = map[string]object{
	"k8s.io/apimachinery/pkg/apis/meta/v1.Time":                     {"type": "string", "format": "date-time"},
	"k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime":                {"type": "string", "format": "date-time"},
	"k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1":                 {"type": "object"},
	"k8s.io/apimachinery/pkg/apis/meta/v1.Duration":                 {"type": "string"},
	"k8s.io/apimachinery/pkg/runtime.RawExtension":                  {"type": "object"},
	"k8s.io/apimachinery/pkg/util/intstr.IntOrString":               {"type": "string", "format": "int-or-string"},
	"k8s.io/apimachinery/pkg/api/resource.Quantity":                 {"type": "string"},
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSON": {"type": "object"},
	"time.Time":                {"type": "string", "format": "date-time"},
	"encoding/json.RawMessage": {"type": "object"},
}

func (w *writer) schema(t reflect.Type) object {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if s, ok := special[t.PkgPath()+"."+t.Name()]; ok {
		out := object{}
		for k, v := range s {
			out[k] = v
		}
		return out
	}
	switch t.Kind() {
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return object{"type": "integer", "format": "int32"}
	case reflect.Int64, reflect.Uint, reflect.Uint64:
		return object{"type": "integer", "format": "int64"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number", "format": "double"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "format": "byte"}
		}
		return object{"type": "array", "items": w.schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": w.schema(t.Elem())}
	case reflect.Struct:
		if t.Name() == "" {
			return w.structure(t)
		}
		return object{"$ref": "#/definitions/" + w.define(t)}
	}
	return object{"type": "object"}
}

// define writes the definition of a type once, and gives its name.
func (w *writer) define(t reflect.Type) string {
	if name, ok := w.names[t]; ok {
		return name
	}
	base := strings.Map(func(r rune) rune {
		if r == '[' || r == ']' || r == '/' || r == '*' || r == ',' {
			return '_'
		}
		return r
	}, path.Base(t.PkgPath())+t.Name())
	name := base
	for n := 'A'; w.taken[name] != nil; n++ {
		name = base + string(n)
	}
	w.names[t], w.taken[name] = name, t
	w.definitions[name] = object{} // for types that hold themselves
	w.definitions[name] = w.structure(t)
	return name
}

func (w *writer) structure(t reflect.Type) object {
	properties := object{}
	w.fields(t, properties)
	out := object{"type": "object"}
	if len(properties) > 0 {
		out["properties"] = properties
	}
	return out
}

func (w *writer) fields(t reflect.Type, into object) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		inner := f.Type
		for inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
		case f.Anonymous && name == "" && inner.Kind() == reflect.Struct:
			w.fields(inner, into)
		case !f.IsExported():
		case name == "":
			into[f.Name] = w.schema(f.Type)
		default:
			into[name] = w.schema(f.Type)
		}
	}
}
