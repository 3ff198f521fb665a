package template_test

import (
	"bytes"
	"cmp"
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
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/template"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

var update = flag.Bool("update", false, "write what is generated into testdata")

// files is a tree in memory.
type files map[string]string

func (f files) Revision() string { return "0123456789abcdef0123456789abcdef01234567" }

func (f files) ReadFile(name string) ([]byte, error) {
	content, ok := f[path.Clean(name)]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return []byte(content), nil
}

func (f files) Stat(name string) (tree.Entry, error) {
	name = path.Clean(name)
	if _, ok := f[name]; ok {
		return tree.Entry{Name: path.Base(name), Kind: tree.File}, nil
	}
	for p := range f {
		if name == "." || strings.HasPrefix(p, name+"/") {
			return tree.Entry{Name: path.Base(name), Kind: tree.Dir}, nil
		}
	}
	return tree.Entry{}, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

func (f files) ReadDir(name string) ([]tree.Entry, error) {
	seen := map[string]tree.Kind{}
	for p := range f {
		rest, below := strings.CutPrefix(p, path.Clean(name)+"/")
		if path.Clean(name) == "." {
			rest, below = p, true
		}
		if below {
			base, _, deeper := strings.Cut(rest, "/")
			seen[base] = tree.File
			if deeper {
				seen[base] = tree.Dir
			}
		}
	}
	var out []tree.Entry
	for base, kind := range seen {
		out = append(out, tree.Entry{Name: base, Kind: kind})
	}
	slices.SortFunc(out, func(a, b tree.Entry) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// TestApplicationSets evaluates every case of testdata: "set" with "clusters"
// and a repository below "repo/" gives "want" or "error". Run with -update to
// accept what is generated.
func TestApplicationSets(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name, got := evaluate(t, archive)
			if *update {
				archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return f.Name == "want" || f.Name == "error" })
				archive.Files = append(archive.Files, txtar.File{Name: name, Data: got})
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			at := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == name })
			if at < 0 {
				t.Fatalf("unexpected %s:\n%s", name, got)
			}
			if diff := gocmp.Diff(string(archive.Files[at].Data), string(got)); diff != "" {
				t.Errorf("%s differs (-want +got):\n%s", name, diff)
			}
		})
	}
}

func evaluate(t *testing.T, archive *txtar.Archive) (name string, got []byte) {
	t.Helper()
	set := &v1alpha1.ApplicationSet{}
	world := appset.World{Go: template.New(clock.RealClock{})}
	repository := files{}
	for _, f := range archive.Files {
		var err error
		switch rest, inRepo := strings.CutPrefix(f.Name, "repo/"); {
		case inRepo:
			repository[rest] = string(f.Data)
		case f.Name == "set":
			err = yaml.UnmarshalStrict(f.Data, set)
		case f.Name == "clusters":
			err = yaml.UnmarshalStrict(f.Data, &world.Clusters)
		}
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
	}
	world.Tree = func(url, _ string) (tree.Tree, error) {
		if strings.Contains(url, "unreachable") {
			return nil, fmt.Errorf("repository %s: connection refused", url)
		}
		return repository, nil
	}
	var out bytes.Buffer
	result, err := appset.Evaluate(set, world)
	if err != nil {
		fmt.Fprintln(&out, err)
		return "error", out.Bytes()
	}
	for _, app := range result.Applications {
		raw, err := yaml.Marshal(map[string]any{
			"name": app.Name, "namespace": app.Namespace, "finalizers": app.Finalizers, "labels": app.Labels, "annotations": app.Annotations, "spec": app.Spec, "invalid": result.Invalid[app.Name],
		})
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString("---\n")
		out.Write(raw)
	}
	for _, err := range result.Errors {
		fmt.Fprintln(&out, "# error:", err)
	}
	return "want", out.Bytes()
}
