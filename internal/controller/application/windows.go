package application

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/window"
)

// blockedByWindow begins the message of an operation that waits for a window;
// tools know these words.
const blockedByWindow = "Sync operation blocked by sync window"

// reasonWindowClosed names event and condition of a sync that waits.
const reasonWindowClosed = v1alpha1.ConditionSyncWindowClosed

// warnOfWindows tells the owners of a project what is wrong with its windows.
func (c *Controller) warnOfWindows(o any) {
	project, ok := o.(*v1alpha1.AppProject)
	if !ok {
		return
	}
	for _, err := range window.ParseProject(project.Spec.SyncWindows).Problems() {
		c.Recorder.Event(project, corev1.EventTypeWarning, "SyncWindowInvalid", err.Error())
		c.Log.Warn("sync window not usable as written", "project", project.Name, "error", err.Error())
	}
}

// heldByWindow says that a window does not let the operation go on now, and
// wakes the Application when that changes. What is being terminated ends.
func (p *pass) heldByWindow(state *v1alpha1.OperationState) bool {
	if state.Phase == v1alpha1.OperationTerminating {
		return false
	}
	v := policy.SyncWindow(p.project, p.app, p.app.Operation, state.StartedAt.Time, p.Clock.Now())
	if v.Allowed {
		return false
	}
	p.hold(v)
	message := blockedByWindow + ": " + p.closed
	if state.Message != message {
		p.tell(corev1.EventTypeNormal, reasonWindowClosed, message)
	}
	state.Message = message
	return true
}

// automationHeld says that windows do not let an automated sync start now;
// wanted says that one would have started, now or after a pause.
func (p *pass) automationHeld(wanted bool) bool {
	if p.app.Operation != nil {
		return false
	}
	v := policy.SyncWindow(p.project, p.app, nil, time.Time{}, p.Clock.Now())
	if v.Allowed {
		return false
	}
	if wanted {
		p.hold(v)
	}
	return true
}

func (p *pass) hold(v window.Verdict) {
	p.closed = v.Why
	if v.Until.IsZero() {
		p.soon(unknownPause)
		return
	}
	p.closed += "; opens at " + v.Until.UTC().Format(time.RFC3339)
	p.soon(max(time.Millisecond, v.Until.Sub(p.Clock.Now())))
}

// unknownPause is the pause before looking again at a window whose end was not
// found: it has none, or one beyond the bound of the search.
const unknownPause = 10 * time.Minute

// showWindow keeps the condition that a person reads in step with what is
// held back.
func (p *pass) showWindow() {
	owned := []string{v1alpha1.ConditionSyncWindowClosed}
	if p.closed == "" {
		p.conditions(owned)
		return
	}
	p.conditions(owned, condition(v1alpha1.ConditionSyncWindowClosed, "a sync waits: "+p.closed))
}
