package gitrepo

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/internal/domain/tree"
	"github.com/sluice-cd/sluice/test/hostile"
)

// memory is a store of three folders: root{a/{b/{f}, link}, link, sub}.
type memory struct{ targets [2]string }

func (m memory) object(id string) (object, error) {
	switch id {
	case "link0", "link1":
		return object{kind: "blob", id: id, content: []byte(m.targets[id[4]-'0'])}, nil
	case "file":
		return object{kind: "blob", id: id, content: []byte("content")}, nil
	}
	return object{}, errMissing
}

func (m memory) file(id, _ string, _ bool) ([]byte, error) {
	o, err := m.object(id)
	return o.content, err
}

func (m memory) folder(id string) ([]tree.Entry, error) {
	switch id {
	case "root":
		return []tree.Entry{{Name: "a", Kind: tree.Dir, ID: "a"}, {Name: "link", Kind: tree.Symlink, ID: "link0"}, {Name: "sub", Kind: tree.Submodule, ID: "sub"}}, nil
	case "a":
		return []tree.Entry{{Name: "b", Kind: tree.Dir, ID: "b"}, {Name: "link", Kind: tree.Symlink, ID: "link1"}}, nil
	case "b":
		return []tree.Entry{{Name: "f", Kind: tree.File, ID: "file"}}, nil
	}
	return nil, errMissing
}

func (m memory) mounts() bool { return true }

func (m memory) mount(t *commitTree, _, _ string) (*commitTree, error) {
	if t.depth >= maxDepth {
		return nil, errors.New("too deep")
	}
	return &commitTree{store: m, root: "root", depth: t.depth + 1}, nil
}

// FuzzPath walks hostile paths through hostile links and submodules that
// contain themselves: what is found is always a path of plain names in the tree.
func FuzzPath(f *testing.F) {
	for _, path := range []string{"a/b/f", "link", "a/link/f", "../x", "a/../../x", "/etc/passwd", "sub/sub/a/b/f", "a//b/./f", "a\x00b", "a/b/f/..", strings.Repeat("sub/", 20), "..", ".", "", "a\\..\\b", "link/../../.."} {
		for _, link := range []string{"a/b", "../a", "link", "/etc/passwd", "../../..", "b/../../link", "", ".", "sub/a", "sub/../a/b/f", "\x00"} {
			f.Add(path, link, "../"+link)
		}
	}
	for _, link := range hostile.Links("/outside/canary") {
		for _, path := range []string{"link", "a/link", "link/canary", "sub/link/a"} {
			f.Add(path, link, link)
		}
	}
	for _, path := range hostile.Paths("/outside/canary") {
		f.Add(path, path, "a/"+path)
		f.Add("link/"+path, "a", "..")
	}
	f.Fuzz(func(t *testing.T, path, first, second string) {
		root := &commitTree{store: memory{[2]string{first, second}}, root: "root"}
		real, err := root.RealPath(path)
		if err != nil {
			return
		}
		for _, part := range strings.Split(real, "/") {
			if real != "" && !slices.Contains([]string{"a", "b", "f", "sub"}, part) {
				t.Fatalf("%q (links to %q, %q) leads to %q", path, first, second, real)
			}
		}
		if again, err := root.RealPath(real); err != nil || again != real {
			t.Errorf("%q leads to %q, and that to %q, %v", path, real, again, err)
		}
		if content, err := root.ReadFile(path); err == nil && (string(content) != "content" || !strings.HasSuffix(real, "a/b/f")) {
			t.Errorf("%q gives %q", path, content)
		}
	})
}

func FuzzTreeObject(f *testing.F) {
	f.Add([]byte("100644 a\x0001234567890123456789" + "40000 b\x0001234567890123456789"))
	f.Add([]byte("100644 ..\x0001234567890123456789"))
	f.Add([]byte("100644 a/b\x0001234567890123456789"))
	f.Add([]byte("100644 \x00"))
	for _, name := range hostile.Paths("/outside/canary") {
		f.Add([]byte("100644 " + name + "\x0001234567890123456789" + "120000 l" + name + "\x0001234567890123456789"))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := parseTree(raw, 32); err != nil && !errors.Is(err, errDamaged) {
			t.Errorf("%q gives %v", raw, err)
		}
		entries, err := parseTree(raw, 20)
		if err != nil {
			return
		}
		for i, e := range entries {
			if e.Name == "" || e.Name == "." || e.Name == ".." || strings.ContainsAny(e.Name, "/\x00") || len(e.ID) != 40 {
				t.Errorf("%q has %+v", raw, e)
			}
			if i > 0 && entries[i-1].Name > e.Name {
				t.Errorf("%q is not sorted", raw)
			}
		}
	})
}

func FuzzPointer(f *testing.F) {
	oid := strings.Repeat("ab", 32)
	f.Add([]byte(fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 12\n", oid)))
	f.Add([]byte(fmt.Sprintf("version https://git-lfs.github.com/spec/v1\next-0-x sha256:1\noid sha256:%s\nsize 999999999999999999", oid)))
	f.Add([]byte("version https://git-lfs.github.com/spec/v1\noid sha256:../../etc/passwd\nsize 1\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if p, ok := parsePointer(raw); ok && (len(p.oid) != 64 || strings.Trim(p.oid, "0123456789abcdef") != "" || p.size < 0) {
			t.Errorf("%q is %+v", raw, p)
		}
	})
}

// FuzzExplain: whatever a server makes git say, the message has no secret.
func FuzzExplain(f *testing.F) {
	f.Add("fatal: unable to access 'https://u:s3cr3tpass@host/x/': The requested URL returned error: 403")
	f.Add("remote: you sent s3cr3tpass\nfatal: x")
	f.Fuzz(func(t *testing.T, said string) {
		hide := git{hide: hider{strings.NewReplacer("s3cr3tpass", "***")}.hide}
		if got := hide.explain("fetch", said, 1, errMissing).Error(); strings.Contains(got, "s3cr3tpass") || strings.ContainsAny(got, "\n\r") {
			t.Errorf("%q gives %q", said, got)
		}
	})
}
