package application

import (
	"context"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/action"
)

// Engine knows what Applications consist of on their clusters. It is the
// controller in the same process, or a client of the one that holds the cluster.
// Objects that it gives are shared: they must not be changed.
type Engine interface {
	// Capabilities are the Kubernetes version and the API versions of a cluster.
	Capabilities(server string) (kube string, apis []string, err error)
	// Managed lists what Git asks for beside what is there.
	Managed(ctx context.Context, app *v1alpha1.Application) ([]Managed, error)
	// Tree gives the managed objects and what they own.
	Tree(ctx context.Context, app *v1alpha1.Application) (*Tree, error)
	// Changes says, by closing or sending, when the tree may have changed; stop
	// ends that.
	Changes(app *v1alpha1.Application) (changed <-chan struct{}, stop func())
	// Live reads an object of the tree from its cluster; nil when it is not in
	// the tree of the Application.
	Live(ctx context.Context, app *v1alpha1.Application, r Ref) (*unstructured.Unstructured, error)
	// Patch changes an object of the tree.
	Patch(ctx context.Context, app *v1alpha1.Application, live *unstructured.Unstructured, kind types.PatchType, patch []byte) (*unstructured.Unstructured, error)
	// Delete deletes an object of the tree.
	Delete(ctx context.Context, app *v1alpha1.Application, live *unstructured.Unstructured, how Deletion) error
	// Actions lists, and Act runs, what can be done with an object.
	Actions(ctx context.Context, app *v1alpha1.Application, live *unstructured.Unstructured) ([]action.Action, error)
	Act(ctx context.Context, app *v1alpha1.Application, live *unstructured.Unstructured, a Action) error
	// Events lists the events about an object on the cluster of an Application.
	Events(ctx context.Context, app *v1alpha1.Application, about corev1.ObjectReference) (*corev1.EventList, error)
	// Logs opens the log of a container.
	Logs(ctx context.Context, app *v1alpha1.Application, q LogSource) (io.ReadCloser, error)
	// Predict says what an apply of target would make of the live object.
	Predict(ctx context.Context, app *v1alpha1.Application, target *unstructured.Unstructured) (*unstructured.Unstructured, error)
}

// Action is what is to be done with an object, within a project.
type Action struct {
	Project *v1alpha1.AppProject
	Name    string
	Params  map[string]string
}

// Ref names an object of an Application.
type Ref struct {
	Group, Version, Kind, Namespace, Name string
}

// Deletion says how an object is deleted.
type Deletion struct {
	// Force deletes in the background without waiting for grace.
	Force bool
	// Orphan leaves what the object owns.
	Orphan bool
}

// LogSource is the log of one container.
type LogSource struct {
	Namespace, Pod, Container string
	Options                   corev1.PodLogOptions
}

// Managed is one object that Git asks for, or asked for.
type Managed struct {
	Group, Kind, Namespace, Name string
	// Target is what Git asks for, Live what is there, Normalized what is there
	// as far as it counts, Predicted what an apply would make of it; nil is none.
	Target, Live, Normalized, Predicted *unstructured.Unstructured
	Hook                                bool
	// Modified says that target and live differ.
	Modified bool
}

// Tree is what an Application consists of on its cluster (spec/api.md §3,
// resource-tree).
type Tree struct {
	Nodes         []Node     `json:"nodes,omitempty"`
	OrphanedNodes []Node     `json:"orphanedNodes,omitempty"`
	Hosts         []HostInfo `json:"hosts,omitempty"`
	ShardsCount   int64      `json:"shardsCount,omitempty"`
}

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
	ParentRefs      []ResourceRef          `json:"parentRefs,omitempty"`
	Info            []InfoItem             `json:"info,omitempty"`
	NetworkingInfo  *NetworkingInfo        `json:"networkingInfo,omitempty"`
	ResourceVersion string                 `json:"resourceVersion,omitempty"`
	Images          []string               `json:"images,omitempty"`
	Health          *v1alpha1.HealthStatus `json:"health,omitempty"`
	CreatedAt       *time.Time             `json:"createdAt,omitempty"`
}

// InfoItem is a word about a node, for people.
type InfoItem struct {
	Name  string `json:"name,omitempty"`
	Value string `json:"value,omitempty"`
}

// NetworkingInfo says how traffic reaches a node.
type NetworkingInfo struct {
	TargetLabels map[string]string            `json:"targetLabels,omitempty"`
	TargetRefs   []ResourceRef                `json:"targetRefs,omitempty"`
	Labels       map[string]string            `json:"labels,omitempty"`
	Ingress      []corev1.LoadBalancerIngress `json:"ingress,omitempty"`
	ExternalURLs []string                     `json:"externalURLs,omitempty"`
}

// HostInfo is a node of the cluster that runs pods of the Application.
type HostInfo struct {
	Name          string                `json:"name,omitempty"`
	ResourcesInfo []HostResource        `json:"resourcesInfo,omitempty"`
	SystemInfo    corev1.NodeSystemInfo `json:"systemInfo,omitempty"`
	Labels        map[string]string     `json:"labels,omitempty"`
}

// HostResource is how much of a node is used.
type HostResource struct {
	ResourceName         corev1.ResourceName `json:"resourceName,omitempty"`
	RequestedByApp       int64               `json:"requestedByApp,omitempty"`
	RequestedByNeighbors int64               `json:"requestedByNeighbors,omitempty"`
	Capacity             int64               `json:"capacity,omitempty"`
}
