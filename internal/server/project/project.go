// Package project holds the operations on AppProjects (spec/api.md §3): what a
// project permits is changed here, and whoever widens it needs rights on what is
// newly permitted.
package project

import (
	"context"
	"log/slog"
	"maps"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/window"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/link"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// Details shows the clusters and repositories of a project, without secrets.
type Details interface {
	ClustersOf(project string) []any
	RepositoriesOf(project string) []any
}

// Options of a Service.
type Options struct {
	Hub      *store.Hub
	Settings func() *settings.Snapshot
	// Tokens may be nil: then there are none.
	Tokens  Tokens
	Details Details
	// Links makes deep links.
	Links *link.Maker
	Log   *slog.Logger
	Clock clock.PassiveClock
}

// Service answers for projects.
type Service struct{ Options }

// New makes a Service.
func New(o Options) *Service { return &Service{Options: o} }

const (
	base = "/api/v1/projects"
	one  = base + "/{name}"
	rpc  = "project.ProjectService/"
)

// Routes are all operations on projects.
func (s *Service) Routes() route.Table {
	reads := route.Needs("projects/get")
	return route.Table{
		route.Unary(route.Spec{Method: "GET", Path: base, RPC: rpc + "List", Rule: route.Lists("projects/get"), Fields: true, Summary: "List projects."}, s.List),
		route.Unary(route.Spec{Method: "POST", Path: base, RPC: rpc + "Create", Rule: route.Needs("projects/create").And("projects/update", "clusters/update", "repositories/update"),
			Summary: "Create a project."}, s.Create),
		route.Unary(route.Spec{Method: "GET", Path: one, RPC: rpc + "Get", Rule: reads, Summary: "Get a project."}, s.Get),
		route.Unary(route.Spec{Method: "GET", Path: one + "/detailed", RPC: rpc + "GetDetailedProject", Rule: reads, Summary: "A project with its clusters and repositories."}, s.Detailed),
		route.Unary(route.Spec{Method: "PUT", Path: one, RPC: rpc + "Update", Rule: route.Needs("projects/update").And("clusters/update", "repositories/update"),
			Summary: "Replace a project."}, s.Update),
		route.Unary(route.Spec{Method: "DELETE", Path: one, RPC: rpc + "Delete", Rule: route.Needs("projects/delete"), Summary: "Delete a project that no Application uses."}, s.Delete),
		route.Unary(route.Spec{Method: "GET", Path: one + "/globalprojects", RPC: rpc + "GetGlobalProjects", Rule: reads, Summary: "Projects whose rules a project inherits."}, s.Globals),
		route.Unary(route.Spec{Method: "GET", Path: one + "/syncwindows", RPC: rpc + "GetSyncWindowsState", Rule: reads, Summary: "Sync windows that are open now."}, s.Windows),
		route.Unary(route.Spec{Method: "GET", Path: one + "/links", RPC: rpc + "ListLinks", Rule: reads, Summary: "Deep links of a project."}, s.ListLinks),
		route.Unary(route.Spec{Method: "GET", Path: one + "/events", RPC: rpc + "ListEvents", Rule: reads, Summary: "Events of a project."}, s.Events),
		route.Unary(route.Spec{Method: "POST", Path: base + "/{project}/roles/{role}/token", RPC: rpc + "CreateToken", Rule: route.Needs("projects/update"),
			Summary: "Create a token of a role."}, s.CreateToken),
		route.Unary(route.Spec{Method: "DELETE", Path: base + "/{project}/roles/{role}/token/{iat}", RPC: rpc + "DeleteToken", Rule: route.Needs("projects/update"),
			Summary: "Delete a token of a role."}, s.DeleteToken),
	}
}

// Named names a project.
type Named struct {
	Name string `json:"name,omitempty" path:"name"`
}

// List is an answer with many projects.
type List struct {
	Metadata metav1.ListMeta        `json:"metadata"`
	Items    []*v1alpha1.AppProject `json:"items"`
}

// ListQuery asks for projects.
type ListQuery struct {
	Name string `json:"-" query:"name"`
	store.Page
}

var columns = store.Columns[*v1alpha1.AppProject]{Texts: func(p *v1alpha1.AppProject) []string { return []string{p.Name, p.Spec.Description} }}

// Empty is the answer of what has none.
type Empty struct{}

// List lists the projects that the caller may see.
func (s *Service) List(_ context.Context, c *route.Call, q *ListQuery) (*List, error) {
	all := s.Hub.Projects.Snapshot()
	visible := c.Sieve("projects", "get")
	items, total, err := store.Cut(all, func(p *store.Shared[*v1alpha1.AppProject]) bool {
		return (q.Name == "" || p.Object.Name == q.Name) && visible(p.Object.Name)
	}, q.Page, columns)
	if err != nil {
		return nil, err
	}
	out := &List{Items: items}
	if items == nil {
		out.Items = []*v1alpha1.AppProject{}
	}
	out.Metadata.ResourceVersion = all.Version
	out.Metadata.RemainingItemCount, out.Metadata.Continue = store.Remaining(q.Page, len(items), total), store.Continue(q.Page, len(items), total)
	return out, nil
}

// find gives a project when the caller may do the action on it.
func (s *Service) find(c *route.Call, name, action string) (*v1alpha1.AppProject, error) {
	if err := c.Must(access.Request{Resource: "projects", Action: action, Object: name}); err != nil {
		return nil, err
	}
	p, ok := s.Hub.Project(name)
	if !ok {
		return nil, fault.New(fault.NotFound, "appprojects.argoproj.io %q not found", name)
	}
	return p, nil
}

// Get gives a project.
func (s *Service) Get(_ context.Context, c *route.Call, q *Named) (*v1alpha1.AppProject, error) {
	return s.find(c, q.Name, "get")
}

// Detailed is a project with what it may use.
type Detailed struct {
	GlobalProjects []*v1alpha1.AppProject `json:"globalProjects,omitempty"`
	Project        *v1alpha1.AppProject   `json:"project,omitempty"`
	Repositories   []any                  `json:"repositories,omitempty"`
	Clusters       []any                  `json:"clusters,omitempty"`
}

// Detailed gives a project with its clusters and repositories.
func (s *Service) Detailed(_ context.Context, c *route.Call, q *Named) (*Detailed, error) {
	p, err := s.find(c, q.Name, "get")
	if err != nil {
		return nil, err
	}
	out := &Detailed{Project: p, GlobalProjects: s.globals(p)}
	if s.Details != nil {
		out.Repositories, out.Clusters = s.Details.RepositoriesOf(p.Name), s.Details.ClustersOf(p.Name)
	}
	return out, nil
}

// GlobalProjects is a list of projects.
type GlobalProjects struct {
	Items []*v1alpha1.AppProject `json:"items"`
}

// Globals lists the projects whose rules a project inherits.
func (s *Service) Globals(_ context.Context, c *route.Call, q *Named) (*GlobalProjects, error) {
	p, err := s.find(c, q.Name, "get")
	if err != nil {
		return nil, err
	}
	return &GlobalProjects{Items: s.globals(p)}, nil
}

// globals are the projects whose rules a project inherits.
func (s *Service) globals(p *v1alpha1.AppProject) []*v1alpha1.AppProject {
	out := []*v1alpha1.AppProject{}
	for _, name := range s.Settings().Globals(p) {
		if g, ok := s.Hub.Project(name); ok {
			out = append(out, g)
		}
	}
	return out
}

// WindowsState are the sync windows that are open.
type WindowsState struct {
	Windows []v1alpha1.SyncWindow `json:"windows"`
}

// Windows lists the sync windows that are open now.
func (s *Service) Windows(_ context.Context, c *route.Call, q *Named) (*WindowsState, error) {
	p, err := s.find(c, q.Name, "get")
	if err != nil {
		return nil, err
	}
	open := window.ParseProject(p.Spec.SyncWindows).Active(s.Clock.Now())
	if open == nil {
		open = []v1alpha1.SyncWindow{}
	}
	return &WindowsState{Windows: open}, nil
}

// ListLinks gives the deep links of a project.
func (s *Service) ListLinks(ctx context.Context, c *route.Call, q *Named) (*link.Response, error) {
	p, err := s.find(c, q.Name, "get")
	if err != nil {
		return nil, err
	}
	return s.Links.Make(ctx, "project.links", p, map[string]any{"project": p}), nil
}

// Events lists the events of a project.
func (s *Service) Events(ctx context.Context, c *route.Call, q *Named) (*corev1.EventList, error) {
	p, err := s.find(c, q.Name, "get")
	if err != nil {
		return nil, err
	}
	list := &corev1.EventList{Items: []corev1.Event{}}
	err = s.Hub.Client.List(ctx, list, client.InNamespace(p.Namespace), client.MatchingFields{
		"involvedObject.name": p.Name, "involvedObject.namespace": p.Namespace, "involvedObject.uid": string(p.UID),
	}, client.Limit(500))
	for i := range list.Items {
		list.Items[i].ManagedFields = nil
	}
	return list, err
}

// CreateRequest creates a project.
type CreateRequest struct {
	Project v1alpha1.AppProject `json:"project"`
	Upsert  bool                `json:"upsert,omitempty"`
}

// Create creates a project.
func (s *Service) Create(ctx context.Context, c *route.Call, q *CreateRequest) (*v1alpha1.AppProject, error) {
	p := clean(&q.Project, s.Hub.Namespace)
	if err := c.Must(access.Request{Resource: "projects", Action: "create", Object: p.Name}); err != nil {
		return nil, err
	}
	if err := Validate(p); err != nil {
		return nil, err
	}
	err := s.Hub.Client.Create(ctx, p)
	if apierrors.IsAlreadyExists(err) {
		var existing v1alpha1.AppProject
		if err := s.Hub.Client.Get(ctx, client.ObjectKeyFromObject(p), &existing); err != nil {
			return nil, err
		}
		existing.ManagedFields = nil
		switch {
		case reflect.DeepEqual(existing.Spec, p.Spec) && maps.Equal(existing.Labels, p.Labels) && maps.Equal(existing.Annotations, p.Annotations):
			return &existing, nil
		case !q.Upsert:
			return nil, fault.New(fault.InvalidArgument, "existing project spec is different, use upsert flag to force update")
		}
		if err := c.Must(access.Request{Resource: "projects", Action: "update", Object: p.Name}); err != nil {
			return nil, err
		}
		return s.replace(ctx, c, p)
	}
	if err != nil {
		return nil, err
	}
	s.Hub.Projects.Wrote(p)
	c.Did(route.Act{Object: p, Reason: "ResourceCreated", Message: "created project", After: p})
	return p, nil
}

// clean keeps what a user may write.
func clean(in *v1alpha1.AppProject, namespace string) *v1alpha1.AppProject {
	out := &v1alpha1.AppProject{Spec: *in.Spec.DeepCopy()}
	out.Name, out.Namespace, out.ResourceVersion = in.Name, namespace, ""
	out.Labels, out.Annotations, out.Finalizers = maps.Clone(in.Labels), maps.Clone(in.Annotations), slices.Clone(in.Finalizers)
	for i := range out.Spec.Roles {
		out.Spec.Roles[i].JWTTokens = nil // tokens are made by CreateToken only
	}
	return out
}

// UpdateRequest replaces a project.
type UpdateRequest struct {
	Name    string              `json:"-" path:"name"`
	Project v1alpha1.AppProject `json:"project"`
}

// Update replaces a project.
func (s *Service) Update(ctx context.Context, c *route.Call, q *UpdateRequest) (*v1alpha1.AppProject, error) {
	if q.Project.Name == "" {
		q.Project.Name = q.Name
	}
	if q.Name != "" && q.Project.Name != q.Name {
		return nil, fault.New(fault.InvalidArgument, "project.metadata.name is %q and the URL names %q", q.Project.Name, q.Name)
	}
	old, err := s.find(c, q.Project.Name, "update")
	if err != nil {
		return nil, err
	}
	if v := q.Project.ResourceVersion; v != "" && v != old.ResourceVersion {
		return nil, fault.New(fault.Aborted, "the project was changed by somebody else: read it again")
	}
	next := clean(&q.Project, s.Hub.Namespace)
	if err := Validate(next); err != nil {
		return nil, err
	}
	return s.replace(ctx, c, next)
}

// replace writes a project; who widens it needs rights on what is new.
func (s *Service) replace(ctx context.Context, c *route.Call, next *v1alpha1.AppProject) (*v1alpha1.AppProject, error) {
	var before v1alpha1.AppProject
	if err := s.Hub.Client.Get(ctx, client.ObjectKeyFromObject(next), &before); err != nil {
		return nil, err
	}
	if err := widened(c, &before, next); err != nil {
		return nil, err
	}
	if err := s.harmless(&before, next); err != nil {
		return nil, err
	}
	after := before.DeepCopy()
	after.Labels, after.Annotations, after.Finalizers, after.Spec = next.Labels, next.Annotations, next.Finalizers, next.Spec
	for i := range after.Spec.Roles {
		r := &after.Spec.Roles[i]
		if at := slices.IndexFunc(before.Spec.Roles, func(o v1alpha1.ProjectRole) bool { return o.Name == r.Name }); at >= 0 {
			r.JWTTokens = before.Spec.Roles[at].JWTTokens
		}
	}
	for role := range after.Status.JWTTokensByRole {
		if !slices.ContainsFunc(after.Spec.Roles, func(r v1alpha1.ProjectRole) bool { return r.Name == role }) {
			delete(after.Status.JWTTokensByRole, role) // a role that comes back must not bring old tokens
		}
	}
	if err := s.Hub.Client.Update(ctx, after); err != nil {
		return nil, err
	}
	s.Hub.Projects.Wrote(after)
	c.Did(route.Act{Object: after, Reason: "ResourceUpdated", Message: "updated project", Before: &before, After: after})
	return after, nil
}

// widened asks for the rights that a change needs (spec/rbac.md §6).
func widened(c *route.Call, old, next *v1alpha1.AppProject) error {
	cluster := func(d v1alpha1.ApplicationDestination) error {
		object := d.Server
		if object == "" {
			object = d.Name
		}
		return c.Must(access.Request{Resource: "clusters", Action: "update", Object: object})
	}
	lists := !reflect.DeepEqual(old.Spec.ClusterResourceWhitelist, next.Spec.ClusterResourceWhitelist) || !reflect.DeepEqual(old.Spec.ClusterResourceBlacklist, next.Spec.ClusterResourceBlacklist) ||
		!reflect.DeepEqual(old.Spec.NamespaceResourceWhitelist, next.Spec.NamespaceResourceWhitelist) || !reflect.DeepEqual(old.Spec.NamespaceResourceBlacklist, next.Spec.NamespaceResourceBlacklist)
	for _, d := range next.Spec.Destinations {
		known := slices.ContainsFunc(old.Spec.Destinations, func(o v1alpha1.ApplicationDestination) bool { return o.Server == d.Server && o.Name == d.Name })
		if known && !lists {
			continue
		}
		if err := cluster(d); err != nil {
			return err
		}
	}
	for _, repo := range next.Spec.SourceRepos {
		if slices.Contains(old.Spec.SourceRepos, repo) {
			continue
		}
		if err := c.Must(access.Request{Resource: "repositories", Action: "update", Object: repo}); err != nil {
			return err
		}
	}
	return nil
}

// harmless refuses a change that leaves Applications outside the project.
func (s *Service) harmless(old, next *v1alpha1.AppProject) error {
	sources, destinations := 0, 0
	clusters := s.Settings().Clusters
	for _, item := range s.Hub.Apps.Snapshot().Items {
		app := item.Object
		if policy.ProjectName(app) != next.Name {
			continue
		}
		for _, src := range app.Spec.GetSources() {
			if policy.Source(old, src.RepoURL) && !policy.Source(next, src.RepoURL) {
				sources++
				break
			}
		}
		cluster, err := clusters.Resolve(app.Spec.Destination.Server, app.Spec.Destination.Name)
		if err == nil && policy.Destination(old, cluster, app.Spec.Destination.Namespace) && !policy.Destination(next, cluster, app.Spec.Destination.Namespace) {
			destinations++
		}
	}
	switch {
	case sources > 0 && destinations > 0:
		return fault.New(fault.InvalidArgument, "as a result of project update %d applications source became invalid and %d applications destination became invalid", sources, destinations)
	case sources > 0:
		return fault.New(fault.InvalidArgument, "as a result of project update %d applications source became invalid", sources)
	case destinations > 0:
		return fault.New(fault.InvalidArgument, "as a result of project update %d applications destination became invalid", destinations)
	}
	return nil
}

// Delete deletes a project that no Application uses.
func (s *Service) Delete(ctx context.Context, c *route.Call, q *Named) (*Empty, error) {
	if err := c.Must(access.Request{Resource: "projects", Action: "delete", Object: q.Name}); err != nil {
		return nil, err
	}
	if q.Name == policy.DefaultProject {
		return nil, fault.New(fault.InvalidArgument, "name %q is reserved and cannot be deleted", q.Name)
	}
	p, ok := s.Hub.Project(q.Name)
	if !ok {
		return nil, fault.New(fault.NotFound, "appprojects.argoproj.io %q not found", q.Name)
	}
	used := 0
	for _, item := range s.Hub.Apps.Snapshot().Items {
		if policy.ProjectName(item.Object) == q.Name {
			used++
		}
	}
	if used > 0 {
		return nil, fault.New(fault.InvalidArgument, "project is referenced by %d applications", used)
	}
	uid := p.UID
	if err := s.Hub.Client.Delete(ctx, p, client.Preconditions{UID: &uid}); err != nil {
		return nil, err
	}
	c.Did(route.Act{Object: p, Reason: "ResourceDeleted", Message: "deleted project", Before: p})
	return &Empty{}, nil
}
