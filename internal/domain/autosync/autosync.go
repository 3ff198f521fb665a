package autosync

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// defaultRetryLimit applies to automated syncs whose policy has no retry block.
const defaultRetryLimit = 5

// Backoff of repeated self-heals: base, growth and cap.
const (
	healBase   = 2 * time.Second
	healFactor = 3
	healCap    = 300 * time.Second
)

// Seen is what the last comparison found.
type Seen struct {
	// Status is the Application's sync status.
	Status v1alpha1.SyncStatusCode
	// Revisions are the resolved revisions, one per source.
	Revisions []string
	Resources []v1alpha1.ResourceStatus
}

// Decision is the answer: an operation to start, a time to look again, a
// condition to show, or nothing.
type Decision struct {
	Operation *v1alpha1.Operation
	// Wait is how long a self-heal still has to wait; zero when it need not.
	Wait time.Duration
	// Refused is the text of a SyncError condition; empty when none applies.
	Refused string
}

// Decide applies the rules. now is the caller's clock, compared only with
// times that this controller wrote itself.
func Decide(app *v1alpha1.Application, seen Seen, now time.Time) Decision {
	policy := app.Spec.SyncPolicy
	if !Enabled(policy) || app.Operation != nil || app.DeletionTimestamp != nil || app.Status.Hold != nil || seen.Status != v1alpha1.SyncStatusOutOfSync {
		return Decision{}
	}
	auto := policy.Automated
	extra, changed := count(seen.Resources)
	if !auto.Prune && changed == 0 {
		return Decision{}
	}
	want := wanted(app, seen.Revisions)
	op := newOperation(policy, want)
	if state := app.Status.OperationState; attempted(state, want) {
		return again(op, state, auto, seen, now)
	}
	if auto.Prune && !auto.AllowEmpty && extra == len(seen.Resources) {
		return Decision{Refused: fmt.Sprintf("Skipping sync attempt to [%s]: auto-sync will wipe out all resources", strings.Join(seen.Revisions, " "))}
	}
	return Decision{Operation: op}
}

// Enabled says that the policy asks for automated syncs.
func Enabled(policy *v1alpha1.SyncPolicy) bool {
	if policy == nil || policy.Automated == nil {
		return false
	}
	return policy.Automated.Enabled == nil || *policy.Automated.Enabled
}

// count splits the resources that differ into those that only need pruning
// and those that need an apply.
func count(resources []v1alpha1.ResourceStatus) (extra, changed int) {
	for _, r := range resources {
		switch {
		case r.RequiresPruning:
			extra++
		case r.Status == v1alpha1.SyncStatusOutOfSync:
			changed++
		}
	}
	return extra, changed
}

func newOperation(policy *v1alpha1.SyncPolicy, d deployment) *v1alpha1.Operation {
	sync := &v1alpha1.SyncOperation{Prune: policy.Automated.Prune, SyncOptions: policy.SyncOptions}
	if len(d.sources) > 0 {
		sync.Revisions = d.revisions
		sync.Sources = d.sources
	} else if len(d.revisions) > 0 {
		sync.Revision = d.revisions[0]
		sync.Source = d.source
	}
	op := &v1alpha1.Operation{Sync: sync, InitiatedBy: v1alpha1.OperationInitiator{Automated: true}}
	op.Retry = v1alpha1.RetryStrategy{Limit: defaultRetryLimit}
	if policy.Retry != nil {
		op.Retry = *policy.Retry
	}
	return op
}

// attempted says that the last operation already tried exactly this.
func attempted(state *v1alpha1.OperationState, d deployment) bool {
	if state == nil {
		return false
	}
	result := state.SyncResult
	if result == nil {
		return state.Phase.Completed()
	}
	if len(d.sources) > 0 {
		return reflect.DeepEqual(result.Revisions, d.revisions) && reflect.DeepEqual(result.Sources, d.sources)
	}
	if len(d.revisions) == 0 || result.Revision != d.revisions[0] || d.source == nil {
		return false
	}
	return reflect.DeepEqual(result.Source, *d.source)
}

// again handles a target that was tried before: a failure is reported, a
// success is repeated only as self-heal.
func again(op *v1alpha1.Operation, state *v1alpha1.OperationState, auto *v1alpha1.SyncPolicyAutomated, seen Seen, now time.Time) Decision {
	if !state.Phase.Completed() {
		return Decision{}
	}
	if state.Phase != v1alpha1.OperationSucceeded {
		return Decision{Refused: fmt.Sprintf("Failed last sync attempt to [%s]: %s", strings.Join(seen.Revisions, " "), state.Message)}
	}
	if !auto.SelfHeal {
		return Decision{}
	}
	attempts := int64(0)
	if state.Operation.Sync != nil {
		attempts = state.Operation.Sync.AutoHealAttemptsCount
	}
	if state.FinishedAt != nil {
		if rest := HealDelay(attempts) - now.Sub(state.FinishedAt.Time); rest > 0 {
			return Decision{Wait: rest}
		}
	}
	return Decision{Operation: healing(op, attempts+1, auto, seen)}
}

// healing limits an operation to what differs.
func healing(op *v1alpha1.Operation, attempt int64, auto *v1alpha1.SyncPolicyAutomated, seen Seen) *v1alpha1.Operation {
	op.Sync.AutoHealAttemptsCount = attempt
	for _, r := range seen.Resources {
		if r.Status == v1alpha1.SyncStatusOutOfSync && (!r.RequiresPruning || auto.Prune) {
			op.Sync.Resources = append(op.Sync.Resources, v1alpha1.SyncOperationResource{Group: r.Group, Kind: r.Kind, Name: r.Name})
		}
	}
	return op
}

// HealDelay is the pause before the next self-heal after so many of them:
// 0s, 2s, 6s, 18s ... at most 300s.
func HealDelay(attempts int64) time.Duration {
	if attempts <= 0 {
		return 0
	}
	delay := healBase
	for range attempts - 1 {
		if delay *= healFactor; delay >= healCap {
			return healCap
		}
	}
	return delay
}
