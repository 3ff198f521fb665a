package cluster

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

func TestSpaces(t *testing.T) {
	for name, c := range map[string]struct {
		cluster    destination.Cluster
		namespaced bool
		want       []string
	}{
		"all":                         {destination.Cluster{}, true, []string{""}},
		"all, without namespace":      {destination.Cluster{}, false, []string{""}},
		"some":                        {destination.Cluster{Namespaces: []string{"a", "b"}}, true, []string{"a", "b"}},
		"some, without namespace":     {destination.Cluster{Namespaces: []string{"a"}}, false, nil},
		"some, and without namespace": {destination.Cluster{Namespaces: []string{"a"}, ClusterResources: true}, false, []string{""}},
	} {
		m := &meta.RESTMapping{Scope: meta.RESTScopeRoot}
		if c.namespaced {
			m.Scope = meta.RESTScopeNamespace
		}
		if diff := cmp.Diff(c.want, (&Connection{cluster: c.cluster}).spaces(m)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestAListOfOneNamespaceSaysNothingOfOthers: what is not in it is gone there,
// and only there.
func TestAListOfOneNamespaceSaysNothingOfOthers(t *testing.T) {
	s := newStore()
	for _, namespace := range []string{"a", "b"} {
		s.put(&unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{
			"namespace": namespace, "name": "x", "uid": "uid-" + namespace, "resourceVersion": "1"}}})
	}
	left := func() []string {
		var out []string
		for k := range s.byKey {
			out = append(out, k.Namespace)
		}
		slices.Sort(out)
		return out
	}
	kind := schema.GroupKind{Kind: "ConfigMap"}
	s.keep(kind, "a", map[object.Key]bool{})
	if diff := cmp.Diff([]string{"b"}, left()); diff != "" {
		t.Errorf("after the list of a (-want +got):\n%s", diff)
	}
	s.keep(kind, "", nil)
	if len(left()) != 0 {
		t.Errorf("left are %v after the list of all", left())
	}
}
