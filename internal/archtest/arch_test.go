// Package archtest holds the architecture rules as tests: which package may
// import which, what packages may not be called, and how large things may grow.
package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sluice-cd/sluice"

// root of the repository, seen from this package.
const root = "../.."

type pkg struct {
	ImportPath   string
	Name, Doc    string
	Imports      []string
	TestImports  []string
	XTestImports []string
	GoFiles      []string
}

func load(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json", "./...")
	cmd.Dir = root
	raw, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var out []pkg
	for d := json.NewDecoder(bytes.NewReader(raw)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
}

// layers from the inside out; a package may import its own and inner ones.
var layers = []string{"api", "config", "internal/domain", "internal/adapter", "internal/controller", "internal/server", "internal/cli", "cmd"}

func layer(importPath string) int {
	rel := strings.TrimPrefix(importPath, module+"/")
	return slices.IndexFunc(layers, func(l string) bool { return rel == l || strings.HasPrefix(rel, l+"/") })
}

// TestArrows draws every import that points the wrong way.
func TestArrows(t *testing.T) {
	t.Parallel()
	for _, p := range load(t) {
		from := layer(p.ImportPath)
		for _, i := range p.Imports {
			to := layer(i)
			switch {
			case strings.HasPrefix(i, module+"/fleet"):
				t.Errorf("%s --> %s: nothing imports the fleet module", p.ImportPath, i)
			case from >= 0 && strings.HasPrefix(i, module+"/test"):
				t.Errorf("%s --> %s: the product does not import tests", p.ImportPath, i)
			case from >= 0 && to > from:
				t.Errorf("%s --> %s: %s may not import %s", p.ImportPath, i, layers[from], layers[to])
			case from == to && from >= 0 && layers[from] == "internal/adapter" && adapter(i) != adapter(p.ImportPath):
				t.Errorf("%s --> %s: adapters do not import one another", p.ImportPath, i)
			}
		}
	}
}

func adapter(importPath string) string {
	rel := strings.TrimPrefix(importPath, module+"/internal/adapter/")
	name, _, _ := strings.Cut(rel, "/")
	return name
}

// impure are imports that a decision must not need.
var impure = []string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime", "net/http", "os", "os/exec", "net", "k8s.io/utils/clock"}

// TestDomainIsPure keeps clocks, clients, files and networks out of decisions.
func TestDomainIsPure(t *testing.T) {
	t.Parallel()
	for _, p := range load(t) {
		if !strings.HasPrefix(p.ImportPath, module+"/internal/domain/") && !strings.HasPrefix(p.ImportPath, module+"/api/") {
			continue
		}
		for _, i := range p.Imports {
			if i == "net/url" || i == "net/netip" { // take text apart, touch no network
				continue
			}
			if slices.ContainsFunc(impure, func(bad string) bool { return i == bad || strings.HasPrefix(i, bad+"/") }) {
				t.Errorf("%s --> %s: decisions know no clock, client, file or network", p.ImportPath, i)
			}
		}
	}
}

// TestCommandLineIsSlim keeps servers and the worlds they talk to out of the
// small program (ADR 23, ADR 32).
func TestCommandLineIsSlim(t *testing.T) {
	t.Parallel()
	imports := map[string][]string{}
	for _, p := range load(t) {
		imports[p.ImportPath] = p.Imports
	}
	from := map[string]string{module + "/cmd/cli": ""}
	for next := []string{module + "/cmd/cli"}; len(next) > 0; next = next[1:] {
		for _, i := range imports[next[0]] {
			if _, seen := from[i]; seen || imports[i] == nil {
				continue
			}
			from[i] = next[0]
			next = append(next, i)
			if slices.Contains([]string{"lua", "jq", "template"}, strings.TrimPrefix(i, module+"/internal/adapter/")) { // interpreters: they talk to nobody
				continue
			}
			for _, heavy := range []string{"/internal/server", "/internal/controller", "/internal/adapter", "/internal/client"} {
				if i == module+heavy || strings.HasPrefix(i, module+heavy+"/") {
					t.Errorf("cmd/cli needs %s, by way of %s: it belongs into the engine", i, from[i])
				}
			}
		}
	}
	if len(from) < 20 {
		t.Errorf("cmd/cli needs %d packages: are they found?", len(from))
	}
}

// TestNames refuses names that say nothing, and packages without a comment.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, p := range load(t) {
		for _, part := range strings.Split(strings.TrimPrefix(p.ImportPath, module), "/") {
			if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "misc"}, part) {
				t.Errorf("%s: name the duty of the package", p.ImportPath)
			}
		}
		if p.Doc == "" && len(p.GoFiles) > 0 {
			t.Errorf("%s: has no package comment", p.ImportPath)
		}
	}
}

// Bounds of hand-written code.
const (
	maxFile, maxFunction, maxParameters = 500, 80, 5
)

var promise = regexp.MustCompile(`\b(TODO|FIXME|XXX)\b`)

// TestSizes bounds files, functions and parameter lists, and looks for
// promises and sleeps.
func TestSizes(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"api", "cmd", "config", "fleet", "internal", "test"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || path.Ext(name) != ".go" || strings.HasPrefix(e.Name(), "zz_generated") || strings.Contains(name, "archtest") {
				return err
			}
			return inspect(t, name)
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func inspect(t *testing.T, name string) error {
	t.Helper()
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, name, nil, parser.ParseComments)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	test := strings.HasSuffix(name, "_test.go")
	if n := files.Position(f.End()).Line; n > maxFile {
		t.Errorf("%s: %d lines, at most %d: split it by idea", name, n, maxFile)
	}
	for _, group := range f.Comments {
		if promise.MatchString(group.Text()) {
			t.Errorf("%s: a promise in a comment: do it or take it out", files.Position(group.Pos()))
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch d := n.(type) {
		case *ast.FuncDecl:
			if lines := files.Position(d.End()).Line - files.Position(d.Pos()).Line + 1; lines > maxFunction {
				t.Errorf("%s: function %s has %d lines, at most %d", files.Position(d.Pos()), d.Name.Name, lines, maxFunction)
			}
			if p := d.Type.Params.NumFields(); p > maxParameters && !test {
				t.Errorf("%s: function %s has %d parameters, at most %d: make a struct", files.Position(d.Pos()), d.Name.Name, p, maxParameters)
			}
		case *ast.SelectorExpr:
			x, ok := d.X.(*ast.Ident)
			if !ok || x.Name != "time" {
				return true
			}
			if d.Sel.Name == "Sleep" && test {
				t.Errorf("%s: tests wait for events, they do not sleep", files.Position(d.Pos()))
			}
			if d.Sel.Name == "Now" && strings.HasPrefix(filepath.ToSlash(name), root+"/internal/") && !test {
				t.Errorf("%s: take the clock from the constructor", files.Position(d.Pos()))
			}
		}
		return true
	})
	return nil
}
