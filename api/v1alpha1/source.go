package v1alpha1

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// ApplicationSource says where manifests come from and how they are rendered.
type ApplicationSource struct {
	RepoURL        string           `json:"repoURL"`
	Path           string           `json:"path,omitempty"`
	TargetRevision string           `json:"targetRevision,omitempty"`
	Helm           *SourceHelm      `json:"helm,omitempty"`
	Kustomize      *SourceKustomize `json:"kustomize,omitempty"`
	Directory      *SourceDirectory `json:"directory,omitempty"`
	Plugin         *SourcePlugin    `json:"plugin,omitempty"`
	Chart          string           `json:"chart,omitempty"`
	Ref            string           `json:"ref,omitempty"`
	Name           string           `json:"name,omitempty"`
	TagPrefix      string           `json:"tagPrefix,omitempty"`
}

// SourceHelm holds the options of a Helm source.
type SourceHelm struct {
	ValueFiles     []string            `json:"valueFiles,omitempty"`
	Parameters     []HelmParameter     `json:"parameters,omitempty"`
	ReleaseName    string              `json:"releaseName,omitempty"`
	Values         string              `json:"values,omitempty"`
	FileParameters []HelmFileParameter `json:"fileParameters,omitempty"`
	// Version is accepted and ignored: there is one Helm engine.
	Version                 string `json:"version,omitempty"`
	PassCredentials         bool   `json:"passCredentials,omitempty"`
	IgnoreMissingValueFiles bool   `json:"ignoreMissingValueFiles,omitempty"`
	SkipCrds                bool   `json:"skipCrds,omitempty"`
	// +kubebuilder:pruning:PreserveUnknownFields
	ValuesObject         *runtime.RawExtension `json:"valuesObject,omitempty"`
	Namespace            string                `json:"namespace,omitempty"`
	KubeVersion          string                `json:"kubeVersion,omitempty"`
	APIVersions          []string              `json:"apiVersions,omitempty"`
	SkipTests            bool                  `json:"skipTests,omitempty"`
	SkipSchemaValidation bool                  `json:"skipSchemaValidation,omitempty"`
}

// HelmParameter is one --set of a Helm source.
type HelmParameter struct {
	Name        string `json:"name,omitempty"`
	Value       string `json:"value,omitempty"`
	ForceString bool   `json:"forceString,omitempty"`
}

// HelmFileParameter is one --set-file of a Helm source.
type HelmFileParameter struct {
	Name string `json:"name,omitempty"`
	Path string `json:"path,omitempty"`
}

// SourceKustomize holds the edits made to a kustomization before it is built.
type SourceKustomize struct {
	NamePrefix                string             `json:"namePrefix,omitempty"`
	NameSuffix                string             `json:"nameSuffix,omitempty"`
	Images                    []string           `json:"images,omitempty"`
	CommonLabels              map[string]string  `json:"commonLabels,omitempty"`
	Version                   string             `json:"version,omitempty"`
	CommonAnnotations         map[string]string  `json:"commonAnnotations,omitempty"`
	ForceCommonLabels         bool               `json:"forceCommonLabels,omitempty"`
	ForceCommonAnnotations    bool               `json:"forceCommonAnnotations,omitempty"`
	Namespace                 string             `json:"namespace,omitempty"`
	CommonAnnotationsEnvsubst bool               `json:"commonAnnotationsEnvsubst,omitempty"`
	Replicas                  []KustomizeReplica `json:"replicas,omitempty"`
	Patches                   []KustomizePatch   `json:"patches,omitempty"`
	Components                []string           `json:"components,omitempty"`
	IgnoreMissingComponents   bool               `json:"ignoreMissingComponents,omitempty"`
	LabelWithoutSelector      bool               `json:"labelWithoutSelector,omitempty"`
	KubeVersion               string             `json:"kubeVersion,omitempty"`
	APIVersions               []string           `json:"apiVersions,omitempty"`
	LabelIncludeTemplates     bool               `json:"labelIncludeTemplates,omitempty"`
}

// KustomizeReplica overrides the replica count of a named object.
type KustomizeReplica struct {
	Name  string             `json:"name"`
	Count intstr.IntOrString `json:"count"`
}

// KustomizePatch is a patch appended to a kustomization.
type KustomizePatch struct {
	Path    string             `json:"path,omitempty"`
	Patch   string             `json:"patch,omitempty"`
	Target  *KustomizeSelector `json:"target,omitempty"`
	Options map[string]bool    `json:"options,omitempty"`
}

// KustomizeSelector selects the objects a patch applies to.
type KustomizeSelector struct {
	Group              string `json:"group,omitempty"`
	Version            string `json:"version,omitempty"`
	Kind               string `json:"kind,omitempty"`
	Namespace          string `json:"namespace,omitempty"`
	Name               string `json:"name,omitempty"`
	AnnotationSelector string `json:"annotationSelector,omitempty"`
	LabelSelector      string `json:"labelSelector,omitempty"`
}

// SourceDirectory holds the options of a folder of plain manifests.
type SourceDirectory struct {
	Recurse bool          `json:"recurse,omitempty"`
	Jsonnet SourceJsonnet `json:"jsonnet,omitempty"`
	Exclude string        `json:"exclude,omitempty"`
	Include string        `json:"include,omitempty"`
}

// SourceJsonnet holds the variables and libraries of jsonnet files.
type SourceJsonnet struct {
	ExtVars []JsonnetVar `json:"extVars,omitempty"`
	TLAs    []JsonnetVar `json:"tlas,omitempty"`
	Libs    []string     `json:"libs,omitempty"`
}

// JsonnetVar is one external variable or top-level argument.
type JsonnetVar struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Code  bool   `json:"code,omitempty"`
}

// SourcePlugin names a config-management plugin and its input.
type SourcePlugin struct {
	Name       string            `json:"name,omitempty"`
	Env        []EnvEntry        `json:"env,omitempty"`
	Parameters []PluginParameter `json:"parameters,omitempty"`
}

// EnvEntry is one environment variable of a plugin.
type EnvEntry struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// PluginParameter is a parameter of a plugin: a string, a map or a list.
type PluginParameter struct {
	Name   string            `json:"name,omitempty"`
	String *string           `json:"string,omitempty"`
	Map    map[string]string `json:"map,omitempty"`
	Array  []string          `json:"array,omitempty"`
}

// SourceHydrator describes the rendered-manifest flow.
type SourceHydrator struct {
	DrySource  DrySource  `json:"drySource"`
	SyncSource SyncSource `json:"syncSource"`
	HydrateTo  *HydrateTo `json:"hydrateTo,omitempty"`
}

// DrySource is where unrendered manifests are.
type DrySource struct {
	RepoURL        string           `json:"repoURL"`
	TargetRevision string           `json:"targetRevision"`
	Path           string           `json:"path"`
	Helm           *SourceHelm      `json:"helm,omitempty"`
	Kustomize      *SourceKustomize `json:"kustomize,omitempty"`
	Directory      *SourceDirectory `json:"directory,omitempty"`
	Plugin         *SourcePlugin    `json:"plugin,omitempty"`
}

// SyncSource is where rendered manifests are synced from.
type SyncSource struct {
	RepoURL      string `json:"repoURL,omitempty"`
	TargetBranch string `json:"targetBranch"`
	Path         string `json:"path"`
}

// HydrateTo is the branch rendered manifests are pushed to first.
type HydrateTo struct {
	TargetBranch string `json:"targetBranch"`
}
