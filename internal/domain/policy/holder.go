package policy

import (
	"fmt"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// Holder is the ApplicationSet whose rollout has switched the automated sync
// of the Application off; empty when none says so.
func Holder(app *v1alpha1.Application) string {
	p := app.Spec.SyncPolicy
	if p == nil || p.Automated == nil || p.Automated.Enabled == nil || *p.Automated.Enabled {
		return ""
	}
	return app.Annotations[v1alpha1.AnnotationRolloutHeldBy]
}

// HolderGone is the text of condition RolloutHolderGone: an Application whose
// holder does not exist any more is synced by nobody.
func HolderGone(holder string) string {
	return fmt.Sprintf("ApplicationSet %s, whose rollout syncs this Application, does not exist: nobody syncs it; "+
		"set spec.syncPolicy.automated.enabled to true and remove annotation %s, or create the ApplicationSet again", holder, v1alpha1.AnnotationRolloutHeldBy)
}
