package render

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/kustomize"
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
	Settings    Settings
	// Remote fetches what a source names outside its tree; nil refuses it.
	Remote Remote
	// PlainOnly renders plain YAML and JSON only: anything that runs a tool
	// is answered with ErrNeedsWorker.
	PlainOnly bool
	// Disposable says that the process may end after this render, so that a
	// kustomization may replace the schema that all builds share.
	Disposable bool
}

// Settings of the tools; they come from argocd-cm (spec/config.md §2.4) and
// are never part of an Application.
type Settings struct {
	// KustomizeDisabled and HelmDisabled treat such sources as plain folders,
	// JsonnetDisabled skips .jsonnet files.
	KustomizeDisabled, HelmDisabled, JsonnetDisabled bool
	Kustomize                                        kustomize.BuildOptions
	// RemoteBases lets kustomizations name other repositories and URLs.
	RemoteBases bool
	// ValuesSchemes are the URL schemes that value files may have; nil is
	// https and http.
	ValuesSchemes []string
	// MaxDirectoryBytes bounds the manifests of a folder; 0 is 10 MiB.
	MaxDirectoryBytes int64
}

// Fingerprint is a text that differs when the settings do.
func (s Settings) Fingerprint() string {
	b := make([]byte, 0, 128)
	for _, on := range []bool{
		s.KustomizeDisabled, s.HelmDisabled, s.JsonnetDisabled, s.RemoteBases, s.ValuesSchemes != nil,
		s.Kustomize.Helm, s.Kustomize.Unrestricted, s.Kustomize.Legacy, s.Kustomize.Unsorted, s.Kustomize.ManagedBy,
	} {
		b = strconv.AppendBool(b, on)
	}
	b = strconv.AppendInt(b, s.MaxDirectoryBytes, 10)
	for _, scheme := range s.ValuesSchemes {
		b = strconv.AppendQuote(b, scheme)
	}
	return string(b)
}

// ErrNeedsWorker says that a source must be rendered in a worker process.
var ErrNeedsWorker = errors.New("this source is rendered in a process of its own")

// Result is what a source renders to.
type Result struct {
	Objects []*unstructured.Unstructured
	Type    string
	// Used says on what the objects depend besides source and tree.
	Used Inputs
	// Spent says that the process must not render again.
	Spent bool
}

// job is one Request being worked on.
type job struct {
	Request
	ctx   context.Context //nolint:containedctx // the libraries that read carry none
	kind  string          // once it is known
	used  Inputs
	spent bool
}

// Render renders one source; the type is set for a failure, too, once it is
// known. It gives up when ctx ends; the abandoned work
// then ends at its next read, without effect.
func Render(ctx context.Context, r Request) (Result, error) {
	type answer struct {
		result Result
		err    error
	}
	done := make(chan answer, 1)
	r.Tree = &until{ctx, r.Tree}
	refs := make(map[string]tree.Tree, len(r.Refs))
	for name, t := range r.Refs {
		refs[name] = &until{ctx, t}
	}
	r.Refs = refs
	go func() {
		var a answer
		j := &job{Request: r, ctx: ctx}
		defer func() {
			if p := recover(); p != nil {
				a.err = fmt.Errorf("%s: rendering failed unexpectedly: %v", j.where(), p)
			}
			a.result.Type, a.result.Used, a.result.Spent = j.kind, j.used, j.spent
			done <- a
		}()
		a.result.Objects, a.err = j.render()
	}()
	select {
	case a := <-done:
		return a.result, a.err
	case <-ctx.Done():
		return Result{}, fmt.Errorf("%s: rendering did not end in time: %w", r.where(), ctx.Err())
	}
}

// Detect gives the source after the overrides of its folder, and its type. It
// reads, and so records, what decides both.
func Detect(r Request) (v1alpha1.ApplicationSource, string, error) {
	j := &job{Request: r}
	if err := j.checkPath(); err != nil {
		return j.Source, "", err
	}
	if err := j.override(); err != nil {
		return j.Source, "", err
	}
	kind, err := j.detect()
	return j.Source, kind, err
}

// Version names the tools; results of another version are not reused.
const Version = "helm 4.2.4, kustomize 0.21.1, jsonnet 0.22.0, rules 1"

