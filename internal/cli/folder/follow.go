package folder

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// maxRead bounds the files that are looked through for paths.
const maxRead = 1 << 20

// telling says that a file names others: kustomizations, charts, jsonnet.
func telling(name string) bool {
	switch strings.ToLower(filepath.Base(name)) {
	case "kustomization.yaml", "kustomization.yml", "kustomization", "chart.yaml", "requirements.yaml":
		return true
	}
	return strings.HasSuffix(name, ".jsonnet") || strings.HasSuffix(name, ".libsonnet")
}

// follow looks through a file for paths that lead out of the folder, and takes
// what is there. What a path means is known to the tool that renders: a word
// that looks like one, and leads to something in the repository, is taken.
func (p *packing) follow(file string, size int64) error {
	if !telling(file) || size > maxRead {
		return nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("--local: %w", err)
	}
	for _, word := range strings.FieldsFunc(string(raw), func(r rune) bool { return strings.ContainsRune(" \t\r\n\"'`,[]{}()=;", r) }) {
		word = strings.TrimPrefix(word, "file://")
		if strings.HasPrefix(word, "../") || word == ".." || strings.Contains(word, "/../") {
			p.reach(filepath.Join(filepath.Dir(file), filepath.FromSlash(word)))
		}
	}
	return nil
}

// named takes what the Application names.
func (p *packing) named(name string) {
	base := p.dir
	if strings.HasPrefix(name, "/") {
		base = p.root
	}
	matches, err := filepath.Glob(filepath.Join(base, filepath.FromSlash(name)))
	if err != nil {
		return // whoever reads it says that it is no pattern
	}
	for _, m := range matches {
		p.reach(m)
	}
}

// reach takes a file or folder of the repository that is not taken yet. Folders
// above the one that is packed are not: they are named to say where a repository
// begins.
func (p *packing) reach(name string) {
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		return // it is not there: whoever reads it is told
	}
	if _, inside := within(p.root, target); !inside {
		return
	}
	if _, above := within(target, p.dir); !above {
		p.queue = append(p.queue, target)
	}
}

// archive writes the entries, sorted, without times and owners: the same folder
// is always the same archive.
func (p *packing) archive() ([]byte, error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	t := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(p.entries)) {
		if err := p.entries[name].write(t, name); err != nil {
			return nil, err
		}
		if out.Len() > maxPacked {
			return nil, fmt.Errorf("--local: %s and what it names are more than %d MiB when packed: name a smaller folder", p.dir, maxPacked>>20)
		}
	}
	if err := t.Close(); err != nil {
		return nil, fmt.Errorf("--local: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("--local: %w", err)
	}
	if out.Len() > maxPacked {
		return nil, fmt.Errorf("--local: %s and what it names are more than %d MiB when packed: name a smaller folder", p.dir, maxPacked>>20)
	}
	return out.Bytes(), nil
}

func (e entry) write(t *tar.Writer, name string) error {
	if e.link != "" {
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: e.link, Mode: 0o777, Format: tar.FormatPAX}); err != nil {
			return fmt.Errorf("--local: %s: %w", name, err)
		}
		return nil
	}
	f, err := os.Open(e.from)
	if err != nil {
		return fmt.Errorf("--local: %w", err)
	}
	defer func() { _ = f.Close() }()
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: e.size, Mode: 0o644, Format: tar.FormatPAX}); err != nil {
		return fmt.Errorf("--local: %s: %w", name, err)
	}
	if _, err := io.CopyN(t, f, e.size); err != nil {
		return fmt.Errorf("--local: %s changes while it is read: %w", e.from, err)
	}
	return nil
}

// NamedBy are the paths that a source names outside of its folder, or may.
func NamedBy(s *v1alpha1.ApplicationSource) []string {
	var all []string
	if h := s.Helm; h != nil {
		all = append(all, h.ValueFiles...)
		for _, f := range h.FileParameters {
			all = append(all, f.Path)
		}
	}
	if k := s.Kustomize; k != nil {
		all = append(all, k.Components...)
	}
	if d := s.Directory; d != nil {
		for _, lib := range d.Jsonnet.Libs {
			all = append(all, "/"+lib) // they count from the root
		}
	}
	return slices.DeleteFunc(all, func(name string) bool {
		return name == "" || strings.HasPrefix(name, "$") || strings.Contains(name, "://")
	})
}
