// Package object names Kubernetes objects and tells which Application one
// belongs to.
package object

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// Key identifies an object on a cluster; the API version does not matter.
type Key struct{ Group, Kind, Namespace, Name string }

// String is group/kind/namespace/name.
func (k Key) String() string {
	return fmt.Sprintf("%s/%s/%s/%s", k.Group, k.Kind, k.Namespace, k.Name)
}

// KeyOf is the key of an object.
func KeyOf(u *unstructured.Unstructured) Key {
	return Key{Group: u.GroupVersionKind().Group, Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName()}
}

// Pod is the record kept of a pod.
type Pod struct {
	Namespace, Name string
	// Owner is the UID of the controlling object.
	Owner string
	Ready bool
	// Container, Waiting and Terminated describe the worst container: its name
	// and the reasons of its present waiting and last termination.
	Container, Waiting, Terminated string
	// Message is what the kubelet says of the waiting, cut to a line.
	Message string
	// Revision is the value of pod-template-hash or controller-revision-hash.
	Revision string
	// TemplateGeneration is the value of pod-template-generation: the template
	// of the DaemonSet that made the pod.
	TemplateGeneration string
}

// Instance is the name of an Application across namespaces: its name in the
// control-plane namespace, namespace_name elsewhere.
func Instance(app *v1alpha1.Application, controlPlane string) string {
	if app.Namespace == "" || app.Namespace == controlPlane {
		return app.Name
	}
	return app.Namespace + "_" + app.Name
}

// TrackingID is the value of the tracking annotation for an object.
func TrackingID(instance string, k Key, destination string) string {
	namespace := k.Namespace
	if namespace == "" {
		namespace = destination
	}
	return fmt.Sprintf("%s:%s/%s:%s/%s", instance, k.Group, k.Kind, namespace, k.Name)
}
