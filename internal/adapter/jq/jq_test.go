package jq_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/internal/adapter/jq"
)

func deployment() map[string]any {
	return map[string]any{"spec": map[string]any{
		"replicas": int64(3),
		"containers": []any{
			map[string]any{"name": "web", "image": "a"}, map[string]any{"name": "side", "image": "b"},
		},
	}}
}

func TestPaths(t *testing.T) {
	for expression, want := range map[string]string{
		".spec.replicas":     "[[spec replicas]]",
		".spec.absent":       "[[spec absent]]",
		".spec.containers[]": "[[spec containers 0] [spec containers 1]]",
		`.spec.containers[] | select(.name == "side") | .image`: "[[spec containers 1 image]]",
		".spec.replicas, .spec.containers[0].image":             "[[spec replicas] [spec containers 0 image]]",
		".spec.replicas.deeper":                                 "[]",
		`.spec["replicas"]?`:                                    "[[spec replicas]]",
		"empty":                                                 "[]",
		"halt":                                                  "[]",
		"env.HOME":                                              "[]",
	} {
		q, err := jq.Compiler{}.Compile(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		got, err := q.Paths(t.Context(), deployment())
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s names %v (%v), want %s", expression, got, err, want)
		}
	}
}

func TestBrokenExpressions(t *testing.T) {
	for expression, want := range map[string]string{
		".spec[":                   "is not a jq expression",
		"":                         "is empty",
		"nosuchfunction(.a)":       "is not a jq expression",
		`.a) | path(.b`:            "is not a jq expression",
		`import "a" as b; .x`:      "imports a module",
		strings.Repeat(".a|", 2e3): "bytes long",
	} {
		if _, err := (jq.Compiler{}).Compile(expression); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want an error with %q", expression, err, want)
		}
	}
}

func TestEndlessExpressionsEnd(t *testing.T) {
	for _, expression := range []string{
		"[range(1e12)] | .[0]", "def f: f; f", "first(repeat(.)|select(false))", "recurse(.)", "until(false; .)",
	} {
		q, err := jq.Compiler{Timeout: 50 * time.Millisecond}.Compile(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if _, err := q.Paths(t.Context(), deployment()); err == nil {
			t.Errorf("%s gave an answer", expression)
		}
	}
}

func BenchmarkPaths(b *testing.B) {
	q, err := jq.Compiler{}.Compile(`.spec.containers[] | select(.name == "side") | .image`)
	if err != nil {
		b.Fatal(err)
	}
	object := deployment()
	b.ReportAllocs()
	for b.Loop() {
		if paths, err := q.Paths(b.Context(), object); err != nil || len(paths) != 1 {
			b.Fatal(paths, err)
		}
	}
}
