package session

import (
	"context"
	"strings"

	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/rbac"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// Question asks whether the caller may do something.
type Question struct {
	Resource    string `json:"resource,omitempty" path:"resource"`
	Action      string `json:"action,omitempty" path:"action"`
	Subresource string `json:"subresource,omitempty" path:"subresource"`
}

// Answer is yes or no.
type Answer struct {
	Value string `json:"value"`
}

// CanI asks the policies for the caller.
func (s *Service) CanI(_ context.Context, c *route.Call, q *Question) (*Answer, error) {
	if !rbac.KnownResource(q.Resource) {
		return nil, fault.New(fault.InvalidArgument, "%q is no resource of policies: use one of %s", q.Resource, strings.Join(rbac.Resources(), ", "))
	}
	if !rbac.KnownAction(q.Action) {
		return nil, fault.New(fault.InvalidArgument, "%q is no action of policies: use one of %s", q.Action, strings.Join(rbac.Actions(), ", "))
	}
	what := access.Request{Resource: q.Resource, Action: q.Action, Object: q.Subresource}
	switch q.Resource {
	case rbac.Applications, rbac.ApplicationSets, rbac.Logs, rbac.Exec:
		if parts := strings.Split(q.Subresource, "/"); len(parts) == 3 && parts[1] == s.Namespace {
			what.Object = parts[0] + "/" + parts[2]
		}
	}
	if c.Who.Unrestricted || s.Decide.Allowed(c.Who, what) {
		return &Answer{Value: "yes"}, nil
	}
	return &Answer{Value: "no"}, nil
}
