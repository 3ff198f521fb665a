package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// TestWorthWatching: kinds count when an object of theirs is tracked or leads to
// one that is known, in whatever order they are seen.
func TestWorthWatching(t *testing.T) {
	kind := func(name string) schema.GroupVersionKind {
		return schema.GroupVersionKind{Group: "x", Version: "v1", Kind: name}
	}
	seen := []sighting{
		{kind: kind("Grandchild"), uid: "g", owners: []types.UID{"other", "c"}},
		{kind: kind("Child"), uid: "c", owners: []types.UID{"known"}},
		{kind: kind("Child"), uid: "c2", owners: []types.UID{"nobody"}},
		{kind: kind("Tracked"), uid: "t", tracked: true},
		{kind: kind("Stranger"), uid: "s", owners: []types.UID{"nobody"}},
		{kind: kind("Loop"), uid: "l", owners: []types.UID{"l"}},
	}
	got := worth(seen, func(uid types.UID) bool { return uid == "known" })
	if diff := cmp.Diff([]schema.GroupVersionKind{kind("Child"), kind("Grandchild"), kind("Tracked")}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := worth(nil, nil); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
