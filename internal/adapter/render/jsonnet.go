package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/google/go-jsonnet"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// maxJsonnetStack is how deep functions may call each other.
const maxJsonnetStack = 500

// jsonnetMachine evaluates the .jsonnet files of one source.
type jsonnetMachine struct{ vm *jsonnet.VM }

func (j *job) jsonnet() (*jsonnetMachine, error) {
	var options v1alpha1.SourceJsonnet
	if j.Source.Directory != nil {
		options = j.Source.Directory.Jsonnet
	}
	vm := jsonnet.MakeVM()
	vm.MaxStack = maxJsonnetStack
	vm.SetTraceOut(io.Discard)
	for _, v := range options.ExtVars {
		set := vm.ExtVar
		if v.Code {
			set = vm.ExtCode
		}
		set(v.Name, j.substitute(v.Value))
	}
	for _, v := range options.TLAs {
		set := vm.TLAVar
		if v.Code {
			set = vm.TLACode
		}
		set(v.Name, j.substitute(v.Value))
	}
	search := []string{path.Clean(j.Source.Path)}
	for _, lib := range options.Libs {
		if _, err := tree.Parts(lib); err != nil {
			return nil, fmt.Errorf("spec.source.directory.jsonnet.libs: %q: %w", lib, err)
		}
		search = append(search, path.Clean(lib))
	}
	slices.Reverse(search) // of two libraries with a file the later one counts
	vm.Importer(&jsonnetImporter{tree: j.Tree, search: search, read: map[string]jsonnet.Contents{}})
	return &jsonnetMachine{vm}, nil
}

// file evaluates one file; what it gives is an object or a list of objects.
func (m *jsonnetMachine) file(name string) ([]*unstructured.Unstructured, error) {
	text, err := m.vm.EvaluateFile(name)
	if err != nil {
		return nil, fmt.Errorf("%s: jsonnet: %s", name, strings.TrimSpace(err.Error()))
	}
	raw := []byte(text)
	if !strings.HasPrefix(strings.TrimSpace(text), "[") {
		return decodeValue(raw, name)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var out []*unstructured.Unstructured
	for i, item := range items {
		objects, err := decodeValue(item, fmt.Sprintf("%s: item %d", name, i+1))
		if err != nil {
			return nil, err
		}
		out = append(out, objects...)
	}
	return out, nil
}

// jsonnetImporter finds imports in the tree: beside the file that imports,
// then in the folders to search. It gives the same answer for ever, as the
// machine demands.
type jsonnetImporter struct {
	tree   tree.Tree
	search []string
	read   map[string]jsonnet.Contents
}

var _ jsonnet.Importer = (*jsonnetImporter)(nil)

func (i *jsonnetImporter) Import(from, name string) (jsonnet.Contents, string, error) {
	if path.IsAbs(name) {
		return jsonnet.Contents{}, "", fmt.Errorf("import %q: path is absolute: name it relative to the file or to a library", name)
	}
	folders := append([]string{path.Dir(from)}, i.search...)
	if from == "" {
		folders = []string{"."}
	}
	for _, folder := range folders {
		at := path.Join(folder, name)
		if found, ok := i.read[at]; ok {
			return found, at, nil
		}
		content, err := i.tree.ReadFile(at)
		if errors.Is(err, tree.ErrNotExist) {
			continue
		}
		if err != nil {
			return jsonnet.Contents{}, "", fmt.Errorf("import %q: %w", name, err)
		}
		i.read[at] = jsonnet.MakeContentsRaw(content)
		return i.read[at], at, nil
	}
	return jsonnet.Contents{}, "", fmt.Errorf("import %q: found neither beside %s nor in %s", name, path.Dir(from), strings.Join(i.search, ", "))
}
