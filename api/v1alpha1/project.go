package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AppProject says what its Applications may read and write.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=appprojects,shortName=appproj;appprojs
type AppProject struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              AppProjectSpec   `json:"spec"`
	Status            AppProjectStatus `json:"status,omitempty"`
}

// AppProjectList is a list of AppProjects.
//
// +kubebuilder:object:root=true
type AppProjectList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []AppProject `json:"items"`
}

// AppProjectSpec holds the rules of a project.
type AppProjectSpec struct {
	SourceRepos                     []string                     `json:"sourceRepos,omitempty"`
	Destinations                    []ApplicationDestination     `json:"destinations,omitempty"`
	Description                     string                       `json:"description,omitempty"`
	Roles                           []ProjectRole                `json:"roles,omitempty"`
	ClusterResourceWhitelist        []ClusterResourceRestriction `json:"clusterResourceWhitelist,omitempty"`
	NamespaceResourceBlacklist      []GroupKind                  `json:"namespaceResourceBlacklist,omitempty"`
	OrphanedResources               *OrphanedResources           `json:"orphanedResources,omitempty"`
	SyncWindows                     []SyncWindow                 `json:"syncWindows,omitempty"`
	NamespaceResourceWhitelist      []GroupKind                  `json:"namespaceResourceWhitelist,omitempty"`
	SignatureKeys                   []SignatureKey               `json:"signatureKeys,omitempty"`
	ClusterResourceBlacklist        []ClusterResourceRestriction `json:"clusterResourceBlacklist,omitempty"`
	SourceNamespaces                []string                     `json:"sourceNamespaces,omitempty"`
	PermitOnlyProjectScopedClusters bool                         `json:"permitOnlyProjectScopedClusters,omitempty"`
	DestinationServiceAccounts      []DestinationServiceAccount  `json:"destinationServiceAccounts,omitempty"`
	SourceIntegrity                 *SourceIntegrity             `json:"sourceIntegrity,omitempty"`
	// SyncTimeout (Sluice) bounds the operations of the project; a Go duration.
	SyncTimeout string `json:"syncTimeout,omitempty"`
}

// GroupKind names a kind; both parts may hold shell patterns.
type GroupKind struct {
	Group string `json:"group"`
	Kind  string `json:"kind"`
}

// ClusterResourceRestriction names cluster-scoped objects.
type ClusterResourceRestriction struct {
	Group string `json:"group"`
	Kind  string `json:"kind"`
	Name  string `json:"name,omitempty"`
}

// ProjectRole is a role with its policies and tokens.
type ProjectRole struct {
	Name        string     `json:"name"`
	Description string     `json:"description,omitempty"`
	Policies    []string   `json:"policies,omitempty"`
	JWTTokens   []JWTToken `json:"jwtTokens,omitempty"`
	Groups      []string   `json:"groups,omitempty"`
}

// JWTToken records a token of a role; the token itself is stored nowhere.
type JWTToken struct {
	IssuedAt  int64  `json:"iat"`
	ExpiresAt int64  `json:"exp,omitempty"`
	ID        string `json:"id,omitempty"`
}

// JWTTokens is a list of token records.
type JWTTokens struct {
	Items []JWTToken `json:"items,omitempty"`
}

// AppProjectStatus holds the token records by role.
type AppProjectStatus struct {
	JWTTokensByRole map[string]JWTTokens `json:"jwtTokensByRole,omitempty"`
}

// OrphanedResources asks for warnings about objects nobody manages.
type OrphanedResources struct {
	Warn   *bool                 `json:"warn,omitempty"`
	Ignore []OrphanedResourceKey `json:"ignore,omitempty"`
}

// OrphanedResourceKey names objects that are never orphans.
type OrphanedResourceKey struct {
	Group string `json:"group,omitempty"`
	Kind  string `json:"kind,omitempty"`
	Name  string `json:"name,omitempty"`
}

// SyncWindow allows or denies syncs at certain times.
type SyncWindow struct {
	Kind           string   `json:"kind,omitempty"`
	Schedule       string   `json:"schedule,omitempty"`
	Duration       string   `json:"duration,omitempty"`
	Applications   []string `json:"applications,omitempty"`
	Namespaces     []string `json:"namespaces,omitempty"`
	Clusters       []string `json:"clusters,omitempty"`
	ManualSync     bool     `json:"manualSync,omitempty"`
	TimeZone       string   `json:"timeZone,omitempty"`
	UseAndOperator bool     `json:"andOperator,omitempty"`
	Description    string   `json:"description,omitempty"`
	SyncOverrun    bool     `json:"syncOverrun,omitempty"`
}

// SignatureKey is a GnuPG key that must have signed a commit.
type SignatureKey struct {
	KeyID string `json:"keyID"`
}

// DestinationServiceAccount maps destinations to an identity to sync as.
type DestinationServiceAccount struct {
	Server                string `json:"server"`
	Namespace             string `json:"namespace,omitempty"`
	DefaultServiceAccount string `json:"defaultServiceAccount"`
}

// SourceIntegrity asks for verified sources.
type SourceIntegrity struct {
	Git *SourceIntegrityGit `json:"git,omitempty"`
}

// SourceIntegrityGit holds the policies for Git sources.
type SourceIntegrityGit struct {
	Policies []SourceIntegrityGitPolicy `json:"policies,omitempty"`
}

// SourceIntegrityGitPolicy applies to the repositories that match.
type SourceIntegrityGitPolicy struct {
	Repos []SourceIntegrityRepo `json:"repos,omitempty"`
	GPG   *SourceIntegrityGPG   `json:"gpg,omitempty"`
}

// SourceIntegrityRepo is a glob over repository URLs, negated by "!".
type SourceIntegrityRepo struct {
	URL string `json:"url"`
}

// SourceIntegrityGPG says which signatures count and how deep to look.
type SourceIntegrityGPG struct {
	Mode string   `json:"mode,omitempty"`
	Keys []string `json:"keys,omitempty"`
}
