package appset

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

func (e *evaluation) git(g *v1alpha1.GitGenerator) ([]Params, error) {
	t, err := e.Tree(g.RepoURL, g.Revision)
	if err != nil {
		return nil, fmt.Errorf("git: %w", err)
	}
	switch {
	case len(g.Directories) > 0:
		return e.gitDirectories(g, t)
	case len(g.Files) > 0:
		return e.gitFiles(g, t)
	}
	return nil, errors.New("git: set directories or files")
}

func (e *evaluation) gitDirectories(g *v1alpha1.GitGenerator, t tree.Tree) ([]Params, error) {
	var dirs []string
	if err := walk(t, "", func(p string, dir bool) {
		if dir {
			dirs = append(dirs, p)
		}
	}); err != nil {
		return nil, fmt.Errorf("git: %w", err)
	}
	var out []Params
	for _, d := range dirs {
		in, excluded := false, false
		for _, item := range g.Directories {
			ok, err := path.Match(item.Path, d)
			if err != nil {
				return nil, fmt.Errorf("git.directories: %q is not a pattern", item.Path)
			}
			in, excluded = in || (ok && !item.Exclude), excluded || (ok && item.Exclude)
		}
		if !in || excluded {
			continue
		}
		p := Params{Values: map[string]any{}}
		e.pathParams(&p, g.PathParamPrefix, d, "")
		if err := e.addValues(&p, g.Values); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// walk visits all paths below dir; hidden folders are left out.
func walk(t tree.Tree, dir string, visit func(p string, dir bool)) error {
	entries, err := t.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		p := path.Join(dir, entry.Name)
		if entry.Kind == tree.Dir {
			if strings.HasPrefix(entry.Name, ".") {
				continue
			}
			visit(p, true)
			if err := walk(t, p, visit); err != nil {
				return err
			}
		}
		if entry.Kind == tree.File {
			visit(p, false)
		}
	}
	return nil
}

func (e *evaluation) gitFiles(g *v1alpha1.GitGenerator, t tree.Tree) ([]Params, error) {
	var files []string
	if err := walk(t, "", func(p string, dir bool) {
		if !dir {
			files = append(files, p)
		}
	}); err != nil {
		return nil, fmt.Errorf("git: %w", err)
	}
	slices.Sort(files)
	var out []Params
	for _, f := range files {
		in, excluded := false, false
		for _, item := range g.Files {
			hit, err := e.fileMatches(item.Path, f)
			if err != nil {
				return nil, err
			}
			in, excluded = in || (hit && !item.Exclude), excluded || (hit && item.Exclude)
		}
		if !in || excluded {
			continue
		}
		more, err := e.gitFile(g, t, f)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// Bounds of a file pattern: each choice can double the work of matching.
const maxPattern, maxChoices = 1000, 8

// fileMatches matches a path: by Git's own rules or, when the installation asks
// for it, by those in which * stays within a folder and ** crosses them.
func (e *evaluation) fileMatches(pattern, name string) (bool, error) {
	if !e.NewGlobs {
		return pathspec(pattern, name), nil
	}
	if len(pattern) > maxPattern || strings.Count(pattern, "{") > maxChoices || !doublestar.ValidatePattern(pattern) {
		return false, fmt.Errorf("git.files: %q is not a pattern", pattern)
	}
	return doublestar.MatchUnvalidated(pattern, name), nil
}

// pathspec is Git's glob: * crosses slashes, and the name of a folder means
// all that is below it.
func pathspec(pattern, name string) bool {
	if pattern == name || strings.HasPrefix(name, strings.TrimSuffix(pattern, "/")+"/") {
		return true
	}
	const stand = "\x00"
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", stand), strings.ReplaceAll(name, "/", stand))
	return err == nil && ok
}

func (e *evaluation) gitFile(g *v1alpha1.GitGenerator, t tree.Tree, name string) ([]Params, error) {
	content, err := t.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("git: %w", err)
	}
	var one map[string]any
	var objects []map[string]any
	if err := yaml.Unmarshal(content, &objects); err != nil {
		if err := yaml.Unmarshal(content, &one); err != nil {
			return nil, fmt.Errorf("git: file %s is neither an object nor a list of objects", name)
		}
		objects = []map[string]any{one}
	}
	if len(strings.TrimSpace(string(content))) == 0 {
		objects = []map[string]any{{}}
	}
	var out []Params
	for _, object := range objects {
		p := Params{Values: map[string]any{}}
		if given, ok := object["labels"].(map[string]any); ok {
			p.Labels = scalarLabels(given)
		}
		if e.goMode {
			for k, v := range object {
				p.Values[k] = v
			}
		} else {
			flatten("", object, p.Values)
		}
		e.pathParams(&p, g.PathParamPrefix, path.Dir(name), path.Base(name))
		if err := e.addValues(&p, g.Values); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// pathParams adds the parameters that describe a folder and a file.
func (e *evaluation) pathParams(p *Params, prefix, dir, file string) {
	segments := strings.Split(dir, "/")
	base := segments[len(segments)-1]
	if e.goMode {
		list := make([]any, len(segments))
		for i, s := range segments {
			list[i] = s
		}
		described := map[string]any{"path": dir, "basename": base, "basenameNormalized": Normalize(base), "segments": list}
		if file != "" {
			described["filename"], described["filenameNormalized"] = file, Normalize(file)
		}
		if prefix != "" {
			p.Values[prefix] = map[string]any{"path": described}
			return
		}
		p.Values["path"] = described
		return
	}
	key := join(prefix, "path")
	p.Values[key], p.Values[key+".basename"], p.Values[key+".basenameNormalized"] = dir, base, Normalize(base)
	for i, s := range segments {
		p.Values[key+"["+strconv.Itoa(i)+"]"] = s
	}
	if file != "" {
		p.Values[key+".filename"], p.Values[key+".filenameNormalized"] = file, Normalize(file)
	}
}
