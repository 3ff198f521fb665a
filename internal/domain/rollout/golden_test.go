package rollout_test

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/sluice-cd/sluice/internal/domain/rollout"
	"github.com/sluice-cd/sluice/test/scenario"
)

var update = flag.Bool("update", false, "write the golden files")

// TestGoldenViews compares, for rollouts in all kinds of states, the JSON that
// API, CLI and UI get: NAME.script leads to the state, NAME.view is the view,
// NAME.plan the plan.
func TestGoldenViews(t *testing.T) {
	t.Parallel()
	const file = "testdata/views.txtar"
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out := &txtar.Archive{Comment: archive.Comment}
	want := map[string]string{}
	for _, f := range archive.Files {
		want[f.Name] = string(f.Data)
	}
	for _, f := range archive.Files {
		name, ok := strings.CutSuffix(f.Name, ".script")
		if !ok {
			continue
		}
		out.Files = append(out.Files, f)
		w := scenario.New()
		if err := w.Play(string(f.Data)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		plan := rollout.Preview(rollout.Input{Set: w.Set, Members: w.Members(), Now: w.Now, Measures: true})
		for suffix, value := range map[string]any{".view": explain(w), ".plan": plan} {
			if _, asked := want[name+suffix]; !asked {
				continue
			}
			got, err := json.MarshalIndent(value, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			if diff := cmp.Diff(want[name+suffix], string(got)); diff != "" && !*update {
				t.Errorf("%s%s:\n%s", name, suffix, diff)
			}
			out.Files = append(out.Files, txtar.File{Name: name + suffix, Data: got})
		}
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(out), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if len(out.Files) < 20 {
		t.Errorf("%d files in %s", len(out.Files), file)
	}
}
