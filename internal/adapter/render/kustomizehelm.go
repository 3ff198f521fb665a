package render

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"

	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	ktypes "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// expandCharts replaces helmCharts by resources that our own renderer makes;
// kustomize would start the helm program.
func (f *treeFS) expandCharts(k *ktypes.Kustomization, name string) (bool, error) {
	if len(k.HelmCharts) == 0 {
		k.HelmGlobals = nil
		return false, nil
	}
	if !f.job.Settings.Kustomize.Helm {
		return false, fmt.Errorf("%s: field helmCharts is not enabled: use a Helm source of its own, or add --enable-helm to kustomize.buildOptions of argocd-cm", name)
	}
	home := "charts"
	if k.HelmGlobals != nil {
		home = first(k.HelmGlobals.ChartHome, home)
	}
	for i, c := range k.HelmCharts {
		objects, err := f.expandChart(c, path.Dir(name), home)
		if err != nil {
			return false, fmt.Errorf("%s: helmCharts: %s: %w", name, c.Name, err)
		}
		if len(objects) == 0 {
			continue
		}
		var out bytes.Buffer
		for _, o := range objects {
			raw, err := yaml.Marshal(o.Object)
			if err != nil {
				return false, fmt.Errorf("%s: helmCharts: %s: %w", name, c.Name, err)
			}
			out.WriteString("---\n")
			out.Write(raw)
		}
		base := fmt.Sprintf("%schart-%d.yaml", virtual, i)
		f.overlay[path.Join(path.Dir(name), base)] = out.Bytes()
		k.Resources = append(k.Resources, base)
	}
	k.HelmCharts, k.HelmGlobals = nil, nil
	return true, nil
}

func (f *treeFS) expandChart(c ktypes.HelmChart, dir, home string) ([]*unstructured.Unstructured, error) {
	t, at, err := f.findChart(c, path.Join(dir, home))
	if err != nil {
		return nil, err
	}
	values, err := f.chartValues(c, dir)
	if err != nil {
		return nil, err
	}
	o := v1alpha1.SourceHelm{
		ReleaseName: first(c.ReleaseName, c.Name), Namespace: first(c.Namespace, "default"), SkipCrds: !c.IncludeCRDs, SkipTests: c.SkipTests,
		KubeVersion: c.KubeVersion, APIVersions: c.ApiVersions,
	}
	if options := f.job.Source.Kustomize; options != nil {
		o.KubeVersion = first(o.KubeVersion, options.KubeVersion)
		if len(o.APIVersions) == 0 {
			o.APIVersions = options.APIVersions
		}
	}
	f.job.used |= UsesCluster
	return f.job.template(chartSource{t, at, c.SkipHooks}, values, o)
}

// findChart looks below the chart home, then in the repository of the chart.
func (f *treeFS) findChart(c ktypes.HelmChart, home string) (tree.Tree, string, error) {
	folders := []string{path.Join(home, c.Name)}
	if c.Version != "" && c.Repo != "" {
		folders = slices.Insert(folders, 0, path.Join(home, c.Name+"-"+c.Version, c.Name))
	}
	for _, at := range folders {
		_, err := f.job.Tree.Stat(at)
		if err == nil {
			return f.job.Tree, at, nil
		}
		if !errors.Is(err, tree.ErrNotExist) {
			return nil, "", err
		}
	}
	if c.Repo == "" {
		return nil, "", fmt.Errorf("%s does not exist and the chart names no repo: add one of both", folders[0])
	}
	t, err := f.job.remote().Chart(f.job.ctx, ChartRef{c.Repo, c.Name, c.Version})
	return t, ".", err
}

// chartValues merges the value files and inline values of a chart as
// kustomize does.
func (f *treeFS) chartValues(c ktypes.HelmChart, dir string) (map[string]any, error) {
	read := func(name string) (map[string]any, error) {
		at := path.Join(dir, name)
		content, err := f.job.Tree.ReadFile(at)
		if err != nil {
			return nil, err
		}
		values, err := loader.LoadValues(bytes.NewReader(content))
		if err != nil {
			return nil, fmt.Errorf("%s: not valid YAML: %w", at, errors.Unwrap(err))
		}
		return values, nil
	}
	values := map[string]any{}
	if c.ValuesFile != "" {
		var err error
		if values, err = read(c.ValuesFile); err != nil {
			return nil, err
		}
	}
	if len(c.ValuesInline) > 0 {
		switch c.ValuesMerge {
		case "", "override":
			values = loader.MergeMaps(values, c.ValuesInline)
		case "merge":
			values = loader.MergeMaps(c.ValuesInline, values)
		case "replace":
			values = c.ValuesInline
		default:
			return nil, fmt.Errorf("valuesMerge: %q: want override, merge or replace", c.ValuesMerge)
		}
	}
	for _, name := range c.AdditionalValuesFiles {
		more, err := read(name)
		if err != nil {
			return nil, err
		}
		values = loader.MergeMaps(values, more)
	}
	return values, nil
}
