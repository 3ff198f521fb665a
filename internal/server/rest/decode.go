package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// Tags of request types.
const (
	// tagPath names a wildcard of the path, tagQuery the parameters that may
	// hold a field, first name first; tagBody marks the field that takes the
	// whole body. Without such a field the body is decoded into the request.
	tagPath, tagQuery, tagBody = "path", "query", "body"
)

// decode fills a request from body, query and path, in this order: what the
// path says wins.
func decode(into any, r *http.Request, maxBody int64) error {
	v := reflect.ValueOf(into).Elem()
	if err := decodeBody(v, into, r, maxBody); err != nil {
		return err
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fault.New(fault.InvalidArgument, "the query of the URL cannot be read: encode it by percent signs")
	}
	return decodeFields(v, r, query)
}

func decodeFields(v reflect.Value, r *http.Request, query url.Values) error {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Anonymous && field.Type.Kind() == reflect.Struct && field.Tag.Get("json") == "" {
			if err := decodeFields(v.Field(i), r, query); err != nil {
				return err
			}
			continue
		}
		if names := field.Tag.Get(tagQuery); names != "" {
			var texts []string
			for _, name := range strings.Split(names, ",") {
				texts = append(texts, query[name]...)
			}
			if len(texts) > 0 {
				if err := assign(v.Field(i), texts); err != nil {
					return fault.New(fault.InvalidArgument, "parameter %s: %w", names, err)
				}
			}
		}
		if name := field.Tag.Get(tagPath); name != "" {
			if text := r.PathValue(name); text != "" {
				v.Field(i).SetString(text)
			}
		}
	}
	return nil
}

// assign puts the texts of a parameter into a field; of a single field the
// last one counts.
func assign(v reflect.Value, texts []string) error {
	last := texts[len(texts)-1]
	switch v.Kind() {
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		if err := assign(fresh.Elem(), texts); err != nil {
			return err
		}
		v.Set(fresh)
	case reflect.String:
		v.SetString(last)
	case reflect.Bool:
		b, err := strconv.ParseBool(last)
		if err != nil {
			return fmt.Errorf("want true or false")
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(last, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("want a whole number")
		}
		v.SetInt(n)
	case reflect.Slice:
		out := reflect.MakeSlice(v.Type(), len(texts), len(texts))
		for i, text := range texts {
			if err := assign(out.Index(i), []string{text}); err != nil {
				return err
			}
		}
		v.Set(out)
	default:
		return fmt.Errorf("cannot be given in a URL")
	}
	return nil
}

func decodeBody(v reflect.Value, into any, r *http.Request, maxBody int64) error {
	if r.Body == nil || r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	target := into
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get(tagBody) != "" {
			target = v.Field(i).Addr().Interface()
		}
	}
	if lines, ok := target.(route.LinesBody); ok {
		lines.Open(r.Body, maxBody)
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	switch {
	case err != nil:
		return fault.Hide(err, fault.InvalidArgument, "the body of the request broke off")
	case int64(len(raw)) > maxBody:
		return fault.New(fault.InvalidArgument, "the body of the request has more than %d bytes", maxBody)
	case len(strings.TrimSpace(string(raw))) == 0:
		return nil
	}
	if err := depth(raw); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, target); err != nil {
		return wordJSON(err)
	}
	return nil
}

// maxDepth bounds how deep a body may be nested.
const maxDepth = 100

func depth(raw []byte) error {
	level, inText := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			if level++; level > maxDepth {
				return fault.New(fault.InvalidArgument, "the body of the request is nested deeper than %d levels", maxDepth)
			}
		case c == '}' || c == ']':
			level--
		}
	}
	return nil
}

// wordJSON says what is wrong with a body without quoting any of it: it may
// hold a credential.
func wordJSON(err error) error {
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &kind):
		return fault.Hide(err, fault.InvalidArgument, fmt.Sprintf("the body of the request has a wrong type at %q: want %s", kind.Field, kind.Type))
	case errors.As(err, &syntax):
		return fault.Hide(err, fault.InvalidArgument, fmt.Sprintf("the body of the request is no JSON at byte %d", syntax.Offset))
	}
	return fault.Hide(err, fault.InvalidArgument, "the body of the request cannot be read as JSON of this type")
}
