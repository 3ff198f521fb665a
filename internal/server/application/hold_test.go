package application

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/server/fault"
)

// TestStrictRefusesWhatBeginsAHold, in the words of the reference.
func TestStrictRefusesWhatBeginsAHold(t *testing.T) {
	auto := func() *v1alpha1.Application {
		a := app("p", "argocd", "a")
		a.Spec.Source.TargetRevision = "main"
		a.Spec.SyncPolicy = &v1alpha1.SyncPolicy{Automated: &v1alpha1.SyncPolicyAutomated{}}
		return a
	}
	setting := &corev1.ConfigMap{Data: map[string]string{manualOnlyKey: "true"}}
	setting.Name, setting.Namespace = "argocd-cm", "argocd"
	byFlag, bySetting, loose := world(t, auto()), world(t, auto()), world(t, auto())
	byFlag.Strict = true
	bySetting.Hub.ConfigMaps.Put(setting)
	for name, s := range map[string]*Service{"flag": byFlag, "setting": bySetting} {
		c := s.call("Rollback", "sync p/a;get p/a;")
		_, err := s.Rollback(t.Context(), c, &RollbackRequest{Target: Target{Name: "a"}})
		if code, text := fault.Of(err); code != fault.FailedPrecondition || text != "rollback cannot be initiated when auto-sync is enabled" {
			t.Errorf("%s: rollback: %v", name, err)
		}
		err = s.otherRevision(c, auto(), "v1", false)
		if code, text := fault.Of(err); code != fault.FailedPrecondition || text != "Cannot sync to v1: auto-sync currently set to main" {
			t.Errorf("%s: sync: %v", name, err)
		}
		if err := s.otherRevision(c, auto(), "v1", true); err != nil {
			t.Errorf("%s: dry run: %v", name, err)
		}
	}
	c := loose.call("Rollback", "sync p/a;get p/a;")
	if err := loose.otherRevision(c, auto(), "v1", false); err != nil {
		t.Errorf("sync: %v", err)
	}
	_, err := loose.Rollback(t.Context(), c, &RollbackRequest{Target: Target{Name: "a"}})
	if code, _ := fault.Of(err); code != fault.InvalidArgument {
		t.Errorf("rollback to nothing: %v", err) // it goes on to look for the entry
	}
}
