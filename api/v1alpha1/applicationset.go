package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ApplicationSet generates Applications from one template.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=applicationsets,shortName=appset;appsets
type ApplicationSet struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              ApplicationSetSpec   `json:"spec"`
	Status            ApplicationSetStatus `json:"status,omitempty"`
}

// ApplicationSetList is a list of ApplicationSets.
//
// +kubebuilder:object:root=true
type ApplicationSetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []ApplicationSet `json:"items"`
}

// ApplicationSetSpec holds generators, the template and how changes reach
// the generated Applications.
type ApplicationSetSpec struct {
	GoTemplate                   bool                       `json:"goTemplate,omitempty"`
	Generators                   []ApplicationSetGenerator  `json:"generators"`
	Template                     ApplicationSetTemplate     `json:"template"`
	SyncPolicy                   *ApplicationSetSyncPolicy  `json:"syncPolicy,omitempty"`
	Strategy                     *ApplicationSetStrategy    `json:"strategy,omitempty"`
	PreservedFields              *PreservedFields           `json:"preservedFields,omitempty"`
	GoTemplateOptions            []string                   `json:"goTemplateOptions,omitempty"`
	ApplyNestedSelectors         bool                       `json:"applyNestedSelectors,omitempty"`
	IgnoreApplicationDifferences []ApplicationSetIgnoreRule `json:"ignoreApplicationDifferences,omitempty"`
	TemplatePatch                *string                    `json:"templatePatch,omitempty"`
	// GeneratorLabels (Sluice) says which generator labels reach Applications.
	GeneratorLabels *GeneratorLabels `json:"generatorLabels,omitempty"`
}

// GeneratorLabels (Sluice) controls label propagation: Auto (with RollingSync
// only), Always or Never.
type GeneratorLabels struct {
	// +kubebuilder:validation:Enum=Auto;Always;Never
	Propagation string   `json:"propagation,omitempty"`
	Exclude     []string `json:"exclude,omitempty"`
}

// ApplicationSetTemplate is the template of the generated Applications.
type ApplicationSetTemplate struct {
	ApplicationSetTemplateMeta `json:"metadata"`
	Spec                       ApplicationSpec `json:"spec"`
}

// ApplicationSetTemplateMeta is the part of metadata a template may set.
type ApplicationSetTemplateMeta struct {
	Name        string            `json:"name,omitempty"`
	Namespace   string            `json:"namespace,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Finalizers  []string          `json:"finalizers,omitempty"`
}

// ApplicationSetSyncPolicy is the life cycle of the generated Applications.
type ApplicationSetSyncPolicy struct {
	PreserveResourcesOnDeletion bool `json:"preserveResourcesOnDeletion,omitempty"`
	// ApplicationsSync is create-only, create-update, create-delete or sync.
	ApplicationsSync *string `json:"applicationsSync,omitempty"`
	// DeletionGuard (Sluice) holds back unusually large deletions.
	DeletionGuard *DeletionGuard `json:"deletionGuard,omitempty"`
}

// DeletionGuard (Sluice): a complete evaluation that would delete more than
// MaxPercent of the owned Applications (default 10, at least one) or more
// than MaxCount deletes none until confirmed.
type DeletionGuard struct {
	MaxPercent *int32 `json:"maxPercent,omitempty"`
	MaxCount   *int32 `json:"maxCount,omitempty"`
	Disabled   bool   `json:"disabled,omitempty"`
}

// PreservedFields names keys that are kept on live Applications.
type PreservedFields struct {
	Annotations []string `json:"annotations,omitempty"`
	Labels      []string `json:"labels,omitempty"`
}

// ApplicationSetIgnoreRule excludes fields of live Applications from updates.
type ApplicationSetIgnoreRule struct {
	Name              string   `json:"name,omitempty"`
	JSONPointers      []string `json:"jsonPointers,omitempty"`
	JQPathExpressions []string `json:"jqPathExpressions,omitempty"`
}

// ApplicationSetStatus is what is known about an ApplicationSet.
type ApplicationSetStatus struct {
	Conditions        []ApplicationSetCondition `json:"conditions,omitempty"`
	ApplicationStatus []ApplicationSetAppStatus `json:"applicationStatus,omitempty"`
	Resources         []ResourceStatus          `json:"resources,omitempty"`
	ResourcesCount    int64                     `json:"resourcesCount,omitempty"`
	Health            *HealthStatus             `json:"health,omitempty"`
	// Rollout (Sluice) is the state of the progressive rollout.
	Rollout *RolloutStatus `json:"rollout,omitempty"`
}

// ApplicationSetCondition is something a person should know.
type ApplicationSetCondition struct {
	Type               string       `json:"type"`
	Message            string       `json:"message"`
	LastTransitionTime *metav1.Time `json:"lastTransitionTime,omitempty"`
	Status             string       `json:"status"`
	Reason             string       `json:"reason"`
}

// ApplicationSetAppStatus is where one Application stands in a rollout.
type ApplicationSetAppStatus struct {
	Application        string       `json:"application"`
	LastTransitionTime *metav1.Time `json:"lastTransitionTime,omitempty"`
	Message            string       `json:"message"`
	// Status is Waiting, Pending, Progressing or Healthy.
	Status string `json:"status"`
	// Step is 1-based, "-1" for an Application that matches no step.
	Step            string   `json:"step"`
	TargetRevisions []string `json:"targetRevisions,omitempty"`
	// The fields below are additions of Sluice.
	Reason   string         `json:"reason,omitempty"`
	Batch    int32          `json:"batch,omitempty"`
	Attempt  int32          `json:"attempt,omitempty"`
	SpecHash string         `json:"specHash,omitempty"`
	Rollback *RollbackPoint `json:"rollback,omitempty"`
	FailedAt *metav1.Time   `json:"failedAt,omitempty"`
}

// RollbackPoint (Sluice) is what an Application ran before a rollout.
type RollbackPoint struct {
	HistoryID int64    `json:"historyID"`
	Revisions []string `json:"revisions,omitempty"`
}
