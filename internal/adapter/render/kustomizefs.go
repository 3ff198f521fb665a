package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	ktypes "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// virtual starts the names of files that only kustomize sees.
const virtual = ".sluice-"

// treeFS lets kustomize read from a tree, whose root is "/". Kustomize calls
// CleanedAbs and ReadFile; whatever else it may call finds an empty folder.
type treeFS struct {
	filesys.FileSystem
	job *job
	// overlay holds edited and made files by real path, mounts the trees of
	// other repositories by the folder in which they are seen.
	overlay map[string][]byte
	mounts  map[string]tree.Tree
	// kustomizations are the real paths that were found by the name of one.
	kustomizations map[string]bool
	failure        error
}

func newTreeFS(j *job) *treeFS {
	return &treeFS{
		FileSystem: filesys.MakeFsInMemory(), job: j, overlay: map[string][]byte{}, mounts: map[string]tree.Tree{}, kustomizations: map[string]bool{},
	}
}

// fail keeps the first error that kustomize would hide.
func (f *treeFS) fail(err error) error {
	if f.failure == nil && !errors.Is(err, tree.ErrNotExist) {
		f.failure = err
	}
	return err
}

// under gives the tree in which a path lies, and the folder it is seen in.
func (f *treeFS) under(clean string) (t tree.Tree, mount, rest string) {
	head, below, _ := strings.Cut(clean, "/")
	if t, ok := f.mounts[head]; ok {
		return t, head, below
	}
	return f.job.Tree, "", clean
}

func (f *treeFS) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	clean := path.Join("/", name)[1:]
	if _, made := f.overlay[clean]; made && strings.HasPrefix(path.Base(clean), virtual) {
		return filesys.ConfirmedDir(path.Dir("/" + clean)), path.Base(clean), nil
	}
	t, mount, rest := f.under(clean)
	real, err := RealPath(t, rest)
	if err != nil {
		return "", "", f.fail(err)
	}
	e, err := t.Stat(real)
	if err != nil {
		return "", "", f.fail(err)
	}
	real = path.Join(mount, real)
	abs := path.Join("/", real)
	if e.Kind == tree.Dir {
		return filesys.ConfirmedDir(abs), "", nil
	}
	if slices.Contains(kustomizationNames, path.Base(clean)) {
		f.kustomizations[real] = true
	}
	return filesys.ConfirmedDir(path.Dir(abs)), path.Base(abs), nil
}

func (f *treeFS) stat(name string) (tree.Entry, error) {
	clean := path.Join("/", name)[1:]
	if _, made := f.overlay[clean]; made {
		return tree.Entry{Name: path.Base(clean), Kind: tree.File}, nil
	}
	t, _, rest := f.under(clean)
	return t.Stat(rest)
}

func (f *treeFS) Exists(name string) bool {
	_, err := f.stat(name)
	return err == nil
}

func (f *treeFS) IsDir(name string) bool {
	e, err := f.stat(name)
	return err == nil && e.Kind == tree.Dir
}

func (f *treeFS) ReadFile(name string) ([]byte, error) {
	clean := path.Join("/", name)[1:]
	content, edited := f.overlay[clean]
	if !edited {
		var err error
		t, _, rest := f.under(clean)
		content, err = t.ReadFile(rest)
		if errors.Is(err, tree.ErrNotExist) {
			return nil, &os.PathError{Op: "open", Path: clean, Err: os.ErrNotExist}
		}
		if err != nil {
			return nil, f.fail(err)
		}
	}
	if f.kustomizations[clean] || slices.Contains(kustomizationNames, path.Base(clean)) {
		served, err := f.serveKustomization(content, clean)
		if err != nil {
			return nil, f.fail(err)
		}
		return served, nil
	}
	if err := vetPlugins(content, clean); err != nil {
		return nil, f.fail(err)
	}
	return content, nil
}

// remote recognises what kustomize would fetch from a network: URLs, and for
// folders also the short forms of Git repositories.
var (
	remoteFile   = regexp.MustCompile(`(?i)^[a-z][a-z0-9+.-]*://`)
	remoteFolder = regexp.MustCompile(`(?i)^((git::)?([a-z][a-z0-9+.-]*://|[a-z][a-z0-9-]*@|github\.com[/:])|git::)`)
)

