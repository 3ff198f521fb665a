package manifest

import (
	"context"
	"fmt"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/signature"
)

// Verify says whether the revisions of all sources are signed as the project
// demands (spec/application.md, AppProject field sourceIntegrity). The error
// names the repository, the commit or tag, and what to do.
func (s *Service) Verify(ctx context.Context, project *v1alpha1.AppProject, sources []v1alpha1.ApplicationSource, revisions []string, known []signature.Key) error {
	if len(revisions) != len(sources) {
		return fmt.Errorf("got %d revisions for %d sources", len(revisions), len(sources))
	}
	if s.options.Unsigned {
		return nil
	}
	for i, src := range sources {
		demanded, err := signature.PolicyOf(project, src.RepoURL)
		if err != nil {
			return err
		}
		if demanded.Mode == signature.None || kindOf(src) != repo.Git {
			continue
		}
		r := s.options.Repository(src.RepoURL, project.Name)
		trust := gitrepo.Trust{Policy: demanded, Known: known}
		if _, err := s.options.Mirrors.Verify(ctx, r, target(src), revisions[i], trust); err != nil {
			return fmt.Errorf("signature of %s: %w", r, err)
		}
	}
	return nil
}
