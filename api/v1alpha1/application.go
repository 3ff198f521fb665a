package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Application is a set of manifests from Git, deployed to one cluster.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=applications,shortName=app;apps
// +kubebuilder:printcolumn:name="Sync Status",type=string,JSONPath=`.status.sync.status`
// +kubebuilder:printcolumn:name="Health Status",type=string,JSONPath=`.status.health.status`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.sync.revision`,priority=10
// +kubebuilder:printcolumn:name="Project",type=string,JSONPath=`.spec.project`,priority=10
type Application struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              ApplicationSpec `json:"spec"`
	// Status has one writer: as a whole it belongs to one field manager, which
	// spares the API server two thirds of managedFields.
	//
	// +structType=atomic
	Status ApplicationStatus `json:"status,omitempty"`
	// Operation is a request; it disappears when the operation has ended.
	//
	// +structType=atomic
	Operation *Operation `json:"operation,omitempty"`
}

// ApplicationList is a list of Applications.
//
// +kubebuilder:object:root=true
type ApplicationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []Application `json:"items"`
}

// ApplicationSpec says what to deploy, where to, and how.
type ApplicationSpec struct {
	// Source is ignored when Sources is not empty.
	Source               *ApplicationSource          `json:"source,omitempty"`
	Destination          ApplicationDestination      `json:"destination"`
	Project              string                      `json:"project"`
	SyncPolicy           *SyncPolicy                 `json:"syncPolicy,omitempty"`
	IgnoreDifferences    []ResourceIgnoreDifferences `json:"ignoreDifferences,omitempty"`
	Info                 []Info                      `json:"info,omitempty"`
	RevisionHistoryLimit *int64                      `json:"revisionHistoryLimit,omitempty"`
	Sources              []ApplicationSource         `json:"sources,omitempty"`
	SourceHydrator       *SourceHydrator             `json:"sourceHydrator,omitempty"`
}

// GetSources lists the sources that count: Sources, else Source.
func (s *ApplicationSpec) GetSources() []ApplicationSource {
	if len(s.Sources) > 0 {
		return s.Sources
	}
	if s.Source != nil {
		return []ApplicationSource{*s.Source}
	}
	return nil
}

// ApplicationDestination is a cluster, by server or by name, and a namespace.
type ApplicationDestination struct {
	Server    string `json:"server,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
}

// ResourceIgnoreDifferences excludes fields of some objects from comparison.
type ResourceIgnoreDifferences struct {
	Group                 string   `json:"group,omitempty"`
	Kind                  string   `json:"kind"`
	Name                  string   `json:"name,omitempty"`
	Namespace             string   `json:"namespace,omitempty"`
	JSONPointers          []string `json:"jsonPointers,omitempty"`
	JQPathExpressions     []string `json:"jqPathExpressions,omitempty"`
	ManagedFieldsManagers []string `json:"managedFieldsManagers,omitempty"`
}

// Info is a name and a value shown to people.
type Info struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// SyncPolicy says when and how an Application is synced.
type SyncPolicy struct {
	Automated                *SyncPolicyAutomated      `json:"automated,omitempty"`
	SyncOptions              []string                  `json:"syncOptions,omitempty"`
	Retry                    *RetryStrategy            `json:"retry,omitempty"`
	ManagedNamespaceMetadata *ManagedNamespaceMetadata `json:"managedNamespaceMetadata,omitempty"`
	// SyncTimeout (Sluice) bounds an operation; a Go duration.
	SyncTimeout string `json:"syncTimeout,omitempty"`
}

// SyncPolicyAutomated switches automated syncs on; nil Enabled means true.
type SyncPolicyAutomated struct {
	Prune      bool  `json:"prune,omitempty"`
	SelfHeal   bool  `json:"selfHeal,omitempty"`
	AllowEmpty bool  `json:"allowEmpty,omitempty"`
	Enabled    *bool `json:"enabled,omitempty"`
	// OnFailure (Sluice) is Retry, the default, or Rollback.
	OnFailure string `json:"onFailure,omitempty"`
	// HealthTimeout (Sluice) is how long a sync may take to become Healthy
	// before OnFailure applies; a Go duration, default 5m.
	HealthTimeout string `json:"healthTimeout,omitempty"`
}

// RetryStrategy says how often and how slowly a failed sync is repeated.
type RetryStrategy struct {
	// Limit of repetitions; negative is unlimited.
	Limit   int64    `json:"limit,omitempty"`
	Backoff *Backoff `json:"backoff,omitempty"`
	// Refresh repeats against the newest revision instead of the pinned one.
	Refresh bool `json:"refresh,omitempty"`
}

// Backoff is the pause between repetitions: durations as a Go duration or
// whole seconds; defaults 5s, factor 2, at most 3m.
type Backoff struct {
	Duration    string `json:"duration,omitempty"`
	Factor      *int64 `json:"factor,omitempty"`
	MaxDuration string `json:"maxDuration,omitempty"`
}

// ManagedNamespaceMetadata is put on a namespace that a sync creates.
type ManagedNamespaceMetadata struct {
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}
