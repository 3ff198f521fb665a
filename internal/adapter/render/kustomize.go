package render

import (
	"fmt"
	"path"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/openapi"
)

// schema loads kustomize's OpenAPI schema, which is lazy and racy otherwise.
var schema = sync.OnceFunc(func() { openapi.Schema() })

// Warm does what the first render would otherwise wait for.
func Warm() { schema() }

// kustomize builds the kustomization of the source's path with the edits of
// the Application on top.
func (j *job) kustomize() ([]*unstructured.Unstructured, error) {
	schema()
	fs := newTreeFS(j)
	if j.Source.Kustomize != nil {
		if err := j.editKustomization(fs); err != nil {
			return nil, err
		}
	}
	built, err := krusty.MakeKustomizer(krustyOptions(j.Settings.Kustomize)).Run(fs, path.Join("/", j.Source.Path))
	if fs.failure != nil {
		return nil, fs.failure // kustomize hides why it could not read
	}
	if err != nil {
		return nil, fmt.Errorf("%s: kustomize: %s", j.where(), strings.ReplaceAll(err.Error(), "'/", "'"))
	}
	raw, err := built.AsYaml()
	if err != nil {
		return nil, fmt.Errorf("%s: kustomize: %w", j.where(), err)
	}
	return Decode(raw, j.where()+": kustomize output")
}
