package render_test

import (
	"bytes"
	"cmp"
	"crypto/sha1" //nolint:gosec // ids of a tree in memory
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

var update = flag.Bool("update", false, "write what is rendered into testdata")

// memory is a tree without links, by path.
type memory map[string]string

func (m memory) Revision() string { return "0123456789abcdef0123456789abcdef01234567" }

func (m memory) Stat(name string) (tree.Entry, error) {
	name = path.Clean(name)
	if strings.HasPrefix(name, "..") || strings.HasPrefix(name, "/") {
		return tree.Entry{}, fmt.Errorf("%s: path leaves the repository", name)
	}
	if content, ok := m[name]; ok {
		return tree.Entry{Name: path.Base(name), Kind: tree.File, ID: fmt.Sprintf("%x", sha1.Sum([]byte(content)))}, nil //nolint:gosec // see above
	}
	for p := range m {
		if name == "." || strings.HasPrefix(p, name+"/") {
			return tree.Entry{Name: path.Base(name), Kind: tree.Dir, ID: "dir"}, nil
		}
	}
	return tree.Entry{}, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

func (m memory) ReadFile(name string) ([]byte, error) {
	if e, err := m.Stat(name); err != nil || e.Kind != tree.File {
		return nil, cmp.Or(err, fmt.Errorf("%s: is not a file", name))
	}
	return []byte(m[path.Clean(name)]), nil
}

func (m memory) ReadDir(name string) ([]tree.Entry, error) {
	if e, err := m.Stat(name); err != nil || e.Kind != tree.Dir {
		return nil, cmp.Or(err, fmt.Errorf("%s: is not a directory", name))
	}
	seen := map[string]bool{}
	var out []tree.Entry
	for p := range m {
		rest, below := strings.CutPrefix(p, path.Clean(name)+"/")
		if path.Clean(name) == "." {
			rest, below = p, true
		}
		base, _, _ := strings.Cut(rest, "/")
		if !below || seen[base] {
			continue
		}
		seen[base] = true
		e, err := m.Stat(path.Join(name, base))
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b tree.Entry) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// input is the file "input" of a golden case.
type input struct {
	App    render.App                 `json:"app"`
	Source v1alpha1.ApplicationSource `json:"source"`
	// Refs are folders of the repository that play other repositories.
	Refs        map[string]string `json:"refs"`
	KubeVersion string            `json:"kubeVersion"`
	APIVersions []string          `json:"apiVersions"`
	Settings    render.Settings   `json:"settings"`
}

// load reads a case: "input", the repository below "repo/", and what is
// wanted in "want" or "error".
func load(t testing.TB, file string) (*txtar.Archive, render.Request) {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	repository := memory{}
	var in input
	for _, f := range archive.Files {
		if name, ok := strings.CutPrefix(f.Name, "repo/"); ok {
			repository[name] = string(f.Data)
		}
		if f.Name == "input" {
			if err := yaml.UnmarshalStrict(f.Data, &in); err != nil {
				t.Fatalf("%s: input: %v", file, err)
			}
		}
	}
	app := render.App{Name: "shop", Instance: "shop", Namespace: "prod", Project: "default"}
	if in.App != (render.App{}) {
		app = in.App
	}
	refs := map[string]tree.Tree{}
	for name, folder := range in.Refs {
		sub := memory{}
		for p, content := range repository {
			if rest, ok := strings.CutPrefix(p, folder+"/"); ok {
				sub[rest] = content
			}
		}
		refs[name] = sub
	}
	return archive, render.Request{
		App: app, Source: in.Source, Revision: repository.Revision(), Tree: repository, Refs: refs,
		KubeVersion: cmp.Or(in.KubeVersion, "1.36.3"), APIVersions: in.APIVersions,
		Settings: in.Settings,
	}
}

// TestGolden renders every case of testdata. Run with -update to accept what
// is rendered.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, request := load(t, file)
			result, err := render.Render(t.Context(), request)
			var out bytes.Buffer
			name := "want"
			if err != nil {
				name = "error"
				fmt.Fprintln(&out, err)
			} else {
				fmt.Fprintf(&out, "# %s\n", result.Type)
				for i, o := range result.Objects {
					raw, err := yaml.Marshal(o.Object)
					if err != nil {
						t.Fatal(err)
					}
					if i > 0 {
						out.WriteString("---\n")
					}
					out.Write(raw)
				}
			}
			if *update {
				archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return f.Name == "want" || f.Name == "error" })
				archive.Files = append(archive.Files, txtar.File{Name: name, Data: out.Bytes()})
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			at := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == name })
			if at < 0 {
				t.Fatalf("unexpected %s:\n%s", name, out.String())
			}
			if diff := gocmp.Diff(string(archive.Files[at].Data), out.String()); diff != "" {
				t.Errorf("%s differs (-want +got):\n%s", name, diff)
			}
		})
	}
}
