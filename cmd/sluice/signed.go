package main

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/signature"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// treeGetter reads a revision of a repository for a project.
type treeGetter func(ctx context.Context, project, repoURL, revision string, fresh bool) (tree.Tree, error)

// verifier says whether revisions are signed as a project demands.
type verifier func(ctx context.Context, project *v1alpha1.AppProject, sources []v1alpha1.ApplicationSource, revisions []string, known []signature.Key) error

// signedTrees gives generators only what is signed as their project demands. A
// set whose project is templated belongs to none yet, so nothing is demanded,
// as in Argo CD; nor is it for a project that does not exist, whose
// Applications are refused anyway.
func signedTrees(read treeGetter, projects projectGetter, verify verifier, known func() []signature.Key) treeGetter {
	return func(ctx context.Context, project, repoURL, revision string, fresh bool) (tree.Tree, error) {
		t, err := read(ctx, project, repoURL, revision, fresh)
		if err != nil || project == "" {
			return t, err
		}
		p, err := projects(ctx, project)
		if apierrors.IsNotFound(err) {
			return t, nil
		}
		if err != nil {
			return nil, fmt.Errorf("project %s: %w", project, err)
		}
		source := v1alpha1.ApplicationSource{RepoURL: repoURL, TargetRevision: revision}
		if err := verify(ctx, p, []v1alpha1.ApplicationSource{source}, []string{t.Revision()}, known()); err != nil {
			return nil, err
		}
		return t, nil
	}
}
