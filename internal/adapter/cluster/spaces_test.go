package cluster

import (
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// TestOutcomesOfAWatch: a list that is refused is no longer known, also when
// it was there before; one that comes after a refusal is news.
func TestOutcomesOfAWatch(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "", errors.New("no"))
	away := errors.New("connection refused")
	w := &kindWatch{pending: map[string]bool{"a": true, "b": true}, refusals: map[string]error{}, lacking: map[string]bool{}, moved: make(chan struct{})}
	is := func(step string, wantDone bool, want error) {
		t.Helper()
		if done, _, err := w.outcome(); done != wantDone || !errors.Is(err, want) {
			t.Errorf("%s: done %v, %v; want %v, %v", step, done, err, wantDone, want)
		}
	}
	is("begun", false, nil)
	_, moved, _ := w.outcome()
	if w.failed("a", away) || w.listed("b") {
		t.Error("neither is a change of rights")
	}
	select {
	case <-moved:
	default:
		t.Error("a list did not wake who waits")
	}
	is("a is away", false, away)
	if !w.failed("a", forbidden) || w.failed("a", forbidden) {
		t.Error("the first refusal is news, the second is none")
	}
	is("a is refused", true, forbidden)
	if got := w.unconfirmed(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("to be asked about are %v", got)
	}
	if w.confirm("a"); len(w.unconfirmed()) > 0 {
		t.Error("asked again about what is known")
	}
	if !w.listed("a") || w.lacking["a"] {
		t.Error("the right is back, and that is news")
	}
	is("all is listed", true, nil)
	if !w.failed("b", forbidden) {
		t.Error("a right that is taken away is news")
	}
	is("b was listed, and is refused now", true, forbidden)
	w.listed("b")
	vanished := apierrors.NewGenericServerResponse(http.StatusNotFound, "list", schema.GroupResource{Resource: "secrets"}, "", "", 0, true)
	if !w.failed("b", vanished) {
		t.Error("a kind that is gone is news")
	}
	is("the kind is gone: what was listed holds until it is forgotten", true, nil)
}
