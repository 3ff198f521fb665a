package inspect

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/internal/domain/health"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// Reader answers for the Applications whose clusters it holds. Errors: an
// Application that does not exist is ErrNoApplication, an object that is not
// part of it ErrNoObject; others say in words why nothing can be told, for
// example that the cluster does not answer or that Git does not render.
type Reader interface {
	// Resources compares what the Application manages with what is live, at
	// the revisions of its last comparison (GET managed-resources and
	// server-side-diff of spec/api.md §3). Hooks are not among them. They are
	// in the order of their keys.
	Resources(ctx context.Context, app Seen) ([]Resource, error)
	// Tree is what the Application manages with all that came of it (GET
	// resource-tree of spec/api.md §3). It needs neither Git nor the API
	// server of the cluster, unless the project asks for orphans.
	Tree(ctx context.Context, app Seen) (Tree, error)
	// Object reads one object of the tree from the cluster; the values of a
	// Secret are masked (GET resource of spec/api.md §3). An empty version is
	// any. It is for showing: who wants to change the object patches it.
	Object(ctx context.Context, app Seen, o Object) (*unstructured.Unstructured, error)
	// Watch calls notify when the tree or the comparison of the Application
	// may have become another: for each change of a live object that belongs to
	// it, of its status, and of the connection to its cluster. notify must
	// neither block nor cancel, and may be called by several goroutines; it is
	// not called after cancel has returned. Whoever serves a stream merges the
	// calls, for a rollout makes many.
	Watch(app types.NamespacedName, notify func()) (cancel func())
}

// Seen names an Application and the version of it that whoever asks has seen:
// no answer is from before that. Without a version any will do.
type Seen struct {
	types.NamespacedName
	ResourceVersion string
}

// Errors of a Reader.
var (
	ErrNoApplication = errors.New("no such Application here")
	ErrNoObject      = errors.New("not found as part of the Application")
)

// Object names an object of one version; the core group is empty.
type Object struct {
	Group, Version, Kind, Namespace, Name string
	// UID is empty when the object is missing or was not seen yet.
	UID string
}

// Key leaves out version and UID.
func (o Object) Key() object.Key {
	return object.Key{Group: o.Group, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}
}

// Resource is one managed object, side by side. Objects are shared: callers
// must not change them. Values of Secrets are masked, equal ones by equal
// masks (spec/diff-health.md §8).
type Resource struct {
	Object
	// Target is what Git asks for, nil when it asks for nothing; Live is what
	// is there, nil when it is missing.
	Target, Live *unstructured.Unstructured
	// NormalizedLive and Predicted are what is compared: without what never
	// counts, and without what rules ignore. NormalizedLive is nil when Live
	// is, Predicted when the object is to be pruned.
	NormalizedLive, Predicted *unstructured.Unstructured
	// ResourceVersion is that of Live.
	ResourceVersion string
	// Modified says that an apply would change something that counts; a
	// missing object is modified, one to be pruned is not.
	Modified bool
	// Text is the difference as a unified diff of YAML, empty when there is
	// none.
	Text string
	// Unknown says why the object could not be compared; empty when it was.
	Unknown string
}

// Tree is what belongs to an Application on its cluster.
type Tree struct {
	// Nodes are its objects and all that they own, parents before children
	// and otherwise in the order of their keys.
	Nodes []Node
	// Orphans live in the Application's namespace and belong to nobody; of
	// them only the names are known. None unless the project asks for them
	// (spec.orphanedResources).
	Orphans []Node
}

// Node is what is shown of one object.
type Node struct {
	Object
	// Parents own the object, in the order of its owner references.
	Parents []Object
	// Info are facts for people, for example "Revision" "Rev:3".
	Info []Info
	// Networking is nil for kinds without it.
	Networking      *Networking
	ResourceVersion string
	Images          []string
	// Health is nil for an object whose health says nothing.
	Health *health.Status
	// CreatedAt is zero for an object that is missing.
	CreatedAt time.Time
}

// Info is one fact.
type Info struct{ Name, Value string }

// Networking says where traffic of an object goes.
type Networking struct {
	// TargetLabels select the pods behind a Service, Labels are those of a
	// Pod.
	TargetLabels, Labels map[string]string
	// TargetRefs are the Services behind an Ingress, or what an autoscaler scales.
	TargetRefs []Object
	// Ingress are addresses of load balancers.
	Ingress []Address
	// ExternalURLs are where people reach the object.
	ExternalURLs []string
}

// Address of a load balancer.
type Address struct{ Hostname, IP string }
