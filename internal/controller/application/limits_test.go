package application

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// TestSyncTimeout takes the Application's word before the project's before the
// flag's.
func TestSyncTimeout(t *testing.T) {
	for _, c := range []struct {
		app, project string
		flag, want   time.Duration
		problem      string
	}{
		{"2m", "3m", time.Hour, 2 * time.Minute, ""},
		{"", "3m", time.Hour, 3 * time.Minute, ""},
		{"", "", time.Hour, time.Hour, ""},
		{"0s", "3m", time.Hour, 0, ""},
		{"soon", "3m", time.Hour, 0, `spec.syncPolicy.syncTimeout: "soon" is not a duration such as "10m"`},
		{"", "-1s", time.Hour, 0, `AppProject shop, spec.syncTimeout: "-1s" is not a duration such as "10m"`},
	} {
		p := windowedPass(friday(16))
		p.SyncTimeout = c.flag
		p.app.Spec.SyncPolicy.SyncTimeout, p.project.Spec.SyncTimeout, p.project.Name = c.app, c.project, "shop"
		got, err := p.syncTimeout()
		if got != c.want || (err == nil) != (c.problem == "") || err != nil && err.Error() != c.problem {
			t.Errorf("%+v: %s, %v", c, got, err)
		}
	}
}

// TestOperationsThatMayGoOn are woken when their time is over.
func TestOperationsThatMayGoOn(t *testing.T) {
	p := windowedPass(friday(16))
	p.SyncTimeout = time.Minute
	state := &v1alpha1.OperationState{Phase: v1alpha1.OperationRunning, StartedAt: metav1.NewTime(friday(16).Add(-20 * time.Second))}
	done, err := p.expire(t.Context(), state)
	if done || err != nil || p.again != 40*time.Second || state.Phase != v1alpha1.OperationRunning {
		t.Errorf("done %v, error %v, again in %s, phase %s", done, err, p.again, state.Phase)
	}
	state.Phase, state.StartedAt = v1alpha1.OperationTerminating, metav1.NewTime(friday(15))
	if done, err := p.expire(t.Context(), state); done || err != nil || state.Message != "" {
		t.Errorf("one that somebody terminates: done %v, error %v, message %q", done, err, state.Message)
	}
}

func TestWordsOfATimeout(t *testing.T) {
	state := &v1alpha1.OperationState{Phase: v1alpha1.OperationTerminating, Message: dueToTimeout}
	if !expired(state) {
		t.Error("a timeout is not seen as one")
	}
	state.Message = lateMessage(v1alpha1.OperationRunning, "waiting for deletion of hook /Job/a")
	if !expired(state) {
		t.Errorf("forgotten: %q", state.Message)
	}
	if got := lateMessage(v1alpha1.OperationFailed, "Operation terminated"); got != "Operation terminated, triggered by controller sync timeout" {
		t.Errorf("%q", got)
	}
	if expired(&v1alpha1.OperationState{Phase: v1alpha1.OperationTerminating, Message: "terminated by hand"}) {
		t.Error("a termination by hand counts as a timeout")
	}
}
