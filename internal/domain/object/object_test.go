package object_test

import (
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// byAnnotation is the default.
var byAnnotation = object.Tracking{}

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
	byAnnotation.Mark(web, "payment", "shop")
	if got := web.GetAnnotations()[v1alpha1.AnnotationTrackingID]; got != "payment:apps/Deployment:shop/web" {
		t.Errorf("tracking id %q", got)
	}
	if instance, self := byAnnotation.Owner(web); instance != "payment" || !self {
		t.Errorf("owner %q, itself %v", instance, self)
	}
	copied := web.DeepCopy()
	copied.SetName("web-copy")
	if instance, self := byAnnotation.Owner(copied); instance != "payment" || self {
		t.Errorf("a copy has owner %q, itself %v: want payment, false", instance, self)
	}
}

func TestClusterWideObjectsAreTrackedWithTheDestination(t *testing.T) {
	role := made("rbac.authorization.k8s.io/v1", "ClusterRole", "", "reader")
	byAnnotation.Mark(role, "payment", "shop")
	if got := role.GetAnnotations()[v1alpha1.AnnotationTrackingID]; got != "payment:rbac.authorization.k8s.io/ClusterRole:shop/reader" {
		t.Errorf("tracking id %q", got)
	}
	if _, self := byAnnotation.Owner(role); !self {
		t.Error("a cluster-wide object does not recognise its own annotation")
	}
}

func TestDefinitionsAreNotTracked(t *testing.T) {
	crd := made("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "a.b")
	byAnnotation.Mark(crd, "payment", "shop")
	if len(crd.GetAnnotations()) != 0 {
		t.Errorf("annotations %v", crd.GetAnnotations())
	}
}

func TestOwnerOfForeignAnnotations(t *testing.T) {
	for _, text := range []string{"", "x", "a:b", "a:b:c", "a:b/c/d:e/f", ":::"} {
		u := made("v1", "ConfigMap", "shop", "a")
		u.SetAnnotations(map[string]string{v1alpha1.AnnotationTrackingID: text})
		if instance, self := byAnnotation.Owner(u); instance != "" || self {
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

// TestTracking: what each method writes, and reads of objects that others wrote.
func TestTracking(t *testing.T) {
	long := strings.Repeat("a", 62) + "-bc"
	settings := func(method, id string) object.Tracking {
		return object.TrackingOf(map[string]string{"application.resourceTrackingMethod": method, "application.instanceLabelKey": "example.com/app", "installationID": id})
	}
	for name, c := range map[string]struct {
		tracking                     object.Tracking
		instance, label, id, ownedBy string
		annotated                    bool
	}{
		"default":                    {object.TrackingOf(nil), "web", "", "", "web", true},
		"unknown":                    {settings("magic", ""), "web", "", "", "web", true},
		"annotation":                 {settings("annotation", "blue"), "web", "", "blue", "web", true},
		"label":                      {settings("label", "blue"), "web", "web", "", "web", false},
		"label, too long":            {settings("label", ""), long, long, "", long, false},
		"annotation+label":           {settings("annotation+label", "blue"), "web", "web", "blue", "web", true},
		"annotation+label, too long": {settings("annotation+label", ""), long, strings.Repeat("a", 62), "", long, true},
	} {
		u := made("v1", "ConfigMap", "shop", "c")
		c.tracking.Mark(u, c.instance, "shop")
		id, annotated := u.GetAnnotations()[v1alpha1.AnnotationInstallationID], u.GetAnnotations()[v1alpha1.AnnotationTrackingID] != ""
		if got := u.GetLabels()["example.com/app"]; got != c.label || id != c.id || annotated != c.annotated || len(u.GetLabels()) > 1 {
			t.Errorf("%s: label %q, installation %q, annotated %v", name, got, id, annotated)
		}
		if owner, self := c.tracking.Owner(u); owner != c.ownedBy || !self {
			t.Errorf("%s: owner %q, %v", name, owner, self)
		}
		crd := made("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "x")
		if c.tracking.Mark(crd, "web", "shop"); len(crd.GetLabels())+len(crd.GetAnnotations()) > 0 {
			t.Errorf("%s: a definition is marked", name)
		}
	}
	// Whose is it?
	theirs := made("v1", "ConfigMap", "shop", "c")
	settings("annotation", "green").Mark(theirs, "web", "shop")
	theirs.SetLabels(map[string]string{"example.com/app": "labelled"})
	for name, c := range map[string]struct {
		tracking object.Tracking
		want     string
	}{
		"the same installation": {settings("annotation", "green"), "web"}, "another one": {settings("annotation", "blue"), ""},
		"none": {settings("annotation", ""), ""}, "both methods": {settings("annotation+label", "green"), "web"}, "by label": {settings("label", "blue"), "labelled"},
	} {
		if got, _ := c.tracking.Owner(theirs); got != c.want {
			t.Errorf("%s: owner %q, want %q", name, got, c.want)
		}
	}
}

func TestMigrate(t *testing.T) {
	tracking := object.TrackingOf(map[string]string{"installationID": "blue"})
	target, live := made("v1", "ConfigMap", "shop", "c"), made("v1", "ConfigMap", "shop", "c")
	tracking.Mark(target, "web", "shop")
	live.SetLabels(map[string]string{v1alpha1.LabelInstance: "web"})
	before := live.DeepCopy()
	a, b, migrates := tracking.Migrate(target, live)
	if !migrates || b.GetAnnotations()[v1alpha1.AnnotationTrackingID] != target.GetAnnotations()[v1alpha1.AnnotationTrackingID] ||
		b.GetAnnotations()[v1alpha1.AnnotationInstallationID] != "blue" || a.GetLabels()[v1alpha1.LabelInstance] != "web" {
		t.Errorf("target %v, live %v", a.Object, b.Object)
	}
	if !reflect.DeepEqual(before, live) || len(target.GetLabels()) > 0 {
		t.Error("shared objects were changed")
	}
	for name, change := range map[string]func(live *unstructured.Unstructured){
		"another instance": func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{v1alpha1.LabelInstance: "other"}) },
		"no label":         func(u *unstructured.Unstructured) { u.SetLabels(nil) },
		"a foreign annotation is never masked": func(u *unstructured.Unstructured) {
			u.SetAnnotations(map[string]string{v1alpha1.AnnotationTrackingID: "other:/ConfigMap:shop/c"})
		},
	} {
		u := live.DeepCopy()
		change(u)
		if a, b, migrates := tracking.Migrate(target, u); migrates || a != target || b != u {
			t.Errorf("%s: migrates", name)
		}
	}
	byLabel := object.TrackingOf(map[string]string{"application.resourceTrackingMethod": "label"})
	if _, _, migrates := byLabel.Migrate(target, live); migrates {
		t.Error("by label: migrates")
	}
}
