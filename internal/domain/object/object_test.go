package object_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

func made(apiVersion, kind, namespace, name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetAPIVersion(apiVersion)
	u.SetKind(kind)
	u.SetNamespace(namespace)
	u.SetName(name)
	return u
}

func TestTrackThenOwner(t *testing.T) {
	web := made("apps/v1", "Deployment", "shop", "web")
	object.Track(web, "payment", "shop")
	if got := web.GetAnnotations()[v1alpha1.AnnotationTrackingID]; got != "payment:apps/Deployment:shop/web" {
		t.Errorf("tracking id %q", got)
	}
	if instance, self := object.Owner(web); instance != "payment" || !self {
		t.Errorf("owner %q, itself %v", instance, self)
	}
	copied := web.DeepCopy()
	copied.SetName("web-copy")
	if instance, self := object.Owner(copied); instance != "payment" || self {
		t.Errorf("a copy has owner %q, itself %v: want payment, false", instance, self)
	}
}

func TestClusterWideObjectsAreTrackedWithTheDestination(t *testing.T) {
	role := made("rbac.authorization.k8s.io/v1", "ClusterRole", "", "reader")
	object.Track(role, "payment", "shop")
	if got := role.GetAnnotations()[v1alpha1.AnnotationTrackingID]; got != "payment:rbac.authorization.k8s.io/ClusterRole:shop/reader" {
		t.Errorf("tracking id %q", got)
	}
	if _, self := object.Owner(role); !self {
		t.Error("a cluster-wide object does not recognise its own annotation")
	}
}

func TestDefinitionsAreNotTracked(t *testing.T) {
	crd := made("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "a.b")
	object.Track(crd, "payment", "shop")
	if len(crd.GetAnnotations()) != 0 {
		t.Errorf("annotations %v", crd.GetAnnotations())
	}
}

func TestOwnerOfForeignAnnotations(t *testing.T) {
	for _, text := range []string{"", "x", "a:b", "a:b:c", "a:b/c/d:e/f", ":::"} {
		u := made("v1", "ConfigMap", "shop", "a")
		u.SetAnnotations(map[string]string{v1alpha1.AnnotationTrackingID: text})
		if instance, self := object.Owner(u); instance != "" || self {
			t.Errorf("%q gives owner %q, itself %v", text, instance, self)
		}
	}
}

func TestInstance(t *testing.T) {
	for namespace, want := range map[string]string{"": "a", "argocd": "a", "team": "team_a"} {
		app := &v1alpha1.Application{}
		app.Name, app.Namespace = "a", namespace
		if got := object.Instance(app, "argocd"); got != want {
			t.Errorf("in namespace %q: %q, want %q", namespace, got, want)
		}
	}
}
