package template_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
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

// TestParameters evaluates generators alone. An archive of testdata/params has
// "clusters", "answers" of others and a repository below "repo/"; each "NAME.yaml" of generators,
// evaluated in both template modes, gives the lines of "NAME.want": one
// parameter set a line, or the error. Run with -update to accept them.
func TestParameters(t *testing.T) {
	archives, err := filepath.Glob("testdata/params/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			world := paramsWorld(t, archive)
			var next []txtar.File
			for _, f := range archive.Files {
				name, isCase := strings.CutSuffix(f.Name, ".yaml")
				switch {
				case isCase && !strings.HasPrefix(f.Name, "repo/"):
					got := both(t, f.Data, world)
					next = append(next, f, txtar.File{Name: name + ".want", Data: []byte(got)})
					at := slices.IndexFunc(archive.Files, func(w txtar.File) bool { return w.Name == name+".want" })
					if *update {
						continue
					}
					if at < 0 {
						t.Errorf("%s: there is no %s.want; got\n%s", name, name, got)
					} else if diff := gocmp.Diff(string(archive.Files[at].Data), got); diff != "" {
						t.Errorf("%s (-want +got):\n%s", name, diff)
					}
				case strings.HasSuffix(f.Name, ".want"):
				default:
					next = append(next, f)
				}
			}
			if *update {
				archive.Files = next
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func paramsWorld(t *testing.T, archive *txtar.Archive) appset.World {
	t.Helper()
	world, repository := appset.World{Go: template.New(clock.RealClock{}), NewGlobs: strings.Contains(string(archive.Comment), "new globbing")}, files{}
	for _, f := range archive.Files {
		if rest, inRepo := strings.CutPrefix(f.Name, "repo/"); inRepo {
			repository[rest] = string(f.Data)
		}
		if f.Name == "answers" {
			given := &answers{}
			if err := yaml.UnmarshalStrict(f.Data, given); err != nil {
				t.Fatal(err)
			}
			world.Outside = given
		}
		if f.Name == "clusters" {
			if err := yaml.UnmarshalStrict(f.Data, &world.Clusters); err != nil {
				t.Fatal(err)
			}
		}
	}
	world.Tree = func(string, string) (tree.Tree, error) { return repository, nil }
	return world
}

// both evaluates in both modes; lines that agree are written once.
func both(t *testing.T, spec []byte, world appset.World) string {
	t.Helper()
	var out bytes.Buffer
	for _, mode := range []string{"plain", "go"} {
		set := &v1alpha1.ApplicationSet{}
		if err := yaml.UnmarshalStrict(spec, &set.Spec); err != nil {
			t.Fatal(err)
		}
		set.Spec.GoTemplate = mode == "go"
		fmt.Fprintf(&out, "# %s\n", mode)
		params, err := appset.Parameters(set, world)
		if err != nil {
			fmt.Fprintf(&out, "error: %s\n", err)
		}
		for _, p := range params {
			var line bytes.Buffer
			e := json.NewEncoder(&line)
			e.SetEscapeHTML(false)
			if err := e.Encode(p.Values); err != nil {
				t.Fatal(err)
			}
			out.Write(line.Bytes())
		}
	}
	return out.String()
}
