// Package config embeds what Sluice needs on its hub: the custom resource
// definitions, the default project and the settings to begin with.
package config

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

//go:embed crd/*.yaml install/*.yaml
var files embed.FS

// CRDs are the custom resource definitions.
func CRDs() ([]*unstructured.Unstructured, error) { return read("crd/*.yaml") }

// Install is everything else that a hub needs, without namespaces.
func Install() ([]*unstructured.Unstructured, error) { return read("install/*.yaml") }

func read(pattern string) ([]*unstructured.Unstructured, error) {
	names, err := fs.Glob(files, pattern)
	if err != nil {
		return nil, fmt.Errorf("embedded manifests: %w", err)
	}
	var out []*unstructured.Unstructured
	for _, name := range names {
		raw, err := files.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("embedded manifests: %w", err)
		}
		decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(raw), 4096)
		for {
			u := &unstructured.Unstructured{}
			err := decoder.Decode(u)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("embedded manifest %s: %w", name, err)
			}
			if len(u.Object) > 0 {
				out = append(out, u)
			}
		}
	}
	return out, nil
}
