package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// document is one part of a YAML stream.
type document struct {
	content []byte
	line    int // of its first line in the stream, from 1
}

// maxDocuments bounds the documents of one stream.
const maxDocuments = 10_000

// split takes a YAML stream apart at its "---" lines. The documents are parts
// of the stream, not copies.
func split(stream []byte) []document {
	var out []document
	start, line := 0, 1
	flush := func(end int) {
		if part := stream[start:end]; len(bytes.TrimSpace(part)) > 0 {
			out = append(out, document{part, line})
		}
	}
	number := 0
	for at := 0; at < len(stream); {
		number++
		end := len(stream)
		if n := bytes.IndexByte(stream[at:], '\n'); n >= 0 {
			end = at + n + 1
		}
		if rest, ok := bytes.CutPrefix(stream[at:end], []byte("---")); ok {
			if rest = bytes.TrimSpace(rest); len(rest) == 0 || rest[0] == '#' {
				flush(at)
				start, line = end, number+1
			}
		}
		at = end
	}
	flush(len(stream))
	return out
}

// yamlLine is how the YAML library says where.
var yamlLine = regexp.MustCompile(`line (\d+): `)

// explain turns an error of the YAML library into file, document, line.
func (d document) explain(name string, number int, err error) error {
	text := err.Error()
	for _, noise := range []string{"error converting YAML to JSON: ", "yaml: "} {
		text = strings.TrimPrefix(text, noise)
	}
	where := fmt.Sprintf("%s: document %d", name, number)
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		if n, convErr := strconv.Atoi(m[1]); convErr == nil {
			where += fmt.Sprintf(", line %d", d.line+n-1)
			text = strings.Replace(text, m[0], "", 1)
		}
	}
	return fmt.Errorf("%s: not valid YAML: %s", where, text)
}

// Decode reads a YAML stream; errors name the file, the document and, where
// it is known, the line. What was read before an error is returned with it.
func Decode(stream []byte, name string) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	documents := split(stream)
	if len(documents) > maxDocuments {
		return nil, fmt.Errorf("%s: has %d documents, at most %d are allowed: split the file", name, len(documents), maxDocuments)
	}
	for i, d := range documents {
		var value any
		if err := yaml.Unmarshal(d.content, &value); err != nil {
			return out, d.explain(name, i+1, err)
		}
		where := fmt.Sprintf("%s: document %d", name, i+1)
		plain, err := jsonValue(value)
		if err != nil {
			return out, fmt.Errorf("%s: %w", where, err)
		}
		objects, err := flatten(plain, where)
		if err != nil {
			return out, err
		}
		out = append(out, objects...)
	}
	return out, nil
}

// decodeJSONFile reads a file with exactly one object.
func decodeJSONFile(content []byte, name string) ([]*unstructured.Unstructured, error) {
	dec := json.NewDecoder(bytes.NewReader(content))
	var first json.RawMessage
	if err := dec.Decode(&first); err != nil {
		at := len(content)
		if syntax := new(json.SyntaxError); errors.As(err, &syntax) {
			at = int(syntax.Offset)
		}
		line := 1 + bytes.Count(content[:min(at, len(content))], []byte("\n"))
		return nil, fmt.Errorf("%s: line %d: not valid JSON: %w", name, line, err)
	}
	if dec.More() {
		return nil, fmt.Errorf("Found multiple objects in %q. Only single objects are allowed in JSON files.", name) //nolint:staticcheck,revive // tools match on this text
	}
	return decodeValue(first, name)
}

// decodeValue turns JSON into objects; whole numbers become int64.
func decodeValue(raw []byte, where string) ([]*unstructured.Unstructured, error) {
	var value any
	if err := utiljson.Unmarshal(raw, &value); err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	return flatten(value, where)
}

// jsonValue turns what the YAML library gives into what JSON would, by the
// rules of sigs.k8s.io/yaml: keys become strings.
func jsonValue(v any) (any, error) {
	switch t := v.(type) {
	case map[any]any:
		out := make(map[string]any, len(t))
		for k, x := range t {
			key, err := jsonKey(k)
			if err != nil {
				return nil, err
			}
			if out[key], err = jsonValue(x); err != nil {
				return nil, err
			}
		}
		return out, nil
	case []any:
		for i, x := range t {
			var err error
			if t[i], err = jsonValue(x); err != nil {
				return nil, err
			}
		}
		return t, nil
	case int:
		return int64(t), nil
	case uint64:
		return float64(t), nil
	case float64:
		if math.IsNaN(t) || math.IsInf(t, 0) {
			return nil, fmt.Errorf("has the number %v, which JSON does not know", t)
		}
	case string:
		return strings.ToValidUTF8(t, "\ufffd"), nil
	}
	return v, nil
}

func jsonKey(k any) (string, error) {
	switch t := k.(type) {
	case string:
		return t, nil
	case int:
		return strconv.Itoa(t), nil
	case bool:
		return strconv.FormatBool(t), nil
	case float64:
		switch s := strconv.FormatFloat(t, 'g', -1, 32); s {
		case "+Inf":
			return ".inf", nil
		case "-Inf":
			return "-.inf", nil
		case "NaN":
			return ".nan", nil
		default:
			return s, nil
		}
	}
	return "", fmt.Errorf("has a key of a type that JSON does not know: %v", k)
}

// flatten normalises numbers, checks what every object needs and takes lists apart.
func flatten(value any, where string) ([]*unstructured.Unstructured, error) {
	if value == nil {
		return nil, nil
	}
	object, ok := whole(value).(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: is not an object with fields", where)
	}
	if len(object) == 0 {
		return nil, nil
	}
	u := &unstructured.Unstructured{Object: object}
	kind, _ := object["kind"].(string)
	version, _ := object["apiVersion"].(string)
	if items, isList := object["items"]; isList && strings.HasSuffix(kind, "List") {
		return flattenList(items, where)
	}
	switch {
	case version == "":
		return nil, fmt.Errorf("%s: field apiVersion is missing", where)
	case kind == "":
		return nil, fmt.Errorf("%s: field kind is missing", where)
	}
	if _, ok := object["metadata"].(map[string]any); !ok {
		return nil, fmt.Errorf("%s: %s: field metadata is missing", where, kind)
	}
	if u.GetName() == "" && u.GetGenerateName() == "" {
		return nil, fmt.Errorf("%s: %s: field metadata.name is missing", where, kind)
	}
	return []*unstructured.Unstructured{u}, nil
}

func flattenList(items any, where string) ([]*unstructured.Unstructured, error) {
	if items == nil {
		return nil, nil
	}
	list, ok := items.([]any)
	if !ok {
		return nil, fmt.Errorf("%s: field items is not a list", where)
	}
	var out []*unstructured.Unstructured
	for i, item := range list {
		objects, err := flatten(item, fmt.Sprintf("%s: item %d", where, i+1))
		if err != nil {
			return nil, err
		}
		out = append(out, objects...)
	}
	return out, nil
}

// whole turns floats without a fraction into int64, as the API machinery
// does: 1.0 and 1e3 are integers to it.
func whole(v any) any {
	switch t := v.(type) {
	case map[string]any:
		for k, x := range t {
			t[k] = whole(x)
		}
	case []any:
		for i, x := range t {
			t[i] = whole(x)
		}
	case float64:
		if t == math.Trunc(t) && math.Abs(t) < 1<<53 {
			return int64(t)
		}
	}
	return v
}
