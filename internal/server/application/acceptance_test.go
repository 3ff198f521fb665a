package application

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/server/fault"
)

// observed is an Engine with one pod, and the event lists of it that were asked
// for.
type observed struct {
	Engine
	asked []corev1.ObjectReference
}

func (*observed) Tree(context.Context, *v1alpha1.Application) (*Tree, error) {
	return &Tree{Nodes: []Node{{ResourceRef: ResourceRef{Kind: "Pod", Namespace: "x", Name: "p", UID: "u1"}}}}, nil
}

func (o *observed) Events(_ context.Context, _ *v1alpha1.Application, about corev1.ObjectReference) (*corev1.EventList, error) {
	o.asked = append(o.asked, about)
	return &corev1.EventList{}, nil
}

// TestEventsOfAnObject: clients name an object of the tree with its uid or
// without; what is not in the tree is not told of.
func TestEventsOfAnObject(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		q    EventsQuery
		code fault.Code
	}{
		"with uid":    {EventsQuery{ResourceNamespace: "x", ResourceName: "p", ResourceUID: "u1"}, 0},
		"without uid": {EventsQuery{ResourceNamespace: "x", ResourceName: "p"}, 0},
		"other uid":   {EventsQuery{ResourceNamespace: "x", ResourceName: "p", ResourceUID: "u2"}, fault.InvalidArgument},
		"other name":  {EventsQuery{ResourceNamespace: "x", ResourceName: "q"}, fault.InvalidArgument},
	} {
		o := &observed{}
		s := world(t, app("p", "argocd", "a"))
		s.Engine = func() Engine { return o }
		c.q.Name = "a"
		list, err := s.Events(t.Context(), s.call("ListResourceEvents", "get p/a;"), &c.q)
		if code, _ := fault.Of(err); code != c.code {
			t.Errorf("%s: %v", name, err)
		}
		if c.code == 0 && (len(list.Items) != 0 || len(o.asked) != 1 || o.asked[0].UID != "u1") {
			t.Errorf("%s: %+v, asked %v", name, list, o.asked)
		}
	}
}

// TestWhereFieldsAreSelected: the routes of spec/api.md §1 that take fields.
func TestWhereFieldsAreSelected(t *testing.T) {
	t.Parallel()
	want := map[string]bool{"List": true, "Watch": true, "ManagedResources": true, "WatchResourceTree": true, "PodLogs": true}
	table := world(t).Routes()
	for i := range table {
		if r := &table[i]; r.Fields != want[r.Operation()] {
			t.Errorf("%s takes fields: %v", r.Name(), r.Fields)
		}
	}
}
