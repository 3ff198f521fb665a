package admin

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// TestResults: names of other namespaces are qualified, order is by name, and
// what two looks at the same would say differently is left out.
func TestResults(t *testing.T) {
	t.Parallel()
	now := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	apps := make([]v1alpha1.Application, 2)
	apps[0].Namespace, apps[0].Name = "argocd", "web"
	apps[1].Namespace, apps[1].Name = "team-a", "api"
	statuses := []v1alpha1.ApplicationStatus{{
		Health: v1alpha1.AppHealthStatus{Status: v1alpha1.HealthHealthy, LastTransitionTime: &now},
		Sync:   v1alpha1.SyncStatus{Status: v1alpha1.SyncStatusSynced, Revision: "abc", Digest: "1", AfterOperation: "2"},
		Conditions: []v1alpha1.ApplicationCondition{
			{Type: "B", Message: "b", LastTransitionTime: &now}, {Type: "A", Message: "z"}, {Type: "A", Message: "a"},
		},
	}, {}}
	got := results(apps, statuses, "argocd")
	want := reconciliations{Applications: []reconciliation{{Name: "team-a/api"}, {
		Name: "web", Health: v1alpha1.AppHealthStatus{Status: v1alpha1.HealthHealthy}, Sync: v1alpha1.SyncStatus{Status: v1alpha1.SyncStatusSynced, Revision: "abc"},
		Conditions: []v1alpha1.ApplicationCondition{{Type: "A", Message: "a"}, {Type: "A", Message: "z"}, {Type: "B", Message: "b"}},
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if statuses[0].Conditions[0].LastTransitionTime == nil || statuses[0].Sync.Digest != "1" {
		t.Error("the statuses were changed")
	}
	if none := results(nil, nil, "argocd"); none.Applications == nil {
		t.Error("no Applications are no list")
	}
}
