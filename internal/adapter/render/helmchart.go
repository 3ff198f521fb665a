package render

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/ignore"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Limits of a chart: file:// dependencies of dependencies, nested folders,
// and bytes in all.
const (
	maxChartDepth   = 8
	maxChartFolders = 32
	maxChartBytes   = 100 << 20
)

// loadChart reads a chart folder; file:// dependencies that are not vendored
// are loaded from the tree.
func (j *job) loadChart(t tree.Tree, dir string, depth int) (*chart.Chart, error) {
	if depth > maxChartDepth {
		return nil, fmt.Errorf("%s: charts depend on each other more than %d levels deep", dir, maxChartDepth)
	}
	w := &chartWalk{tree: t, dir: dir, rules: ignore.Empty()}
	if err := w.start(); err != nil {
		return nil, err
	}
	if err := w.walk("", 0); err != nil {
		return nil, err
	}
	c, err := loader.LoadFiles(w.files)
	if err != nil {
		return nil, fmt.Errorf("%s: Helm chart: %w", dir, err)
	}
	for _, d := range c.Metadata.Dependencies {
		if vendored(c, d) {
			continue
		}
		if err := j.addDependency(t, c, d, place{dir, depth}); err != nil {
			return nil, fmt.Errorf("%s: dependency %s: %w", path.Join(dir, "Chart.yaml"), d.Name, err)
		}
	}
	return c, nil
}

// place is where a chart was found.
type place struct {
	dir   string
	depth int
}

// addDependency loads a dependency that is not vendored, as "helm dependency
// build" would: of the version that Chart.lock names, if it does.
func (j *job) addDependency(t tree.Tree, c *chart.Chart, d *chart.Dependency, at place) error {
	if local, isFile := strings.CutPrefix(d.Repository, "file://"); isFile {
		dependency, err := j.loadChart(t, path.Join(at.dir, local), at.depth+1)
		if err != nil {
			return err
		}
		if v := dependency.Metadata.Version; d.Version != "" && !chartutil.IsCompatibleRange(d.Version, v) {
			return fmt.Errorf("%s has version %s, not %s", d.Repository, v, d.Version)
		}
		c.AddDependency(dependency)
		return nil
	}
	if d.Repository == "" || j.Remote == nil {
		return nil // usable says that it is missing
	}
	versions := d.Version
	if c.Lock != nil {
		for _, locked := range c.Lock.Dependencies {
			if locked.Name == d.Name && locked.Repository == d.Repository {
				versions = locked.Version
			}
		}
	}
	fetched, err := j.remote().Chart(j.ctx, ChartRef{d.Repository, d.Name, versions})
	if err != nil {
		return err
	}
	dependency, err := j.loadChart(fetched, ".", at.depth+1)
	if err != nil {
		return err
	}
	c.AddDependency(dependency)
	return nil
}

func vendored(c *chart.Chart, d *chart.Dependency) bool {
	return slices.ContainsFunc(c.Dependencies(), func(x *chart.Chart) bool { return x.Name() == d.Name })
}

// chartWalk collects the files of a chart, without those in .helmignore.
type chartWalk struct {
	tree  tree.Tree
	dir   string
	rules *ignore.Rules
	files []*archive.BufferedFile
	bytes int
}

func (w *chartWalk) start() error {
	if _, err := w.tree.Stat(path.Join(w.dir, "Chart.yaml")); err != nil {
		if errors.Is(err, tree.ErrNotExist) {
			return fmt.Errorf("%s: has no Chart.yaml: name the folder of a chart, or remove spec.source.helm", w.dir)
		}
		return err
	}
	name := path.Join(w.dir, ignore.HelmIgnore)
	content, err := w.tree.ReadFile(name)
	switch {
	case errors.Is(err, tree.ErrNotExist):
	case err != nil:
		return err
	default:
		if w.rules, err = ignore.Parse(bytes.NewReader(content)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	w.rules.AddDefaults()
	return nil
}

func (w *chartWalk) walk(rel string, depth int) error {
	if depth > maxChartFolders {
		return fmt.Errorf("%s: folders of a chart are nested more than %d levels deep, perhaps by a symbolic link", path.Join(w.dir, rel), maxChartFolders)
	}
	entries, err := w.tree.ReadDir(path.Join(w.dir, rel))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(rel, e.Name)
		full := path.Join(w.dir, name)
		if e.Kind == tree.Symlink {
			if e, err = w.tree.Stat(full); err != nil {
				return err
			}
		}
		if w.rules.Ignore(name, fileInfo{path.Base(name), e.Kind == tree.Dir}) {
			continue
		}
		switch e.Kind {
		case tree.Dir:
			err = w.walk(name, depth+1)
		case tree.File:
			err = w.add(full, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *chartWalk) add(full, name string) error {
	content, err := w.tree.ReadFile(full)
	if err != nil {
		return err
	}
	if int64(len(content)) > archive.MaxDecompressedFileSize {
		return fmt.Errorf("%s: has %d bytes: a file of a chart has at most %d; list it in .helmignore", full, len(content), archive.MaxDecompressedFileSize)
	}
	if w.bytes += len(content); w.bytes > maxChartBytes {
		return fmt.Errorf("%s: the chart has more than %d bytes: list what is not needed in .helmignore", w.dir, maxChartBytes)
	}
	content = bytes.TrimPrefix(content, []byte("\xEF\xBB\xBF"))
	w.files = append(w.files, &archive.BufferedFile{Name: name, Data: content})
	return nil
}

// fileInfo is what the rules of .helmignore want to know about a path.
type fileInfo struct {
	name string
	dir  bool
}

var _ fs.FileInfo = fileInfo{}

func (f fileInfo) Name() string     { return f.name }
func (fileInfo) Size() int64        { return 0 }
func (fileInfo) ModTime() time.Time { return time.Time{} }
func (f fileInfo) IsDir() bool      { return f.dir }
func (fileInfo) Sys() any           { return nil }
func (f fileInfo) Mode() fs.FileMode {
	if f.dir {
		return fs.ModeDir
	}
	return 0
}

// usable checks what the engine does not: type, kubeVersion and that all
// dependencies are there.
func usable(c *chart.Chart, caps *common.Capabilities) error {
	m := c.Metadata
	if m == nil || m.Name == "" {
		return errors.New("Chart.yaml: field name is missing")
	}
	if m.Type != "" && m.Type != "application" {
		return fmt.Errorf("chart %s is a %s chart and cannot be deployed: use it as a dependency", m.Name, m.Type)
	}
	if m.KubeVersion != "" && !chartutil.IsCompatibleRange(m.KubeVersion, caps.KubeVersion.Version) {
		return fmt.Errorf("chart %s needs Kubernetes %s, the cluster has %s", m.Name, m.KubeVersion, caps.KubeVersion.Version)
	}
	for _, d := range m.Dependencies {
		if !vendored(c, d) {
			return fmt.Errorf("chart %s: dependency %s %s of %s is missing: run \"helm dependency build\" and commit the folder charts/",
				m.Name, d.Name, d.Version, first(d.Repository, "charts/"))
		}
	}
	return nil
}
