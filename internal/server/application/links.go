package application

import (
	"context"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/server/link"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// linkRoutes are the deep links.
func (s *Service) linkRoutes() route.Table {
	return route.Table{
		route.Unary(route.Spec{Method: "GET", Path: one + "/links", RPC: rpc + "ListLinks", Rule: route.Needs(appGet), Summary: "Deep links of an Application."}, s.ListLinks),
		route.Unary(route.Spec{Method: "GET", Path: one + "/resource/links", RPC: rpc + "ListResourceLinks", Rule: route.Needs(appGet), Summary: "Deep links of a live object."}, s.ListResourceLinks),
	}
}

// LinksQuery asks for the links of an Application.
type LinksQuery struct{ Target }

// around is what links may speak of besides their object.
func (s *Service) around(app *v1alpha1.Application) map[string]any {
	out := map[string]any{"application": app, "app": app}
	if p, err := s.projectOf(app); err == nil {
		out["project"] = p
	}
	if c, err := s.Settings().Clusters.Resolve(app.Spec.Destination.Server, app.Spec.Destination.Name); err == nil {
		out["cluster"] = map[string]any{"name": c.Name, "server": c.Server, "namespaces": c.Namespaces, "project": c.Project, "labels": store.Shown(c.Labels), "annotations": store.Shown(c.Annotations)}
	}
	return out
}

// ListLinks gives the deep links of an Application.
func (s *Service) ListLinks(ctx context.Context, c *route.Call, q *LinksQuery) (*link.Response, error) {
	app, err := s.find(c, q.Target, "get")
	if err != nil {
		return nil, err
	}
	return s.Links.Make(ctx, "application.links", app, s.around(app)), nil
}

// ListResourceLinks gives the deep links of a live object.
func (s *Service) ListResourceLinks(ctx context.Context, c *route.Call, q *ResourceRequest) (*link.Response, error) {
	app, err := s.find(c, q.Target, "get")
	if err != nil {
		return nil, err
	}
	o, err := s.live(ctx, app, *q)
	if err != nil {
		return nil, err
	}
	values := s.around(app)
	values["resource"] = o
	return s.Links.Make(ctx, "resource.links", o, values), nil
}
