package render

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/strvals"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// values merges value files, values and parameters; later ones win.
func (j *job) values(o v1alpha1.SourceHelm) (map[string]any, error) {
	values := map[string]any{}
	files, err := j.valueFiles(o)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		content, err := j.read(f)
		if errors.Is(err, tree.ErrNotExist) && o.IgnoreMissingValueFiles {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("spec.source.helm.valueFiles: %w", err)
		}
		layer, err := loader.LoadValues(bytes.NewReader(content))
		if err != nil {
			return nil, fmt.Errorf("%s: not valid YAML: %w", first(f.path, withoutQuery(f.url)), errors.Unwrap(err))
		}
		values = loader.MergeMaps(values, layer)
	}
	inline, field := []byte(o.Values), "values"
	if o.ValuesObject != nil && len(o.ValuesObject.Raw) > 0 {
		inline, field = o.ValuesObject.Raw, "valuesObject"
	}
	layer, err := loader.LoadValues(bytes.NewReader(inline))
	if err != nil {
		return nil, fmt.Errorf("spec.source.helm.%s: not valid YAML: %w", field, errors.Unwrap(err))
	}
	values = loader.MergeMaps(values, layer)
	if err := j.parameters(o, values); err != nil {
		return nil, err
	}
	return values, nil
}

// parameters sets single values: plain ones, then strings, then files. Of two
// with the same name the later one counts.
func (j *job) parameters(o v1alpha1.SourceHelm, values map[string]any) error {
	for _, asString := range []bool{false, true} {
		parse := strvals.ParseInto
		if asString {
			parse = strvals.ParseIntoString
		}
		for i, p := range o.Parameters {
			later := slices.ContainsFunc(o.Parameters[i+1:], func(x v1alpha1.HelmParameter) bool { return x.Name == p.Name })
			if p.ForceString != asString || later {
				continue
			}
			if err := parse(p.Name+"="+escapeCommas(j.substitute(p.Value)), values); err != nil {
				return fmt.Errorf("spec.source.helm.parameters: %s: %w", p.Name, err)
			}
		}
	}
	for _, p := range o.FileParameters {
		file, err := j.locate(p.Path)
		if err != nil {
			return fmt.Errorf("spec.source.helm.fileParameters: %s: %w", p.Name, err)
		}
		content, err := j.read(file)
		if err != nil {
			return fmt.Errorf("spec.source.helm.fileParameters: %s: %w", p.Name, err)
		}
		read := func([]rune) (any, error) { return string(content), nil }
		if err := strvals.ParseIntoFile(p.Name+"=file", values, read); err != nil {
			return fmt.Errorf("spec.source.helm.fileParameters: %s: %w", p.Name, err)
		}
	}
	return nil
}

// escapeCommas keeps a comma inside a value from starting the next one,
// unless the value is a list in braces.
func escapeCommas(value string) string {
	if strings.HasPrefix(value, "{") && strings.HasSuffix(value, "}") {
		return value
	}
	var b strings.Builder
	for i := range len(value) {
		if value[i] == ',' && (i == 0 || value[i-1] != '\\') {
			b.WriteByte('\\')
		}
		b.WriteByte(value[i])
	}
	return b.String()
}

// located is a file in the tree of a source.
type located struct {
	tree tree.Tree
	path string
	// url, instead, is where a file of another place is fetched from.
	url string
}

func (j *job) read(l located) ([]byte, error) {
	if l.url != "" {
		content, err := j.remote().File(j.ctx, l.url)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", withoutQuery(l.url), err)
		}
		return content, nil
	}
	return l.tree.ReadFile(l.path)
}

// withoutQuery leaves out of a URL what may hold a secret.
func withoutQuery(url string) string {
	url, _, _ = strings.Cut(url, "?")
	scheme, rest, ok := strings.Cut(url, "://")
	if host, path, _ := strings.Cut(rest, "/"); ok && strings.Contains(host, "@") {
		return scheme + "://" + host[strings.LastIndex(host, "@")+1:] + "/" + path
	}
	return url
}

