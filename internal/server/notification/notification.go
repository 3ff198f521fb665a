// Package notification lists what can be subscribed to: the names of triggers,
// services and templates of argocd-notifications-cm (spec/api.md §3, others).
package notification

import (
	"context"
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// ConfigName is the config map that holds them.
const ConfigName = "argocd-notifications-cm"

// Service answers for notifications.
type Service struct{ Hub *store.Hub }

// New makes a Service.
func New(hub *store.Hub) *Service { return &Service{Hub: hub} }

// Routes are the three lists.
func (s *Service) Routes() route.Table {
	list := func(kind, method string, handle func(context.Context, *route.Call, *Query) (*List, error)) route.Route {
		return route.Unary(route.Spec{Method: "GET", Path: "/api/v1/notifications/" + kind, RPC: "notification.NotificationService/" + method,
			Rule: route.Authenticated(), Summary: "Names of " + kind + "."}, handle)
	}
	return route.Table{list("triggers", "ListTriggers", s.Triggers), list("services", "ListServices", s.Services), list("templates", "ListTemplates", s.Templates)}
}

// Query asks for nothing.
type Query struct{}

// Name is one of them.
type Name struct {
	Name string `json:"name"`
}

// List is an answer with many names.
type List struct {
	Items []Name `json:"items"`
}

// named lists what follows a prefix in the keys.
func (s *Service) named(prefix string, name func(string) string) *List {
	out := &List{Items: []Name{}}
	for key := range s.Hub.Config(ConfigName) {
		if rest, ok := strings.CutPrefix(key, prefix+"."); ok && rest != "" {
			out.Items = append(out.Items, Name{Name: name(rest)})
		}
	}
	slices.SortFunc(out.Items, func(a, b Name) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Triggers lists triggers.
func (s *Service) Triggers(context.Context, *route.Call, *Query) (*List, error) {
	return s.named("trigger", func(rest string) string { return rest }), nil
}

// Templates lists templates.
func (s *Service) Templates(context.Context, *route.Call, *Query) (*List, error) {
	return s.named("template", func(rest string) string { return rest }), nil
}

// Services lists services by their name, else their type.
func (s *Service) Services(context.Context, *route.Call, *Query) (*List, error) {
	return s.named("service", func(rest string) string {
		kind, name, named := strings.Cut(rest, ".")
		if named {
			return name
		}
		return kind
	}), nil
}
