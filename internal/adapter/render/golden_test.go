package render_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/test/rendercase"
)

var update = flag.Bool("update", false, "write what is rendered into testdata")

type memory = rendercase.Files

func load(t testing.TB, file string) (*txtar.Archive, render.Request) {
	t.Helper()
	archive, request, err := rendercase.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return archive, request
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
