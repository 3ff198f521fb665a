package render

import (
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	ktypes "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// schemaOnce loads kustomize's schema, which is lazy and racy otherwise.
var schemaOnce sync.Once

// kustomize builds the kustomization of the source's path with the edits of
// the Application on top.
func kustomize(r Request) ([]*unstructured.Unstructured, error) {
	schemaOnce.Do(func() { openapi.Schema() })
	fs := &treeFS{FileSystem: filesys.MakeFsInMemory(), tree: r.Tree, overlay: map[string][]byte{}}
	root := "/" + path.Clean(r.Source.Path)
	if r.Source.Kustomize != nil {
		if err := editKustomization(fs, r); err != nil {
			return nil, err
		}
	}
	o := krusty.MakeDefaultOptions()
	o.Reorder = krusty.ReorderOptionUnspecified
	built, err := krusty.MakeKustomizer(o).Run(fs, path.Clean(root))
	if fs.failure != nil {
		return nil, fs.failure
	}
	if err != nil {
		return nil, fmt.Errorf("%s: kustomize: %w", where(r), err)
	}
	raw, err := built.AsYaml()
	if err != nil {
		return nil, fmt.Errorf("%s: kustomize: %w", where(r), err)
	}
	return Decode(raw, where(r)+" (kustomize output)")
}

// treeFS lets kustomize read from a tree. It calls only CleanedAbs, ReadFile,
// IsDir and Exists; everything else stays with the empty in-memory system.
type treeFS struct {
	filesys.FileSystem
	tree    tree.Tree
	overlay map[string][]byte
	failure error
}

func (f *treeFS) fail(err error) error {
	if f.failure == nil && !errors.Is(err, tree.ErrNotExist) {
		f.failure = err
	}
	return err
}

func (f *treeFS) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	clean := path.Clean("/" + name)
	e, err := f.tree.Stat(clean[1:])
	if err != nil {
		return "", "", f.fail(err)
	}
	if e.Kind == tree.Dir {
		return filesys.ConfirmedDir(clean), "", nil
	}
	return filesys.ConfirmedDir(path.Dir(clean)), path.Base(clean), nil
}

func (f *treeFS) Exists(name string) bool {
	_, err := f.tree.Stat(path.Clean("/" + name)[1:])
	return err == nil
}

func (f *treeFS) IsDir(name string) bool {
	e, err := f.tree.Stat(path.Clean("/" + name)[1:])
	return err == nil && e.Kind == tree.Dir
}

func (f *treeFS) ReadFile(name string) ([]byte, error) {
	clean := path.Clean("/" + name)[1:]
	if content, ok := f.overlay[clean]; ok {
		return content, nil
	}
	content, err := f.tree.ReadFile(clean)
	if err != nil {
		if errors.Is(err, tree.ErrNotExist) {
			return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
		}
		return nil, f.fail(err)
	}
	if slices.Contains(kustomizationNames, path.Base(clean)) {
		if err := vet(content, clean); err != nil {
			return nil, f.fail(err)
		}
	}
	return content, nil
}

// remote recognises path fields that kustomize would fetch from a network.
var remote = regexp.MustCompile(`^([a-z+]+://|git@|[\w.-]+@|github\.com[:/]|git::)|\?ref=|\.git($|[/?])`)

// vet refuses a kustomization that would read from outside the tree.
func vet(content []byte, name string) error {
	var k map[string]any
	if err := yaml.Unmarshal(content, &k); err != nil {
		return fmt.Errorf("%s: is not valid YAML: %w", name, err)
	}
	for _, field := range []string{"resources", "bases", "components", "crds", "configurations", "generators", "transformers", "validators"} {
		list, _ := k[field].([]any)
		for _, entry := range list {
			if s, ok := entry.(string); ok && !strings.Contains(s, "\n") && remote.MatchString(s) {
				return fmt.Errorf("%s: field %s: remote base %q is not allowed: copy it into the repository", name, field, s)
			}
		}
	}
	if _, ok := k["helmCharts"]; ok {
		return fmt.Errorf("%s: field helmCharts is not available: use a Helm source of its own", name)
	}
	if _, ok := k["openapi"]; ok {
		return fmt.Errorf("%s: field openapi is not available: it would change how other kustomizations are built", name)
	}
	return nil
}

// editKustomization applies the Application's options to the kustomization
// file, in memory.
func editKustomization(fs *treeFS, r Request) error {
	name, content, err := findKustomization(r)
	if err != nil {
		return err
	}
	if err := vet(content, name); err != nil {
		return err
	}
	var k ktypes.Kustomization
	if err := k.Unmarshal(content); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := applyEdits(&k, r); err != nil {
		return err
	}
	edited, err := yaml.Marshal(k)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fs.overlay[name] = edited
	return nil
}

func findKustomization(r Request) (string, []byte, error) {
	for _, n := range kustomizationNames {
		name := path.Join(r.Source.Path, n)
		content, err := r.Tree.ReadFile(name)
		if err == nil {
			return name, content, nil
		}
		if !errors.Is(err, tree.ErrNotExist) {
			return "", nil, err
		}
	}
	return "", nil, fmt.Errorf("%s: has no kustomization.yaml: add one, or remove spec.source.kustomize", where(r))
}

