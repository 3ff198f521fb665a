package rollout

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// Requests are the annotations by which people steer a rollout; each is taken
// in once, recorded, and then removed by the caller
// (spec/progressive-sync.md §7.3).
var Requests = []string{
	v1alpha1.AnnotationPromoteRollout, v1alpha1.AnnotationRetryRollout, v1alpha1.AnnotationAbortRollout, v1alpha1.AnnotationRollbackRollout,
}

// States of an approval.
const (
	ApprovalAwaiting = "Awaiting"
	ApprovalApproved = "Approved"
)

// requests takes in what people ask for. What the stored record has taken in
// already may be removed from the set.
func (p *planner) requests() {
	handled := maps.Clone(p.mem.Handled)
	for _, key := range Requests {
		value, present := p.Set.Annotations[key]
		switch {
		case !present:
			delete(handled, key)
		case handled[key] == value:
			if p.out.Consume == nil {
				p.out.Consume = map[string]string{}
			}
			p.out.Consume[key] = value
		default:
			if handled == nil {
				handled = map[string]string{}
			}
			handled[key] = value
			p.request(key, value)
		}
	}
	if len(handled) == 0 {
		handled = nil
	}
	p.mem.Handled = handled
}

func (p *planner) request(key, value string) {
	name := strings.TrimPrefix(key, "argocd.argoproj.io/")
	id, rest, qualified := strings.Cut(value, "/")
	if key == v1alpha1.AnnotationPromoteRollout && !qualified {
		id, rest = "", value
	}
	if id != "" || key != v1alpha1.AnnotationPromoteRollout {
		if n, err := strconv.ParseInt(id, 10, 64); err != nil || n != p.id {
			p.event(true, "RolloutRequestRejected", fmt.Sprintf("%s %q is not for rollout %d, which is the current one: ask again with that number", name, cut(value), p.id))
			return
		}
	}
	by := p.Actors[key]
	switch key {
	case v1alpha1.AnnotationPromoteRollout:
		p.promote(rest, by)
	case v1alpha1.AnnotationRetryRollout:
		p.retry()
	case v1alpha1.AnnotationAbortRollout:
		if !p.active() && !p.restart {
			p.event(true, "RolloutRequestRejected", fmt.Sprintf("rollout %d is complete: there is nothing to abort", p.id))
			return
		}
		p.mem.Mode = modeAborted
		p.event(true, "RolloutAborted", fmt.Sprintf("rollout %d is aborted%s: running syncs finish, nothing more is synced until the target changes", p.id, signed(by)))
	case v1alpha1.AnnotationRollbackRollout:
		if p.mem.Mode != modeRollingBack && p.mem.Mode != modeRolledBack {
			p.turnBack("a person asked for it" + signed(by))
		}
	}
}

func signed(who string) string {
	if who == "" {
		return ""
	}
	return " by " + who
}

// cut bounds what people wrote before it is shown.
func cut(text string) string { return clip(text, 64) }

// clip keeps the beginning of a text, whole characters and nothing that is not
// UTF-8: what is stored must be what is computed, or it is written for ever.
func clip(text string, most int) string {
	if len(text) > most {
		for most > 0 && !utf8.RuneStart(text[most]) {
			most--
		}
		text = text[:most]
	}
	return strings.ToValidUTF8(text, "?")
}

// promote approves a step by name or number, also before it asks.
func (p *planner) promote(step, by string) {
	n := 0
	for i := range p.steps {
		if (p.steps[i].name != "" && p.steps[i].name == step) || strconv.Itoa(i+1) == step {
			n = i + 1
			break
		}
	}
	if n == 0 {
		p.event(true, "RolloutRequestRejected", fmt.Sprintf("promote-rollout %q names no step of this ApplicationSet: use its name or number", cut(step)))
		return
	}
	s := &p.mem.Steps[n-1]
	if s.Approval != nil && s.Approval.State == ApprovalApproved {
		return
	}
	s.Approval = &v1alpha1.RolloutApproval{State: ApprovalApproved, By: by, At: stamp(p.Now.Unix())}
	s.Awaits = 0
	if p.mem.Sticky == HaltApprovalTimeout && p.mem.StickyStep == s.Key {
		p.mem.Sticky, p.mem.StickyStep = "", ""
	}
	p.event(false, "RolloutApproved", fmt.Sprintf("rollout %d: %s is approved%s", p.id, p.label(n), signed(by)))
}

// triggerManual says that a person lets a target that was rolled back begin
// again; other triggers are what changed.
const triggerManual = "Manual"

// retry clears failures and halts; failed members get another attempt.
func (p *planner) retry() {
	if p.mem.Mode == modeRollingBack && p.mem.Sticky != "" {
		p.mem.Sticky, p.mem.StickyStep = "", "" // the rollback goes on
	} else {
		if p.mem.Mode == modeRolledBack {
			mark := p.fingerprint()
			p.before = p.before.DeepCopy()
			p.before.RejectedTargets = slices.DeleteFunc(p.before.RejectedTargets, func(h string) bool { return h == mark })
			p.trigger = triggerManual
		}
		p.mem.Mode, p.mem.Sticky, p.mem.StickyStep = "", "", ""
	}
	for i := range p.mem.Steps {
		s := &p.mem.Steps[i]
		s.TimedOut, s.Used, s.Runs, s.Awaits, s.Skipped, s.Measures, s.Analysis = false, 0, 0, 0, false, 0, nil
	}
	for i := range p.mem.entries {
		e := &p.mem.entries[i]
		if p.mem.Mode != modeRollingBack {
			e.Flags.set(back|returning|undone, false)
			if e.Reason == ReasonRolledBack || e.Reason == ReasonNoRollbackPoint || e.Reason == ReasonRollingBack {
				e.Status, e.Reason = Waiting, ""
			}
		}
		if failure(e.Reason) {
			e.Status, e.Reason, e.FailedAt, e.Issued, e.Admitted, e.Batch = Waiting, "", 0, 0, 0, 0
			e.Flags.set(again, e.Flags.has(touched) && !e.Flags.has(back))
			e.Flags.set(returning, false)
		}
	}
	p.event(false, "RolloutRetried", fmt.Sprintf("rollout %d: failed Applications are tried again", p.id))
}
