package action_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/internal/domain/action"
)

type m = map[string]any

func object(fields m) *unstructured.Unstructured {
	o := m{"apiVersion": "v1", "kind": "X", "metadata": m{"name": "a", "namespace": "b"}}
	for k, v := range fields {
		o[k] = v
	}
	return &unstructured.Unstructured{Object: o}
}

// TestWantedRestoresWhatLuaCannotSay: empty lists, and digits beyond those of
// a floating-point number.
func TestWantedRestoresWhatLuaCannotSay(t *testing.T) {
	source := object(m{"spec": m{"none": []any{}, "map": m{}, "big": int64(9007199254740993), "list": []any{m{"x": []any{}}}}})
	answer := object(m{"spec": m{"none": m{}, "map": m{}, "new": m{}, "big": int64(9007199254740992), "list": []any{m{"x": m{}}}}}).Object
	changes, err := action.Wanted(answer, source)
	if err != nil || len(changes) != 1 {
		t.Fatal(changes, err)
	}
	want := m{"none": []any{}, "map": m{}, "new": m{}, "big": int64(9007199254740993), "list": []any{m{"x": []any{}}}}
	if diff := cmp.Diff(want, changes[0].Object.Object["spec"]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWantedRefuses(t *testing.T) {
	for want, answer := range map[string]any{
		`the action returned Y b/a instead of the object it ran on: return a list with operation "create" to make another`: m{"apiVersion": "v1", "kind": "Y", "metadata": m{"name": "a"}},
		`the object an action returned needs apiVersion, kind and metadata.name`:                                           m{"kind": "X"},
		`result 1: unsupported operation: "delete"`:                                                                        []any{m{"operation": "delete", "resource": object(nil).Object}},
		`result 1: want {operation="create" or "patch", resource=...}`:                                                     []any{"x"},
		`result 1: a patch of X b/z, which is not the object the action ran on`:                                            []any{m{"operation": "patch", "resource": m{"apiVersion": "v1", "kind": "X", "metadata": m{"name": "z"}}}},
		`the action wants 101 writes, at most 100`:                                                                         make([]any, 101),
	} {
		if _, err := action.Wanted(answer, object(nil)); err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestPatches(t *testing.T) {
	source := object(m{"spec": m{"a": int64(1), "null": nil}, "status": m{"phase": "x"}})
	for name, c := range map[string]struct {
		result       *unstructured.Unstructured
		main, status string
	}{
		"nothing":        {object(m{"spec": m{"a": int64(1)}, "status": m{"phase": "x"}}), "", ""},
		"spec":           {object(m{"spec": m{"a": int64(2)}, "status": m{"phase": "x"}}), `{"spec":{"a":2}}`, ""},
		"status":         {object(m{"spec": m{"a": int64(1)}, "status": m{"phase": "y"}}), "", `{"status":{"phase":"y"}}`},
		"both, removals": {object(m{"spec": m{}}), `{"spec":{"a":null}}`, `{"status":null}`},
	} {
		main, status, err := action.Patches(source, c.result)
		if err != nil || string(main) != c.main || string(status) != c.status {
			t.Errorf("%s: %s, %s, %v; want %s, %s", name, main, status, err, c.main, c.status)
		}
	}
}

func TestOfferedAndMerge(t *testing.T) {
	first, err := action.Offered(m{"b": m{"displayName": "mine", "params": m{}}, "a": []any{}})
	if err != nil {
		t.Fatal(err)
	}
	got := action.Merge(first, []action.Action{{Name: "b", Disabled: true}, {Name: "aa"}})
	want := []action.Action{{Name: "a"}, {Name: "aa"}, {Name: "b", DisplayName: "mine"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