func applyEdits(k *ktypes.Kustomization, r Request) error {
	o := r.Source.Kustomize
	if o.NamePrefix != "" {
		k.NamePrefix = o.NamePrefix
	}
	if o.NameSuffix != "" {
		k.NameSuffix = o.NameSuffix
	}
	for _, image := range o.Images {
		setImage(k, r.substitute(image))
	}
	if err := setReplicas(k, r); err != nil {
		return err
	}
	if err := setLabels(k, r); err != nil {
		return err
	}
	if err := setAnnotations(k, r); err != nil {
		return err
	}
	if o.Namespace != "" {
		k.Namespace = o.Namespace
	}
	for _, p := range o.Patches {
		k.Patches = append(k.Patches, patch(p.Path, p.Patch, p.Options))
		if t := p.Target; t != nil {
			s := &ktypes.Selector{AnnotationSelector: t.AnnotationSelector, LabelSelector: t.LabelSelector}
			s.Group, s.Version, s.Kind, s.Name, s.Namespace = t.Group, t.Version, t.Kind, t.Name, t.Namespace
			k.Patches[len(k.Patches)-1].Target = s
		}
	}
	for _, c := range o.Components {
		if o.IgnoreMissingComponents {
			if _, err := r.Tree.Stat(path.Join(r.Source.Path, c)); errors.Is(err, tree.ErrNotExist) {
				continue
			}
		}
		k.Components = append(k.Components, c)
	}
	return nil
}

func patch(file, text string, options map[string]bool) ktypes.Patch {
	p := ktypes.Patch{Path: file, Patch: text}
	if len(options) > 0 {
		p.Options = &ktypes.PatchArgs{AllowNameChange: options["allowNameChange"], AllowKindChange: options["allowKindChange"]}
	}
	return p
}

// setImage understands [old=]name[:tag][@digest].
func setImage(k *ktypes.Kustomization, text string) {
	old, rest, renamed := strings.Cut(text, "=")
	if !renamed {
		rest, old = text, ""
	}
	image := ktypes.Image{}
	if name, digest, ok := strings.Cut(rest, "@"); ok {
		rest, image.Digest = name, digest
	}
	if colon := strings.LastIndex(rest, ":"); colon > strings.LastIndex(rest, "/") {
		rest, image.NewTag = rest[:colon], rest[colon+1:]
	}
	image.Name = rest
	if renamed {
		image.Name, image.NewName = old, rest
	}
	k.Images = slices.DeleteFunc(k.Images, func(i ktypes.Image) bool { return i.Name == image.Name })
	k.Images = append(k.Images, image)
}

func setReplicas(k *ktypes.Kustomization, r Request) error {
	for _, one := range r.Source.Kustomize.Replicas {
		count, err := strconv.ParseInt(one.Count.String(), 10, 64)
		if err != nil {
			return fmt.Errorf("spec.source.kustomize.replicas: expected integer value for count. Received: %s", one.Count.String())
		}
		k.Replicas = slices.DeleteFunc(k.Replicas, func(x ktypes.Replica) bool { return x.Name == one.Name })
		k.Replicas = append(k.Replicas, ktypes.Replica{Name: one.Name, Count: count})
	}
	return nil
}

func setLabels(k *ktypes.Kustomization, r Request) error {
	o := r.Source.Kustomize
	if len(o.CommonLabels) == 0 {
		return nil
	}
	pairs := map[string]string{}
	for key, value := range o.CommonLabels {
		pairs[key] = r.substitute(value)
	}
	for _, l := range k.Labels {
		for key := range pairs {
			if _, exists := l.Pairs[key]; exists && !o.ForceCommonLabels {
				return fmt.Errorf("spec.source.kustomize.commonLabels: label %q exists in the kustomization: set forceCommonLabels to overwrite it", key)
			}
			delete(l.Pairs, key)
		}
	}
	k.Labels = append(k.Labels, ktypes.Label{
		Pairs: pairs, IncludeSelectors: !o.LabelWithoutSelector, IncludeTemplates: o.LabelWithoutSelector && o.LabelIncludeTemplates,
	})
	return nil
}

func setAnnotations(k *ktypes.Kustomization, r Request) error {
	o := r.Source.Kustomize
	for key, value := range o.CommonAnnotations {
		if _, exists := k.CommonAnnotations[key]; exists && !o.ForceCommonAnnotations {
			return fmt.Errorf("spec.source.kustomize.commonAnnotations: annotation %q exists in the kustomization: set forceCommonAnnotations to overwrite it", key)
		}
		if o.CommonAnnotationsEnvsubst {
			value = r.substitute(value)
		}
		if k.CommonAnnotations == nil {
			k.CommonAnnotations = map[string]string{}
		}
		k.CommonAnnotations[key] = value
	}
	return nil
}
