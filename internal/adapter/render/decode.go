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

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// document is one part of a YAML stream.
type document struct {
	content []byte
	line    int // of its first line in the stream, from 1
}

// split takes a YAML stream apart at its "---" lines.
func split(stream []byte) []document {
	var out []document
	current := document{line: 1}
	flush := func() {
		if len(bytes.TrimSpace(current.content)) > 0 {
			out = append(out, current)
		}
	}
	number := 0
	for line := range bytes.Lines(stream) {
		number++
		if rest, ok := bytes.CutPrefix(line, []byte("---")); ok {
			rest = bytes.TrimSpace(rest)
			if len(rest) == 0 || rest[0] == '#' {
				flush()
				current = document{line: number + 1}
				continue
			}
		}
		current.content = append(current.content, line...)
	}
	flush()
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
	for i, d := range split(stream) {
		raw, err := yaml.YAMLToJSON(d.content)
		if err != nil {
			return out, d.explain(name, i+1, err)
		}
		objects, err := decodeValue(raw, fmt.Sprintf("%s: document %d", name, i+1))
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
