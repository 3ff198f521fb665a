package autosync

import (
	"fmt"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// What spec.syncPolicy.automated.onFailure may say.
const (
	OnFailureRetry    = "Retry"
	OnFailureRollback = "Rollback"
)

// defaultHealthTimeout is how long a sync may take to become Healthy.
const defaultHealthTimeout = 5 * time.Minute

// InfoRollback names the entry of the history in an operation that rolls back
// by itself.
const InfoRollback = "AutomaticRollback"

// terminated is how an operation ends that a person has ended.
const terminated = "Operation terminated"

// Turn is the decision about an automatic rollback.
type Turn struct {
	Decision
	// Hold is what the Application holds from the first act of Operation on.
	Hold *v1alpha1.Hold
}

// Back decides whether the target is given up for the deployment before it
// (spec/application.md §17, onFailure): when its sync failed for good after it
// had begun to write, or when the Application is Degraded or still Progressing
// at healthTimeout after it. health is that of a comparison made after the
// operation. An Application that is held is not rolled back, so nothing rolls
// back a rollback.
func Back(app *v1alpha1.Application, target Target, now time.Time) Turn {
	policy, state := app.Spec.SyncPolicy, app.Status.OperationState
	if !Enabled(policy) || app.Status.Hold != nil || app.Operation != nil || app.DeletionTimestamp != nil {
		return Turn{}
	}
	auto := policy.Automated
	switch auto.OnFailure {
	case "", OnFailureRetry:
		return Turn{}
	case OnFailureRollback:
	default:
		return refuse("spec.syncPolicy.automated.onFailure is %q: it must be %s or %s", auto.OnFailure, OnFailureRetry, OnFailureRollback)
	}
	limit := defaultHealthTimeout
	if auto.HealthTimeout != "" {
		var err error
		if limit, err = time.ParseDuration(auto.HealthTimeout); err != nil || limit <= 0 {
			return refuse("spec.syncPolicy.automated.healthTimeout is %q: it must be a duration like \"5m\"", auto.HealthTimeout)
		}
	}
	now = now.Truncate(time.Second)
	if !whole(state) || !reached(app, target) || state.FinishedAt == nil {
		return Turn{}
	}
	last := done(state.SyncResult)
	why, wait := failure(app, last, limit, now)
	if why == "" {
		return Turn{Decision: Decision{Wait: wait}}
	}
	for i := len(app.Status.History) - 1; i >= 0; i-- {
		h := &app.Status.History[i]
		if h.Health != v1alpha1.HealthHealthy || past(h).equals(last) {
			continue
		}
		op := newOperation(policy, past(h))
		op.Sync.SyncStrategy = &v1alpha1.SyncStrategy{Apply: &v1alpha1.SyncStrategyApply{}}
		op.Info = []*v1alpha1.Info{{Name: InfoRollback, Value: fmt.Sprint(h.ID)}, {Name: "Reason", Value: why}}
		return Turn{Decision: Decision{Operation: op}, Hold: past(h).held(v1alpha1.HoldAutomaticRollback, "", target, now)}
	}
	return refuse("%s, and the history has no earlier deployment that was Healthy to roll back to", why)
}

func refuse(format string, args ...any) Turn {
	return Turn{Decision: Decision{Refused: fmt.Sprintf(format, args...)}}
}

// failure says why the last sync counts as failed, or when to look again.
func failure(app *v1alpha1.Application, last deployment, limit time.Duration, now time.Time) (why string, wait time.Duration) {
	state, health := app.Status.OperationState, app.Status.Health
	if state.Phase != v1alpha1.OperationSucceeded {
		if state.Message == terminated {
			return "", 0
		}
		return fmt.Sprintf("the sync to [%s] failed: %s", strings.Join(last.revisions, " "), state.Message), 0
	}
	if app.Status.Sync.AfterOperation != state.ID {
		return "", 0 // what is known of its health is older than the sync
	}
	end := state.FinishedAt.Add(limit)
	if now.Before(end) {
		return "", end.Sub(now)
	}
	if health.Status != v1alpha1.HealthDegraded && health.Status != v1alpha1.HealthProgressing {
		return "", 0
	}
	n := len(app.Status.History)
	once := n > 0 && app.Status.History[n-1].Health == v1alpha1.HealthHealthy && past(&app.Status.History[n-1]).equals(last)
	if once && health.LastTransitionTime != nil && health.LastTransitionTime.After(end) {
		return "", 0 // it was fine when its time was up
	}
	return fmt.Sprintf("the Application is %s %s after the sync to [%s]", health.Status, limit, strings.Join(last.revisions, " ")), 0
}

// Proven says that the newest entry of the history is what the last operation
// brought, that the Application has become Healthy with it, and that the entry
// does not say so yet.
func Proven(app *v1alpha1.Application) bool {
	state, n := app.Status.OperationState, len(app.Status.History)
	return n > 0 && app.Status.History[n-1].Health == "" && app.Status.Health.Status == v1alpha1.HealthHealthy &&
		state != nil && state.Phase == v1alpha1.OperationSucceeded && state.SyncResult != nil && app.Status.Sync.AfterOperation == state.ID &&
		done(state.SyncResult).equals(past(&app.Status.History[n-1]))
}
