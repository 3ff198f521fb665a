package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"github.com/sluice-cd/sluice/internal/server/route"
)

// Encode is what a client does: it turns a request into path with query, and
// body. It is the inverse of what the server does with the tags of the type.
func Encode(path string, request any, method string) (target string, body []byte, err error) {
	v := reflect.ValueOf(request)
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	e := encoder{path: path, query: url.Values{}, body: request}
	if err := e.fields(v); err != nil {
		return "", nil, err
	}
	if at := strings.IndexByte(e.path, '{'); at >= 0 {
		return "", nil, fmt.Errorf("%s: the request does not say what stands for %s", path, e.path[at:])
	}
	lines, many := e.body.(route.LinesBody)
	switch {
	case many:
		if body, err = lines.Encode(); err != nil {
			return "", nil, fmt.Errorf("%s: %w", path, err)
		}
	case method != http.MethodGet && method != http.MethodDelete:
		if body, err = json.Marshal(e.body); err != nil {
			return "", nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if len(e.query) > 0 {
		e.path += "?" + e.query.Encode()
	}
	return e.path, body, nil
}

type encoder struct {
	path  string
	query url.Values
	body  any
}

func (e *encoder) fields(v reflect.Value) error {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Anonymous && field.Type.Kind() == reflect.Struct && field.Tag.Get("json") == "" {
			if err := e.fields(v.Field(i)); err != nil {
				return err
			}
			continue
		}
		if field.Tag.Get(tagBody) != "" {
			e.body = v.Field(i).Interface()
			if lines, ok := reflect.New(field.Type).Interface().(route.LinesBody); ok {
				reflect.ValueOf(lines).Elem().Set(v.Field(i))
				e.body = lines
			}
			continue
		}
		if name := field.Tag.Get(tagPath); name != "" && e.wildcard(name, v.Field(i).String()) {
			continue
		}
		if names := field.Tag.Get(tagQuery); names != "" {
			name, _, _ := strings.Cut(names, ",")
			if err := e.add(name, v.Field(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// wildcard puts a value into the path; it says whether there was a place.
func (e *encoder) wildcard(name, value string) bool {
	before := e.path
	if value != "" {
		e.path = strings.Replace(e.path, "{"+name+"}", url.PathEscape(value), 1)
	}
	parts := strings.Split(value, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	e.path = strings.Replace(e.path, "{"+name+"...}", strings.Join(parts, "/"), 1)
	return e.path != before
}

// add puts a value into the query; what is empty is left out.
func (e *encoder) add(name string, v reflect.Value) error {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		e.query.Add(name, fmt.Sprint(v.Elem().Interface()))
	case reflect.String:
		if v.String() != "" {
			e.query.Add(name, v.String())
		}
	case reflect.Bool:
		if v.Bool() {
			e.query.Add(name, "true")
		}
	case reflect.Int, reflect.Int32, reflect.Int64:
		if v.Int() != 0 {
			e.query.Add(name, strconv.FormatInt(v.Int(), 10))
		}
	case reflect.Slice:
		for i := range v.Len() {
			e.query.Add(name, fmt.Sprint(v.Index(i).Interface()))
		}
	default:
		return fmt.Errorf("parameter %s cannot be given in a URL", name)
	}
	return nil
}
