package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Options say what is packed.
type Options struct {
	// Dir stands for the path of the source; Root is the repository that it lies
	// in, "" is the nearest folder above with a .git, or else Dir itself.
	Dir, Root string
	// Path is the path of the source: where Dir is in the archive.
	Path string
	// Whole says that Dir may be the root of the repository, with the source at
	// Path below it.
	Whole bool
	// Include are patterns for names of files; none is all files.
	Include []string
	// Named are paths that the Application names: relative to Dir, or to Root with
	// a leading slash.
	Named []string
}

// Bounds of what is packed; the server has the same.
const (
	maxFiles    = 20_000
	maxFile     = 32 << 20
	maxExpanded = 256 << 20
	maxPacked   = 32 << 20
)

// entry is one file or link of the archive.
type entry struct {
	// from is the file on this machine; link is the target of a link.
	from, link string
	size       int64
}

// packing gathers what is packed.
type packing struct {
	Options
	dir, root, at string // absolute, absolute, clean path in the archive
	entries       map[string]entry
	seen          map[string]bool // real paths that were taken in
	queue         []string        // real paths that are still to be
	expanded      int64
}

// Pack packs a folder as tar.gz. Errors name the file and what to do.
func Pack(o Options) ([]byte, error) {
	p, err := begin(o)
	if err != nil {
		return nil, err
	}
	p.queue = append(p.queue, p.dir)
	for _, name := range o.Named {
		p.named(name)
	}
	for len(p.queue) > 0 {
		next := p.queue[0]
		p.queue = p.queue[1:]
		if err := p.take(next); err != nil {
			return nil, err
		}
	}
	return p.archive()
}

// begin finds out where the folder is.
func begin(o Options) (*packing, error) {
	p := &packing{Options: o, entries: map[string]entry{}, seen: map[string]bool{}, at: path.Clean("/" + o.Path)[1:]}
	var err error
	if p.dir, err = realFolder(o.Dir); err != nil {
		return nil, fmt.Errorf("--local: %w", err)
	}
	if o.Root == "" {
		p.root = repositoryOf(p.dir)
	} else if p.root, err = realFolder(o.Root); err != nil {
		return nil, fmt.Errorf("--local-repo-root: %w", err)
	}
	below, inside := within(p.root, p.dir)
	if !inside {
		return nil, fmt.Errorf("--local %s does not lie in --local-repo-root %s: name the root of its repository", o.Dir, o.Root)
	}
	if o.Whole && p.at != "" && below != p.at {
		if inner, err := realFolder(filepath.Join(p.dir, filepath.FromSlash(p.at))); err == nil {
			if _, inside := within(p.dir, inner); inside {
				p.root, p.dir = p.dir, inner
			}
		}
	}
	return p, nil
}

func realFolder(name string) (string, error) {
	abs, err := filepath.Abs(name)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return "", err
	}
	info, err := os.Stat(abs)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s is no folder", name)
	}
	return abs, nil
}

// repositoryOf is the nearest folder with a .git, or dir itself.
func repositoryOf(dir string) string {
	for up := dir; ; up = filepath.Dir(up) {
		if _, err := os.Lstat(filepath.Join(up, ".git")); err == nil {
			return up
		}
		if filepath.Dir(up) == up {
			return dir
		}
	}
}

// within gives the slashed path of a file below a folder; "" is the folder.
func within(folder, file string) (string, bool) {
	rel, err := filepath.Rel(folder, file)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return "", false
	}
	if rel == "." {
		return "", true
	}
	return filepath.ToSlash(rel), true
}

// place is where a file goes: relative to the source as it is relative to the
// folder, so that paths in files go on to lead where they did.
func (p *packing) place(file string) (string, error) {
	rel, err := filepath.Rel(p.dir, file)
	if err != nil {
		return "", fmt.Errorf("--local: %w", err)
	}
	joined := path.Join(p.at, filepath.ToSlash(rel))
	if joined == ".." || strings.HasPrefix(joined, "../") {
		return "", fmt.Errorf("--local: %s is named by what is rendered, but %s lies too deep for the path %q of the source: the folder must lie in its repository as the source does", file, p.dir, p.at)
	}
	return joined, nil
}

// take takes a file or a folder with all below it.
func (p *packing) take(name string) error {
	return filepath.WalkDir(name, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("--local: %w", err)
		}
		if d.IsDir() && d.Name() == ".git" || p.seen[file] && d.IsDir() && file != name {
			return filepath.SkipDir
		}
		if p.seen[file] {
			return nil
		}
		p.seen[file] = true
		switch {
		case d.IsDir():
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			return p.takeLink(file)
		case d.Type().IsRegular() && d.Name() != ".git":
			return p.takeFile(file, d)
		}
		return nil // sockets, pipes and devices are no manifests
	})
}

func (p *packing) takeFile(file string, d fs.DirEntry) error {
	if !p.included(d.Name()) {
		return nil
	}
	info, err := d.Info()
	if err != nil {
		return fmt.Errorf("--local: %w", err)
	}
	if info.Size() > maxFile {
		return fmt.Errorf("--local: %s is larger than %d MiB: leave it out with --local-include, or move it", file, maxFile>>20)
	}
	if p.expanded += info.Size(); p.expanded > maxExpanded || len(p.entries) >= maxFiles {
		return fmt.Errorf("--local: %s and what it names are more than %d files or %d MiB: name a smaller folder", p.dir, maxFiles, maxExpanded>>20)
	}
	if err := p.put(file, entry{from: file, size: info.Size()}); err != nil {
		return err
	}
	return p.follow(file, info.Size())
}

// takeLink keeps a link that stays in the repository, and takes what it leads to.
func (p *packing) takeLink(file string) error {
	target, err := filepath.EvalSymlinks(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // as in Git, it leads nowhere; whoever reads it is told
	}
	if err != nil {
		return fmt.Errorf("--local: %w", err)
	}
	if _, inside := within(p.root, target); !inside {
		return fmt.Errorf("--local: the link %s leads out of the repository %s: replace it by a file", file, p.root)
	}
	rel, err := filepath.Rel(filepath.Dir(file), target)
	if err != nil {
		return fmt.Errorf("--local: %w", err)
	}
	p.queue = append(p.queue, target)
	return p.put(file, entry{link: filepath.ToSlash(rel)})
}

func (p *packing) put(file string, e entry) error {
	name, err := p.place(file)
	if err != nil {
		return err
	}
	p.entries[name] = e
	return nil
}

func (p *packing) included(name string) bool {
	for _, pattern := range p.Include {
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return true
		}
	}
	return len(p.Include) == 0
}
