package application

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// TestWritesAreRebasedOnlyOntoOtherLabels: whatever else somebody has written, a
// pass rests on it and begins anew.
func TestWritesAreRebasedOnlyOntoOtherLabels(t *testing.T) {
	now := metav1.Now()
	for name, c := range map[string]struct {
		change func(*v1alpha1.Application)
		want   bool
	}{
		"nothing":     {func(a *v1alpha1.Application) { a.ResourceVersion = "2" }, true},
		"annotations": {func(a *v1alpha1.Application) { a.Annotations = map[string]string{v1alpha1.AnnotationRefresh: "normal"} }, true},
		"labels":      {func(a *v1alpha1.Application) { a.Labels = map[string]string{"a": "b"} }, true},
		"the spec":    {func(a *v1alpha1.Application) { a.Spec.Project = "other" }, false},
		"terminated": {func(a *v1alpha1.Application) {
			a.Status.OperationState = &v1alpha1.OperationState{Phase: v1alpha1.OperationTerminating}
		}, false},
		"requested":   {func(a *v1alpha1.Application) { a.Operation = &v1alpha1.Operation{} }, false},
		"deleted":     {func(a *v1alpha1.Application) { a.DeletionTimestamp = &now }, false},
		"finalizers":  {func(a *v1alpha1.Application) { a.Finalizers = []string{"x"} }, false},
		"another one": {func(a *v1alpha1.Application) { a.UID = "2" }, false},
	} {
		read := &v1alpha1.Application{}
		after := read.DeepCopy()
		c.change(after)
		if got := rebasable(read, after); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
