package render

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	ktypes "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// editKustomization applies the Application's options to the kustomization
// file, in memory.
func (j *job) editKustomization(fs *treeFS) error {
	name, content, err := j.findKustomization()
	if err != nil {
		return err
	}
	var k ktypes.Kustomization
	if err := k.Unmarshal(content); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	edits := []func(*ktypes.Kustomization) error{
		j.setNames, j.setImages, j.setReplicas, j.setLabels, j.setAnnotations, j.addPatches, j.addComponents,
	}
	for _, edit := range edits {
		if err := edit(&k); err != nil {
			return err
		}
	}
	edited, err := yaml.Marshal(k)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fs.overlay[name] = edited
	return nil
}

// findKustomization gives the real path and the content of the file.
func (j *job) findKustomization() (string, []byte, error) {
	for _, n := range kustomizationNames {
		name, err := RealPath(j.Tree, path.Join(j.Source.Path, n))
		if errors.Is(err, tree.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", nil, err
		}
		content, err := j.Tree.ReadFile(name)
		return name, content, err
	}
	return "", nil, fmt.Errorf("%s: has no kustomization.yaml: add one, or remove spec.source.kustomize", j.where())
}

func (j *job) setNames(k *ktypes.Kustomization) error {
	o := j.Source.Kustomize
	if o.NamePrefix != "" {
		k.NamePrefix = o.NamePrefix
	}
	if o.NameSuffix != "" {
		k.NameSuffix = o.NameSuffix
	}
	if o.Namespace != "" {
		k.Namespace = o.Namespace
	}
	return nil
}

func (j *job) setImages(k *ktypes.Kustomization) error {
	for _, text := range j.Source.Kustomize.Images {
		image, err := parseImage(j.substitute(text))
		if err != nil {
			return err
		}
		k.Images = slices.DeleteFunc(k.Images, func(i ktypes.Image) bool { return i.Name == image.Name })
		k.Images = append(k.Images, image)
	}
	return nil
}

// parseImage understands [old=]name[:tag][@digest].
func parseImage(text string) (ktypes.Image, error) {
	old, rest, renamed := strings.Cut(text, "=")
	if !renamed {
		rest = text
	}
	var image ktypes.Image
	rest, image.Digest, _ = strings.Cut(rest, "@")
	if colon := strings.LastIndex(rest, ":"); colon > strings.LastIndex(rest, "/") {
		rest, image.NewTag = rest[:colon], rest[colon+1:]
	}
	image.Name = rest
	if renamed {
		image.Name, image.NewName = old, rest
	}
	if image.Name == "" || image.NewName+image.NewTag+image.Digest == "" {
		return image, fmt.Errorf("spec.source.kustomize.images: %q says no new image: write [old=]name[:tag][@digest]", text)
	}
	return image, nil
}

func (j *job) setReplicas(k *ktypes.Kustomization) error {
	for _, one := range j.Source.Kustomize.Replicas {
		count, err := strconv.ParseInt(one.Count.String(), 10, 64)
		if err != nil {
			return fmt.Errorf("spec.source.kustomize.replicas: %s: expected integer value for count. Received: %s", one.Name, one.Count.String())
		}
		k.Replicas = slices.DeleteFunc(k.Replicas, func(x ktypes.Replica) bool { return x.Name == one.Name })
		k.Replicas = append(k.Replicas, ktypes.Replica{Name: one.Name, Count: count})
	}
	return nil
}

func (j *job) setLabels(k *ktypes.Kustomization) error {
	o := j.Source.Kustomize
	if len(o.CommonLabels) == 0 {
		return nil
	}
	present := []map[string]string{k.CommonLabels} //nolint:staticcheck // deprecated, but in use
	for _, l := range k.Labels {
		present = append(present, l.Pairs)
	}
	pairs := map[string]string{}
	for key, value := range o.CommonLabels {
		for _, p := range present {
			if _, exists := p[key]; exists && !o.ForceCommonLabels {
				return fmt.Errorf("spec.source.kustomize.commonLabels: label %q exists in the kustomization: set forceCommonLabels to overwrite it", key)
			}
			delete(p, key)
		}
		pairs[key] = j.substitute(value)
	}
	k.Labels = append(k.Labels, ktypes.Label{
		Pairs: pairs, IncludeSelectors: !o.LabelWithoutSelector, IncludeTemplates: o.LabelWithoutSelector && o.LabelIncludeTemplates,
	})
	return nil
}

func (j *job) setAnnotations(k *ktypes.Kustomization) error {
	o := j.Source.Kustomize
	for key, value := range o.CommonAnnotations {
		if _, exists := k.CommonAnnotations[key]; exists && !o.ForceCommonAnnotations {
			return fmt.Errorf("spec.source.kustomize.commonAnnotations: annotation %q exists in the kustomization: set forceCommonAnnotations to overwrite it", key)
		}
		if o.CommonAnnotationsEnvsubst {
			value = j.substitute(value)
		}
		if k.CommonAnnotations == nil {
			k.CommonAnnotations = map[string]string{}
		}
		k.CommonAnnotations[key] = value
	}
	return nil
}

func (j *job) addPatches(k *ktypes.Kustomization) error {
	for i, p := range j.Source.Kustomize.Patches {
		if (p.Path == "") == (p.Patch == "") {
			return fmt.Errorf("spec.source.kustomize.patches: entry %d needs either path or patch", i+1)
		}
		added := ktypes.Patch{Path: p.Path, Patch: p.Patch}
		if len(p.Options) > 0 {
			added.Options = &ktypes.PatchArgs{AllowNameChange: p.Options["allowNameChange"], AllowKindChange: p.Options["allowKindChange"]}
		}
		if t := p.Target; t != nil {
			s := &ktypes.Selector{AnnotationSelector: t.AnnotationSelector, LabelSelector: t.LabelSelector}
			s.Group, s.Version, s.Kind, s.Name, s.Namespace = t.Group, t.Version, t.Kind, t.Name, t.Namespace
			added.Target = s
		}
		k.Patches = append(k.Patches, added)
	}
	return nil
}

func (j *job) addComponents(k *ktypes.Kustomization) error {
	o := j.Source.Kustomize
	for _, c := range o.Components {
		if remoteFolder.MatchString(c) {
			if !j.Settings.RemoteBases {
				return refuseRemote("spec.source.kustomize", "components", c)
			}
			k.Components = append(k.Components, c)
			continue
		}
		_, err := j.Tree.Stat(path.Join(j.Source.Path, c))
		if errors.Is(err, tree.ErrNotExist) {
			if o.IgnoreMissingComponents {
				continue
			}
			return fmt.Errorf("spec.source.kustomize.components: %q does not exist beside %s: add it, or set ignoreMissingComponents", c, j.where())
		}
		k.Components = append(k.Components, c)
	}
	return nil
}