// DecodeObjects reads a JSON list of objects.
func DecodeObjects(raw []byte) ([]*unstructured.Unstructured, error) {
	var all []map[string]any
	if err := utiljson.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("rendered objects: %w", err)
	}
	out := make([]*unstructured.Unstructured, len(all))
	for i, o := range all {
		out[i] = &unstructured.Unstructured{Object: o}
	}
	return out, nil
}

// where names the source in messages.
func (r Request) where() string {
	if r.Source.Path == "" {
		return "."
	}
	return r.Source.Path
}

func (j *job) render() ([]*unstructured.Unstructured, error) {
	if err := j.checkPath(); err != nil {
		return nil, err
	}
	if err := j.override(); err != nil {
		return nil, err
	}
	kind, err := j.detect()
	if err != nil {
		return nil, err
	}
	j.kind = kind
	if j.PlainOnly && kind != TypeDirectory {
		return nil, ErrNeedsWorker
	}
	switch kind {
	case TypeKustomize:
		return j.kustomize()
	case TypeHelm:
		return j.helm()
	case TypePlugin:
		return nil, errors.New("spec.source.plugin: no plugin is connected: start the sidecar, or use a directory, kustomize or Helm source")
	}
	return j.directory()
}

func (j *job) checkPath() error {
	p := j.Source.Path
	if strings.HasPrefix(p, "/") {
		return fmt.Errorf("%s: app path is absolute", p)
	}
	if clean := path.Clean(p); clean == ".." || strings.HasPrefix(clean, "../") {
		return fmt.Errorf("%s: app path outside root", p)
	}
	e, err := j.Tree.Stat(p)
	switch {
	case errors.Is(err, tree.ErrNotExist):
		return fmt.Errorf("%s: app path does not exist", p)
	case err != nil:
		return err
	case e.Kind != tree.Dir:
		return fmt.Errorf("%s: app path is not a directory", p)
	}
	return nil
}

// kustomizationNames are the files that make a folder a kustomization.
var kustomizationNames = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// detect chooses the tool: an explicit block, else what the folder holds.
func (j *job) detect() (string, error) {
	s := j.Source
	var blocks []string
	for _, b := range []struct {
		set  bool
		name string
	}{{s.Kustomize != nil, TypeKustomize}, {s.Helm != nil, TypeHelm}, {s.Directory != nil, TypeDirectory}, {s.Plugin != nil, TypePlugin}} {
		if b.set {
			blocks = append(blocks, b.name)
		}
	}
	kind := TypeDirectory
	switch len(blocks) {
	case 0:
		if s.Chart != "" {
			return TypeHelm, nil
		}
		entries, err := List(j.Tree, s.Path, askMarkers)
		if err != nil {
			return "", err
		}
		for _, e := range entries {
			switch {
			case slices.Contains(kustomizationNames, e.Name):
				kind = TypeKustomize
			case strings.HasSuffix(e.Name, "Chart.yaml") && kind == TypeDirectory:
				kind = TypeHelm
			}
		}
	case 1:
		kind = blocks[0]
	default:
		return "", fmt.Errorf("multiple application sources defined: %s", strings.Join(blocks, ","))
	}
	if (kind == TypeKustomize && j.Settings.KustomizeDisabled) || (kind == TypeHelm && j.Settings.HelmDisabled) {
		return TypeDirectory, nil
	}
	return kind, nil
}

// until is a tree that can be read until a context ends.
type until struct {
	ctx context.Context //nolint:containedctx // the libraries that read carry none
	t   tree.Tree
}

var (
	_ realPather = (*until)(nil)
	_ lister     = (*until)(nil)
)

func (u *until) Revision() string { return u.t.Revision() }

func (u *until) ReadFile(name string) ([]byte, error) {
	if err := u.ctx.Err(); err != nil {
		return nil, err
	}
	return u.t.ReadFile(name)
}

func (u *until) ReadDir(name string) ([]tree.Entry, error) { return u.List(name, askNames) }

func (u *until) List(name, question string) ([]tree.Entry, error) {
	if err := u.ctx.Err(); err != nil {
		return nil, err
	}
	return List(u.t, name, question)
}

func (u *until) Stat(name string) (tree.Entry, error) {
	if err := u.ctx.Err(); err != nil {
		return tree.Entry{}, err
	}
	return u.t.Stat(name)
}

func (u *until) RealPath(name string) (string, error) {
	if err := u.ctx.Err(); err != nil {
		return "", err
	}
	return RealPath(u.t, name)
}
