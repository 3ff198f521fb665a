package application

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// TestNothingIsWrittenWhenNothingChanged: the pass has nobody to write with, and
// conditions and health that say the same keep their times.
func TestNothingIsWrittenWhenNothingChanged(t *testing.T) {
	p := windowedPass(friday(16))
	at := metav1.NewTime(friday(16).Add(-time.Minute))
	p.app.Status.ReconciledAt = &at
	p.app.Status.Health = v1alpha1.AppHealthStatus{Status: v1alpha1.HealthHealthy, LastTransitionTime: &at}
	p.app.Status.Conditions = []v1alpha1.ApplicationCondition{{Type: v1alpha1.ConditionSyncError, Message: "why", LastTransitionTime: &at}}
	p.before = p.app.DeepCopy()
	p.conditions([]string{v1alpha1.ConditionSyncError}, condition(v1alpha1.ConditionSyncError, "why"))
	p.health(v1alpha1.HealthHealthy)
	p.showHold()
	p.showWindow()
	if err := p.save(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.app.Status.ReconciledAt != &at && !p.app.Status.ReconciledAt.Equal(&at) {
		t.Errorf("reconciled at %s", p.app.Status.ReconciledAt)
	}
	p.conditions([]string{v1alpha1.ConditionSyncError}, condition(v1alpha1.ConditionSyncError, "something else"))
	p.health(v1alpha1.HealthDegraded)
	if got := p.app.Status; !got.Conditions[0].LastTransitionTime.Time.Equal(friday(16)) || !got.Health.LastTransitionTime.Time.Equal(friday(16)) {
		t.Errorf("times of changes: %v, %v", got.Conditions[0].LastTransitionTime, got.Health.LastTransitionTime)
	}
}
