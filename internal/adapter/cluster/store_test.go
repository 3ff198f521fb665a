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

// TestOnlyWhatIsManagedIsKeptInFull shows what is kept of an object: all of a
// managed or wanted one, a record of one with an owner, nothing of others.
func TestOnlyWhatIsManagedIsKeptInFull(t *testing.T) {
	s := newStore()
	target := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"namespace": "shop", "name": "wanted"}}}
	s.want("web", []*unstructured.Unstructured{target})
	wanted := stored(t, s, "Deployment", "wanted", "", "3")
	stranger := stored(t, s, "Deployment", "stranger", "", "")
	child := stored(t, s, "ReplicaSet", "wanted-1", "wanted", "3")
	pod := stored(t, s, "Pod", "wanted-1-x", "wanted-1", "")
	if wanted.full == nil || stranger.full != nil || stranger.record != nil || child.full != nil || child.record == nil || pod.record == nil {
		t.Errorf("kept: wanted %v, stranger %v %v, child %v %v", wanted.full, stranger.full, stranger.record, child.full, child.record)
	}
	var below []string
	for _, n := range s.below(wanted.uid, maxOwners, nil) {
		below = append(below, n.Kind+"/"+n.Name)
	}
	if diff := cmp.Diff([]string{"ReplicaSet/wanted-1", "Pod/wanted-1-x"}, below); diff != "" {
		t.Errorf("below (-want +got):\n%s", diff)
	}
	s.want("web", nil)
	if len(s.wanted) != 0 || len(s.wants) != 0 {
		t.Errorf("still wanted: %v", s.wanted)
	}
}

// TestNews tells what a comparison looks at from what is only shown.
func TestNews(t *testing.T) {
	s := newStore()
	object := func(kind, name, owner, version, ready string) *unstructured.Unstructured {
		api := "apps/v1"
		if kind == "Pod" {
			api = "v1"
		}
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": api, "kind": kind,
			"metadata": map[string]any{
				"namespace": "shop", "name": name, "uid": "uid-" + name, "resourceVersion": version,
				"ownerReferences": []any{map[string]any{"uid": "uid-" + owner, "controller": true}},
			},
			"status": map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": ready}}},
		}}
	}
	for _, c := range []struct {
		what    string
		object  *unstructured.Unstructured
		changed bool
		same    bool
	}{
		{"a new ReplicaSet", object("ReplicaSet", "a", "web", "1", "True"), true, false},
		{"its status", object("ReplicaSet", "a", "web", "2", "False"), true, true},
		{"an older version", object("ReplicaSet", "a", "web", "1", "True"), false, false},
		{"a new Pod", object("Pod", "a-x", "a", "1", "False"), true, false},
		{"a Pod that says the same", object("Pod", "a-x", "a", "2", "False"), true, true},
		{"a Pod that is ready", object("Pod", "a-x", "a", "3", "True"), true, false},
		{"another owner", object("Pod", "a-x", "b", "4", "True"), true, false},
	} {
		n, changed := s.put(c.object)
		if changed != c.changed || changed && sameRecord(n.before, n.after) != c.same {
			t.Errorf("%s: changed %v, want %v; the same %v, want %v", c.what, changed, c.changed, !changed || sameRecord(n.before, n.after), c.same)
		}
	}
}

func TestTrimKeepsWhatIsReadOfManagedFields(t *testing.T) {
	u := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"managedFields": []any{
		map[string]any{"manager": "argocd-controller"}, map[string]any{"manager": "kube-controller-manager", "subresource": "status"},
		map[string]any{"manager": "hpa", "subresource": "scale"},
	}}}}
	trim(u)
	var kept []string
	for _, f := range u.GetManagedFields() {
		kept = append(kept, f.Manager)
	}
	if diff := cmp.Diff([]string{"argocd-controller", "hpa"}, kept); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
}
