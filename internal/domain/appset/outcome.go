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
	// last complete answer, or those that could be rendered and, as invalid,
	// those that exist and could not.
	Applications []v1alpha1.Application
	// Invalid says by name why an Application is not written.
	Invalid  map[string]string
	Complete bool
	// Blind says that there has been no answer at all since the process
	// started: Applications is empty because nothing is known, not because
	// there are none.
	Blind bool
	// Policy is the effective policy of the set when it says or is given one.
	Policy string
	// Conditions are ErrorOccurred, ParametersGenerated, ResourcesUpToDate and
	// DeletionGuarded and TemplatedProject, without times.
	Conditions []v1alpha1.ApplicationSetCondition
}

// Apply gives a copy of the set that the outcome is of its effective policy,
// so that who reads it need not know the installation's.
func (o Outcome) Apply(set *v1alpha1.ApplicationSet) {
	if o.Policy == "" {
		return
	}
	p := v1alpha1.ApplicationSetSyncPolicy{}
	if set.Spec.SyncPolicy != nil {
		p = *set.Spec.SyncPolicy
	}
	p.ApplicationsSync = &o.Policy
	set.Spec.SyncPolicy = &p
}
