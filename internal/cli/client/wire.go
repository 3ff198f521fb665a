package client

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// ResourceRef names an object in a tree.
type ResourceRef struct {
	Group     string `json:"group,omitempty"`
	Version   string `json:"version,omitempty"`
	Kind      string `json:"kind,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	UID       string `json:"uid,omitempty"`
}

// Node is an object in a tree.
type Node struct {
	ResourceRef
	ParentRefs []ResourceRef          `json:"parentRefs,omitempty"`
	Info       []v1alpha1.Info        `json:"info,omitempty"`
	Images     []string               `json:"images,omitempty"`
	Health     *v1alpha1.HealthStatus `json:"health,omitempty"`
	CreatedAt  *metav1.Time           `json:"createdAt,omitempty"`
}

// Tree is what an Application consists of on its cluster.
type Tree struct {
	Nodes         []Node `json:"nodes,omitempty"`
	OrphanedNodes []Node `json:"orphanedNodes,omitempty"`
}

// ManagedResource is an object that Git asks for beside the one that is there;
// states are JSON, "null" when there is none.
type ManagedResource struct {
	Group               string `json:"group,omitempty"`
	Kind                string `json:"kind,omitempty"`
	Namespace           string `json:"namespace,omitempty"`
	Name                string `json:"name,omitempty"`
	TargetState         string `json:"targetState,omitempty"`
	LiveState           string `json:"liveState,omitempty"`
	NormalizedLiveState string `json:"normalizedLiveState,omitempty"`
	PredictedLiveState  string `json:"predictedLiveState,omitempty"`
	Modified            bool   `json:"modified,omitempty"`
	Hook                bool   `json:"hook,omitempty"`
}

// Window is a sync window that concerns an Application.
type Window struct {
	Kind       string `json:"kind,omitempty"`
	Schedule   string `json:"schedule,omitempty"`
	Duration   string `json:"duration,omitempty"`
	ManualSync bool   `json:"manualSync,omitempty"`
}

// Windows are the sync windows of an Application.
type Windows struct {
	Active   []Window `json:"activeWindows,omitempty"`
	Assigned []Window `json:"assignedWindows,omitempty"`
	CanSync  bool     `json:"canSync,omitempty"`
}

// SyncResource is an object that a sync is limited to, or leaves out.
type SyncResource struct {
	Group     string `json:"group,omitempty"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
	Exclude   bool   `json:"exclude,omitempty"`
}

// SyncRequest begins a sync.
type SyncRequest struct {
	Revision        string                  `json:"revision,omitempty"`
	Revisions       []string                `json:"revisions,omitempty"`
	SourcePositions []int64                 `json:"sourcePositions,omitempty"`
	DryRun          bool                    `json:"dryRun,omitempty"`
	Prune           bool                    `json:"prune,omitempty"`
	Strategy        *v1alpha1.SyncStrategy  `json:"strategy,omitempty"`
	Resources       []SyncResource          `json:"resources,omitempty"`
	Manifests       []string                `json:"manifests,omitempty"`
	Infos           []*v1alpha1.Info        `json:"infos,omitempty"`
	RetryStrategy   *v1alpha1.RetryStrategy `json:"retryStrategy,omitempty"`
	SyncOptions     *Items                  `json:"syncOptions,omitempty"`
}

// Items is a list of words.
type Items struct {
	Items []string `json:"items"`
}

// Action is something that can be done with an object.
type Action struct {
	Name        string `json:"name"`
	Disabled    bool   `json:"disabled,omitempty"`
	DisplayName string `json:"displayName,omitempty"`
	IconClass   string `json:"iconClass,omitempty"`
}

// LogEntry is one line of a log; the last entry is empty.
type LogEntry struct {
	Content string `json:"content"`
	PodName string `json:"podName"`
	Last    bool   `json:"last"`
}

// AppEvent is a message of a watch of Applications.
type AppEvent struct {
	Type        string               `json:"type"`
	Application v1alpha1.Application `json:"application"`
}

