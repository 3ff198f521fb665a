// Package rendercase reads the golden cases of the renderer: a txtar file with
// "input", a repository below "repo/", and what is wanted.
package rendercase

import (
	"cmp"
	"crypto/sha1" //nolint:gosec // ids of a tree in memory
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Files is a tree without links, by path.
type Files map[string]string

var _ tree.Tree = Files(nil)

// Revision is always the same.
func (m Files) Revision() string { return "0123456789abcdef0123456789abcdef01234567" }

// Stat describes a path.
func (m Files) Stat(name string) (tree.Entry, error) {
	name = path.Clean(name)
	if strings.HasPrefix(name, "..") || strings.HasPrefix(name, "/") {
		return tree.Entry{}, fmt.Errorf("%s: path leaves the repository", name)
	}
	if content, ok := m[name]; ok {
		return tree.Entry{Name: path.Base(name), Kind: tree.File, ID: fmt.Sprintf("%x", sha1.Sum([]byte(content)))}, nil //nolint:gosec // see above
	}
	for p := range m {
		if name == "." || strings.HasPrefix(p, name+"/") {
			return tree.Entry{Name: path.Base(name), Kind: tree.Dir, ID: m.digest(name)}, nil
		}
	}
	return tree.Entry{}, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

// digest names everything below a folder.
func (m Files) digest(dir string) string {
	sum := sha1.New() //nolint:gosec // see above
	for _, p := range slices.Sorted(maps.Keys(m)) {
		if dir == "." || strings.HasPrefix(p, dir+"/") {
			_, _ = fmt.Fprintf(sum, "%q %q\n", p, m[p])
		}
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// ReadFile gives the content of a file.
func (m Files) ReadFile(name string) ([]byte, error) {
	if e, err := m.Stat(name); err != nil || e.Kind != tree.File {
		return nil, cmp.Or(err, fmt.Errorf("%s: is not a file", name))
	}
	return []byte(m[path.Clean(name)]), nil
}

// ReadDir lists a folder.
func (m Files) ReadDir(name string) ([]tree.Entry, error) {
	if e, err := m.Stat(name); err != nil || e.Kind != tree.Dir {
		return nil, cmp.Or(err, fmt.Errorf("%s: is not a directory", name))
	}
	seen := map[string]bool{}
	var out []tree.Entry
	for p := range m {
		rest, below := strings.CutPrefix(p, path.Clean(name)+"/")
		if path.Clean(name) == "." {
			rest, below = p, true
		}
		base, _, _ := strings.Cut(rest, "/")
		if !below || seen[base] {
			continue
		}
		seen[base] = true
		e, err := m.Stat(path.Join(name, base))
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b tree.Entry) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// input is the file "input" of a case.
type input struct {
	App    render.App                 `json:"app"`
	Source v1alpha1.ApplicationSource `json:"source"`
	// Refs are folders of the repository that play other repositories.
	Refs        map[string]string `json:"refs"`
	KubeVersion string            `json:"kubeVersion"`
	APIVersions []string          `json:"apiVersions"`
	Settings    render.Settings   `json:"settings"`
}

// Load reads a case from a file.
func Load(file string) (*txtar.Archive, render.Request, error) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		return nil, render.Request{}, err
	}
	request, err := Parse(archive)
	if err != nil {
		err = fmt.Errorf("%s: %w", file, err)
	}
	return archive, request, err
}

// Parse reads a case.
func Parse(archive *txtar.Archive) (render.Request, error) {
	repository := Files{}
	var in input
	for _, f := range archive.Files {
		if name, ok := strings.CutPrefix(f.Name, "repo/"); ok {
			repository[name] = string(f.Data)
		}
		if f.Name == "input" {
			if err := yaml.UnmarshalStrict(f.Data, &in); err != nil {
				return render.Request{}, fmt.Errorf("input: %w", err)
			}
		}
	}
	app := render.App{Name: "shop", Instance: "shop", Namespace: "prod", Project: "default"}
	if in.App != (render.App{}) {
		app = in.App
	}
	refs := map[string]tree.Tree{}
	for name, folder := range in.Refs {
		sub := Files{}
		for p, content := range repository {
			if rest, ok := strings.CutPrefix(p, folder+"/"); ok {
				sub[rest] = content
			}
		}
		refs[name] = sub
	}
	return render.Request{
		App: app, Source: in.Source, Revision: repository.Revision(), Tree: repository, Refs: refs,
		KubeVersion: cmp.Or(in.KubeVersion, "1.36.3"), APIVersions: in.APIVersions, Settings: in.Settings,
	}, nil
}
