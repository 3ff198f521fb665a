// Package v1alpha1 holds the types of argoproj.io/v1alpha1: Application,
// ApplicationSet and AppProject.
//
// Fields and their JSON names are those that manifests in the field use; what
// is marked "Sluice" is an addition that older tools do not know and ignore.
// The package has no behaviour: rules live in internal/domain.
//
// +kubebuilder:object:generate=true
// +groupName=argoproj.io
package v1alpha1
