package rollout_test

import (
	"encoding/json"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

func resources(n int) []v1alpha1.ResourceStatus {
	out := make([]v1alpha1.ResourceStatus, n)
	for i := range out {
		out[i] = v1alpha1.ResourceStatus{
			Group: "argoproj.io", Version: "v1alpha1", Kind: "Application", Namespace: "argocd", Name: fmt.Sprintf("payment-service-eu-west-%04d", i),
			Status: v1alpha1.SyncStatusSynced, Health: &v1alpha1.HealthStatus{Status: v1alpha1.HealthHealthy},
		}
	}
	return out
}

// TestFit stores 5,000 members in less than 1 MiB, drops resources first, and
// loses nothing that the planner needs.
func TestFit(t *testing.T) {
	t.Parallel()
	for _, n := range []int{100, 2000, 5000} {
		in := fleet(n)
		settle(t, in)
		status := in.Set.Status.DeepCopy()
		status.Resources = resources(n)
		if _, ok := rollout.Fit(status); !ok {
			t.Errorf("%d members do not fit", n)
		}
		raw, err := json.Marshal(status)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) >= 1<<20 {
			t.Errorf("%d members take %d bytes", n, len(raw))
		}
		if kept := len(status.Resources) > 0; kept != (n < 5000) {
			t.Errorf("%d members: resources kept: %v", n, kept)
		}
		before := rollout.Next(in)
		in.Set.Status = *status
		if after := rollout.Next(in); after.Rollout.Record != before.Rollout.Record {
			t.Errorf("%d members: the trimmed status leads to another decision", n)
		}
	}
}

// TestSizeIsNotBelowTheTruth keeps the estimate on the safe side.
func TestSizeIsNotBelowTheTruth(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 100, 3000} {
		in := fleet(n)
		settle(t, in)
		in.Set.Status.Resources = resources(n)
		raw, err := json.Marshal(in.Set.Status)
		if err != nil {
			t.Fatal(err)
		}
		if size := rollout.Size(&in.Set.Status); size < len(raw) || size > 2*len(raw)+8192 {
			t.Errorf("%d members: estimated %d bytes, they take %d", n, size, len(raw))
		}
	}
}

func TestFitRefusesWhatCannotBeStored(t *testing.T) {
	t.Parallel()
	status := &v1alpha1.ApplicationSetStatus{Rollout: &v1alpha1.RolloutStatus{Record: string(make([]byte, rollout.MaxStatus))}}
	if size, ok := rollout.Fit(status); ok || size <= rollout.MaxStatus {
		t.Errorf("a record of %d bytes is said to fit", size)
	}
}

func TestSettledEntriesKeepTheFieldsOfTheReference(t *testing.T) {
	t.Parallel()
	now := metav1.Unix(1_800_000_000, 0)
	status := &v1alpha1.ApplicationSetStatus{}
	for i := range 4000 {
		status.ApplicationStatus = append(status.ApplicationStatus, v1alpha1.ApplicationSetAppStatus{
			Application: fmt.Sprintf("application-%04d", i), Status: rollout.Healthy, Step: "1", Message: "Application resource is Healthy",
			TargetRevisions: []string{revision}, SpecHash: "0123456789ab", Batch: 3, Attempt: 1, LastTransitionTime: &now,
		})
	}
	status.ApplicationStatus[7].Status, status.ApplicationStatus[7].Reason = rollout.Progressing, rollout.ReasonHealthDegraded
	if _, ok := rollout.Fit(status); !ok {
		t.Fatal("4,000 members do not fit")
	}
	settled, failing := status.ApplicationStatus[0], status.ApplicationStatus[7]
	if settled.Message != "" || settled.SpecHash != "" || settled.Status == "" || settled.Step == "" || len(settled.TargetRevisions) != 1 || settled.LastTransitionTime == nil {
		t.Errorf("a settled entry keeps %+v", settled)
	}
	if failing.Message == "" || failing.Attempt != 1 {
		t.Errorf("a failing entry keeps %+v", failing)
	}
}
