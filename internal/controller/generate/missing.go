package generate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
)

// withMissing adds to an incomplete rendering the Applications of the set that
// exist and are not in it, as invalid ones. They hold the gate of their step: a
// canary whose parameters cannot be rendered must not vanish from the rollout,
// or its step would be complete without it.
func withMissing(set *v1alpha1.ApplicationSet, r *appset.Rendered, live map[string]*v1alpha1.Application, failure error) *appset.Rendered {
	if failure == nil {
		return r
	}
	rendered := map[string]bool{}
	for i := range r.Applications {
		rendered[r.Applications[i].Name] = true
	}
	out := *r
	out.Applications, out.Invalid = slices.Clone(r.Applications), maps.Clone(r.Invalid)
	if out.Invalid == nil {
		out.Invalid = map[string]string{}
	}
	for name, app := range live {
		if rendered[name] || !ownedBy(app, set) {
			continue
		}
		missing := app.DeepCopy()
		if p := missing.Spec.SyncPolicy; p != nil && p.Automated != nil && app.Annotations[v1alpha1.AnnotationRolloutHeldBy] != "" {
			p.Automated.Enabled = nil // as the template had it before a rollout held it
		}
		out.Applications = append(out.Applications, *missing)
		out.Invalid[name] = fmt.Sprintf("application %s: no longer among what could be rendered: %s", name, failure)
	}
	slices.SortFunc(out.Applications, func(a, b v1alpha1.Application) int { return strings.Compare(a.Name, b.Name) })
	return &out
}
