package application

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

// Settings of spec/config.md that say as whom, and for how long, is synced.
const (
	impersonationKey = "application.sync.impersonation.enabled"
	enforcedKey      = "application.sync.impersonation.enforced"
	syncTimeoutKey   = "controller.sync.timeout.seconds"
)

// identity is the user as whom objects are written and deleted; empty is the
// controller itself. When no entry of the project matches, it is an error for
// a sync unless the settings say otherwise; a deletion goes on all the same
// (spec/sync.md §15).
func (p *pass) identity(sync bool) (string, error) {
	config := p.Settings.Snapshot().Config
	if on, err := strconv.ParseBool(config[impersonationKey]); err != nil || !on {
		return "", nil
	}
	namespace := p.app.Spec.Destination.Namespace
	user, found, err := policy.ServiceAccount(p.project, p.cluster.Server, namespace, p.app.Namespace)
	if err != nil || found {
		return user, err
	}
	if enforced, err := strconv.ParseBool(config[enforcedKey]); !sync || err == nil && !enforced {
		return "", nil
	}
	return "", fmt.Errorf("no matching service account found for destination server %s and namespace %s: add one to spec.destinationServiceAccounts of AppProject %s",
		p.cluster.Server, namespace, p.project.Name)
}

// Words of an operation that took too long (spec/sync.md §2).
const (
	dueToTimeout = "operation is terminating due to timeout"
	byTimeout    = ", triggered by controller sync timeout"
)

// syncTimeout bounds an operation: what the Application says, else what its
// project says, else the flag or argocd-cmd-params-cm; 0 is no bound.
func (p *pass) syncTimeout() (time.Duration, error) {
	for _, source := range []struct{ field, text string }{
		{"spec.syncPolicy.syncTimeout", p.specTimeout()},
		{"AppProject " + p.project.Name + ", spec.syncTimeout", p.project.Spec.SyncTimeout},
	} {
		if source.text == "" {
			continue
		}
		d, err := time.ParseDuration(source.text)
		if err != nil || d < 0 {
			return 0, fmt.Errorf("%s: %q is not a duration such as \"10m\"", source.field, source.text)
		}
		return d, nil
	}
	if p.SyncTimeout > 0 {
		return p.SyncTimeout, nil
	}
	seconds, err := p.Settings.Snapshot().ParamInt(syncTimeoutKey, 0)
	return time.Duration(seconds) * time.Second, err
}

func (p *pass) specTimeout() string {
	if p.app.Spec.SyncPolicy == nil {
		return ""
	}
	return p.app.Spec.SyncPolicy.SyncTimeout
}

// expire begins to end an operation that has taken too long, or sees to it
// that it will. done says that the operation has ended here.
func (p *pass) expire(ctx context.Context, state *v1alpha1.OperationState) (done bool, err error) {
	limit, err := p.syncTimeout()
	if err != nil {
		p.finish(v1alpha1.OperationError, err.Error())
		return true, nil
	}
	if limit == 0 || state.Phase != v1alpha1.OperationRunning {
		return false, nil
	}
	if rest := limit - p.Clock.Since(state.StartedAt.Time); rest > 0 {
		p.soon(rest)
		return false, nil
	}
	state.Phase, state.Message, state.FinishedAt = v1alpha1.OperationTerminating, dueToTimeout, nil
	return false, p.patch(ctx) // written before the first act of the end
}

// expired says that the operation is being ended because it took too long.
func expired(state *v1alpha1.OperationState) bool {
	return state.Phase == v1alpha1.OperationTerminating && strings.HasPrefix(state.Message, dueToTimeout)
}

// lateMessage keeps in the words of an operation why it is being ended.
func lateMessage(phase v1alpha1.OperationPhase, message string) string {
	if phase.Completed() {
		return message + byTimeout
	}
	return dueToTimeout + ": " + message
}
