// Package applicationset holds the operations on ApplicationSets and on their
// rollouts (spec/api.md §3, spec/progressive-sync.md §7).
package applicationset

import (
	"context"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slices"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
	"github.com/sluice-cd/sluice/internal/server/application"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// Desk is where people look at rollouts and steer them.
type Desk interface {
	View(ctx context.Context, key types.NamespacedName) (*rollout.View, error)
	Plan(ctx context.Context, key types.NamespacedName) (*rollout.Plan, error)
	PlanOf(ctx context.Context, set *v1alpha1.ApplicationSet) (*rollout.Plan, error)
	Ask(ctx context.Context, key types.NamespacedName, ask rollout.Ask, user string) (note string, err error)
}

// Options of a Service.
type Options struct {
	Hub *store.Hub
	// Desk gives nil while this process advances no rollouts.
	Desk func() Desk
	// Preview renders a set, stored or not, and writes nothing; it gives nil
	// while this process cannot.
	Preview func() func(context.Context, *v1alpha1.ApplicationSet) ([]v1alpha1.Application, error)
	Log     *slog.Logger
	Clock   clock.PassiveClock
}

// Service answers for ApplicationSets.
type Service struct{ Options }

// New makes a Service.
func New(o Options) *Service { return &Service{Options: o} }

const (
	base = "/api/v1/applicationsets"
	one  = base + "/{name}"
	rpc  = "applicationset.ApplicationSetService/"
	get  = "applicationsets/get"
)

// Routes are all operations on ApplicationSets.
func (s *Service) Routes() route.Table {
	reads := route.Needs(get)
	return route.Table{
		route.Unary(route.Spec{Method: "GET", Path: base, RPC: rpc + "List", Rule: route.Lists(get), Fields: true, Summary: "List ApplicationSets."}, s.List),
		route.Stream(route.Spec{Method: "GET", Path: "/api/v1/stream/applicationsets", RPC: rpc + "Watch", Rule: route.Lists(get), Fields: true, Summary: "Watch ApplicationSets."}, s.Watch),
		route.Unary(route.Spec{Method: "POST", Path: base, RPC: rpc + "Create", Rule: route.Needs("applicationsets/create").And("applicationsets/update"), Summary: "Create an ApplicationSet."}, s.Create),
		route.Unary(route.Spec{Method: "POST", Path: base + "/generate", RPC: rpc + "Generate", Rule: route.Needs("applicationsets/create"), Summary: "Render a set without saving it."}, s.Generate),
		route.Unary(route.Spec{Method: "GET", Path: one, RPC: rpc + "Get", Rule: reads, Summary: "Get an ApplicationSet."}, s.Get),
		route.Unary(route.Spec{Method: "DELETE", Path: one, RPC: rpc + "Delete", Rule: route.Needs("applicationsets/delete").And(get), Summary: "Delete an ApplicationSet."}, s.Delete),
		route.Unary(route.Spec{Method: "GET", Path: one + "/resource-tree", RPC: rpc + "ResourceTree", Rule: reads, Summary: "The Applications of a set."}, s.Tree),
		route.Unary(route.Spec{Method: "GET", Path: one + "/events", RPC: rpc + "ListResourceEvents", Rule: reads, Summary: "Events of a set."}, s.Events),
		route.Unary(route.Spec{Method: "GET", Path: one + "/rollout", RPC: rpc + "GetRollout", Rule: reads, Summary: "Where the rollout of a set stands."}, s.Rollout),
		route.Unary(route.Spec{Method: "GET", Path: one + "/rollout/plan", RPC: rpc + "PlanRollout", Rule: reads, Summary: "What a rollout of the set would do now."}, s.Plan),
		route.Unary(route.Spec{Method: "POST", Path: one + "/rollout/plan", RPC: rpc + "PlanRolloutOf", Rule: route.Needs("applicationsets/create"), Summary: "What a rollout of a manifest would do."}, s.PlanOf),
		route.Unary(route.Spec{Method: "POST", Path: one + "/rollout/{verb}", RPC: rpc + "SteerRollout", Rule: route.Needs("applicationsets/rollout/*").And(get, "applicationsets/update"),
			Summary: "Pause, resume, promote, retry, abort or roll back."}, s.Steer),
	}
}

// Named names an ApplicationSet.
type Named struct {
	Name            string `json:"name,omitempty" path:"name"`
	AppsetNamespace string `json:"appsetNamespace,omitempty" query:"appsetNamespace,appSetNamespace"`
}

// Query selects ApplicationSets.
type Query struct {
	Name            string   `json:"-" query:"name"`
	Projects        []string `json:"-" query:"projects,project"`
	Selector        string   `json:"-" query:"selector"`
	AppsetNamespace string   `json:"-" query:"appsetNamespace,appSetNamespace"`
	ResourceVersion string   `json:"-" query:"resourceVersion"`
}

// ListQuery is Query with a page.
type ListQuery struct {
	Query
	store.Page
}

// List is an answer with many ApplicationSets.
type List struct {
	Metadata metav1.ListMeta            `json:"metadata"`
	Items    []*v1alpha1.ApplicationSet `json:"items"`
}

func project(set *v1alpha1.ApplicationSet) string {
	if p := set.Spec.Template.Spec.Project; p != "" {
		return p
	}
	return policy.DefaultProject
}

func (s *Service) what(set *v1alpha1.ApplicationSet, action string) access.Request {
	return access.Request{Resource: "applicationsets", Action: action, Object: s.Hub.Object(project(set), set.Namespace, set.Name)}
}

// absent is a set that is not there, in policies.
func (s *Service) absent(q Named) access.Request {
	return access.Request{Resource: "applicationsets", Object: s.Hub.Object("", q.AppsetNamespace, q.Name)}
}

var columns = store.Columns[*v1alpha1.ApplicationSet]{
	Texts: func(a *v1alpha1.ApplicationSet) []string { return []string{a.Name, project(a)} },
	Sort:  map[string]func(*v1alpha1.ApplicationSet) string{"project": project},
}

func (s *Service) filter(q Query) (func(*v1alpha1.ApplicationSet) bool, error) {
	selector, err := store.Selector(q.Selector)
	if err != nil {
		return nil, err
	}
	if q.AppsetNamespace != "" && !s.Hub.Enabled(q.AppsetNamespace) {
		return nil, fault.New(fault.PermissionDenied, "namespace '%s' is not permitted", q.AppsetNamespace)
	}
	return func(a *v1alpha1.ApplicationSet) bool {
		return (q.Name == "" || q.Name == a.Name) && (q.AppsetNamespace == "" || q.AppsetNamespace == a.Namespace) &&
			(len(q.Projects) == 0 || slices.Contains(q.Projects, project(a))) && selector.Matches(labels.Set(a.Labels))
	}, nil
}

// List lists the ApplicationSets that the caller may see.
func (s *Service) List(_ context.Context, c *route.Call, q *ListQuery) (*List, error) {
	keep, err := s.filter(q.Query)
	if err != nil {
		return nil, err
	}
	all := s.Hub.Sets.Snapshot()
	visible := c.Sieve("applicationsets", "get")
	items, total, err := store.Cut(all, func(a *store.Shared[*v1alpha1.ApplicationSet]) bool { return keep(a.Object) && visible(a.Name) }, q.Page, columns)
	if err != nil {
		return nil, err
	}
	out := &List{Items: items}
	if items == nil {
		out.Items = []*v1alpha1.ApplicationSet{}
	}
	out.Metadata.ResourceVersion = all.Version
	out.Metadata.RemainingItemCount, out.Metadata.Continue = store.Remaining(q.Page, len(items), total), store.Continue(q.Page, len(items), total)
	return out, nil
}

// find gives a set when the caller may do the action; absent and forbidden look
// alike.
func (s *Service) find(c *route.Call, q Named, action string) (*v1alpha1.ApplicationSet, error) {
	if q.AppsetNamespace != "" && !s.Hub.Enabled(q.AppsetNamespace) {
		return nil, fault.New(fault.PermissionDenied, "namespace '%s' is not permitted", q.AppsetNamespace)
	}
	set, ok := s.Hub.Set(q.AppsetNamespace, q.Name)
	if !ok {
		c.Imitate(route.Refusing(action), s.absent(q))
		return nil, route.Hidden()
	}
	if what := s.what(set, action); !c.Can(what) {
		if action != "get" && c.Can(s.what(set, "get")) {
			return nil, route.Denied(c.Who, what)
		}
		return nil, route.Hidden()
	}
	return set, nil
}

// Get gives a set.
func (s *Service) Get(_ context.Context, c *route.Call, q *Named) (*v1alpha1.ApplicationSet, error) {
	return s.find(c, *q, "get")
}

// Tree is the tree of a set: its Applications.
type Tree struct {
	Nodes []application.Node `json:"nodes"`
}

// Tree lists the Applications of a set as nodes.
func (s *Service) Tree(_ context.Context, c *route.Call, q *Named) (*Tree, error) {
	set, err := s.find(c, *q, "get")
	if err != nil {
		return nil, err
	}
	parent := application.ResourceRef{Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Kind: v1alpha1.ApplicationSetKind, Namespace: set.Namespace, Name: set.Name, UID: string(set.UID)}
	out := &Tree{Nodes: []application.Node{}}
	for _, r := range set.Status.Resources {
		n := application.Node{ResourceRef: application.ResourceRef{Group: r.Group, Version: r.Version, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}, Health: r.Health, ParentRefs: []application.ResourceRef{parent}}
		if app, ok := s.Hub.App(r.Namespace, r.Name); ok {
			created := app.CreationTimestamp.Time
			n.UID, n.ResourceVersion, n.CreatedAt = string(app.UID), app.ResourceVersion, &created
		}
		out.Nodes = append(out.Nodes, n)
	}
	return out, nil
}

// Events lists the events of a set.
func (s *Service) Events(ctx context.Context, c *route.Call, q *Named) (*corev1.EventList, error) {
	set, err := s.find(c, *q, "get")
	if err != nil {
		return nil, err
	}
	list := &corev1.EventList{Items: []corev1.Event{}}
	err = s.Hub.Client.List(ctx, list, client.InNamespace(set.Namespace), client.MatchingFields{
		"involvedObject.name": set.Name, "involvedObject.namespace": set.Namespace, "involvedObject.uid": string(set.UID),
	}, client.Limit(500))
	for i := range list.Items {
		list.Items[i].ManagedFields = nil
	}
	return list, err
}
