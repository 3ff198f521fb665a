package tree

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// Limits of an archive that is unpacked. Zero fields take the defaults.
type Limits struct {
	// Packed and Expanded are bytes (100 MiB and 1 GiB), File those of one
	// file (64 MiB), Entries a count (20,000).
	Packed, Expanded, File int64
	Entries                int
	// Ratio is how many times larger the content may be than the archive,
	// beyond the first 10 MiB (100).
	Ratio int64
}

func (l Limits) withDefaults() Limits {
	for value, standard := range map[*int64]int64{&l.Packed: 100 << 20, &l.Expanded: 1 << 30, &l.File: 64 << 20, &l.Ratio: 100} {
		if *value == 0 {
			*value = standard
		}
	}
	if l.Entries == 0 {
		l.Entries = 20_000
	}
	return l
}

// ratioGrace is how much an archive of any size may expand to.
const ratioGrace = 10 << 20

// Untar reads a tar archive, gzipped or not. The first strip names of every
// path are dropped. Hard links, devices, absolute and parent paths are
// refused; symbolic links are kept and never followed while unpacking.
func Untar(r io.Reader, strip int, limits Limits) (*Builder, error) {
	u := &untar{limits: limits.withDefaults(), strip: strip, into: NewBuilder()}
	u.packed = &counter{r: r, left: u.limits.Packed}
	head := make([]byte, 2)
	n, err := io.ReadFull(u.packed, head)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", u.reason(err))
	}
	content := io.MultiReader(strings.NewReader(string(head[:n])), u.packed)
	if head[0] == 0x1f && head[1] == 0x8b {
		z, err := gzip.NewReader(content)
		if err != nil {
			return nil, fmt.Errorf("archive: %w", u.reason(err))
		}
		content = z
	}
	if err := u.all(tar.NewReader(&expansion{u: u, r: content})); err != nil {
		return nil, fmt.Errorf("archive: %w", u.reason(err))
	}
	return u.into, nil
}

type untar struct {
	limits   Limits
	strip    int
	packed   *counter
	expanded int64
	entries  int
	into     *Builder
}

func (u *untar) reason(err error) error {
	if u.packed.left < 0 {
		return fmt.Errorf("has more than %d bytes", u.limits.Packed)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("is cut short")
	}
	return err
}

func (u *untar) all(t *tar.Reader) error {
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if u.entries++; u.entries > u.limits.Entries {
			return fmt.Errorf("has more than %d entries", u.limits.Entries)
		}
		if err := u.one(t, h); err != nil {
			return fmt.Errorf("%q: %w", h.Name, err)
		}
	}
}

func (u *untar) one(t *tar.Reader, h *tar.Header) error {
	switch h.Typeflag {
	case tar.TypeXGlobalHeader, tar.TypeXHeader:
		return nil
	}
	if strings.HasPrefix(h.Name, "/") || strings.Contains(h.Name, `\`) {
		return ErrAbsolute
	}
	parts := strings.Split(h.Name, "/")
	if slices.Contains(parts, "..") {
		return ErrOutside
	}
	parts, err := Parts(h.Name)
	if err != nil {
		return err
	}
	if len(parts) <= u.strip {
		if h.Typeflag == tar.TypeDir {
			return nil
		}
		return errors.New("lies above the folder that is unpacked")
	}
	name := path.Join(parts[u.strip:]...)
	switch h.Typeflag {
	case tar.TypeDir:
		return u.into.Folder(name)
	case tar.TypeSymlink:
		return u.into.Link(name, h.Linkname)
	case tar.TypeReg:
		if h.Size > u.limits.File {
			return fmt.Errorf("has %d bytes, at most %d are allowed", h.Size, u.limits.File)
		}
		content, err := io.ReadAll(t)
		if err != nil {
			return err
		}
		return u.into.Add(name, content)
	}
	return fmt.Errorf("is of type %q: only files, folders and symbolic links are allowed", h.Typeflag)
}

// counter counts down the bytes of an archive.
type counter struct {
	r    io.Reader
	read int64
	left int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.read += int64(n)
	if c.left -= int64(n); c.left < 0 {
		return 0, errors.New("archive too large")
	}
	return n, err
}

// expansion bounds what an archive expands to, padding included.
type expansion struct {
	u *untar
	r io.Reader
}

func (e *expansion) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.u.expanded += int64(n)
	switch u := e.u; {
	case u.expanded > u.limits.Expanded:
		return 0, fmt.Errorf("expands to more than %d bytes", u.limits.Expanded)
	case u.expanded > ratioGrace && u.expanded/u.limits.Ratio > u.packed.read:
		return 0, fmt.Errorf("expands to more than %d times its size", u.limits.Ratio)
	}
	return n, err
}
