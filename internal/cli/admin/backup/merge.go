package backup

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

func completed(phase string) bool { return v1alpha1.OperationPhase(phase).Completed() }

// tracking are labels and annotations by which objects are tracked.
var tracking = []string{v1alpha1.LabelInstance, v1alpha1.AnnotationTrackingID}

// Merged is the live object with what the backup says; both stay as they are.
func Merged(o, live *unstructured.Unstructured, how Options) *unstructured.Unstructured {
	next := live.DeepCopy()
	for key := range next.Object {
		switch _, kept := o.Object[key]; {
		case kept, key == "metadata", key == "apiVersion", key == "kind", key == "status", key == "operation":
		default:
			delete(next.Object, key)
		}
	}
	for key, value := range o.DeepCopy().Object {
		if key != "metadata" && (key != "status" || takesStatus(o, live)) {
			next.Object[key] = value
		}
	}
	labels, annotations := o.GetLabels(), o.GetAnnotations()
	if how.IgnoreTracking {
		for _, key := range tracking {
			labels = keep(labels, live.GetLabels(), key)
			annotations = keep(annotations, live.GetAnnotations(), key)
		}
	}
	if mine, ok := live.GetAnnotations()[lastApplied]; ok { // it is never exported
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[lastApplied] = mine
	}
	next.SetLabels(labels)
	next.SetAnnotations(annotations)
	next.SetFinalizers(o.GetFinalizers())
	if how.StopOperation {
		stop(next)
	}
	return next
}

// takesStatus says that the status of the backup knows more than the live one:
// later deployments of an Application, a later rollout of an ApplicationSet. A hub
// that went on since the backup was made forgets nothing.
func takesStatus(o, live *unstructured.Unstructured) bool {
	switch o.GroupVersionKind() {
	case Application:
		return lastDeployment(o) > lastDeployment(live)
	case ApplicationSet:
		return lastRollout(o) > lastRollout(live)
	}
	return true
}

// lastDeployment is the id of the newest entry of the history; -1 is none.
func lastDeployment(o *unstructured.Unstructured) int64 {
	last := int64(-1)
	history, _, _ := unstructured.NestedSlice(o.Object, "status", "history")
	for _, entry := range history {
		if fields, ok := entry.(map[string]any); ok {
			last = max(last, number(fields["id"]))
		}
	}
	return last
}

func lastRollout(o *unstructured.Unstructured) int64 {
	id, found, _ := unstructured.NestedFieldNoCopy(o.Object, "status", "rollout", "id")
	if !found {
		return -1
	}
	return number(id)
}

func number(v any) int64 {
	switch n := v.(type) {
	case int64:
		return n
	case float64:
		return int64(n)
	}
	return 0
}

// keep lets a key of the live object stand.
func keep(into, live map[string]string, key string) map[string]string {
	delete(into, key)
	if v, ok := live[key]; ok {
		if into == nil {
			into = map[string]string{}
		}
		into[key] = v
	}
	return into
}

// stop ends the operation of an Application: one that has begun by its controller,
// one that has not by taking the request away.
func stop(o *unstructured.Unstructured) {
	if _, asked := o.Object["operation"]; !asked {
		return
	}
	switch phase, _, _ := unstructured.NestedString(o.Object, "status", "operationState", "phase"); {
	case phase == string(v1alpha1.OperationRunning):
		_ = unstructured.SetNestedField(o.Object, string(v1alpha1.OperationTerminating), "status", "operationState", "phase") // the path was just read
	case phase != string(v1alpha1.OperationTerminating):
		delete(o.Object, "operation")
	}
}
