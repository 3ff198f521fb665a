package v1alpha1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ApplicationSetGenerator is one generator with an optional selector over the
// parameters it yields.
type ApplicationSetGenerator struct {
	List                    *ListGenerator        `json:"list,omitempty"`
	Clusters                *ClusterGenerator     `json:"clusters,omitempty"`
	Git                     *GitGenerator         `json:"git,omitempty"`
	SCMProvider             *SCMProviderGenerator `json:"scmProvider,omitempty"`
	ClusterDecisionResource *DuckTypeGenerator    `json:"clusterDecisionResource,omitempty"`
	PullRequest             *PullRequestGenerator `json:"pullRequest,omitempty"`
	Matrix                  *MatrixGenerator      `json:"matrix,omitempty"`
	Merge                   *MergeGenerator       `json:"merge,omitempty"`
	Selector                *metav1.LabelSelector `json:"selector,omitempty"`
	Plugin                  *PluginGenerator      `json:"plugin,omitempty"`
}

// NestedGenerator is a child of a matrix or merge. A further matrix or merge
// level is free-form and decoded strictly by the controller.
type NestedGenerator struct {
	List                    *ListGenerator        `json:"list,omitempty"`
	Clusters                *ClusterGenerator     `json:"clusters,omitempty"`
	Git                     *GitGenerator         `json:"git,omitempty"`
	SCMProvider             *SCMProviderGenerator `json:"scmProvider,omitempty"`
	ClusterDecisionResource *DuckTypeGenerator    `json:"clusterDecisionResource,omitempty"`
	PullRequest             *PullRequestGenerator `json:"pullRequest,omitempty"`
	// +kubebuilder:pruning:PreserveUnknownFields
	Matrix *apiextensionsv1.JSON `json:"matrix,omitempty"`
	// +kubebuilder:pruning:PreserveUnknownFields
	Merge    *apiextensionsv1.JSON `json:"merge,omitempty"`
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
	Plugin   *PluginGenerator      `json:"plugin,omitempty"`
}

// FreeForm is a part of a manifest whose schema the API server does not know:
// it is decoded strictly by the controllers.
//
// +kubebuilder:pruning:PreserveUnknownFields
// +kubebuilder:validation:Schemaless
// +kubebuilder:validation:Type=object
type FreeForm = apiextensionsv1.JSON

// ListGenerator yields its elements.
type ListGenerator struct {
	Elements []apiextensionsv1.JSON `json:"elements,omitempty"`
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	Template     *FreeForm `json:"template,omitempty"`
	ElementsYaml string    `json:"elementsYaml,omitempty"`
}

// ClusterGenerator yields registered clusters.
type ClusterGenerator struct {
	Selector metav1.LabelSelector `json:"selector,omitempty"`
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	Template *FreeForm         `json:"template,omitempty"`
	Values   map[string]string `json:"values,omitempty"`
	FlatList bool              `json:"flatList,omitempty"`
}

// GitGenerator yields folders or files of a repository.
type GitGenerator struct {
	RepoURL             string             `json:"repoURL"`
	Directories         []GitDirectoryItem `json:"directories,omitempty"`
	Files               []GitFileItem      `json:"files,omitempty"`
	Revision            string             `json:"revision"`
	RequeueAfterSeconds *int64             `json:"requeueAfterSeconds,omitempty"`
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	Template        *FreeForm         `json:"template,omitempty"`
	PathParamPrefix string            `json:"pathParamPrefix,omitempty"`
	Values          map[string]string `json:"values,omitempty"`
}

// GitDirectoryItem includes or excludes folders.
type GitDirectoryItem struct {
	Path    string `json:"path"`
	Exclude bool   `json:"exclude,omitempty"`
}

// GitFileItem includes or excludes files.
type GitFileItem struct {
	Path    string `json:"path"`
	Exclude bool   `json:"exclude,omitempty"`
}

// MatrixGenerator combines two children.
type MatrixGenerator struct {
	Generators []NestedGenerator `json:"generators"`
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	Template *FreeForm `json:"template,omitempty"`
}

// MergeGenerator overrides the parameters of its first child with those of
// the others where the merge keys agree.
type MergeGenerator struct {
	Generators []NestedGenerator `json:"generators"`
	MergeKeys  []string          `json:"mergeKeys"`
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	Template *FreeForm `json:"template,omitempty"`
}

// SecretRef names a key of a Secret in the ApplicationSet's namespace.
type SecretRef struct {
	SecretName string `json:"secretName"`
	Key        string `json:"key"`
}

// ConfigMapKeyRef names a key of a ConfigMap in the ApplicationSet's namespace.
type ConfigMapKeyRef struct {
	ConfigMapName string `json:"configMapName"`
	Key           string `json:"key"`
}

// BasicAuth is a user name with a password in a Secret.
type BasicAuth struct {
	Username    string     `json:"username"`
	PasswordRef *SecretRef `json:"passwordRef"`
}

// BearerTokenRef is a token in a Secret.
type BearerTokenRef struct {
	TokenRef *SecretRef `json:"tokenRef"`
}

