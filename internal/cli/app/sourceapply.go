package app

import (
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// applySource changes a source as the flags say.
func (f *specFlags) applySource(src *v1alpha1.ApplicationSource) error {
	s := &f.source
	f.texts([]text{
		{"repo", &src.RepoURL, s.repo}, {"path", &src.Path, s.path}, {"revision", &src.TargetRevision, s.revision},
		{"helm-chart", &src.Chart, s.chart}, {"ref", &src.Ref, s.ref}, {"source-name", &src.Name, s.name}, {"tag-prefix", &src.TagPrefix, s.tagPrefix},
	})
	for _, apply := range []func(*v1alpha1.ApplicationSource) error{f.helm, f.kustomize, f.directory, f.plugins} {
		if err := apply(src); err != nil {
			return err
		}
	}
	return nil
}

type text struct {
	flag  string
	into  *string
	value string
}

func (f *specFlags) texts(all []text) {
	for _, t := range all {
		if f.changed(t.flag) {
			*t.into = t.value
		}
	}
}

type truth struct {
	flag  string
	into  *bool
	value bool
}

func (f *specFlags) truths(all []truth) {
	for _, t := range all {
		if f.changed(t.flag) {
			*t.into = t.value
		}
	}
}

// anyOf says that one of the flags was given.
func (f *specFlags) anyOf(names ...string) bool { return slices.ContainsFunc(names, f.changed) }

func (f *specFlags) helm(src *v1alpha1.ApplicationSource) error {
	if !f.anyOf("values", "values-literal-file", "release-name", "helm-version", "helm-namespace", "helm-kube-version", "helm-set", "helm-set-string",
		"helm-set-file", "helm-api-versions", "helm-pass-credentials", "helm-skip-crds", "helm-skip-tests", "helm-skip-schema-validation",
		"ignore-missing-value-files", "parameter") {
		return nil
	}
	if src.Helm == nil {
		src.Helm = &v1alpha1.SourceHelm{}
	}
	h, s := src.Helm, &f.source
	f.texts([]text{
		{"release-name", &h.ReleaseName, s.releaseName}, {"helm-version", &h.Version, s.helmVersion},
		{"helm-namespace", &h.Namespace, s.helmNamespace}, {"helm-kube-version", &h.KubeVersion, s.helmKube},
	})
	f.truths([]truth{
		{"helm-pass-credentials", &h.PassCredentials, s.passCredentials}, {"helm-skip-crds", &h.SkipCrds, s.skipCRDs},
		{"helm-skip-tests", &h.SkipTests, s.skipTests}, {"helm-skip-schema-validation", &h.SkipSchemaValidation, s.skipSchema},
		{"ignore-missing-value-files", &h.IgnoreMissingValueFiles, s.ignoreMissingValues},
	})
	if f.changed("values") {
		h.ValueFiles = s.values
	}
	if f.changed("helm-api-versions") {
		h.APIVersions = s.helmAPIs
	}
	if f.changed("values-literal-file") {
		raw, err := f.fetch(s.valuesLiteral)
		if err != nil {
			return err
		}
		h.Values, h.ValuesObject = string(raw), nil
	}
	for _, one := range []struct {
		flag   string
		words  []string
		forced bool
	}{{"parameter", s.parameters, false}, {"helm-set", s.helmSet, false}, {"helm-set-string", s.helmSetString, true}} {
		for _, w := range one.words {
			name, value, err := pair(w, one.flag)
			if err != nil {
				return err
			}
			put(&h.Parameters, v1alpha1.HelmParameter{Name: name, Value: value, ForceString: one.forced}, func(p v1alpha1.HelmParameter) bool { return p.Name == name })
		}
	}
	for _, w := range s.helmSetFile {
		name, path, err := pair(w, "helm-set-file")
		if err != nil {
			return err
		}
		put(&h.FileParameters, v1alpha1.HelmFileParameter{Name: name, Path: path}, func(p v1alpha1.HelmFileParameter) bool { return p.Name == name })
	}
	return nil
}

func put[T any](all *[]T, one T, same func(T) bool) {
	if i := slices.IndexFunc(*all, same); i >= 0 {
		(*all)[i] = one
		return
	}
	*all = append(*all, one)
}

// imageKey is what a Kustomize image replaces.
func imageKey(image string) string {
	if name, _, ok := strings.Cut(image, "="); ok {
		return name
	}
	if name, _, ok := strings.Cut(image, "@"); ok {
		return name
	}
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		return image[:i]
	}
	return image
}

