package render

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Types of sources, as they appear in status.sourceType.
const (
	TypeDirectory = "Directory"
	TypeKustomize = "Kustomize"
	TypeHelm      = "Helm"
	TypePlugin    = "Plugin"
)

// App is what a render may depend on besides its source.
type App struct {
	// Name is the Application's name, Instance its name across namespaces.
	Name, Instance string
	// Namespace is the destination namespace.
	Namespace string
	Project   string
}

// Request is one source to render.
type Request struct {
	App      App
	Source   v1alpha1.ApplicationSource
	Revision string
	Tree     tree.Tree
	// Refs are the trees of sources with a ref, for $ref/ value files.
	Refs        map[string]tree.Tree
	KubeVersion string
	APIVersions []string
	// KustomizeDisabled and HelmDisabled treat such sources as plain folders.
	KustomizeDisabled, HelmDisabled bool
}

// Result is what a source renders to.
type Result struct {
	Objects []*unstructured.Unstructured
	Type    string
}

// Render renders one source. It gives up when ctx ends; the abandoned work
// then ends by itself without effect.
func Render(ctx context.Context, r Request) (Result, error) {
	type answer struct {
		result Result
		err    error
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		defer func() {
			if p := recover(); p != nil {
				a = answer{err: fmt.Errorf("%s: rendering failed unexpectedly: %v", where(r), p)}
			}
			done <- a
		}()
		a.result, a.err = render(r)
	}()
	select {
	case a := <-done:
		return a.result, a.err
	case <-ctx.Done():
		return Result{}, fmt.Errorf("%s: rendering did not end in time: %w", where(r), ctx.Err())
	}
}

func where(r Request) string {
	if r.Source.Path == "" {
		return "."
	}
	return r.Source.Path
}

func render(r Request) (Result, error) {
	if err := checkPath(r); err != nil {
		return Result{}, err
	}
	kind, err := detect(r)
	if err != nil {
		return Result{}, err
	}
	var objects []*unstructured.Unstructured
	switch kind {
	case TypeKustomize:
		objects, err = kustomize(r)
	case TypeHelm:
		objects, err = helm(r)
	case TypePlugin:
		err = fmt.Errorf("spec.source.plugin: config-management plugins are not available: use a directory, kustomize or Helm source")
	default:
		objects, err = directory(r)
	}
	if err != nil {
		return Result{}, err
	}
	return Result{Objects: objects, Type: kind}, nil
}

func checkPath(r Request) error {
	p := r.Source.Path
	if strings.HasPrefix(p, "/") {
		return fmt.Errorf("%s: app path is absolute", p)
	}
	if clean := path.Clean(p); clean == ".." || strings.HasPrefix(clean, "../") {
		return fmt.Errorf("%s: app path outside root", p)
	}
	e, err := r.Tree.Stat(p)
	if err != nil {
		return fmt.Errorf("%s: app path does not exist", p)
	}
	if e.Kind != tree.Dir {
		return fmt.Errorf("%s: app path is not a directory", p)
	}
	return nil
}

var kustomizationNames = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// detect chooses the tool: an explicit block, else what the folder holds.
func detect(r Request) (string, error) {
	s := r.Source
	var blocks []string
	explicit := ""
	for _, b := range []struct {
		set  bool
		name string
	}{{s.Kustomize != nil, TypeKustomize}, {s.Helm != nil, TypeHelm}, {s.Directory != nil, TypeDirectory}, {s.Plugin != nil, TypePlugin}} {
		if b.set {
			blocks = append(blocks, b.name)
			explicit = b.name
		}
	}
	if len(blocks) > 1 {
		return "", fmt.Errorf("multiple application sources defined: %s", strings.Join(blocks, ","))
	}
	if explicit == "" {
		entries, err := r.Tree.ReadDir(s.Path)
		if err != nil {
			return "", err
		}
		explicit = TypeDirectory
		for _, e := range entries {
			switch {
			case slices.Contains(kustomizationNames, e.Name):
				explicit = TypeKustomize
			case e.Name == "Chart.yaml" && explicit == TypeDirectory:
				explicit = TypeHelm
			}
		}
	}
	if (explicit == TypeKustomize && r.KustomizeDisabled) || (explicit == TypeHelm && r.HelmDisabled) {
		return TypeDirectory, nil
	}
	return explicit, nil
}

// Environment is the build environment of a source (spec/application.md §3).
func (r Request) Environment() map[string]string {
	short := func(n int) string { return r.Revision[:min(n, len(r.Revision))] }
	return map[string]string{
		"ARGOCD_APP_NAME": r.App.Instance, "ARGOCD_APP_NAMESPACE": r.App.Namespace,
		"ARGOCD_APP_PROJECT_NAME": r.App.Project, "ARGOCD_APP_REVISION": r.Revision,
		"ARGOCD_APP_REVISION_SHORT": short(7), "ARGOCD_APP_REVISION_SHORT_8": short(8),
		"ARGOCD_APP_SOURCE_REPO_URL": r.Source.RepoURL, "ARGOCD_APP_SOURCE_PATH": r.Source.Path,
		"ARGOCD_APP_SOURCE_TARGET_REVISION": r.Source.TargetRevision,
	}
}

// substitute replaces $NAME and ${NAME}; $$ is a dollar, unknown names vanish.
func (r Request) substitute(text string) string {
	if !strings.Contains(text, "$") {
		return text
	}
	env := r.Environment()
	var b strings.Builder
	for i := 0; i < len(text); {
		if text[i] != '$' || i+1 == len(text) {
			b.WriteByte(text[i])
			i++
			continue
		}
		if text[i+1] == '$' {
			b.WriteByte('$')
			i += 2
			continue
		}
		name, width := variable(text[i+1:])
		if width == 0 {
			b.WriteByte('$')
			i++
			continue
		}
		b.WriteString(env[name])
		i += 1 + width
	}
	return b.String()
}

// variable reads NAME or {NAME} at the start of text.
func variable(text string) (name string, width int) {
	if strings.HasPrefix(text, "{") {
		end := strings.IndexByte(text, '}')
		if end < 0 {
			return "", 0
		}
		return text[1:end], end + 1
	}
	n := 0
	for n < len(text) && (text[n] == '_' || text[n] >= 'A' && text[n] <= 'Z' || text[n] >= 'a' && text[n] <= 'z' || n > 0 && text[n] >= '0' && text[n] <= '9') {
		n++
	}
	return text[:n], n
}

// VariesByRevision says that the source uses the commit id itself, so that a
// result is good for one commit only.
func VariesByRevision(s v1alpha1.ApplicationSource) bool {
	var texts []string
	if h := s.Helm; h != nil {
		texts = append(texts, h.ValueFiles...)
		for _, p := range h.Parameters {
			texts = append(texts, p.Value)
		}
	}
	if k := s.Kustomize; k != nil {
		texts = append(texts, k.Images...)
		for _, m := range []map[string]string{k.CommonLabels, k.CommonAnnotations} {
			for _, v := range m {
				texts = append(texts, v)
			}
		}
	}
	return slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(t, "ARGOCD_APP_REVISION") })
}
