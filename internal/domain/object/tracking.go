package object

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// Keys and values of argocd-cm (spec/application.md §4).
const (
	trackingMethodKey = "application.resourceTrackingMethod"
	instanceLabelKey  = "application.instanceLabelKey"
	installationIDKey = "installationID"

	byLabel   = "label"
	byBoth    = "annotation+label"
	labelSize = 63
)

// Tracking says how objects are marked as belonging to an Application. The zero
// value is by annotation.
type Tracking struct {
	// method is byLabel, byBoth, or empty for the annotation.
	method, label string
	// installation tells apart installations that manage one cluster.
	installation string
}

// TrackingOf reads argocd-cm; an unknown method is the annotation.
func TrackingOf(config map[string]string) Tracking {
	t := Tracking{label: config[instanceLabelKey], installation: config[installationIDKey]}
	if t.label == "" {
		t.label = v1alpha1.LabelInstance
	}
	switch m := config[trackingMethodKey]; m {
	case byLabel:
		t.method, t.installation = m, "" // a label cannot tell installations apart
	case byBoth:
		t.method = m
	}
	return t
}

// Owner reads the marks of obj: the instance that owns it, and whether they name
// obj itself and not what they were copied from, which a label cannot tell. An
// object of another installation has no owner here.
func (t Tracking) Owner(obj *unstructured.Unstructured) (instance string, self bool) {
	if t.method == byLabel {
		instance = obj.GetLabels()[t.label]
		return instance, instance != ""
	}
	annotations := obj.GetAnnotations()
	if annotations[v1alpha1.AnnotationInstallationID] != t.installation {
		return "", false
	}
	parts := strings.SplitN(annotations[v1alpha1.AnnotationTrackingID], ":", 3)
	if len(parts) != 3 || strings.Count(parts[1], "/") != 1 || strings.Count(parts[2], "/") != 1 {
		return "", false
	}
	k := KeyOf(obj)
	namespace, name, _ := strings.Cut(parts[2], "/")
	self = parts[1] == k.Group+"/"+k.Kind && name == k.Name && (k.Namespace == "" || namespace == k.Namespace)
	return parts[0], self
}

// Mark marks obj as owned by an instance; custom resource definitions are never
// marked.
func (t Tracking) Mark(obj *unstructured.Unstructured, instance, destination string) {
	if obj.GetKind() == "CustomResourceDefinition" {
		return
	}
	if t.method != "" {
		labels := obj.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		if labels[t.label] = instance; t.method == byBoth {
			labels[t.label] = informational(instance)
		}
		obj.SetLabels(labels)
	}
	if t.method == byLabel {
		return
	}
	annotations := obj.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[v1alpha1.AnnotationTrackingID] = TrackingID(instance, KeyOf(obj), destination)
	if t.installation != "" {
		annotations[v1alpha1.AnnotationInstallationID] = t.installation
	}
	obj.SetAnnotations(annotations)
}

// informational cuts an instance to what a label may be.
func informational(instance string) string {
	if len(instance) > labelSize {
		instance = instance[:labelSize]
	}
	return strings.TrimRight(instance, "-_.")
}

// Migrate prepares a comparison of an object that carries the label of its
// instance and no annotation yet, for it was tracked by label: it counts as
// annotated, and a label that the target does not have makes no difference.
// Others are given back as they are; changed objects are copies.
func (t Tracking) Migrate(target, live *unstructured.Unstructured) (comparedTarget, comparedLive *unstructured.Unstructured, migrates bool) {
	id := target.GetAnnotations()[v1alpha1.AnnotationTrackingID]
	instance, _, _ := strings.Cut(id, ":")
	label := live.GetLabels()[t.label]
	if t.method == byLabel || id == "" || label != instance || live.GetAnnotations()[v1alpha1.AnnotationTrackingID] != "" {
		return target, live, false
	}
	live = live.DeepCopy()
	annotations := live.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	for _, key := range []string{v1alpha1.AnnotationTrackingID, v1alpha1.AnnotationInstallationID} {
		if v, ok := target.GetAnnotations()[key]; ok {
			annotations[key] = v
		}
	}
	live.SetAnnotations(annotations)
	if _, has := target.GetLabels()[t.label]; !has {
		target = target.DeepCopy()
		labels := target.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[t.label] = label
		target.SetLabels(labels)
	}
	return target, live, true
}