func (f *specFlags) kustomize(src *v1alpha1.ApplicationSource) error {
	if !f.anyOf("nameprefix", "namesuffix", "kustomize-image", "kustomize-version", "kustomize-namespace", "kustomize-kube-version", "kustomize-replica",
		"kustomize-common-label", "kustomize-common-annotation", "kustomize-api-versions", "kustomize-force-common-label",
		"kustomize-force-common-annotation", "kustomize-label-without-selector", "kustomize-label-include-templates", "ignore-missing-components") {
		return nil
	}
	if src.Kustomize == nil {
		src.Kustomize = &v1alpha1.SourceKustomize{}
	}
	k, s := src.Kustomize, &f.source
	f.texts([]text{
		{"nameprefix", &k.NamePrefix, s.namePrefix}, {"namesuffix", &k.NameSuffix, s.nameSuffix}, {"kustomize-version", &k.Version, s.kustomizeVersion},
		{"kustomize-namespace", &k.Namespace, s.kustomizeNamespace}, {"kustomize-kube-version", &k.KubeVersion, s.kustomizeKube},
	})
	f.truths([]truth{
		{"kustomize-force-common-label", &k.ForceCommonLabels, s.forceLabels}, {"kustomize-force-common-annotation", &k.ForceCommonAnnotations, s.forceAnnotations},
		{"kustomize-label-without-selector", &k.LabelWithoutSelector, s.withoutSelector}, {"kustomize-label-include-templates", &k.LabelIncludeTemplates, s.inTemplates},
		{"ignore-missing-components", &k.IgnoreMissingComponents, s.missingParts},
	})
	if f.changed("kustomize-api-versions") {
		k.APIVersions = s.kustomizeAPIs
	}
	for _, image := range s.images {
		put(&k.Images, image, func(other string) bool { return imageKey(other) == imageKey(image) })
	}
	for _, w := range s.replicas {
		name, count, err := pair(w, "kustomize-replica")
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(count, 10, 32)
		if err != nil {
			return fail.Fatal("--kustomize-replica %q: want NAME=COUNT", w)
		}
		put(&k.Replicas, v1alpha1.KustomizeReplica{Name: name, Count: intstr.FromInt32(int32(n))}, func(r v1alpha1.KustomizeReplica) bool { return r.Name == name })
	}
	for _, m := range []struct {
		flag  string
		words []string
		into  *map[string]string
	}{{"kustomize-common-label", s.commonLabels, &k.CommonLabels}, {"kustomize-common-annotation", s.commonAnnotations, &k.CommonAnnotations}} {
		if !f.changed(m.flag) {
			continue
		}
		pairs, err := command.Pairs(m.words, "--"+m.flag)
		if err != nil {
			return err
		}
		*m.into = pairs
	}
	return nil
}

func (f *specFlags) directory(src *v1alpha1.ApplicationSource) error {
	if !f.anyOf("directory-recurse", "directory-include", "directory-exclude", "jsonnet-ext-var-str", "jsonnet-ext-var-code", "jsonnet-tla-str", "jsonnet-tla-code", "jsonnet-libs") {
		return nil
	}
	if src.Directory == nil {
		src.Directory = &v1alpha1.SourceDirectory{}
	}
	d, s := src.Directory, &f.source
	f.truths([]truth{{"directory-recurse", &d.Recurse, s.recurse}})
	f.texts([]text{{"directory-include", &d.Include, s.include}, {"directory-exclude", &d.Exclude, s.exclude}})
	if f.changed("jsonnet-libs") {
		d.Jsonnet.Libs = append(d.Jsonnet.Libs, s.libs...)
	}
	for _, v := range []struct {
		flag  string
		words []string
		code  bool
		into  *[]v1alpha1.JsonnetVar
	}{
		{"jsonnet-ext-var-str", s.extStr, false, &d.Jsonnet.ExtVars}, {"jsonnet-ext-var-code", s.extCode, true, &d.Jsonnet.ExtVars},
		{"jsonnet-tla-str", s.tlaStr, false, &d.Jsonnet.TLAs}, {"jsonnet-tla-code", s.tlaCode, true, &d.Jsonnet.TLAs},
	} {
		for _, w := range v.words {
			name, value, err := pair(w, v.flag)
			if err != nil {
				return err
			}
			put(v.into, v1alpha1.JsonnetVar{Name: name, Value: value, Code: v.code}, func(o v1alpha1.JsonnetVar) bool { return o.Name == name })
		}
	}
	return nil
}

func (f *specFlags) plugins(src *v1alpha1.ApplicationSource) error {
	if !f.anyOf("config-management-plugin", "plugin-env") {
		return nil
	}
	if src.Plugin == nil {
		src.Plugin = &v1alpha1.SourcePlugin{}
	}
	f.texts([]text{{"config-management-plugin", &src.Plugin.Name, f.source.plugin}})
	for _, w := range f.source.pluginEnv {
		name, value, err := pair(w, "plugin-env")
		if err != nil {
			return err
		}
		put(&src.Plugin.Env, v1alpha1.EnvEntry{Name: name, Value: value}, func(e v1alpha1.EnvEntry) bool { return e.Name == name })
	}
	return nil
}