// SetEvent is a message of a watch of ApplicationSets.
type SetEvent struct {
	Type           string                  `json:"type"`
	ApplicationSet v1alpha1.ApplicationSet `json:"applicationSet"`
}

// Event is a Kubernetes event about an object, as much of it as people read.
type Event struct {
	Type           string       `json:"type,omitempty"`
	Reason         string       `json:"reason,omitempty"`
	Message        string       `json:"message,omitempty"`
	Count          int32        `json:"count,omitempty"`
	LastTimestamp  *metav1.Time `json:"lastTimestamp,omitempty"`
	EventTime      *metav1.Time `json:"eventTime,omitempty"`
	InvolvedObject ResourceRef  `json:"involvedObject,omitempty"`
}

// Settings are what the server tells everybody about itself.
type Settings struct {
	URL                   string        `json:"url,omitempty"`
	DexConfig             *DexSettings  `json:"dexConfig,omitempty"`
	OIDCConfig            *OIDCSettings `json:"oidcConfig,omitempty"`
	UserLoginsDisabled    bool          `json:"userLoginsDisabled,omitempty"`
	ControllerNamespace   string        `json:"controllerNamespace,omitempty"`
	PasswordPattern       string        `json:"passwordPattern,omitempty"`
	SyncWithReplaceAllows bool          `json:"syncWithReplaceAllowed,omitempty"`
}

// DexSettings say that Dex logs users in.
type DexSettings struct {
	Connectors []struct {
		Name string `json:"name"`
		Type string `json:"type"`
	} `json:"connectors,omitempty"`
}

// OIDCSettings say which issuer logs users in.
type OIDCSettings struct {
	Name        string                     `json:"name,omitempty"`
	Issuer      string                     `json:"issuer,omitempty"`
	ClientID    string                     `json:"clientID,omitempty"`
	CLIClientID string                     `json:"cliClientID,omitempty"`
	Scopes      []string                   `json:"scopes,omitempty"`
	Claims      map[string]json.RawMessage `json:"idTokenClaims,omitempty"`
}

// Version is that of the server and of what it renders with.
type Version struct {
	Version          string `json:"Version"`
	BuildDate        string `json:"BuildDate,omitempty"`
	GitCommit        string `json:"GitCommit,omitempty"`
	GitTag           string `json:"GitTag,omitempty"`
	GitTreeState     string `json:"GitTreeState,omitempty"`
	GoVersion        string `json:"GoVersion,omitempty"`
	Compiler         string `json:"Compiler,omitempty"`
	Platform         string `json:"Platform,omitempty"`
	KustomizeVersion string `json:"KustomizeVersion,omitempty"`
	HelmVersion      string `json:"HelmVersion,omitempty"`
	KubectlVersion   string `json:"KubectlVersion,omitempty"`
	JsonnetVersion   string `json:"JsonnetVersion,omitempty"`
	ExtraBuildInfo   string `json:"ExtraBuildInfo,omitempty"`
}

// UserInfo is who the server takes the caller for.
type UserInfo struct {
	LoggedIn bool     `json:"loggedIn,omitempty"`
	Username string   `json:"username,omitempty"`
	Issuer   string   `json:"iss,omitempty"`
	Groups   []string `json:"groups,omitempty"`
}

// Account is a local account.
type Account struct {
	Name         string         `json:"name,omitempty"`
	Enabled      bool           `json:"enabled,omitempty"`
	Capabilities []string       `json:"capabilities,omitempty"`
	Tokens       []AccountToken `json:"tokens,omitempty"`
}

// AccountToken records a token of an account; times in seconds since 1970.
type AccountToken struct {
	ID        string `json:"id,omitempty"`
	IssuedAt  int64  `json:"issuedAt,omitempty"`
	ExpiresAt int64  `json:"expiresAt,omitempty"`
}

// ConnectionState is how well something is reached.
type ConnectionState struct {
	Status     string       `json:"status,omitempty"`
	Message    string       `json:"message,omitempty"`
	ModifiedAt *metav1.Time `json:"attemptedAt,omitempty"`
}

