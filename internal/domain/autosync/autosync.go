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

// Pace is how the pauses before repeated self-heals grow: after one of them the
// pause is Base, and with each further one Factor times as long, Cap at most.
type Pace struct {
	Base, Cap time.Duration
	Factor    int64
}

// DefaultPace is that of an installation whose settings are silent.
var DefaultPace = Pace{Base: 2 * time.Second, Factor: 3, Cap: 300 * time.Second}

// longestPause bounds a pace without a cap.
const longestPause = 24 * time.Hour

// Delay is the pause before the next self-heal after so many of them. A pace
// that does not grow pauses before the first one, too, which is a fixed pause.
func (p Pace) Delay(attempts int64) time.Duration {
	most := longestPause
	if p.Cap > 0 {
		most = p.Cap
	}
	if p.Factor <= 1 {
		return min(p.Base, most)
	}
	if attempts <= 0 {
		return 0
	}
	delay := min(p.Base, most)
	for range attempts - 1 {
		if delay > most/time.Duration(p.Factor) {
			return most
		}
		if delay *= time.Duration(p.Factor); delay == 0 {
			return 0
		}
	}
	return delay
}

// Seen is what the last comparison found.
type Seen struct {
	// Status is the Application's sync status.
	Status v1alpha1.SyncStatusCode
	// Revisions are the resolved revisions, one per source.
	Revisions []string
	Resources []v1alpha1.ResourceStatus
	// Pace is that of self-heals.
	Pace Pace
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
		case r.Status != v1alpha1.SyncStatusSynced:
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
		if rest := seen.Pace.Delay(attempts) - now.Sub(state.FinishedAt.Time); rest > 0 {
			return Decision{Wait: rest}
		}
	}
	if healing(op, attempts+1, auto, seen); len(op.Sync.Resources) == 0 {
		return Decision{} // what differs is nothing that a sync may change
	}
	return Decision{Operation: op}
}

// healing limits an operation to what differs.
func healing(op *v1alpha1.Operation, attempt int64, auto *v1alpha1.SyncPolicyAutomated, seen Seen) {
	op.Sync.AutoHealAttemptsCount = attempt
	for _, r := range seen.Resources {
		if r.Status == v1alpha1.SyncStatusOutOfSync && (!r.RequiresPruning || auto.Prune) {
			op.Sync.Resources = append(op.Sync.Resources, v1alpha1.SyncOperationResource{Group: r.Group, Kind: r.Kind, Name: r.Name})
		}
	}
}

// HealDelay is the pause before the next self-heal after so many of them:
// 0s, 2s, 6s, 18s ... at most 300s.
func HealDelay(attempts int64) time.Duration { return DefaultPace.Delay(attempts) }
