package render

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	commonutil "helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	"helm.sh/helm/v4/pkg/strvals"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/Masterminds/semver/v3"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// maxChartDepth bounds file:// dependencies of dependencies.
const maxChartDepth = 8

// helm renders a chart that lives in the tree.
func helm(r Request) ([]*unstructured.Unstructured, error) {
	options := v1alpha1.SourceHelm{}
	if r.Source.Helm != nil {
		options = *r.Source.Helm
	}
	chrt, err := loadChart(r.Tree, r.Source.Path, 0)
	if err != nil {
		return nil, err
	}
	values, err := helmValues(r, options)
	if err != nil {
		return nil, err
	}
	caps, err := capabilities(r, options)
	if err != nil {
		return nil, err
	}
	if err := chartUsable(chrt, caps); err != nil {
		return nil, err
	}
	if err := chartutil.ProcessDependencies(chrt, values); err != nil {
		return nil, fmt.Errorf("%s: Helm dependencies: %w", where(r), err)
	}
	release := common.ReleaseOptions{Name: first(options.ReleaseName, r.App.Name), Namespace: first(options.Namespace, r.App.Namespace), Revision: 1, IsInstall: true}
	top, err := commonutil.ToRenderValuesWithSchemaValidation(chrt, values, release, caps, options.SkipSchemaValidation)
	if err != nil {
		return nil, fmt.Errorf("%s: Helm values: %w", where(r), err)
	}
	files, err := engine.Engine{}.Render(chrt, top)
	if err != nil {
		return nil, fmt.Errorf("%s: Helm: %w", where(r), err)
	}
	return helmObjects(chrt, files, options)
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// helmObjects decodes rendered templates in a stable order, CRDs first.
func helmObjects(chrt *chart.Chart, files map[string]string, options v1alpha1.SourceHelm) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	if !options.SkipCrds {
		for _, crd := range chrt.CRDObjects() {
			objects, err := Decode(crd.File.Data, crd.Filename)
			if err != nil {
				return nil, err
			}
			out = append(out, objects...)
		}
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		base := path.Base(name)
		if base == "NOTES.txt" || strings.HasPrefix(base, "_") || strings.TrimSpace(files[name]) == "" {
			continue
		}
		objects, err := Decode([]byte(files[name]), name)
		if err != nil {
			return nil, err
		}
		for _, o := range objects {
			hook := o.GetAnnotations()["helm.sh/hook"]
			if options.SkipTests && (hook == "test" || hook == "test-success" || hook == "test-failure") {
				continue
			}
			out = append(out, o)
		}
	}
	return out, nil
}

func capabilities(r Request, options v1alpha1.SourceHelm) (*common.Capabilities, error) {
	caps := common.DefaultCapabilities.Copy()
	if raw := first(options.KubeVersion, r.KubeVersion); raw != "" {
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
		versions = r.APIVersions
	}
	if len(versions) > 0 {
		caps.APIVersions = versions
	}
	return caps, nil
}

// chartUsable checks what the engine does not: type, kubeVersion and that all
// dependencies are there.
func chartUsable(c *chart.Chart, caps *common.Capabilities) error {
	m := c.Metadata
	if m == nil || m.Name == "" {
		return fmt.Errorf("Chart.yaml: field name is missing")
	}
	if m.Type == "library" {
		return fmt.Errorf("chart %s is a library chart and cannot be deployed: use it as a dependency", m.Name)
	}
	if m.KubeVersion != "" {
		constraint, err := semver.NewConstraint(m.KubeVersion)
		if err != nil {
			return fmt.Errorf("chart %s: field kubeVersion %q is not a version range", m.Name, m.KubeVersion)
		}
		if v, err := semver.NewVersion(caps.KubeVersion.Version); err == nil && !constraint.Check(v) {
			return fmt.Errorf("chart %s needs Kubernetes %s, the cluster has %s", m.Name, m.KubeVersion, caps.KubeVersion.Version)
		}
	}
	for _, d := range m.Dependencies {
		if !slices.ContainsFunc(c.Dependencies(), func(x *chart.Chart) bool { return x.Name() == d.Name }) {
			return fmt.Errorf("chart %s: dependency %s is missing: run helm dependency build and commit the folder charts/", m.Name, d.Name)
		}
	}
	return nil
}

// loadChart reads a chart folder; file:// dependencies are loaded from the tree.
func loadChart(t tree.Tree, dir string, depth int) (*chart.Chart, error) {
	if depth > maxChartDepth {
		return nil, fmt.Errorf("%s: charts depend on each other more than %d levels deep", dir, maxChartDepth)
	}
	if _, err := t.Stat(path.Join(dir, "Chart.yaml")); err != nil {
		return nil, fmt.Errorf("%s: has no Chart.yaml: point spec.source.path at a chart, or remove spec.source.helm", dir)
	}
	var files []*archive.BufferedFile
	if err := chartFiles(t, dir, "", &files); err != nil {
		return nil, err
	}
	c, err := loader.LoadFiles(files)
	if err != nil {
		return nil, fmt.Errorf("%s: Helm chart: %w", dir, err)
	}
	for _, d := range c.Metadata.Dependencies {
		local, isFile := strings.CutPrefix(d.Repository, "file://")
		if !isFile || slices.ContainsFunc(c.Dependencies(), func(x *chart.Chart) bool { return x.Name() == d.Name }) {
			continue
		}
		dependency, err := loadChart(t, path.Join(dir, local), depth+1)
		if err != nil {
			return nil, err
		}
		c.AddDependency(dependency)
	}
	return c, nil
}

