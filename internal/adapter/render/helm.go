package render

import (
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	commonutil "helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/Masterminds/semver/v3"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// helm renders a chart that lives in the tree, as "helm template" does.
func (j *job) helm() ([]*unstructured.Unstructured, error) {
	j.used |= UsesNamespace | UsesCluster
	if j.Source.Helm == nil {
		j.Source.Helm = &v1alpha1.SourceHelm{}
	}
	values, err := j.values(*j.Source.Helm)
	if err != nil {
		return nil, err
	}
	return j.template(chartSource{tree: j.Tree, dir: j.Source.Path}, values, *j.Source.Helm)
}

// chartSource says where a chart is and what of it is wanted.
type chartSource struct {
	tree      tree.Tree
	dir       string
	skipHooks bool
}

// template renders a chart with values. Dependencies change the chart, so it
// is loaded for every render.
func (j *job) template(src chartSource, values map[string]any, options v1alpha1.SourceHelm) ([]*unstructured.Unstructured, error) {
	release, err := j.release(options)
	if err != nil {
		return nil, err
	}
	chrt, err := j.loadChart(src.tree, src.dir, 0)
	if err != nil {
		return nil, err
	}
	caps, err := j.capabilities(options)
	if err != nil {
		return nil, err
	}
	if err := usable(chrt, caps); err != nil {
		return nil, err
	}
	if err := chartutil.ProcessDependencies(chrt, values); err != nil {
		return nil, fmt.Errorf("%s: Helm dependencies: %w", j.where(), err)
	}
	top, err := commonutil.ToRenderValuesWithSchemaValidation(chrt, values, release, caps, true)
	if err != nil {
		return nil, fmt.Errorf("%s: Helm values: %w", j.where(), err)
	}
	if !options.SkipSchemaValidation {
		if err := validate(chrt, top["Values"]); err != nil {
			return nil, fmt.Errorf("%s: %w", j.where(), err)
		}
	}
	files, err := engine.Engine{}.Render(chrt, top)
	if err != nil {
		return nil, fmt.Errorf("%s: Helm: %w", j.where(), err)
	}
	return helmObjects(chrt, files, wanted{crds: !options.SkipCrds, tests: !options.SkipTests, hooks: !src.skipHooks})
}

// wanted says which objects of a chart are kept.
type wanted struct{ crds, tests, hooks bool }

func (j *job) release(options v1alpha1.SourceHelm) (common.ReleaseOptions, error) {
	name := options.ReleaseName
	if name == "" {
		j.used |= UsesName
		name = j.App.Name
	}
	if err := chartutil.ValidateReleaseName(name); err != nil {
		return common.ReleaseOptions{}, fmt.Errorf("spec.source.helm.releaseName: %q: %w", name, err)
	}
	return common.ReleaseOptions{Name: name, Namespace: first(options.Namespace, j.App.Namespace), Revision: 1, IsInstall: true}, nil
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// capabilities are what templates may ask about the cluster.
func (j *job) capabilities(options v1alpha1.SourceHelm) (*common.Capabilities, error) {
	caps := common.DefaultCapabilities.Copy()
	if raw := first(options.KubeVersion, j.KubeVersion); raw != "" {
		v, err := semver.NewVersion(raw)
		if err != nil {
			return nil, fmt.Errorf("spec.source.helm.kubeVersion: %q is not a version", raw)
		}
		caps.KubeVersion = common.KubeVersion{
			Version: fmt.Sprintf("v%d.%d.%d", v.Major(), v.Minor(), v.Patch()), Major: fmt.Sprint(v.Major()), Minor: fmt.Sprint(v.Minor()),
		}
	}
	versions := options.APIVersions
	if len(versions) == 0 {
		versions = j.APIVersions
	}
	caps.APIVersions = append(slices.Clone(caps.APIVersions), versions...)
	return caps, nil
}

// helmObjects decodes rendered templates: CRDs, then objects in Helm's order
// of kinds, then hooks by weight.
func helmObjects(chrt *chart.Chart, files map[string]string, w wanted) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	add := func(content []byte, name string) error {
		objects, err := Decode(content, name)
		out = append(out, objects...)
		return err
	}
	if w.crds {
		for _, crd := range chrt.CRDObjects() {
			if err := add(crd.File.Data, crd.Filename); err != nil {
				return nil, err
			}
		}
	}
	for name := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			delete(files, name)
		}
	}
	hooks, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return nil, brokenTemplate(files, err)
	}
	for _, m := range manifests {
		if err := add([]byte(m.Content), m.Name); err != nil {
			return nil, err
		}
	}
	for _, h := range hooks {
		if !w.hooks || !w.tests && slices.Contains(h.Events, releasev1.HookTest) {
			continue
		}
		if err := add([]byte(h.Manifest), h.Path); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// brokenTemplate finds the output that is not YAML, to say in which line.
func brokenTemplate(files map[string]string, fallback error) error {
	for name, content := range files {
		if _, err := Decode([]byte(content), name); err != nil && strings.Contains(fallback.Error(), name) {
			return fmt.Errorf("output of the template: %w", err)
		}
	}
	return fallback
}
