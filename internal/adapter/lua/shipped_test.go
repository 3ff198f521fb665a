package lua_test

import (
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/clock"

	rules "github.com/sluice-cd/sluice/health"
	"github.com/sluice-cd/sluice/internal/adapter/lua"
	"github.com/sluice-cd/sluice/internal/domain/customization"
	"github.com/sluice-cd/sluice/internal/domain/health"
)

func shipped(t testing.TB) *lua.Shipped {
	t.Helper()
	s, err := lua.NewShipped(rules.Files)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// folder is where the scripts and their cases lie in the repository.
var folder = os.DirFS("../../../health")

// TestShippedHealth plays the cases beside every shipped health script; each
// script must show at least two different codes.
func TestShippedHealth(t *testing.T) {
	assessor := &health.Assessor{Shipped: shipped(t)}
	scripts, err := fs.Glob(folder, "*/*/health.lua")
	if err != nil {
		t.Fatal(err)
	}
	if len(scripts) < 60 {
		t.Errorf("%d scripts, want at least 60", len(scripts))
	}
	for _, script := range scripts {
		kind := path.Dir(script)
		t.Run(kind, func(t *testing.T) {
			raw, err := fs.ReadFile(folder, kind+"/cases.txtar")
			if err != nil {
				t.Fatal(err)
			}
			codes := map[string]bool{}
			for _, f := range txtar.Parse(raw).Files {
				title, want, ok := strings.Cut(f.Name, " = ")
				if !ok {
					t.Fatalf("file %q: want \"case = Code message\"", f.Name)
				}
				u := &unstructured.Unstructured{Object: object(t, string(f.Data))}
				if !assessor.Scripted(u) {
					t.Errorf("%s: no script judges a %s", title, u.GroupVersionKind())
				}
				v := assessor.Assess(t.Context(), u, nil)
				if diff := cmp.Diff(want, strings.TrimSpace(string(v.Code)+" "+v.Message)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", title, diff)
				}
				code, _, _ := strings.Cut(want, " ")
				codes[code] = true
			}
			if len(codes) < 2 {
				t.Errorf("the cases show %d codes only", len(codes))
			}
		})
	}
}

// TestShippedScriptsBearAnything: no script fails on objects whose fields are
// absent or empty, or whose status is that of another kind.
func TestShippedScriptsBearAnything(t *testing.T) {
	s := shipped(t)
	scripts, err := fs.Glob(folder, "*/*/health.lua")
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range scripts {
		group, kind, _ := strings.Cut(path.Dir(script), "/")
		for _, body := range []string{"", "status: {}", "status: {conditions: []}", "status: {conditions: [{}]}", "status: {conditions: [{type: Ready}]}", "metadata: {generation: 3}", "spec: {}"} {
			u := &unstructured.Unstructured{Object: object(t, "apiVersion: "+strings.ReplaceAll(group, "_", "x")+"/v1\nkind: "+strings.ReplaceAll(kind, "_", "X")+"\n"+body)}
			status, known, err := s.Find(u.GroupVersionKind().Group, u.GetKind()).Judge(t.Context(), u)
			if err != nil || !known || !health.Valid(status.Code) {
				t.Errorf("%s with %q: %v %v %v", script, body, status, known, err)
			}
		}
	}
}

const certificate = "{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: a, namespace: b, labels: {c: d}}, spec: {secretName: x}, " +
	"status: {conditions: [{type: Issuing, status: \"False\"}, {type: Ready, status: \"True\", message: all good}]}}"

// BenchmarkShipped is one run of a shipped script in this process.
func BenchmarkShipped(b *testing.B) {
	assessor := &health.Assessor{Shipped: shipped(b)}
	u := &unstructured.Unstructured{Object: object(b, certificate)}
	b.ReportAllocs()
	for b.Loop() {
		if v := assessor.Assess(b.Context(), u, nil); v.Code != health.Healthy {
			b.Fatal(v)
		}
	}
}

// BenchmarkCustom is one run of a script of the settings in a child.
func BenchmarkCustom(b *testing.B) {
	set, errs := customization.Parse(map[string]string{"resource.customizations.health.cert-manager.io_Certificate": "return {status = 'Healthy', message = obj.status.conditions[1].message}"})
	if len(errs) > 0 {
		b.Fatal(errs)
	}
	assessor := &health.Assessor{Custom: lua.NewCustom(set, pool(b, clock.RealClock{}))}
	u := &unstructured.Unstructured{Object: object(b, certificate)}
	b.ReportAllocs()
	for b.Loop() {
		if v := assessor.Assess(b.Context(), u, nil); v.Code != health.Healthy {
			b.Fatal(v)
		}
	}
}
