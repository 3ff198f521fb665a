package remote

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Chart names a chart in a repository.
type Chart struct {
	Repository repo.Repository
	Name       string
	// Versions is a version or a range; empty is the newest.
	Versions string
	// PassCredentials sends the credential of the repository to other hosts
	// that its index names, too (helm.passCredentials).
	PassCredentials bool
}

// version is one entry of an index.
type version struct {
	Name    string   `json:"name"`
	Version string   `json:"version"`
	URLs    []string `json:"urls"`
	Digest  string   `json:"digest"`
}

// ResolveChart gives the version that a range means. An exact version is not
// looked up (spec/application.md §6.3).
func (f *Fetcher) ResolveChart(ctx context.Context, c Chart) (string, error) {
	if exact(c.Versions) {
		return c.Versions, nil
	}
	var versions []string
	if IsOCI(c.Repository) {
		var err error
		if versions, err = f.tags(ctx, c.Repository, chartReference(c)); err != nil {
			return "", c.explain(err)
		}
	} else {
		entries, err := f.entries(ctx, c)
		if err != nil {
			return "", c.explain(err)
		}
		for _, e := range entries {
			versions = append(versions, e.Version)
		}
	}
	found, err := newest(versions, c.Versions)
	if err != nil {
		return "", c.explain(err)
	}
	return found, nil
}

func (c Chart) explain(err error) error {
	return fmt.Errorf("chart %s of %s: %w", c.Name, redact(c.Repository.URL), err)
}

// exact says that a text is one version, with or without "v" and patch.
func exact(text string) bool {
	_, err := semver.NewVersion(text)
	return err == nil
}

// newest is the highest version in a range; what is no version is passed over.
func newest(versions []string, constraint string) (string, error) {
	if constraint == "" {
		constraint = "*"
	}
	if slices.Contains(versions, constraint) {
		return constraint, nil
	}
	within, err := semver.NewConstraint(constraint)
	if err != nil {
		return "", fmt.Errorf("%q is neither a version nor a range of versions", constraint)
	}
	var best *semver.Version
	for _, text := range versions {
		v, err := semver.NewVersion(text)
		if err == nil && within.Check(v) && (best == nil || v.GreaterThan(best)) {
			best = v
		}
	}
	if best == nil {
		return "", fmt.Errorf("version matching constraint %q not found in %d versions", constraint, len(versions))
	}
	return best.Original(), nil
}

// Chart fetches a chart; the revision of the tree is its version.
func (f *Fetcher) Chart(ctx context.Context, c Chart) (tree.Tree, error) {
	found, err := f.ResolveChart(ctx, c)
	if err != nil {
		return nil, err
	}
	t, err := once(f, c.Repository, []string{"chart", c.Name, found}, func() (tree.Tree, item, error) {
		raw, err := f.archive(ctx, c, found)
		if err != nil {
			return nil, item{}, err
		}
		b, err := tree.Untar(bytes.NewReader(raw), 1, f.tuning().Charts)
		if err != nil {
			return nil, item{}, err
		}
		return b.Build(found), item{size: int64(4 * len(raw))}, nil
	})
	if err != nil {
		return nil, Chart{Repository: c.Repository, Name: c.Name + " " + found}.explain(err)
	}
	return t, nil
}

// archive reads a chart's archive from disk or from the repository.
func (f *Fetcher) archive(ctx context.Context, c Chart, found string) ([]byte, error) {
	name := identity(c.Repository, "archive", c.Name, found) + ".tgz"
	if raw, err := os.ReadFile(filepath.Join(f.options.Dir, name)); err == nil {
		if whole, ok := verified(raw); ok {
			return whole, nil
		}
	}
	var raw []byte
	var err error
	if IsOCI(c.Repository) {
		raw, err = f.chartLayer(ctx, c, found)
	} else {
		raw, err = f.download(ctx, c, found)
	}
	f.count("chart", err)
	if err != nil {
		return nil, err
	}
	if err := f.keep(name, sealed(raw)); err != nil {
		f.options.Log.Warn("chart not kept on disk", "error", err.Error())
	}
	f.sweep()
	return raw, nil
}

// sealed puts the digest in front, so that a damaged file is seen.
func sealed(raw []byte) []byte {
	sum := sha256.Sum256(raw)
	return append(sum[:], raw...)
}

func verified(file []byte) ([]byte, bool) {
	if len(file) < sha256.Size {
		return nil, false
	}
	sum := sha256.Sum256(file[sha256.Size:])
	return file[sha256.Size:], bytes.Equal(sum[:], file[:sha256.Size])
}

