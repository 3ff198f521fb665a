package tree

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"path"
)

// Packing says what of a tree goes into an archive.
type Packing struct {
	// Root is the folder that becomes the root of the archive.
	Root string
	// Exclude are patterns of path.Match against whole paths; a folder that
	// matches is left out with all below it.
	Exclude []string
	// Bytes bounds the content.
	Bytes int64
}

// Tar writes a gzipped tar archive of a tree: folders and files; a link to a
// file is packed as that file. It gives the number of files.
func Tar(w io.Writer, t Tree, p Packing) (files int, err error) {
	for _, pattern := range p.Exclude {
		if _, err := path.Match(pattern, "x"); err != nil {
			return 0, fmt.Errorf("exclusion %q is not a pattern: %w", pattern, err)
		}
	}
	z := gzip.NewWriter(w)
	k := &packer{tree: t, packing: p, out: tar.NewWriter(z)}
	if err := k.folder("."); err != nil {
		return 0, err
	}
	if err := k.out.Close(); err != nil {
		return 0, err
	}
	return k.files, z.Close()
}

type packer struct {
	tree    Tree
	packing Packing
	out     *tar.Writer
	files   int
	bytes   int64
}

func (k *packer) excluded(name string) bool {
	for _, pattern := range k.packing.Exclude {
		if ok, _ := path.Match(pattern, name); ok {
			return true
		}
	}
	return false
}

func (k *packer) folder(name string) error {
	entries, err := k.tree.ReadDir(path.Join(k.packing.Root, name))
	if err != nil {
		return err
	}
	for _, e := range entries {
		below := path.Join(name, e.Name)
		if k.excluded(below) {
			continue
		}
		switch e.Kind {
		case Dir:
			if err := k.out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: below + "/", Mode: 0o755}); err != nil {
				return err
			}
			err = k.folder(below)
		case File:
			err = k.file(below)
		case Symlink:
			err = k.link(below)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (k *packer) file(name string) error {
	content, err := k.tree.ReadFile(path.Join(k.packing.Root, name))
	if err != nil {
		return err
	}
	if k.bytes += int64(len(content)); k.packing.Bytes > 0 && k.bytes > k.packing.Bytes {
		return fmt.Errorf("the files have more than %d bytes", k.packing.Bytes)
	}
	k.files++
	if err := k.out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		return err
	}
	_, err = k.out.Write(content)
	return err
}

// link packs a link as what it leads to when that is a file; links to folders
// and out of the tree are left out.
func (k *packer) link(name string) error {
	e, err := k.tree.Stat(path.Join(k.packing.Root, name))
	if err != nil || e.Kind != File {
		return nil //nolint:nilerr // a link that leads nowhere is no file
	}
	return k.file(name)
}
