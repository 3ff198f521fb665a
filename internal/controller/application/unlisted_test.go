package application

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// TestWithoutSight: kinds that may not be listed are named to those who have
// them, or have their pods below them, and to nobody else.
func TestWithoutSight(t *testing.T) {
	target := func(version, kind, name string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": version, "kind": kind, "metadata": map[string]any{"name": name}}}
	}
	no := errors.New("forbidden")
	secret, pod, set := schema.GroupKind{Kind: "Secret"}, schema.GroupKind{Kind: "Pod"}, schema.GroupKind{Group: "apps", Kind: "ReplicaSet"}
	read := func(kind string, n int) string {
		return fmt.Sprintf("the credential of cluster one may not list %s: %d of the objects in Git are read one by one, and what others change in them is noticed within 1m0s only: permit list and watch", kind, n)
	}
	blind := func(kind, names string) string {
		return "the credential of cluster one may not list " + kind + ": pods that crash or cannot start do not count in the health of " + names + ": permit list and watch"
	}
	for name, c := range map[string]struct {
		targets  []*unstructured.Unstructured
		unlisted []schema.GroupKind
		want     []string
	}{
		"a kind it has": {[]*unstructured.Unstructured{target("v1", "Secret", "a"), target("v1", "Secret", "b"), target("v1", "ConfigMap", "c")},
			[]schema.GroupKind{secret}, []string{read("Secret", 2)}},
		"kinds it does not use":  {[]*unstructured.Unstructured{target("v1", "ConfigMap", "c")}, []schema.GroupKind{secret, pod, set}, nil},
		"the pods of a workload": {[]*unstructured.Unstructured{target("apps/v1", "Deployment", "web"), target("batch/v1", "Job", "a")}, []schema.GroupKind{pod}, []string{blind("Pod", "Deployment/web, Job/a")}},
		"what stands between":    {[]*unstructured.Unstructured{target("apps/v1", "Deployment", "web"), target("apps/v1", "StatefulSet", "db")}, []schema.GroupKind{set}, []string{blind("ReplicaSet.apps", "Deployment/web")}},
	} {
		unlisted := map[schema.GroupKind]error{}
		for _, k := range c.unlisted {
			unlisted[k] = no
		}
		if diff := cmp.Diff(c.want, withoutSight(c.targets, unlisted, "one")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
