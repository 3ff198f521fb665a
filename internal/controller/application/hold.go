package application

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/autosync"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

// Events of holds.
const (
	reasonHeld     = v1alpha1.ConditionOperatorHold
	reasonReleased = "HoldReleased"
)

// overrides says that the operation, whose result has just been fixed, is a
// person's and not for the target. Git is asked anew, for the person may have
// deployed what the controller has not heard of yet.
func (p *pass) overrides(ctx context.Context, result *v1alpha1.SyncOperationResult) bool {
	if p.app.Operation.InitiatedBy.Automated || p.app.Status.Hold == nil && !autosync.Enabled(p.app.Spec.SyncPolicy) {
		return false
	}
	sources := p.app.Spec.GetSources()
	target, err := p.resolve(ctx, sources, true)
	if err != nil {
		target, err = p.resolve(ctx, sources, false)
	}
	if err != nil {
		p.log.Warn("target not known while a person syncs", "error", err.Error())
	}
	return autosync.Overrides(p.app, p.app.Operation, result, target)
}

// target is what the last comparison found the spec to ask for.
func (p *pass) target() autosync.Target {
	return autosync.Target{Revisions: revisions(p.app.Status.Sync), Digest: p.app.Status.Sync.Digest}
}

// review keeps the hold in step with what was deployed, asked for and found in
// Git, and notes what has proven itself.
func (p *pass) review() {
	if autosync.Proven(p.app) {
		p.app.Status.History[len(p.app.Status.History)-1].Health = v1alpha1.HealthHealthy
	}
	before, why := p.app.Status.Hold, "the target was synced"
	if p.ended {
		if next := autosync.Settle(p.app, p.target(), p.Clock.Now()); next != before && next != nil {
			p.holdOn(next)
		} else {
			p.app.Status.Hold = next
		}
	}
	if p.app.Status.Hold != nil {
		p.app.Status.Hold, why = autosync.Review(p.app, p.target())
	}
	delete(p.app.Annotations, v1alpha1.AnnotationReleaseHold)
	if before != nil && p.app.Status.Hold == nil {
		p.tell(corev1.EventTypeNormal, reasonReleased, fmt.Sprintf("No longer held at [%s]: %s", strings.Join(before.Revisions, " "), why))
	}
}

// holdOn begins a hold.
func (p *pass) holdOn(h *v1alpha1.Hold) {
	p.app.Status.Hold = h
	p.tell(corev1.EventTypeNormal, reasonHeld, holdText(p.app.Name, h))
}

// holdText words a hold and how it ends.
func holdText(name string, h *v1alpha1.Hold) string {
	by := ""
	if h.By != "" {
		by = " by " + h.By
	}
	return fmt.Sprintf("held at [%s]%s (%s): the target [%s] is not synced until it changes, somebody syncs to it, or the hold is released "+
		"(app resume %s, or annotation %s)", strings.Join(h.Revisions, " "), by, h.Reason, strings.Join(h.Rejected, " "), name, v1alpha1.AnnotationReleaseHold)
}

// showHold keeps the condition in step with the hold.
func (p *pass) showHold() {
	owned := []string{v1alpha1.ConditionOperatorHold}
	h := p.app.Status.Hold
	if h == nil {
		p.conditions(owned)
		return
	}
	text := holdText(p.app.Name, h)
	if p.adrift != "" {
		text += "; drift from it is not known: " + p.adrift
	}
	p.conditions(owned, condition(v1alpha1.ConditionOperatorHold, text))
}

// decide says what is to be done without anybody asking for it.
func (p *pass) decide(ctx context.Context) autosync.Turn {
	now := p.Clock.Now()
	if p.app.Status.Hold != nil {
		return autosync.Turn{Decision: p.heal(ctx, now)}
	}
	back := autosync.Back(p.app, p.target(), now)
	if back.Operation != nil {
		return back
	}
	p.soon(back.Wait)
	d := autosync.Decide(p.app, autosync.Seen{
		Status: p.app.Status.Sync.Status, Revisions: revisions(p.app.Status.Sync), Resources: p.app.Status.Resources, Pace: p.healPace(),
	}, now)
	if back.Refused != "" && d.Operation == nil {
		d.Refused = back.Refused
	}
	return autosync.Turn{Decision: d}
}

// heal compares the cluster with what is held and decides whether to bring it
// back there.
func (p *pass) heal(ctx context.Context, now time.Time) autosync.Decision {
	p.adrift = ""
	if !autosync.Heals(p.app) {
		return autosync.Decision{}
	}
	h := p.app.Status.Hold
	sources := h.Sources
	if len(sources) == 0 && h.Source != nil {
		sources = []v1alpha1.ApplicationSource{*h.Source}
	}
	for _, src := range sources {
		if !policy.Source(p.project, src.RepoURL) {
			p.adrift = fmt.Sprintf("application repo %s is not permitted in project '%s' any more", src.RepoURL, p.project.Name)
			return autosync.Decision{}
		}
	}
	p.aside = true
	v, err := p.look(ctx, sources, h.Revisions, asIs)
	p.aside = false
	if err != nil {
		p.adrift = err.Error()
		p.soon(comparisonPause)
		return autosync.Decision{}
	}
	seen := autosync.Seen{Status: v1alpha1.SyncStatusSynced, Revisions: h.Revisions, Pace: p.healPace()}
	for _, pair := range v.pairs {
		r, _, _ := p.resource(ctx, v, pair) // health does not matter here
		if r == nil {
			continue
		}
		seen.Resources = append(seen.Resources, *r)
		if r.Status == v1alpha1.SyncStatusOutOfSync && !extraneous(pair) {
			seen.Status = v1alpha1.SyncStatusOutOfSync
		}
	}
	if len(v.verdicts.unknown) > 0 {
		seen.Status, p.adrift = v1alpha1.SyncStatusUnknown, listed(v.verdicts.unknown)
		p.soon(comparisonPause)
	}
	return autosync.Heal(p.app, seen, now)
}

// asked are the revisions that an operation names.
func asked(op *v1alpha1.SyncOperation) []string {
	if len(op.Revisions) > 0 {
		return op.Revisions
	}
	return []string{op.Revision}
}
