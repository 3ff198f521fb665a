package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/adapter/jq"
	"github.com/sluice-cd/sluice/internal/adapter/lua"
	"github.com/sluice-cd/sluice/internal/domain/diff"
)

// TestMain makes this test binary its own worker for scripts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == lua.WorkerCommand {
		c := luaWorkerCommand()
		c.SetArgs([]string{})
		c.SetErr(io.Discard)
		if err := c.ExecuteContext(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func newQueries(t testing.TB) jq.Compiler {
	pool, err := lua.NewPool(lua.PoolOptions{Clock: clock.RealClock{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return jq.Compiler{Call: queries(pool), Timeout: time.Minute}
}

var crowd = map[string]any{"spec": map[string]any{
	"replicas": int64(3), "containers": []any{map[string]any{"name": "web", "image": "a"}, map[string]any{"name": "side", "image": "b"}},
}}

func expressions(t testing.TB, c jq.Compiler, texts ...string) []diff.Query {
	var out []diff.Query
	for _, e := range texts {
		q, err := c.Compile(e)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, q)
	}
	return out
}

// TestQueriesRunInChildren gives the same answers from a worker, several
// expressions in one exchange.
func TestQueriesRunInChildren(t *testing.T) {
	all := expressions(t, newQueries(t), ".spec.replicas", `.spec.containers[] | select(.name == "side") | .image`, ".spec.replicas.deeper", "empty")
	answers, err := all[0].(diff.Batch).All(t.Context(), all, crowd)
	if err != nil {
		t.Fatal(err)
	}
	want := "[{[[spec replicas]] <nil>} {[[spec containers 1 image]] <nil>} {[] <nil>} {[] <nil>}]"
	if got := fmt.Sprint(answers); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestQueriesThatEatMemoryEndAlone shows that an expression ends its worker
// and not this process, and that its neighbours are still answered.
func TestQueriesThatEatMemoryEndAlone(t *testing.T) {
	for _, hungry := range []string{
		"[range(1e9)] | length | .x", `def f: . + . | f; "aaaaaaaaaaaaaaaa" | f`, "[limit(1e9; repeat({a: [1, 2, 3]}))] | .[0]",
	} {
		all := expressions(t, newQueries(t), ".spec.replicas", hungry, ".spec.containers[0]")
		for range 2 {
			answers, err := all[0].(diff.Batch).All(t.Context(), all, crowd)
			if err != nil {
				t.Fatalf("%s: %v", hungry, err)
			}
			if fmt.Sprint(answers[0].Paths, answers[2].Paths) != "[[spec replicas]] [[spec containers 0]]" || answers[0].Err != nil || answers[2].Err != nil {
				t.Errorf("%s: its neighbours got %v", hungry, answers)
			}
			if answers[1].Err == nil || !strings.Contains(answers[1].Err.Error(), "was stopped: it") {
				t.Errorf("%s: %v", hungry, answers[1].Err)
			}
		}
	}
}

func BenchmarkQueries(b *testing.B) {
	all := expressions(b, newQueries(b), ".spec.replicas", `.spec.containers[] | select(.name == "side") | .image`, ".spec.template")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := all[0].(diff.Batch).All(b.Context(), all, crowd); err != nil {
			b.Fatal(err)
		}
	}
}
