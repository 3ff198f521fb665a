package application

import (
	"context"
	"reflect"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// unchanged says that the pass is for a new revision of the sources only, and
// that the revision changes nothing of the Application: the last comparison
// still holds, and nothing has to be rendered, decoded or read from the
// cluster. Live objects and everything else that a comparison depends on bring
// an Application here for a reason of their own.
func (p *pass) unchanged(ctx context.Context, sources []v1alpha1.ApplicationSource, revisions []string) bool {
	if !p.moved || p.refresh != "" || !comparisonHolds(p.app) {
		return false
	}
	if p.Manifests.Verify(ctx, p.project, sources, revisions, p.Settings.Snapshot().Keys) != nil {
		return false // the full pass says what is wrong
	}
	digest, known, err := p.Manifests.Decide(ctx, p.query(sources), revisions)
	if err != nil || !known || digest != p.app.Status.Sync.Digest {
		return false
	}
	p.metrics.unchanged.Inc()
	return true
}

// comparisonHolds says that the comparison in the status is a whole one, is of
// this spec, and follows the last operation.
func comparisonHolds(app *v1alpha1.Application) bool {
	s := app.Status.Sync
	if s.Digest == "" || s.Status != v1alpha1.SyncStatusSynced && s.Status != v1alpha1.SyncStatusOutOfSync {
		return false
	}
	if app.Operation != nil || app.Status.OperationState != nil && (!app.Status.OperationState.Phase.Completed() || app.Status.OperationState.ID != s.AfterOperation) {
		return false
	}
	for _, c := range app.Status.Conditions {
		switch c.Type {
		case v1alpha1.ConditionInvalidSpecError, v1alpha1.ConditionUnknownError, v1alpha1.ConditionComparisonError:
			return false
		}
	}
	now := v1alpha1.ComparedTo{Destination: app.Spec.Destination, IgnoreDifferences: app.Spec.IgnoreDifferences}
	if len(app.Spec.Sources) > 0 {
		now.Sources = app.Spec.Sources
	} else if app.Spec.Source != nil {
		now.Source = *app.Spec.Source
	}
	return reflect.DeepEqual(now, s.ComparedTo)
}

// follows notes the revisions that the sources resolve to.
func (p *pass) follows(revisions []string) {
	s := &p.app.Status.Sync
	s.Revision, s.Revisions = "", nil
	switch {
	case len(p.app.Spec.Sources) > 0:
		s.Revisions = revisions
	case len(revisions) > 0:
		s.Revision = revisions[0]
	}
}