// SCMProviderGenerator yields the repositories of an organisation.
type SCMProviderGenerator struct {
	Github              *SCMGithub          `json:"github,omitempty"`
	Gitlab              *SCMGitlab          `json:"gitlab,omitempty"`
	Bitbucket           *SCMBitbucket       `json:"bitbucket,omitempty"`
	BitbucketServer     *SCMBitbucketServer `json:"bitbucketServer,omitempty"`
	Gitea               *SCMGitea           `json:"gitea,omitempty"`
	AzureDevOps         *SCMAzureDevOps     `json:"azureDevOps,omitempty"`
	Filters             []SCMFilter         `json:"filters,omitempty"`
	CloneProtocol       string              `json:"cloneProtocol,omitempty"`
	RequeueAfterSeconds *int64              `json:"requeueAfterSeconds,omitempty"`
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	Template      *FreeForm         `json:"template,omitempty"`
	Values        map[string]string `json:"values,omitempty"`
	AWSCodeCommit *SCMCodeCommit    `json:"awsCodeCommit,omitempty"`
}

// SCMGithub is a GitHub organisation.
type SCMGithub struct {
	Organization         string     `json:"organization"`
	API                  string     `json:"api,omitempty"`
	TokenRef             *SecretRef `json:"tokenRef,omitempty"`
	AppSecretName        string     `json:"appSecretName,omitempty"`
	AllBranches          bool       `json:"allBranches,omitempty"`
	ExcludeArchivedRepos bool       `json:"excludeArchivedRepos,omitempty"`
}

// SCMGitlab is a GitLab group.
type SCMGitlab struct {
	Group                 string           `json:"group"`
	IncludeSubgroups      bool             `json:"includeSubgroups,omitempty"`
	API                   string           `json:"api,omitempty"`
	TokenRef              *SecretRef       `json:"tokenRef,omitempty"`
	AllBranches           bool             `json:"allBranches,omitempty"`
	Insecure              bool             `json:"insecure,omitempty"`
	IncludeSharedProjects *bool            `json:"includeSharedProjects,omitempty"`
	Topic                 string           `json:"topic,omitempty"`
	CARef                 *ConfigMapKeyRef `json:"caRef,omitempty"`
	IncludeArchivedRepos  bool             `json:"includeArchivedRepos,omitempty"`
}

// SCMBitbucket is an owner on Bitbucket Cloud.
type SCMBitbucket struct {
	Owner          string     `json:"owner"`
	User           string     `json:"user"`
	AppPasswordRef *SecretRef `json:"appPasswordRef"`
	AllBranches    bool       `json:"allBranches,omitempty"`
}

// SCMBitbucketServer is a project on Bitbucket Server.
type SCMBitbucketServer struct {
	Project     string           `json:"project"`
	API         string           `json:"api"`
	BasicAuth   *BasicAuth       `json:"basicAuth,omitempty"`
	AllBranches bool             `json:"allBranches,omitempty"`
	BearerToken *BearerTokenRef  `json:"bearerToken,omitempty"`
	Insecure    bool             `json:"insecure,omitempty"`
	CARef       *ConfigMapKeyRef `json:"caRef,omitempty"`
}

// SCMGitea is an owner on Gitea.
type SCMGitea struct {
	Owner                string     `json:"owner"`
	API                  string     `json:"api"`
	TokenRef             *SecretRef `json:"tokenRef,omitempty"`
	AllBranches          bool       `json:"allBranches,omitempty"`
	Insecure             bool       `json:"insecure,omitempty"`
	ExcludeArchivedRepos bool       `json:"excludeArchivedRepos,omitempty"`
}

// SCMAzureDevOps is a team project on Azure DevOps.
type SCMAzureDevOps struct {
	Organization   string     `json:"organization"`
	API            string     `json:"api,omitempty"`
	TeamProject    string     `json:"teamProject"`
	AccessTokenRef *SecretRef `json:"accessTokenRef"`
	AllBranches    bool       `json:"allBranches,omitempty"`
}

// SCMCodeCommit is an account on AWS CodeCommit.
type SCMCodeCommit struct {
	TagFilters  []*TagFilter `json:"tagFilters,omitempty"`
	Role        string       `json:"role,omitempty"`
	Region      string       `json:"region,omitempty"`
	AllBranches bool         `json:"allBranches,omitempty"`
}

// TagFilter selects repositories by tag.
type TagFilter struct {
	Key   string `json:"key"`
	Value string `json:"value,omitempty"`
}

// SCMFilter selects repositories and branches; all conditions must hold.
type SCMFilter struct {
	RepositoryMatch *string  `json:"repositoryMatch,omitempty"`
	PathsExist      []string `json:"pathsExist,omitempty"`
	PathsDoNotExist []string `json:"pathsDoNotExist,omitempty"`
	LabelMatch      *string  `json:"labelMatch,omitempty"`
	BranchMatch     *string  `json:"branchMatch,omitempty"`
}

