package server

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

// prepare makes the project default, which permits everything, where the hub
// has none (spec/config.md §3): Applications that name no project belong to it.
// Another server may have been faster.
func (s *Server) prepare(ctx context.Context) error {
	hub := s.options.Hub
	if _, ok := hub.Project(policy.DefaultProject); ok || hub.Client == nil {
		return nil
	}
	p := &v1alpha1.AppProject{Spec: v1alpha1.AppProjectSpec{
		SourceRepos: []string{"*"}, Destinations: []v1alpha1.ApplicationDestination{{Server: "*", Namespace: "*"}},
		ClusterResourceWhitelist: []v1alpha1.ClusterResourceRestriction{{Group: "*", Kind: "*"}},
	}}
	p.Name, p.Namespace = policy.DefaultProject, hub.Namespace
	switch err := hub.Client.Create(ctx, p); {
	case apierrors.IsAlreadyExists(err):
		return nil
	case err != nil:
		return fmt.Errorf("AppProject %s: %w", p.Name, err)
	}
	hub.Projects.Wrote(p)
	s.options.Log.Info("the hub had no project default: it is made, and permits everything", "project", p.Name)
	return nil
}