func chartFiles(t tree.Tree, dir, rel string, files *[]*archive.BufferedFile) error {
	entries, err := t.ReadDir(path.Join(dir, rel))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(rel, e.Name)
		if e.Kind == tree.Symlink {
			if e, err = t.Stat(path.Join(dir, name)); err != nil {
				return err
			}
		}
		switch e.Kind {
		case tree.Dir:
			err = chartFiles(t, dir, name, files)
		case tree.File:
			var content []byte
			if content, err = t.ReadFile(path.Join(dir, name)); err == nil {
				*files = append(*files, &archive.BufferedFile{Name: name, Data: content})
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// helmValues merges value files, values and parameters; later ones win.
func helmValues(r Request, o v1alpha1.SourceHelm) (map[string]any, error) {
	values := map[string]any{}
	for _, name := range o.ValueFiles {
		layer, err := valueFile(r, expand(r, name), o.IgnoreMissingValueFiles)
		if err != nil {
			return nil, err
		}
		values = loader.MergeMaps(values, layer)
	}
	inline := []byte(o.Values)
	if o.ValuesObject != nil && len(o.ValuesObject.Raw) > 0 {
		inline = o.ValuesObject.Raw
	}
	if len(inline) > 0 {
		var layer map[string]any
		if err := yaml.Unmarshal(inline, &layer); err != nil {
			return nil, fmt.Errorf("spec.source.helm.values: not valid YAML: %w", err)
		}
		values = loader.MergeMaps(values, layer)
	}
	for _, p := range o.Parameters {
		parse := strvals.ParseInto
		if p.ForceString {
			parse = strvals.ParseIntoString
		}
		if err := parse(p.Name+"="+escapeCommas(r.substitute(p.Value)), values); err != nil {
			return nil, fmt.Errorf("spec.source.helm.parameters: %s: %w", p.Name, err)
		}
	}
	for _, p := range o.FileParameters {
		content, err := readValues(r, expand(r, p.Path))
		if err != nil {
			return nil, fmt.Errorf("spec.source.helm.fileParameters: %s: %w", p.Name, err)
		}
		read := func([]rune) (any, error) { return string(content), nil }
		if err := strvals.ParseIntoFile(p.Name+"="+p.Path, values, read); err != nil {
			return nil, fmt.Errorf("spec.source.helm.fileParameters: %s: %w", p.Name, err)
		}
	}
	return values, nil
}

// escapeCommas keeps a comma inside a value from starting the next one,
// unless the value is a list in braces.
func escapeCommas(value string) string {
	if strings.HasPrefix(value, "{") && strings.HasSuffix(value, "}") {
		return value
	}
	var b strings.Builder
	for i, c := range value {
		if c == ',' && (i == 0 || value[i-1] != '\\') {
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// expand substitutes the build environment but keeps a leading $ref/.
func expand(r Request, name string) string {
	ref, rest, ok := strings.Cut(name, "/")
	if _, known := r.Refs[strings.TrimPrefix(ref, "$")]; ok && known && strings.HasPrefix(ref, "$") {
		return ref + "/" + r.substitute(rest)
	}
	return r.substitute(name)
}

func valueFile(r Request, name string, optional bool) (map[string]any, error) {
	content, err := readValues(r, name)
	if errors.Is(err, tree.ErrNotExist) && optional {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("spec.source.helm.valueFiles: %s: %w", name, err)
	}
	var layer map[string]any
	if err := yaml.Unmarshal(content, &layer); err != nil {
		return nil, fmt.Errorf("%s: not valid YAML: %w", name, err)
	}
	return layer, nil
}

// readValues finds a file beside the chart, from the root with a leading
// slash, or in another source with $ref/.
func readValues(r Request, name string) ([]byte, error) {
	if strings.Contains(name, "://") {
		return nil, fmt.Errorf("value files by URL are not available: commit the file")
	}
	if ref, rest, ok := strings.Cut(strings.TrimPrefix(name, "$"), "/"); ok && strings.HasPrefix(name, "$") {
		t, known := r.Refs[ref]
		if !known {
			return nil, fmt.Errorf("source referenced %q, but no source has a 'ref' field defined", "$"+ref)
		}
		return t.ReadFile(rest)
	}
	if strings.HasPrefix(name, "/") {
		return r.Tree.ReadFile(name)
	}
	return r.Tree.ReadFile(path.Join(r.Source.Path, name))
}
