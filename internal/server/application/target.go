package application

import (
	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// Target names an Application in a request.
type Target struct {
	Name         string `json:"name,omitempty" path:"name"`
	AppNamespace string `json:"appNamespace,omitempty" query:"appNamespace"`
	// Project, when given, makes absence tell from refusal.
	Project string `json:"project,omitempty" query:"project"`
}

// find gives the Application when the caller may do the action on it. Without a
// project, what is absent and what is forbidden give the same answer
// (spec/api.md §3).
func (s *Service) find(c *route.Call, t Target, action string) (*v1alpha1.Application, error) {
	if t.Name == "" {
		return nil, fault.New(fault.InvalidArgument, "the request names no application: set name")
	}
	if t.AppNamespace != "" && !s.Hub.Enabled(t.AppNamespace) {
		return nil, fault.New(fault.PermissionDenied, "namespace '%s' is not permitted", t.AppNamespace)
	}
	named := access.Request{Resource: "applications", Action: action, Object: s.Hub.Object(t.Project, t.AppNamespace, t.Name)}
	if t.Project != "" && !c.Can(named) {
		return nil, s.refusal(c, named)
	}
	app, ok := s.Hub.App(t.AppNamespace, t.Name)
	switch {
	case ok && t.Project == "":
		named.Object = s.object(app)
		if !c.Can(named) {
			return nil, s.refusal(c, named)
		}
	case !ok && t.Project == "":
		c.Imitate(route.Refusing(action), named)
		return nil, route.Hidden()
	case !ok || policy.ProjectName(app) != t.Project:
		return nil, fault.New(fault.NotFound, "application '%s' not found in project '%s'", t.Name, t.Project)
	}
	return app, nil
}

// refusal is hidden from those who may not read the Application either.
func (s *Service) refusal(c *route.Call, what access.Request) error {
	if what.Action != "get" && c.Can(access.Request{Resource: "applications", Action: "get", Object: what.Object}) {
		return route.Denied(c.Who, what)
	}
	return route.Hidden()
}

// object names an Application in policies.
func (s *Service) object(app *v1alpha1.Application) string {
	return s.Hub.Object(policy.ProjectName(app), app.Namespace, app.Name)
}

// may is a further right on an Application, with a specific refusal.
func (s *Service) may(c *route.Call, action string, app *v1alpha1.Application) error {
	return c.Must(access.Request{Resource: "applications", Action: action, Object: s.object(app)})
}

// projectOf gives the project of an Application, with what that takes over from
// others, if the Application may use it.
func (s *Service) projectOf(app *v1alpha1.Application) (*v1alpha1.AppProject, error) {
	name := policy.ProjectName(app)
	project, ok := s.Hub.Project(name)
	if !ok || !policy.Namespace(project, app.Namespace, s.Hub.Namespace) {
		return nil, fault.New(fault.InvalidArgument, "app is not allowed in project %q, or the project does not exist", name)
	}
	return s.Settings().Effective(project, s.Hub.Global), nil
}
