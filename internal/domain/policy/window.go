package policy

import (
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/window"
)

// SyncWindow says whether the sync windows of the project let op run on the
// Application at now. A nil op is an automated sync that has yet to be
// requested; startedAt is the zero time for an operation that has not begun.
// An operation that its initiator marks as automated is not a manual one: so
// are those of rollouts.
func SyncWindow(project *v1alpha1.AppProject, app *v1alpha1.Application, op *v1alpha1.Operation, startedAt, now time.Time) window.Verdict {
	if len(project.Spec.SyncWindows) == 0 {
		return window.Verdict{Allowed: true}
	}
	manual := op != nil && !op.InitiatedBy.Automated
	return window.ParseProject(project.Spec.SyncWindows).Assign(app).Sync(window.Request{Manual: manual, StartedAt: startedAt}, now)
}
