package syncopts

import (
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/rig"
)

// settings merges keys into argocd-cm.
func (r *run) settings(data string) {
	r.Helper()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: rig.Namespace, Name: "argocd-cm"}}
	if err := r.rig.Hub.Create(r.Context(), cm); err != nil && !apierrors.IsAlreadyExists(err) {
		r.Fatal(err)
	}
	must(r.T, r.rig.Hub.Patch(r.Context(), cm, client.RawPatch(types.MergePatchType, []byte(`{"data":`+data+`}`))))
}

// marks waits until a ConfigMap is marked so, and the Application in sync.
func (r *run) marks(name, label, installation string, annotated bool) {
	r.Helper()
	r.until("the marks of "+name, func() error {
		u := r.live("v1", "ConfigMap", name)
		if u == nil {
			return fmt.Errorf("%s is missing", name)
		}
		a := u.GetAnnotations()
		if u.GetLabels()["example.com/app"] != label || a[v1alpha1.AnnotationInstallationID] != installation || (a[v1alpha1.AnnotationTrackingID] != "") != annotated {
			return fmt.Errorf("labels %v, annotations %v", u.GetLabels(), a)
		}
		if app := r.app(); app.Status.Sync.Status != v1alpha1.SyncStatusSynced {
			return fmt.Errorf("%s, %+v", app.Status.Sync.Status, app.Status.Conditions)
		}
		return nil
	})
}

// TestTrackingMethods changes how objects are tracked under an Application that
// prunes by itself: marks follow, and what is to go is known by each of them.
func TestTrackingMethods(t *testing.T) {
	s := start(t)
	must(t, s.rig.Launch())
	r := &run{suite: s, T: t, name: "tracked"}
	r.settings(`{"application.resourceTrackingMethod":"label","application.instanceLabelKey":"example.com/app","installationID":"blue"}`)
	r.commit(configs("a", "b", "c"))
	r.create("CreateNamespace=true")
	r.patch("spec: {syncPolicy: {automated: {selfHeal: true, prune: true}}}")
	r.marks("a", "tracked", "", false)
	gone := func(name string) {
		t.Helper()
		r.refresh()
		r.until(name+" is pruned", func() error {
			if r.live("v1", "ConfigMap", name) != nil {
				return fmt.Errorf("%s is there; %+v", name, r.app().Status.Conditions)
			}
			return nil
		})
	}
	r.commit(configs("a", "b"))
	gone("c")

	// By annotation, what was tracked by label is in sync, until a sync marks it.
	r.patch("spec: {syncPolicy: {automated: null}}")
	r.settings(`{"application.resourceTrackingMethod":"annotation","installationID":""}`)
	r.until("the annotation", func() error {
		if app := r.status(v1alpha1.SyncStatusSynced); app.Status.Resources == nil {
			return errors.New("no resources")
		}
		r.succeeds("")
		if u := r.live("v1", "ConfigMap", "a"); u.GetAnnotations()[v1alpha1.AnnotationTrackingID] == "" {
			return fmt.Errorf("annotations %v", u.GetAnnotations())
		}
		return nil
	})

	r.patch("spec: {syncPolicy: {automated: {selfHeal: true, prune: true}}}")
	r.settings(`{"application.resourceTrackingMethod":"annotation+label","installationID":"blue"}`)
	r.marks("a", "tracked", "blue", true)
	r.commit(configs("a"))
	gone("b")

	// What carries the name of the Application but is another installation's is
	// none of ours.
	foreign := r.live("v1", "ConfigMap", "a").DeepCopy()
	foreign.SetName("foreign")
	foreign.SetResourceVersion("")
	foreign.SetUID("")
	foreign.SetAnnotations(map[string]string{v1alpha1.AnnotationTrackingID: "tracked:/ConfigMap:tracked/foreign", v1alpha1.AnnotationInstallationID: "green"})
	must(t, r.target.Create(t.Context(), foreign))
	own := foreign.DeepCopy()
	own.SetName("own")
	own.SetResourceVersion("")
	own.SetUID("")
	own.SetAnnotations(map[string]string{v1alpha1.AnnotationTrackingID: "tracked:/ConfigMap:tracked/own", v1alpha1.AnnotationInstallationID: "blue"})
	must(t, r.target.Create(t.Context(), own))
	gone("own")
	r.status(v1alpha1.SyncStatusSynced)
	if r.live("v1", "ConfigMap", "foreign") == nil {
		t.Error("an object of another installation was pruned")
	}
}
