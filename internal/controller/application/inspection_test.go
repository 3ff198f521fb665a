package application

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/internal/domain/diff"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

func secret(value string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "login", "namespace": "shop", "resourceVersion": "5"},
		"data": map[string]any{"password": value},
	}}
}

// TestSideBySide shows each sort of pair, and a secret never.
func TestSideBySide(t *testing.T) {
	const private, other = "aHVudGVyMg==", "b3RoZXI="
	for name, c := range map[string]struct {
		target, live *unstructured.Unstructured
		result       *diff.Result
		unknown      string
		modified     bool
		text         string
		noPrediction bool
	}{
		"in sync":      {target: secret(private), live: secret(private)},
		"missing":      {target: secret(private), modified: true, text: "+++ desired/"},
		"to be pruned": {live: secret(private), text: "-kind: Secret", noPrediction: true},
		"different": {
			target: secret(other), live: secret(private), modified: true, text: "some text",
			result: &diff.Result{Key: object.KeyOf(secret("")), Live: masked("+"), Predicted: masked("some text"), Modified: true},
		},
		"unknown": {target: secret(other), live: secret(private), unknown: "dry run refused"},
	} {
		pair := syncplan.Pair{Key: object.KeyOf(secret("")), Target: c.target, Live: c.live}
		found := &verdicts{results: map[object.Key]diff.Result{}, unknown: map[object.Key]string{}}
		if c.result != nil {
			found.results[pair.Key] = *c.result
		}
		if c.unknown != "" {
			found.unknown[pair.Key] = c.unknown
		}
		got := judgement{found: found}.side(t.Context(), pair)
		raw, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), private) || strings.Contains(string(raw), other) {
			t.Errorf("%s: a secret is shown: %s", name, raw)
		}
		if got.Modified != c.modified || got.Unknown != c.unknown {
			t.Errorf("%s: modified %v, unknown %q", name, got.Modified, got.Unknown)
		}
		if (got.Text == "") != (c.text == "") || !strings.Contains(got.Text, c.text) {
			t.Errorf("%s: text %q", name, got.Text)
		}
		if (got.Target == nil) != (c.target == nil) || (got.Live == nil) != (c.live == nil) || (got.NormalizedLive == nil) != (c.live == nil) {
			t.Errorf("%s: %+v", name, got)
		}
		if (got.Predicted == nil) != c.noPrediction {
			t.Errorf("%s: predicted %v", name, got.Predicted)
		}
		if want := map[bool]string{true: "", false: "5"}[c.live == nil]; got.ResourceVersion != want || got.Key() != pair.Key {
			t.Errorf("%s: %+v", name, got.Object)
		}
	}
}

func masked(value string) *unstructured.Unstructured { return secret(value) }

func TestWatchersAreToldUntilTheyCancel(t *testing.T) {
	w := newWatchers()
	a, b := types.NamespacedName{Name: "a"}, types.NamespacedName{Name: "b"}
	var told []string
	cancel := w.add(a, func() { told = append(told, "first") })
	w.add(b, func() { told = append(told, "other") })
	w.tell(a)
	cancel()
	w.tell(a)
	w.tell(b)
	if got := strings.Join(told, " "); got != "first other" {
		t.Errorf("told %q", got)
	}
	if len(w.by) != 1 {
		t.Errorf("%d Applications are remembered, want 1", len(w.by))
	}
}
