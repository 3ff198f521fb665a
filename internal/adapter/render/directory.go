package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"

	"github.com/gobwas/glob"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// maxDirectoryBytes bounds the manifests of one folder.
const maxDirectoryBytes = 10 << 20

// skipMark in a file keeps it from being rendered.
const skipMark = "+argocd:skip-file-rendering"

// directory renders a folder of plain manifests.
func directory(r Request) ([]*unstructured.Unstructured, error) {
	include, exclude, recurse, err := directoryOptions(r)
	if err != nil {
		return nil, err
	}
	d := &dirWalk{tree: r.Tree, base: r.Source.Path, include: include, exclude: exclude, recurse: recurse}
	if err := d.walk(""); err != nil {
		return nil, err
	}
	return d.objects, nil
}

func directoryOptions(r Request) (include, exclude glob.Glob, recurse bool, err error) {
	o := r.Source.Directory
	if o == nil {
		return nil, nil, false, nil
	}
	compile := func(field, pattern string) glob.Glob {
		if pattern == "" || err != nil {
			return nil
		}
		g, gerr := glob.Compile(pattern)
		if gerr != nil {
			err = fmt.Errorf("spec.source.directory.%s: %q is not a glob: %w", field, pattern, gerr)
		}
		return g
	}
	include, exclude = compile("include", o.Include), compile("exclude", o.Exclude)
	return include, exclude, o.Recurse, err
}

type dirWalk struct {
	tree             tree.Tree
	base             string
	include, exclude glob.Glob
	recurse          bool
	bytes            int
	objects          []*unstructured.Unstructured
}

func (d *dirWalk) walk(rel string) error {
	entries, err := d.tree.ReadDir(path.Join(d.base, rel))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(rel, e.Name)
		full := path.Join(d.base, name)
		if e.Kind == tree.Symlink {
			if e, err = d.tree.Stat(full); err != nil {
				return err
			}
		}
		switch {
		case e.Kind == tree.Dir && d.recurse:
			err = d.walk(name)
		case e.Kind == tree.File && d.wanted(name):
			err = d.file(full)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *dirWalk) wanted(name string) bool {
	if d.exclude != nil && d.exclude.Match(name) {
		return false
	}
	if d.include != nil && !d.include.Match(name) {
		return false
	}
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json", ".jsonnet":
		return true
	}
	return false
}

func (d *dirWalk) file(name string) error {
	if path.Ext(name) == ".jsonnet" {
		return fmt.Errorf("%s: jsonnet is not available: exclude the file with spec.source.directory.exclude or commit its output", name)
	}
	content, err := d.tree.ReadFile(name)
	if err != nil {
		return err
	}
	if bytes.Contains(content, []byte(skipMark)) {
		return nil
	}
	if d.bytes += len(content); d.bytes > maxDirectoryBytes {
		return fmt.Errorf("%s: the manifests of this folder exceed %d bytes: split the Application", name, maxDirectoryBytes)
	}
	var objects []*unstructured.Unstructured
	if path.Ext(name) == ".json" {
		objects, err = decodeJSON(content, name)
	} else {
		objects, err = decodeLenient(content, name)
	}
	d.objects = append(d.objects, objects...)
	return err
}

// decodeLenient ignores a file that is not a manifest at all, but not a
// manifest that is broken.
func decodeLenient(content []byte, name string) ([]*unstructured.Unstructured, error) {
	objects, err := Decode(content, name)
	if err == nil {
		return objects, nil
	}
	looks := true
	for _, mark := range []string{"apiVersion:", "kind:", "metadata:"} {
		looks = looks && bytes.Contains(content, []byte(mark))
	}
	if len(objects) == 0 && !looks {
		return nil, nil
	}
	return nil, err
}

func decodeJSON(content []byte, name string) ([]*unstructured.Unstructured, error) {
	dec := json.NewDecoder(bytes.NewReader(content))
	var first map[string]any
	if err := dec.Decode(&first); err != nil {
		return nil, fmt.Errorf("%s: not valid JSON: %w", name, err)
	}
	if dec.More() {
		return nil, fmt.Errorf("Found multiple objects in %q. Only single objects are allowed in JSON files.", name) //nolint:staticcheck // tools match on this text
	}
	return flatten(first, name)
}

// Decode reads a YAML stream; errors name the file and the document.
func Decode(content []byte, name string) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	reader := utilyaml.NewYAMLReader(newBufReader(content))
	for i := 1; ; i++ {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, fmt.Errorf("%s: document %d: %w", name, i, err)
		}
		raw, err := yaml.YAMLToJSON(doc)
		if err != nil {
			text := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
			return out, fmt.Errorf("%s: document %d is not valid YAML: %s", name, i, text)
		}
		if string(raw) == "null" {
			continue
		}
		var value map[string]any
		if err := json.Unmarshal(raw, &value); err != nil {
			return out, fmt.Errorf("%s: document %d is not an object", name, i)
		}
		objects, err := flatten(value, fmt.Sprintf("%s: document %d", name, i))
		if err != nil {
			return out, err
		}
		out = append(out, objects...)
	}
}

// flatten normalises numbers and takes lists apart.
func flatten(value map[string]any, where string) ([]*unstructured.Unstructured, error) {
	if len(value) == 0 {
		return nil, nil
	}
	fixed, ok := integers(value).(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: is not an object", where)
	}
	u := &unstructured.Unstructured{Object: fixed}
	if items, isList := fixed["items"]; isList && strings.HasSuffix(u.GetKind(), "List") {
		return flattenList(items, where)
	}
	switch {
	case u.GetAPIVersion() == "":
		return nil, fmt.Errorf("%s: field apiVersion is missing", where)
	case u.GetKind() == "":
		return nil, fmt.Errorf("%s: field kind is missing", where)
	case u.GetName() == "" && u.GetGenerateName() == "":
		return nil, fmt.Errorf("%s: %s: field metadata.name is missing", where, u.GetKind())
	}
	return []*unstructured.Unstructured{u}, nil
}

func flattenList(items any, where string) ([]*unstructured.Unstructured, error) {
	list, _ := items.([]any)
	var out []*unstructured.Unstructured
	for i, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s: item %d is not an object", where, i)
		}
		objects, err := flatten(m, fmt.Sprintf("%s: item %d", where, i))
		if err != nil {
			return nil, err
		}
		out = append(out, objects...)
	}
	return out, nil
}

// integers turns whole floats into int64, as the API machinery expects.
func integers(v any) any {
	switch t := v.(type) {
	case map[string]any:
		for k, x := range t {
			t[k] = integers(x)
		}
	case []any:
		for i, x := range t {
			t[i] = integers(x)
		}
	case float64:
		if t == math.Trunc(t) && math.Abs(t) < 1<<53 {
			return int64(t)
		}
	}
	return v
}