// ClusterInfo is what is known of a cluster.
type ClusterInfo struct {
	ConnectionState   ConnectionState `json:"connectionState,omitempty"`
	ServerVersion     string          `json:"serverVersion,omitempty"`
	ApplicationsCount int64           `json:"applicationsCount"`
	CacheInfo         struct {
		ResourcesCount    int64        `json:"resourcesCount,omitempty"`
		APIsCount         int64        `json:"apisCount,omitempty"`
		LastCacheSyncTime *metav1.Time `json:"lastCacheSyncTime,omitempty"`
	} `json:"cacheInfo,omitempty"`
	APIVersions []string `json:"apiVersions,omitempty"`
}

// Cluster is a target.
type Cluster struct {
	Server           string            `json:"server"`
	Name             string            `json:"name"`
	Config           ClusterConfig     `json:"config"`
	ConnectionState  *ConnectionState  `json:"connectionState,omitempty"`
	ServerVersion    string            `json:"serverVersion,omitempty"`
	Namespaces       []string          `json:"namespaces,omitempty"`
	Shard            *int64            `json:"shard,omitempty"`
	Info             *ClusterInfo      `json:"info,omitempty"`
	Project          string            `json:"project,omitempty"`
	ClusterResources bool              `json:"clusterResources,omitempty"`
	Labels           map[string]string `json:"labels,omitempty"`
	Annotations      map[string]string `json:"annotations,omitempty"`
}

// ClusterConfig is how a cluster is reached.
type ClusterConfig struct {
	Username           string          `json:"username,omitempty"`
	Password           string          `json:"password,omitempty"`
	BearerToken        string          `json:"bearerToken,omitempty"`
	TLSClientConfig    TLSClientConfig `json:"tlsClientConfig"`
	AWSAuthConfig      *AWSAuth        `json:"awsAuthConfig,omitempty"`
	ExecProviderConfig *ExecProvider   `json:"execProviderConfig,omitempty"`
	ProxyURL           string          `json:"proxyUrl,omitempty"`
	DisableCompression bool            `json:"disableCompression,omitempty"`
}

// TLSClientConfig is the TLS part of a ClusterConfig; data is base64 in JSON.
type TLSClientConfig struct {
	Insecure   bool   `json:"insecure"`
	ServerName string `json:"serverName,omitempty"`
	CertData   []byte `json:"certData,omitempty"`
	KeyData    []byte `json:"keyData,omitempty"`
	CAData     []byte `json:"caData,omitempty"`
}

// AWSAuth gets credentials from AWS.
type AWSAuth struct {
	ClusterName string `json:"clusterName,omitempty"`
	RoleARN     string `json:"roleARN,omitempty"`
	Profile     string `json:"profile,omitempty"`
}

// ExecProvider gets credentials from a program on the hub.
type ExecProvider struct {
	Command     string            `json:"command,omitempty"`
	Args        []string          `json:"args,omitempty"`
	Env         map[string]string `json:"env,omitempty"`
	APIVersion  string            `json:"apiVersion,omitempty"`
	InstallHint string            `json:"installHint,omitempty"`
}

