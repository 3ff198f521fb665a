package application

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// ResumeRequest ends the hold of an Application.
type ResumeRequest struct{ Target }

// Resume asks the controller to end a hold, after which automated sync brings
// the target again (spec/application.md §11). One that holds nothing is a
// failed precondition.
func (s *Service) Resume(ctx context.Context, c *route.Call, q *ResumeRequest) (*v1alpha1.Application, error) {
	app, err := s.find(c, q.Target, "sync")
	if err != nil {
		return nil, err
	}
	by := username(c)
	return s.change(ctx, c, client.ObjectKeyFromObject(app), "released the hold", func(a *v1alpha1.Application) error {
		if err := deleting(a); err != nil {
			return err
		}
		if a.Status.Hold == nil {
			return fault.New(fault.FailedPrecondition, "application %s holds nothing: there is nothing to resume", a.Name)
		}
		a.Annotations = merged(a.Annotations, map[string]string{v1alpha1.AnnotationReleaseHold: by})
		return nil
	})
}

// strict says that nobody may deploy against automated sync.
func (s *Service) strict() bool {
	return s.Strict || s.Hub.Config("argocd-cm")[manualOnlyKey] == "true"
}
