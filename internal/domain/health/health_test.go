package health_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/health"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// TestAssess judges the objects of testdata. In each archive a file named
// "case = Code message" holds an object, and "case pods" its pod records; the
// records of "case from" are made from whole pods.
func TestAssess(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range archives {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		pods := map[string][]object.Pod{}
		for _, f := range archive.Files {
			if strings.Contains(f.Name, " = ") {
				continue
			}
			if of, ok := strings.CutSuffix(f.Name, " from"); ok {
				for doc := range strings.SplitSeq(string(f.Data), "\n---\n") {
					pods[of] = append(pods[of], health.PodOf(parse(t, []byte(doc))))
				}
			}
			if of, ok := strings.CutSuffix(f.Name, " pods"); ok {
				var list []object.Pod
				if err := yaml.UnmarshalStrict(f.Data, &list); err != nil {
					t.Fatalf("%s: %s: %v", name, f.Name, err)
				}
				pods[of] = list
			}
		}
		for _, f := range archive.Files {
			title, want, ok := strings.Cut(f.Name, " = ")
			if !ok {
				continue
			}
			t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar")+"/"+title, func(t *testing.T) {
				assessor := health.Assessor{Conventions: strings.Contains(name, "conventions")}
				v := assessor.Assess(t.Context(), parse(t, f.Data), pods[title])
				got := strings.TrimSpace(string(v.Code) + " " + v.Message)
				if !v.Known {
					got = "nothing"
				}
				if wrong := v.Code == health.Unknown && strings.Contains(v.Message, "unsupported API version"); (v.Err != nil) != wrong {
					t.Errorf("error %v", v.Err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

func parse(t testing.TB, data []byte) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON(data)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return u
}

func TestWorseIsATotalOrder(t *testing.T) {
	best := []v1alpha1.HealthStatusCode{
		health.Healthy, health.Suspended, health.Progressing, health.Missing, health.Degraded, health.Unknown,
	}
	for i, a := range best {
		for j, b := range best {
			if got := health.Worse(a, b); got != (i > j) {
				t.Errorf("Worse(%s, %s) = %v", a, b, got)
			}
		}
	}
}

func BenchmarkAssess(b *testing.B) {
	archive, err := txtar.ParseFile("testdata/deployment.txtar")
	if err != nil {
		b.Fatal(err)
	}
	u := parse(b, archive.Files[0].Data)
	assessor := health.Assessor{Conventions: true}
	b.ReportAllocs()
	for b.Loop() {
		assessor.Assess(b.Context(), u, nil)
	}
}