// sweep removes the oldest files when there are too many bytes.
func (f *Fetcher) sweep() {
	entries, err := os.ReadDir(f.options.Dir)
	if err != nil {
		return
	}
	var files []os.FileInfo
	var total int64
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			files, total = append(files, info), total+info.Size()
		}
	}
	slices.SortFunc(files, func(a, b os.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, one := range files {
		if total <= f.options.DiskBytes {
			return
		}
		if os.Remove(filepath.Join(f.options.Dir, one.Name())) == nil {
			total -= one.Size()
		}
	}
}

func (f *Fetcher) download(ctx context.Context, c Chart, found string) ([]byte, error) {
	entries, err := f.entries(ctx, c)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(entries, func(v version) bool { return sameVersion(v.Version, found) })
	if at < 0 {
		return nil, errors.New("this version is not in the index of the repository")
	}
	e := entries[at]
	if len(e.URLs) == 0 {
		return nil, errors.New("the index names no URL for this version")
	}
	base, err := url.Parse(strings.TrimSuffix(c.Repository.URL, "/") + "/")
	if err != nil {
		return nil, errors.New("the repository is not a URL")
	}
	target, err := base.Parse(e.URLs[0])
	if err != nil || target.Scheme != "https" && target.Scheme != "http" {
		return nil, errors.New("the index names something that is no http URL")
	}
	client, err := f.client(c.Repository, origin(target) != origin(base))
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	var out bytes.Buffer
	limit := f.tuning().Charts.Packed
	if limit == 0 {
		limit = 100 << 20
	}
	if _, err := f.get(ctx, client, request{url: target.String(), limit: limit, authorize: authorize(c.Repository, origin(base), c.PassCredentials)}, &out); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(out.Bytes())
	if want := strings.TrimPrefix(e.Digest, "sha256:"); want != "" && !strings.EqualFold(want, hex.EncodeToString(sum[:])) {
		return nil, errors.New("the archive does not have the digest that the index names")
	}
	return out.Bytes(), nil
}

func sameVersion(a, b string) bool {
	if a == b {
		return true
	}
	x, err := semver.NewVersion(a)
	if err != nil {
		return false
	}
	y, err := semver.NewVersion(b)
	return err == nil && x.Equal(y) && x.Metadata() == y.Metadata()
}

// entries are the versions of a chart in the index of its repository.
func (f *Fetcher) entries(ctx context.Context, c Chart) ([]version, error) {
	return once(f, c.Repository, []string{"entries", c.Name}, func() ([]version, item, error) {
		file, err := f.index(ctx, c.Repository)
		if err != nil {
			return nil, item{}, fmt.Errorf("index.yaml: %w", err)
		}
		entries, err := readIndex(file, c.Name)
		if err != nil {
			return nil, item{}, fmt.Errorf("index.yaml: %w", err)
		}
		if len(entries) == 0 {
			return nil, item{}, errors.New("the repository has no chart of this name")
		}
		return entries, item{until: f.until(), size: int64(300 * len(entries))}, nil
	})
}

// index brings the file of a repository's index up to date and gives its path.
func (f *Fetcher) index(ctx context.Context, r repo.Repository) (string, error) {
	return once(f, r, []string{"index"}, func() (string, item, error) {
		name := identity(r, "index") + ".yaml"
		file := filepath.Join(f.options.Dir, name)
		etag := ""
		if known, err := os.ReadFile(file + ".etag"); err == nil {
			if _, err := os.Stat(file); err == nil {
				etag = string(known)
			}
		}
		c, err := f.client(r, false)
		if err != nil {
			return "", item{}, err
		}
		defer c.CloseIdleConnections()
		at, err := url.Parse(strings.TrimSuffix(r.URL, "/") + "/index.yaml")
		if err != nil || at.Scheme != "https" && at.Scheme != "http" {
			return "", item{}, errors.New("the repository is not an http URL")
		}
		next, err := os.CreateTemp(f.options.Dir, ".index-")
		if err != nil {
			return "", item{}, err
		}
		defer func() { _ = os.Remove(next.Name()) }()
		head, err := f.get(ctx, c, request{url: at.String(), etag: etag, limit: f.options.MaxIndex, authorize: authorize(r, origin(at), false)}, next)
		f.count("index", err)
		if err = errors.Join(err, next.Close()); err != nil {
			return "", item{}, err
		}
		if !head.unchanged {
			if err := os.Rename(next.Name(), file); err != nil {
				return "", item{}, err
			}
			if err := f.keep(name+".etag", []byte(head.etag)); err != nil {
				return "", item{}, err
			}
		}
		return file, item{until: f.until(), size: 100}, nil
	})
}

// maxParsedIndex is the size of an index that is parsed as a whole when it is
// not written as helm writes it.
const maxParsedIndex = 32 << 20

// readIndex finds the versions of one chart. An index as helm writes it is
// read line by line; any other is parsed.
func readIndex(file, name string) ([]version, error) {
	in, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	block, err := findBlock(in, name)
	if err != nil {
		return nil, err
	}
	if block != nil {
		var out map[string][]version
		if err := yaml.Unmarshal(block, &out); err == nil {
			return out[name], nil
		}
	}
	info, err := in.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxParsedIndex {
		return nil, nil // written as helm does, and without the chart
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var whole struct {
		Entries map[string][]version `json:"entries"`
	}
	if err := yaml.Unmarshal(raw, &whole); err != nil {
		return nil, errors.New("is not the index of a Helm repository")
	}
	return whole.Entries[name], nil
}

// findBlock gives the lines of a chart below "entries:", nil when there are
// none of the usual form.
func findBlock(in io.Reader, name string) ([]byte, error) {
	lines := bufio.NewReaderSize(in, 64<<10)
	var out []byte
	inside, found := false, false
	for {
		line, err := lines.ReadSlice('\n')
		whole := line
		for errors.Is(err, bufio.ErrBufferFull) { // a long line is wanted only inside the block
			if len(whole) == len(line) {
				whole = slices.Clone(whole)
			}
			line, err = lines.ReadSlice('\n')
			if found {
				whole = append(whole, line...)
			}
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		text := strings.TrimRight(string(whole[:min(len(whole), 300)]), "\r\n ")
		switch {
		case text == "entries:":
			inside = true
		case inside && len(text) > 0 && text[0] != ' ' && text[0] != '#':
			inside = false
		}
		isKey := inside && strings.HasPrefix(text, "  ") && len(text) > 2 && text[2] != ' ' && text[2] != '-' && text[2] != '#'
		switch {
		case found && (isKey || !inside):
			return out, nil
		case isKey && (text == "  "+name+":" || text == `  "`+name+`":`):
			found = true
			out = append(out, whole...)
		case found:
			out = append(out, whole...)
		}
		if errors.Is(err, io.EOF) {
			return out, nil
		}
	}
}
