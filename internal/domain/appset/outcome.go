package appset

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// Outcome is what one evaluation of an ApplicationSet gives to the loop that
// advances it, which alone writes the set's status.
type Outcome struct {
	Set        types.NamespacedName
	Generation int64
	// Applications are all rendered ones in name order, valid or not, with
	// automation as the template has it. When Complete is false they are the
	// last complete answer.
	Applications []v1alpha1.Application
	// Invalid says by name why an Application is not written.
	Invalid  map[string]string
	Complete bool
	// Conditions are ErrorOccurred, ParametersGenerated, ResourcesUpToDate and
	// DeletionGuarded, without times.
	Conditions []v1alpha1.ApplicationSetCondition
}