// serveKustomization gives kustomize a kustomization in which charts and
// remote folders are replaced by what they stand for. It refuses one that would
// read from outside the tree, start a program or change how others are built.
// It decodes as kustomize does, which takes field names in any case.
func (f *treeFS) serveKustomization(content []byte, name string) ([]byte, error) {
	var k ktypes.Kustomization
	if err := k.Unmarshal(content); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	k.FixKustomization()
	if len(k.OpenAPI) > 0 {
		if !f.job.Disposable {
			return nil, fmt.Errorf("%s: field openapi is not available here: it would change how other kustomizations are built", name)
		}
		f.job.spent = true
	}
	mounted, err := f.fetchRemote(&k, name)
	if err != nil {
		return nil, err
	}
	for field, list := range map[string][]string{"resources": k.Resources, "components": k.Components} {
		for _, entry := range list {
			if err := f.vetEntry(name, field, entry); err != nil {
				return nil, err
			}
		}
	}
	for field, list := range map[string][]string{"generators": k.Generators, "transformers": k.Transformers, "validators": k.Validators} {
		for _, entry := range list {
			if strings.Contains(entry, "\n") {
				if err := vetPlugins([]byte(entry), name); err != nil {
					return nil, err
				}
			} else if remoteFolder.MatchString(entry) {
				return nil, refuseRemote(name, field, entry)
			}
		}
	}
	if err := vetPaths(k, name); err != nil {
		return nil, err
	}
	expanded, err := f.expandCharts(&k, name)
	if err != nil || !mounted && !expanded {
		return content, err
	}
	return yaml.Marshal(k)
}

// vetEntry checks that a resource is in the tree.
func (f *treeFS) vetEntry(name, field, entry string) error {
	_, err := f.stat(path.Join(path.Dir(name), entry))
	if errors.Is(err, tree.ErrNotExist) {
		return fmt.Errorf("%s: field %s: %q does not exist in the repository: add it, or remove the entry", name, field, entry)
	}
	return nil // anything else kustomize will say
}

func refuseRemote(name, field, entry string) error {
	return fmt.Errorf("%s: field %s: %q is remote, which is not allowed: copy it into the repository", name, field, withoutQuery(entry))
}

// vetPlugins checks a file that may configure a built-in plugin of kustomize.
func vetPlugins(content []byte, name string) error {
	if !bytes.Contains(content, []byte("builtin")) && !bytes.Contains(content, []byte(`\`)) {
		return nil // no plugin, not even one written in escapes
	}
	for _, d := range split(content) {
		var value map[string]any
		if yaml.Unmarshal(d.content, &value) != nil {
			continue // not YAML: a plain file of a generator
		}
		for key, v := range value {
			if strings.EqualFold(key, "apiVersion") && v == "builtin" {
				if err := vetPaths(value, name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// pathFields hold names of files, in kustomizations and plugins.
var pathFields = []string{
	"path", "paths", "files", "env", "envs", "crds", "configurations", "patchesStrategicMerge", "resources", "transformers", "generators",
}

// vetPaths refuses URLs in all fields of a value that name files.
func vetPaths(value any, name string) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var plain any
	if err := json.Unmarshal(raw, &plain); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return vetTree(plain, name, "")
}

func vetTree(value any, name, field string) error {
	switch v := value.(type) {
	case map[string]any:
		for key, x := range v {
			if err := vetTree(x, name, key); err != nil {
				return err
			}
		}
	case []any:
		for _, x := range v {
			if err := vetTree(x, name, field); err != nil {
				return err
			}
		}
	case string:
		if !slices.ContainsFunc(pathFields, func(f string) bool { return strings.EqualFold(f, field) }) {
			return nil
		}
		_, file, named := strings.Cut(v, "=") // files: key=name
		if remoteFile.MatchString(v) || named && remoteFile.MatchString(file) {
			return refuseRemote(name, field, v)
		}
	}
	return nil
}
