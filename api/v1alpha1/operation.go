package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Operation is a request to sync.
type Operation struct {
	Sync        *SyncOperation     `json:"sync,omitempty"`
	InitiatedBy OperationInitiator `json:"initiatedBy,omitempty"`
	Info        []*Info            `json:"info,omitempty"`
	Retry       RetryStrategy      `json:"retry,omitempty"`
}

// OperationInitiator says who asked.
type OperationInitiator struct {
	Username  string `json:"username,omitempty"`
	Automated bool   `json:"automated,omitempty"`
}

// SyncOperation says what to sync; empty sources and revisions are taken from
// the Application's spec.
type SyncOperation struct {
	Revision              string                  `json:"revision,omitempty"`
	Prune                 bool                    `json:"prune,omitempty"`
	DryRun                bool                    `json:"dryRun,omitempty"`
	SyncStrategy          *SyncStrategy           `json:"syncStrategy,omitempty"`
	Resources             []SyncOperationResource `json:"resources,omitempty"`
	Source                *ApplicationSource      `json:"source,omitempty"`
	Manifests             []string                `json:"manifests,omitempty"`
	SyncOptions           []string                `json:"syncOptions,omitempty"`
	Sources               []ApplicationSource     `json:"sources,omitempty"`
	Revisions             []string                `json:"revisions,omitempty"`
	AutoHealAttemptsCount int64                   `json:"autoHealAttemptsCount,omitempty"`
}

// SyncStrategy chooses between hooks (default) and plain apply.
type SyncStrategy struct {
	Apply *SyncStrategyApply `json:"apply,omitempty"`
	Hook  *SyncStrategyHook  `json:"hook,omitempty"`
}

// SyncStrategyApply syncs without hooks.
type SyncStrategyApply struct {
	Force bool `json:"force,omitempty"`
}

// SyncStrategyHook syncs with hooks.
type SyncStrategyHook struct {
	SyncStrategyApply `json:",inline"`
}

// SyncOperationResource restricts a sync to some objects.
type SyncOperationResource struct {
	Group     string `json:"group,omitempty"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
	Exclude   bool   `json:"-"`
}

// InfoTarget (Sluice) is the name of an info item of an operation: whoever asked
// for it named no revision, and so means the target, though one is fixed in it.
const InfoTarget = "SyncTarget"

// OperationState is a running or the last operation.
type OperationState struct {
	// Operation has the fields of the Application's operation.
	//
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Operation  Operation            `json:"operation"`
	Phase      OperationPhase       `json:"phase"`
	Message    string               `json:"message,omitempty"`
	SyncResult *SyncOperationResult `json:"syncResult,omitempty"`
	StartedAt  metav1.Time          `json:"startedAt"`
	FinishedAt *metav1.Time         `json:"finishedAt,omitempty"`
	RetryCount int64                `json:"retryCount,omitempty"`
	// ID (Sluice) names the operation for good. For an operation of a rollout
	// it is the value of its info item RolloutOperation.
	ID string `json:"id,omitempty"`
	// Override (Sluice) says that a person asked for something else than the
	// target of that time.
	Override bool `json:"override,omitempty"`
	// Digest (Sluice) tells the manifests that the operation brings.
	Digest string `json:"digest,omitempty"`
}

// SyncOperationResult is what a sync was and did.
type SyncOperationResult struct {
	Resources []*ResourceResult `json:"resources,omitempty"`
	Revision  string            `json:"revision"`
	// Source has the fields of spec.source.
	//
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Source ApplicationSource `json:"source,omitempty"`
	// Sources have the fields of spec.sources.
	//
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Sources                  []ApplicationSource       `json:"sources,omitempty"`
	Revisions                []string                  `json:"revisions,omitempty"`
	ManagedNamespaceMetadata *ManagedNamespaceMetadata `json:"managedNamespaceMetadata,omitempty"`
}

// ResourceResult is what became of one object.
type ResourceResult struct {
	Group     string         `json:"group"`
	Version   string         `json:"version"`
	Kind      string         `json:"kind"`
	Namespace string         `json:"namespace"`
	Name      string         `json:"name"`
	Status    ResultCode     `json:"status,omitempty"`
	Message   string         `json:"message,omitempty"`
	HookType  string         `json:"hookType,omitempty"`
	HookPhase OperationPhase `json:"hookPhase,omitempty"`
	SyncPhase string         `json:"syncPhase,omitempty"`
	Images    []string       `json:"images,omitempty"`
}
