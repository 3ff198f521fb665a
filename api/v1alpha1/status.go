package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ApplicationStatus is what is known about an Application.
type ApplicationStatus struct {
	Resources            []ResourceStatus       `json:"resources,omitempty"`
	Sync                 SyncStatus             `json:"sync,omitempty"`
	Health               AppHealthStatus        `json:"health,omitempty"`
	History              []RevisionHistory      `json:"history,omitempty"`
	Conditions           []ApplicationCondition `json:"conditions,omitempty"`
	ReconciledAt         *metav1.Time           `json:"reconciledAt,omitempty"`
	OperationState       *OperationState        `json:"operationState,omitempty"`
	ObservedAt           *metav1.Time           `json:"observedAt,omitempty"`
	SourceType           string                 `json:"sourceType,omitempty"`
	Summary              ApplicationSummary     `json:"summary,omitempty"`
	ResourceHealthSource string                 `json:"resourceHealthSource,omitempty"`
	SourceTypes          []string               `json:"sourceTypes,omitempty"`
	ControllerNamespace  string                 `json:"controllerNamespace,omitempty"`
	SourceHydrator       *HydratorStatus        `json:"sourceHydrator,omitempty"`
	// Hold (Sluice) keeps the Application at what an operator deployed.
	Hold *Hold `json:"hold,omitempty"`
}

// SyncStatus is the result of the last comparison.
type SyncStatus struct {
	Status SyncStatusCode `json:"status"`
	// ComparedTo has no schema, as all copies of the spec in the status: the
	// API server would check what only this program writes, at each write.
	//
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	ComparedTo ComparedTo `json:"comparedTo,omitempty"`
	Revision   string     `json:"revision,omitempty"`
	Revisions  []string   `json:"revisions,omitempty"`
	// AfterOperation (Sluice) is the id of the last finished operation that
	// this comparison followed: order is told by ids, never by times.
	AfterOperation string `json:"afterOperation,omitempty"`
	// Digest (Sluice) of the rendered objects.
	Digest string `json:"digest,omitempty"`
}

// ComparedTo is what live state was compared with.
type ComparedTo struct {
	Source            ApplicationSource           `json:"source,omitempty"`
	Destination       ApplicationDestination      `json:"destination"`
	Sources           []ApplicationSource         `json:"sources,omitempty"`
	IgnoreDifferences []ResourceIgnoreDifferences `json:"ignoreDifferences,omitempty"`
}

// HealthStatus is the health of one object.
type HealthStatus struct {
	Status             HealthStatusCode `json:"status,omitempty"`
	Message            string           `json:"message,omitempty"`
	LastTransitionTime *metav1.Time     `json:"lastTransitionTime,omitempty"`
}

// AppHealthStatus is the health of an Application.
type AppHealthStatus struct {
	Status             HealthStatusCode `json:"status,omitempty"`
	Message            string           `json:"message,omitempty"`
	LastTransitionTime *metav1.Time     `json:"lastTransitionTime,omitempty"`
}

// ResourceStatus is one managed object.
type ResourceStatus struct {
	Group                        string         `json:"group,omitempty"`
	Version                      string         `json:"version,omitempty"`
	Kind                         string         `json:"kind,omitempty"`
	Namespace                    string         `json:"namespace,omitempty"`
	Name                         string         `json:"name,omitempty"`
	Status                       SyncStatusCode `json:"status,omitempty"`
	Health                       *HealthStatus  `json:"health,omitempty"`
	Hook                         bool           `json:"hook,omitempty"`
	RequiresPruning              bool           `json:"requiresPruning,omitempty"`
	SyncWave                     int64          `json:"syncWave,omitempty"`
	RequiresDeletionConfirmation bool           `json:"requiresDeletionConfirmation,omitempty"`
}

// RevisionHistory is one deployment, oldest first in the status.
type RevisionHistory struct {
	Revision   string      `json:"revision,omitempty"`
	DeployedAt metav1.Time `json:"deployedAt"`
	ID         int64       `json:"id"`
	// Source has the fields of spec.source.
	//
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Source          ApplicationSource `json:"source,omitempty"`
	DeployStartedAt *metav1.Time      `json:"deployStartedAt,omitempty"`
	// Sources have the fields of spec.sources.
	//
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Sources     []ApplicationSource `json:"sources,omitempty"`
	Revisions   []string            `json:"revisions,omitempty"`
	InitiatedBy OperationInitiator  `json:"initiatedBy,omitempty"`
	// Health (Sluice) is Healthy when the Application became so after this
	// deployment and before the next.
	Health HealthStatusCode `json:"health,omitempty"`
}

// ApplicationCondition is something a person should know.
type ApplicationCondition struct {
	Type               string       `json:"type"`
	Message            string       `json:"message"`
	LastTransitionTime *metav1.Time `json:"lastTransitionTime,omitempty"`
}

// ApplicationSummary gathers what lists and links show.
type ApplicationSummary struct {
	ExternalURLs []string `json:"externalURLs,omitempty"`
	Images       []string `json:"images,omitempty"`
	IsAppOfApps  bool     `json:"isAppOfApps,omitempty"`
}

// Reasons of a Hold.
const (
	// HoldManualOverride: a person deployed something else than the target.
	HoldManualOverride = "ManualOverride"
	// HoldAutomaticRollback: the target failed, and what was before it came back.
	HoldAutomaticRollback = "AutomaticRollback"
)

// Hold (Sluice) says what is kept on the cluster although the target is
// another (spec/application.md §11).
type Hold struct {
	// Revisions that were deployed, one per source, from Source or Sources.
	Revisions []string            `json:"revisions,omitempty"`
	Source    *ApplicationSource  `json:"source,omitempty"`
	Sources   []ApplicationSource `json:"sources,omitempty"`
	// Reason is HoldManualOverride or HoldAutomaticRollback.
	Reason string       `json:"reason,omitempty"`
	Since  *metav1.Time `json:"since,omitempty"`
	// By is the person, empty when none is known.
	By string `json:"by,omitempty"`
	// Rejected are the revisions of the target that is not deployed while the
	// hold lasts, RejectedDigest tells its manifests; it is empty while they
	// could not be rendered.
	Rejected       []string `json:"rejected,omitempty"`
	RejectedDigest string   `json:"rejectedDigest,omitempty"`
}

// HydratorStatus is the state of the rendered-manifest flow.
type HydratorStatus struct {
	LastSuccessfulOperation *HydratorDone      `json:"lastSuccessfulOperation,omitempty"`
	CurrentOperation        *HydratorOperation `json:"currentOperation,omitempty"`
	LastComparedDryRevision string             `json:"lastComparedDryRevision,omitempty"`
}

// HydratorOperation is one run of the rendered-manifest flow.
type HydratorOperation struct {
	StartedAt      metav1.Time    `json:"startedAt,omitempty"`
	FinishedAt     *metav1.Time   `json:"finishedAt,omitempty"`
	Phase          string         `json:"phase"`
	Message        string         `json:"message"`
	DrySHA         string         `json:"drySHA,omitempty"`
	HydratedSHA    string         `json:"hydratedSHA,omitempty"`
	SourceHydrator SourceHydrator `json:"sourceHydrator,omitempty"`
}

// HydratorDone is a successful run of the rendered-manifest flow.
type HydratorDone struct {
	DrySHA         string         `json:"drySHA,omitempty"`
	HydratedSHA    string         `json:"hydratedSHA,omitempty"`
	SourceHydrator SourceHydrator `json:"sourceHydrator,omitempty"`
}