// Repository is a source with the credentials to read it.
type Repository struct {
	Repo                       string           `json:"repo"`
	Type                       string           `json:"type,omitempty"`
	Name                       string           `json:"name,omitempty"`
	Project                    string           `json:"project,omitempty"`
	Username                   string           `json:"username,omitempty"`
	Password                   string           `json:"password,omitempty"`
	BearerToken                string           `json:"bearerToken,omitempty"`
	SSHPrivateKey              string           `json:"sshPrivateKey,omitempty"`
	Insecure                   bool             `json:"insecure,omitempty"`
	InsecureIgnoreHostKey      bool             `json:"insecureIgnoreHostKey,omitempty"`
	EnableLFS                  bool             `json:"enableLfs,omitempty"`
	TLSClientCertData          string           `json:"tlsClientCertData,omitempty"`
	TLSClientCertKey           string           `json:"tlsClientCertKey,omitempty"`
	EnableOCI                  bool             `json:"enableOCI,omitempty"`
	InsecureOCIForceHTTP       bool             `json:"insecureOCIForceHttp,omitempty"`
	GithubAppPrivateKey        string           `json:"githubAppPrivateKey,omitempty"`
	GithubAppID                int64            `json:"githubAppID,omitempty"`
	GithubAppInstallationID    int64            `json:"githubAppInstallationID,omitempty"`
	GithubAppEnterpriseBaseURL string           `json:"githubAppEnterpriseBaseUrl,omitempty"`
	GCPServiceAccountKey       string           `json:"gcpServiceAccountKey,omitempty"`
	Proxy                      string           `json:"proxy,omitempty"`
	NoProxy                    string           `json:"noProxy,omitempty"`
	ForceHTTPBasicAuth         bool             `json:"forceHttpBasicAuth,omitempty"`
	UseAzureWorkloadIdentity   bool             `json:"useAzureWorkloadIdentity,omitempty"`
	AzureClientID              string           `json:"azureServicePrincipalClientId,omitempty"`
	AzureClientSecret          string           `json:"azureServicePrincipalClientSecret,omitempty"`
	AzureTenantID              string           `json:"azureServicePrincipalTenantId,omitempty"`
	AzureEndpoint              string           `json:"azureActiveDirectoryEndpoint,omitempty"`
	Depth                      int64            `json:"depth,omitempty"`
	InheritedCreds             bool             `json:"inheritedCreds,omitempty"`
	ConnectionState            *ConnectionState `json:"connectionState,omitempty"`
}

// RepoCreds are credentials for all repositories below a URL.
type RepoCreds struct {
	URL                        string `json:"url"`
	Type                       string `json:"type,omitempty"`
	Username                   string `json:"username,omitempty"`
	Password                   string `json:"password,omitempty"`
	BearerToken                string `json:"bearerToken,omitempty"`
	SSHPrivateKey              string `json:"sshPrivateKey,omitempty"`
	TLSClientCertData          string `json:"tlsClientCertData,omitempty"`
	TLSClientCertKey           string `json:"tlsClientCertKey,omitempty"`
	GithubAppPrivateKey        string `json:"githubAppPrivateKey,omitempty"`
	GithubAppID                int64  `json:"githubAppID,omitempty"`
	GithubAppInstallationID    int64  `json:"githubAppInstallationID,omitempty"`
	GithubAppEnterpriseBaseURL string `json:"githubAppEnterpriseBaseUrl,omitempty"`
	EnableOCI                  bool   `json:"enableOCI,omitempty"`
	InsecureOCIForceHTTP       bool   `json:"insecureOCIForceHttp,omitempty"`
	GCPServiceAccountKey       string `json:"gcpServiceAccountKey,omitempty"`
	Proxy                      string `json:"proxy,omitempty"`
	NoProxy                    string `json:"noProxy,omitempty"`
	ForceHTTPBasicAuth         bool   `json:"forceHttpBasicAuth,omitempty"`
	UseAzureWorkloadIdentity   bool   `json:"useAzureWorkloadIdentity,omitempty"`
	AzureClientID              string `json:"azureServicePrincipalClientId,omitempty"`
	AzureClientSecret          string `json:"azureServicePrincipalClientSecret,omitempty"`
	AzureTenantID              string `json:"azureServicePrincipalTenantId,omitempty"`
	AzureEndpoint              string `json:"azureActiveDirectoryEndpoint,omitempty"`
}

// Certificate is a certificate or host key by which repositories are known.
type Certificate struct {
	ServerName  string `json:"serverName"`
	CertType    string `json:"certType"`
	CertSubType string `json:"certSubType,omitempty"`
	CertData    []byte `json:"certData,omitempty"`
	CertInfo    string `json:"certInfo,omitempty"`
}

// GPGKey is a key that may sign commits.
type GPGKey struct {
	KeyID       string `json:"keyID,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Owner       string `json:"owner,omitempty"`
	Trust       string `json:"trust,omitempty"`
	SubType     string `json:"subType,omitempty"`
	KeyData     string `json:"keyData,omitempty"`
}

// list is how the server wraps several objects.
type list[T any] struct {
	Items []T `json:"items"`
}
