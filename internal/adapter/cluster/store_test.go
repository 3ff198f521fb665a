package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/internal/domain/object"
)

func stored(t *testing.T, s *store, kind, name, owner, revision string) *node {
	t.Helper()
	version := "apps/v1"
	if kind == "Pod" {
		version = "v1"
	}
	meta := map[string]any{"namespace": "shop", "name": name, "uid": "uid-" + name, "resourceVersion": "1"}
	if owner != "" {
		meta["ownerReferences"] = []any{map[string]any{"apiVersion": "apps/v1", "kind": "X", "name": owner, "uid": "uid-" + owner, "controller": true}}
	}
	if revision != "" {
		meta["annotations"] = map[string]any{revisionAnnotation: revision}
	}
	s.put(&unstructured.Unstructured{Object: map[string]any{"apiVersion": version, "kind": kind, "metadata": meta}})
	return s.byKey[object.Key{Group: map[bool]string{true: "", false: "apps"}[kind == "Pod"], Kind: kind, Namespace: "shop", Name: name}]
}

// TestPodsOfTheCurrentRevision gives only the pods of the ReplicaSet that the
// Deployment names as current, and none while that has not been seen.
func TestPodsOfTheCurrentRevision(t *testing.T) {
	for name, c := range map[string]struct {
		current string
		want    []string
	}{
		"newest is current":           {"2", []string{"new-x"}},
		"not said":                    {"", []string{"new-x"}},
		"the newest is not there yet": {"3", nil},
	} {
		s := newStore()
		d := stored(t, s, "Deployment", "web", "", c.current)
		stored(t, s, "ReplicaSet", "old", "web", "1")
		stored(t, s, "ReplicaSet", "new", "web", "2")
		stored(t, s, "Pod", "old-x", "old", "")
		stored(t, s, "Pod", "new-x", "new", "")
		var got []string
		for _, p := range s.pods(d.uid, s.newestReplicaSet(d)) {
			got = append(got, p.Name)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
