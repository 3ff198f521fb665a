package autosync

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

// Target is what the spec asks for, as the last comparison resolved it.
type Target struct {
	// Revisions, one per source.
	Revisions []string
	// Digest of the manifests; empty when they could not be rendered.
	Digest string
}

// deployment is what one operation brings: sources at revisions.
type deployment struct {
	// source is that of an Application with one, sources those of another.
	source    *v1alpha1.ApplicationSource
	sources   []v1alpha1.ApplicationSource
	revisions []string
}

func (d deployment) all() []v1alpha1.ApplicationSource {
	if len(d.sources) > 0 || d.source == nil {
		return d.sources
	}
	return []v1alpha1.ApplicationSource{*d.source}
}

func (d deployment) equals(e deployment) bool {
	return slices.Equal(d.revisions, e.revisions) && equality.Semantic.DeepEqual(d.all(), e.all())
}

// wanted is the deployment that the spec asks for.
func wanted(app *v1alpha1.Application, revisions []string) deployment {
	return deployment{source: app.Spec.Source, sources: app.Spec.Sources, revisions: revisions}
}

// done is what an operation has brought.
func done(r *v1alpha1.SyncOperationResult) deployment {
	if len(r.Revisions) > 0 {
		return deployment{sources: r.Sources, revisions: r.Revisions}
	}
	return deployment{source: &r.Source, revisions: []string{r.Revision}}
}

// past is an entry of the history.
func past(h *v1alpha1.RevisionHistory) deployment {
	if len(h.Sources) > 0 {
		return deployment{sources: h.Sources, revisions: h.Revisions}
	}
	return deployment{source: &h.Source, revisions: []string{h.Revision}}
}

// kept is what a hold keeps.
func kept(h *v1alpha1.Hold) deployment {
	return deployment{source: h.Source, sources: h.Sources, revisions: h.Revisions}
}

// held makes a hold of a deployment against a target.
func (d deployment) held(reason, by string, target Target, now time.Time) *v1alpha1.Hold {
	since := metav1.NewTime(now).Rfc3339Copy()
	return &v1alpha1.Hold{
		Revisions: d.revisions, Source: d.source.DeepCopy(), Sources: d.sources, Reason: reason, Since: &since, By: by,
		Rejected: target.Revisions, RejectedDigest: target.Digest,
	}
}

// Overrides says that an operation, whose sources and revisions are fixed in
// result, is a person's and asks for something else than the target, which the
// given revisions are. The target may move on before the operation begins and
// while it runs: who synced to what it was holds nothing.
func Overrides(app *v1alpha1.Application, op *v1alpha1.Operation, result *v1alpha1.SyncOperationResult, target []string) bool {
	named := !slices.ContainsFunc(op.Info, func(i *v1alpha1.Info) bool { return i != nil && i.Name == v1alpha1.InfoTarget })
	return named && !op.InitiatedBy.Automated && !done(result).equals(wanted(app, target))
}

// Settle gives the hold of an Application whose operation has just ended
// (spec/application.md §11): none when the operation brought the target, a new
// one when a person brought something else although syncs are automated, and
// the same as before when it brought nothing as a whole: a dry run, a part, a
// refusal before the first write.
func Settle(app *v1alpha1.Application, target Target, now time.Time) *v1alpha1.Hold {
	before, state := app.Status.Hold, app.Status.OperationState
	if !whole(state) {
		return before
	}
	switch {
	case reached(app, target):
		return nil
	case state.Operation.InitiatedBy.Automated:
		return before
	case !state.Override:
		return nil
	case before == nil && !Enabled(app.Spec.SyncPolicy):
		return nil
	}
	return done(state.SyncResult).held(v1alpha1.HoldManualOverride, state.Operation.InitiatedBy.Username, target, now)
}

// reached says that the last operation was for the target. A revision with the
// manifests of the target is as good: in a repository of many Applications most
// commits are somebody else's.
func reached(app *v1alpha1.Application, target Target) bool {
	state := app.Status.OperationState
	return done(state.SyncResult).equals(wanted(app, target.Revisions)) || state.Digest != "" && state.Digest == target.Digest
}

// whole says that an operation has ended and deployed all it was for, or
// failed at it after it had begun.
func whole(state *v1alpha1.OperationState) bool {
	if state == nil || !state.Phase.Completed() || state.SyncResult == nil {
		return false
	}
	sync := state.Operation.Sync
	if sync == nil || sync.DryRun || len(sync.Resources) > 0 || len(sync.Manifests) > 0 {
		return false
	}
	return state.Phase == v1alpha1.OperationSucceeded || len(state.SyncResult.Resources) > 0 || state.RetryCount > 0
}

// Review looks at a hold anew: it gives the hold that remains or, when none
// does, why. A target has changed when its manifests have: a commit that leaves
// them as they are must not bring back what was rejected. One that cannot be
// rendered ends no hold.
func Review(app *v1alpha1.Application, target Target) (*v1alpha1.Hold, string) {
	h := app.Status.Hold
	if h == nil {
		return nil, ""
	}
	if set := policy.Holder(app); set != "" {
		return nil, "the rollout of ApplicationSet " + set + " syncs the Application now"
	}
	if by, released := app.Annotations[v1alpha1.AnnotationReleaseHold]; released {
		if by == "" {
			return nil, "released"
		}
		return nil, "released by " + by
	}
	moved := len(h.Rejected) > 0 && !slices.Equal(h.Rejected, target.Revisions)
	switch {
	case kept(h).equals(wanted(app, target.Revisions)):
		return nil, "what is held is the target now"
	case target.Digest == "" || target.Digest == h.RejectedDigest:
		return h, ""
	case h.RejectedDigest == "" && !moved:
		h = h.DeepCopy()
		h.Rejected, h.RejectedDigest = target.Revisions, target.Digest
		return h, ""
	}
	return nil, fmt.Sprintf("the target changed to [%s]", strings.Join(target.Revisions, " "))
}

// Heal decides about a held Application whose policy asks for self-heal: what
// drifted from the held deployment, which seen compares with the cluster, is
// brought back to it. Nothing else is synced by itself while the hold lasts.
func Heal(app *v1alpha1.Application, seen Seen, now time.Time) Decision {
	h := app.Status.Hold
	if !Heals(app) || seen.Status != v1alpha1.SyncStatusOutOfSync {
		return Decision{}
	}
	auto := app.Spec.SyncPolicy.Automated
	if _, changed := count(seen.Resources); !auto.Prune && changed == 0 {
		return Decision{}
	}
	op := newOperation(app.Spec.SyncPolicy, kept(h))
	state := app.Status.OperationState
	if attempted(state, kept(h)) {
		return again(op, state, auto, seen, now)
	}
	if state != nil && !state.Phase.Completed() {
		return Decision{}
	}
	if healing(op, 1, auto, seen); len(op.Sync.Resources) == 0 {
		return Decision{} // what differs is nothing that a sync may change
	}
	return Decision{Operation: op}
}

// Heals says that drift of a held Application from what it holds matters now.
func Heals(app *v1alpha1.Application) bool {
	p := app.Spec.SyncPolicy
	return app.Status.Hold != nil && Enabled(p) && p.Automated.SelfHeal && app.Operation == nil && app.DeletionTimestamp == nil
}
