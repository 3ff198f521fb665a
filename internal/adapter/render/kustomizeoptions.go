package render

import (
	"sigs.k8s.io/kustomize/api/krusty"
	ktypes "sigs.k8s.io/kustomize/api/types"

	"github.com/sluice-cd/sluice/internal/domain/kustomize"
)

// krustyOptions are those of the library.
func krustyOptions(o kustomize.BuildOptions) *krusty.Options {
	k := krusty.MakeDefaultOptions()
	k.Reorder = krusty.ReorderOptionUnspecified // what the program does
	switch {
	case o.Legacy:
		k.Reorder = krusty.ReorderOptionLegacy
	case o.Unsorted:
		k.Reorder = krusty.ReorderOptionNone
	}
	if o.Unrestricted {
		k.LoadRestrictions = ktypes.LoadRestrictionsNone
	}
	k.AddManagedbyLabel = o.ManagedBy
	return k
}
