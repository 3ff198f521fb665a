package render

import (
	"bytes"
	"fmt"
	"path"

	"github.com/gobwas/glob"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Limits of a folder of plain manifests.
const (
	maxDirectoryBytes = 10 << 20
	maxDirectoryDepth = 64
	// maxPlainBytes are rendered outside a worker; parsed, YAML may take a
	// hundred times its size.
	maxPlainBytes = 512 << 10
)

// skipMark in a file keeps it from being rendered.
const skipMark = "+argocd:skip-file-rendering"

// directory renders a folder of plain manifests.
func (j *job) directory() ([]*unstructured.Unstructured, error) {
	w := &dirWalk{job: j, tree: j.Tree, base: j.Source.Path, limit: int64(maxDirectoryBytes)}
	if j.Settings.MaxDirectoryBytes > 0 {
		w.limit = j.Settings.MaxDirectoryBytes
	}
	if o := j.Source.Directory; o != nil {
		var err error
		if w.include, err = compile("include", o.Include); err != nil {
			return nil, err
		}
		if w.exclude, err = compile("exclude", o.Exclude); err != nil {
			return nil, err
		}
		w.recurse = o.Recurse
	}
	if err := w.walk("", 0); err != nil {
		return nil, err
	}
	return w.objects, nil
}

// compile reads a pattern in which * matches everything, slashes included.
func compile(field, pattern string) (glob.Glob, error) {
	if pattern == "" {
		return nil, nil //nolint:nilnil // no pattern, nothing to match
	}
	g, err := glob.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("spec.source.directory.%s: %q is not a glob: %w", field, pattern, err)
	}
	return g, nil
}

type dirWalk struct {
	job              *job
	tree             tree.Tree
	base             string
	include, exclude glob.Glob
	recurse          bool
	bytes, limit     int64
	machine          *jsonnetMachine // once it is needed
	objects          []*unstructured.Unstructured
}

func (d *dirWalk) walk(rel string, depth int) error {
	if depth > maxDirectoryDepth {
		return fmt.Errorf("%s: folders are nested more than %d levels deep, perhaps by a symbolic link", path.Join(d.base, rel), maxDirectoryDepth)
	}
	entries, err := List(d.tree, path.Join(d.base, rel), askManifests)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(rel, e.Name)
		full := path.Join(d.base, name)
		if e.Kind == tree.Symlink && (d.recurse || d.wanted(name)) {
			if e, err = d.tree.Stat(full); err != nil {
				return err
			}
		}
		switch {
		case e.Kind == tree.Dir && d.recurse:
			err = d.walk(name, depth+1)
		case e.Kind == tree.File && d.wanted(name):
			err = d.file(full)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *dirWalk) wanted(name string) bool {
	if d.exclude != nil && d.exclude.Match(name) {
		return false
	}
	if d.include != nil && !d.include.Match(name) {
		return false
	}
	return isManifest(name)
}

func (d *dirWalk) file(name string) error {
	if path.Ext(name) == ".jsonnet" {
		return d.jsonnet(name)
	}
	content, err := d.tree.ReadFile(name)
	if err != nil {
		return err
	}
	if bytes.Contains(content, []byte(skipMark)) {
		return nil
	}
	d.bytes += int64(len(content))
	switch {
	case d.bytes > d.limit:
		return fmt.Errorf("%s: the manifests of this folder exceed %d bytes: split the Application, or raise reposerver.max.combined.directory.manifests.size", name, d.limit)
	case d.job.PlainOnly && d.bytes > maxPlainBytes:
		return ErrNeedsWorker
	}
	decode := decodeLenient
	if path.Ext(name) == ".json" {
		decode = decodeJSONFile
	}
	objects, err := decode(content, name)
	d.objects = append(d.objects, objects...)
	return err
}

func (d *dirWalk) jsonnet(name string) error {
	switch {
	case d.job.Settings.JsonnetDisabled:
		return nil
	case d.job.PlainOnly:
		return ErrNeedsWorker
	}
	if d.machine == nil {
		var err error
		if d.machine, err = d.job.jsonnet(); err != nil {
			return err
		}
	}
	objects, err := d.machine.file(name)
	d.objects = append(d.objects, objects...)
	return err
}

// decodeLenient ignores a file that is not a manifest at all, but not a
// manifest that is broken.
func decodeLenient(content []byte, name string) ([]*unstructured.Unstructured, error) {
	objects, err := Decode(content, name)
	if err == nil || len(objects) > 0 {
		return objects, err
	}
	for _, mark := range []string{"apiVersion:", "kind:", "metadata:"} {
		if !bytes.Contains(content, []byte(mark)) {
			return nil, nil
		}
	}
	return nil, err
}