// locate finds a file beside the chart, from the root with a leading slash,
// or in another source with $ref/.
func (j *job) locate(name string) (located, error) {
	if dollar, ok := strings.CutPrefix(name, "$"); ok && !strings.HasPrefix(name, "${") {
		ref, rest, _ := strings.Cut(dollar, "/")
		if t, known := j.Refs[ref]; known {
			return located{tree: t, path: path.Clean(strings.TrimLeft(j.substitute(rest), "/"))}, nil
		}
		if _, isVariable := variables[ref]; !isVariable {
			return located{}, fmt.Errorf("source referenced %q, but no source has a 'ref' field defined", "$"+ref)
		}
	}
	name = j.substitute(name)
	if scheme, _, isURL := strings.Cut(name, "://"); isURL {
		allowed := j.Settings.ValuesSchemes
		if allowed == nil {
			allowed = []string{"https", "http"}
		}
		if scheme = strings.ToLower(scheme); !slices.Contains(allowed, scheme) || scheme != "https" && scheme != "http" {
			return located{}, refuseScheme("value file", withoutQuery(name), allowed)
		}
		return located{url: name}, nil
	}
	if strings.HasPrefix(name, "/") {
		return located{tree: j.Tree, path: path.Clean(strings.TrimLeft(name, "/"))}, nil
	}
	return located{tree: j.Tree, path: path.Join(j.Source.Path, name)}, nil
}

// valueFiles are the files to read, in order, with patterns expanded. A file
// that is named by itself is left out of patterns, and none comes twice from
// patterns.
func (j *job) valueFiles(o v1alpha1.SourceHelm) ([]located, error) {
	named := map[string]bool{}
	all := make([]located, len(o.ValueFiles))
	for i, name := range o.ValueFiles {
		file, err := j.locate(name)
		if err != nil {
			return nil, fmt.Errorf("spec.source.helm.valueFiles: %w", err)
		}
		all[i] = file
		if file.url != "" || !isPattern(file.path) {
			named[file.key()] = true
		}
	}
	var out []located
	for _, file := range all {
		if file.url != "" || !isPattern(file.path) {
			out = append(out, file)
			continue
		}
		matches, err := match(file.tree, "", strings.Split(file.path, "/"))
		if err != nil {
			return nil, fmt.Errorf("spec.source.helm.valueFiles: %s: %w", file.path, err)
		}
		if len(matches) == 0 && !o.IgnoreMissingValueFiles {
			return nil, fmt.Errorf("values file glob %q matched no files", file.path)
		}
		for _, m := range matches {
			one := located{tree: file.tree, path: m}
			if !named[one.key()] {
				named[one.key()] = true
				out = append(out, one)
			}
		}
	}
	return out, nil
}

func (l located) key() string { return fmt.Sprintf("%p %s%s", l.tree, l.path, l.url) }

func isPattern(name string) bool { return strings.ContainsAny(name, "*?[") }

// match finds the files of a pattern in lexical order; ** stands for any
// number of folders, and does not follow links.
func match(t tree.Tree, dir string, pattern []string) ([]string, error) {
	head, rest := pattern[0], pattern[1:]
	if !isPattern(head) && len(rest) > 0 {
		return match(t, path.Join(dir, head), rest)
	}
	entries, err := t.ReadDir(dir)
	if errors.Is(err, tree.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	if head == "**" && len(rest) > 0 {
		if out, err = match(t, dir, rest); err != nil {
			return nil, err
		}
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name)
		var found []string
		ok, err := path.Match(head, e.Name)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%q is not a pattern: %w", head, err)
		case head == "**" && e.Kind == tree.Dir:
			found, err = match(t, name, pattern)
		case len(rest) == 0 && (ok || head == "**"):
			found, err = fileAt(t, name, e)
		case ok && len(rest) > 0 && isFolder(t, name, e):
			found, err = match(t, name, rest)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func isFolder(t tree.Tree, name string, e tree.Entry) bool {
	if e.Kind == tree.Symlink {
		e, _ = t.Stat(name) // a link that leads nowhere matches nothing
	}
	return e.ID != "" && e.Kind == tree.Dir
}

// fileAt is the path itself when there is a file.
func fileAt(t tree.Tree, name string, e tree.Entry) ([]string, error) {
	if e.Kind == tree.Symlink {
		var err error
		if e, err = t.Stat(name); err != nil {
			return nil, err
		}
	}
	if e.Kind != tree.File {
		return nil, nil
	}
	return []string{name}, nil
}