// PullRequestGenerator yields open pull requests.
type PullRequestGenerator struct {
	Github              *PullRequestGithub          `json:"github,omitempty"`
	GitLab              *PullRequestGitLab          `json:"gitlab,omitempty"`
	Gitea               *PullRequestGitea           `json:"gitea,omitempty"`
	BitbucketServer     *PullRequestBitbucketServer `json:"bitbucketServer,omitempty"`
	Filters             []PullRequestFilter         `json:"filters,omitempty"`
	RequeueAfterSeconds *int64                      `json:"requeueAfterSeconds,omitempty"`
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	Template                    *FreeForm               `json:"template,omitempty"`
	Bitbucket                   *PullRequestBitbucket   `json:"bitbucket,omitempty"`
	AzureDevOps                 *PullRequestAzureDevOps `json:"azuredevops,omitempty"`
	Values                      map[string]string       `json:"values,omitempty"`
	ContinueOnRepoNotFoundError bool                    `json:"continueOnRepoNotFoundError,omitempty"`
}

// PullRequestGithub is a repository on GitHub.
type PullRequestGithub struct {
	Owner         string     `json:"owner"`
	Repo          string     `json:"repo"`
	API           string     `json:"api,omitempty"`
	TokenRef      *SecretRef `json:"tokenRef,omitempty"`
	AppSecretName string     `json:"appSecretName,omitempty"`
	Labels        []string   `json:"labels,omitempty"`
}

// PullRequestGitLab is a project on GitLab.
type PullRequestGitLab struct {
	Project          string           `json:"project"`
	API              string           `json:"api,omitempty"`
	TokenRef         *SecretRef       `json:"tokenRef,omitempty"`
	Labels           []string         `json:"labels,omitempty"`
	PullRequestState string           `json:"pullRequestState,omitempty"`
	Insecure         bool             `json:"insecure,omitempty"`
	CARef            *ConfigMapKeyRef `json:"caRef,omitempty"`
}

// PullRequestGitea is a repository on Gitea.
type PullRequestGitea struct {
	Owner    string     `json:"owner"`
	Repo     string     `json:"repo"`
	API      string     `json:"api"`
	TokenRef *SecretRef `json:"tokenRef,omitempty"`
	Insecure bool       `json:"insecure,omitempty"`
	Labels   []string   `json:"labels,omitempty"`
}

// PullRequestBitbucketServer is a repository on Bitbucket Server.
type PullRequestBitbucketServer struct {
	Project     string           `json:"project"`
	Repo        string           `json:"repo"`
	API         string           `json:"api"`
	BasicAuth   *BasicAuth       `json:"basicAuth,omitempty"`
	BearerToken *BearerTokenRef  `json:"bearerToken,omitempty"`
	Insecure    bool             `json:"insecure,omitempty"`
	CARef       *ConfigMapKeyRef `json:"caRef,omitempty"`
}

// PullRequestBitbucket is a repository on Bitbucket Cloud.
type PullRequestBitbucket struct {
	Owner       string          `json:"owner"`
	Repo        string          `json:"repo"`
	API         string          `json:"api,omitempty"`
	BasicAuth   *BasicAuth      `json:"basicAuth,omitempty"`
	BearerToken *BearerTokenRef `json:"bearerToken,omitempty"`
}

// PullRequestAzureDevOps is a repository on Azure DevOps.
type PullRequestAzureDevOps struct {
	Organization string     `json:"organization"`
	Project      string     `json:"project"`
	Repo         string     `json:"repo"`
	API          string     `json:"api,omitempty"`
	TokenRef     *SecretRef `json:"tokenRef,omitempty"`
	Labels       []string   `json:"labels,omitempty"`
}

// PullRequestFilter selects pull requests; all conditions must hold.
type PullRequestFilter struct {
	BranchMatch       *string `json:"branchMatch,omitempty"`
	TargetBranchMatch *string `json:"targetBranchMatch,omitempty"`
	TitleMatch        *string `json:"titleMatch,omitempty"`
}

// DuckTypeGenerator yields the clusters that some resource has decided on.
type DuckTypeGenerator struct {
	ConfigMapRef        string               `json:"configMapRef"`
	Name                string               `json:"name,omitempty"`
	RequeueAfterSeconds *int64               `json:"requeueAfterSeconds,omitempty"`
	LabelSelector       metav1.LabelSelector `json:"labelSelector,omitempty"`
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	Template *FreeForm         `json:"template,omitempty"`
	Values   map[string]string `json:"values,omitempty"`
}

// PluginGenerator yields what a service answers.
type PluginGenerator struct {
	ConfigMapRef        PluginConfigMapRef `json:"configMapRef"`
	Input               PluginInput        `json:"input,omitempty"`
	RequeueAfterSeconds *int64             `json:"requeueAfterSeconds,omitempty"`
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	Template *FreeForm         `json:"template,omitempty"`
	Values   map[string]string `json:"values,omitempty"`
}

// PluginConfigMapRef names the ConfigMap that describes the service.
type PluginConfigMapRef struct {
	Name string `json:"name"`
}

// PluginInput is what the service is given.
type PluginInput struct {
	Parameters map[string]apiextensionsv1.JSON `json:"parameters,omitempty"`
}
