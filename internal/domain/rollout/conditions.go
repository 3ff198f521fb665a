package rollout

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

func (p *planner) condition(on bool, kind, reason, text string) {
	status := "False"
	if on {
		status = "True"
	}
	p.out.Conditions = append(p.out.Conditions, v1alpha1.ApplicationSetCondition{Type: kind, Status: status, Reason: reason, Message: text})
}

// conditions are those of spec/progressive-sync.md §7.6.
func (p *planner) conditions(r *v1alpha1.RolloutStatus) {
	if r.CompletedAt != nil {
		p.condition(false, v1alpha1.AppSetRolloutProgressing, "ApplicationSetRolloutComplete", "ApplicationSet performed rollout successfully")
	} else {
		p.condition(true, v1alpha1.AppSetRolloutProgressing, "ApplicationSetModified", fmt.Sprintf("ApplicationSet is performing rollout of %s", p.label(max(1, p.current))))
	}
	if r.Pause != nil {
		text := "no further Application is picked up; running syncs finish"
		if v, there := p.Set.Annotations[v1alpha1.AnnotationPauseRollout]; there && !strings.EqualFold(v, "true") && !strings.EqualFold(v, "false") {
			text += fmt.Sprintf("; pause-rollout is %q, which counts as true: write true or remove it", cut(v))
		}
		p.condition(true, v1alpha1.AppSetRolloutPaused, "PausedBy"+r.Pause.Sources[0], text)
	}
	if r.Halt != nil {
		p.condition(true, v1alpha1.AppSetRolloutHalted, r.Halt.Reason, p.haltWords(r.Halt))
	}
	if p.current > 0 && p.awaits(p.current) {
		reason := "BeforeStep"
		if p.steps[p.current-1].approval == ApprovalAfter {
			reason = "AfterStep"
		}
		p.condition(true, v1alpha1.AppSetRolloutAwaiting, reason, fmt.Sprintf("%s waits for approval: argocd.argoproj.io/promote-rollout=%d/%d", p.label(p.current), p.id, p.current))
	}
	p.classConditions()
}

func (p *planner) haltWords(h *v1alpha1.RolloutHalt) string {
	names := strings.Join(h.Applications, ", ")
	switch h.Reason {
	case HaltInvalidStrategy:
		return p.invalid
	case HaltAborted:
		return "the rollout was aborted: it waits for a new target"
	case HaltRolledBack:
		return "the target was rolled back and is rejected: it waits for a new target, or for retry-rollout"
	case HaltApprovalTimeout:
		return fmt.Sprintf("%s was not approved in time: promote or retry it", p.label(int(h.Step)))
	case HaltAnalysisFailed:
		return fmt.Sprintf("the metrics of %s speak against it: fix or revert in Git, or retry", p.label(int(h.Step)))
	case HaltStepTimeout:
		return fmt.Sprintf("%s exceeded its time because of %s: fix or revert in Git, or retry; it goes on when all are Healthy", p.label(int(h.Step)), names)
	case HaltRegressed:
		return fmt.Sprintf("%s lost health after %s was complete: the rollout goes on when they recover", names, p.label(int(h.Step)))
	}
	return fmt.Sprintf("%s is held by %s: fix or revert in Git; the rollout goes on when they recover", p.label(int(h.Step)), names)
}

func (p *planner) classConditions() {
	var unmatched, manual, overlapping []string
	for i := range p.Members {
		m := &p.Members[i]
		switch m.Class {
		case Unmatched:
			unmatched = append(unmatched, m.Name())
		case Manual:
			manual = append(manual, m.Name())
		}
		if steps := matching(p.rolling.Steps, m.Rendered.Labels); len(steps) > 1 {
			overlapping = append(overlapping, fmt.Sprintf("%s (steps %s)", m.Name(), strings.ReplaceAll(strings.Trim(fmt.Sprint(steps), "[]"), " ", ", ")))
		}
	}
	for _, c := range []struct {
		names             []string
		kind, reason, txt string
	}{
		{unmatched, v1alpha1.AppSetUnmatchedApplications, "NoStepMatches", p.unmatchedWords()},
		{manual, v1alpha1.AppSetManualSync, "AutomatedSyncDisabled", p.manualWords()},
		{overlapping, v1alpha1.AppSetStepSelectorOverlap, "MultipleStepsMatch", "Applications match several steps; the first counts"},
	} {
		if len(c.names) > 0 {
			p.condition(true, c.kind, c.reason, fmt.Sprintf("%s: %d: %s", c.txt, len(c.names), strings.Join(c.names[:min(10, len(c.names))], ", ")))
		}
	}
}

func (p *planner) unmatchedWords() string {
	switch p.rolling.UnmatchedPolicy {
	case UnmatchedAfterLastStep:
		return "Applications that match no step are synced after the last step"
	case UnmatchedHold:
		return "Applications that match no step are held: only people sync them"
	}
	return "Applications that match no step sync at once, outside the rollout"
}

func (p *planner) manualWords() string {
	switch p.rolling.ManualSyncPolicy {
	case ManualSkip:
		return "Applications without automated sync are left out of the rollout"
	case ManualSync:
		return "Applications without automated sync are synced by the rollout, without pruning"
	}
	return "Applications without automated sync wait for a person"
}

// announcements emits what lies between the stored status and this one.
func (p *planner) announcements(r *v1alpha1.RolloutStatus) {
	b := p.before
	if p.mem.Needed && (p.restart || !p.started) {
		started := Event{Reason: "RolloutStarted", Message: fmt.Sprintf("rollout %d started: trigger %s, target %s", r.ID, r.Trigger, revisions(r.Target))}
		at := slices.IndexFunc(p.events, func(e Event) bool { return e.Reason != "RolloutSuperseded" })
		if at < 0 {
			at = len(p.events)
		}
		p.events = slices.Insert(p.events, at, started)
	}
	switch {
	case b.Pause == nil && r.Pause != nil:
		who := ""
		if by := p.Actors[v1alpha1.AnnotationPauseRollout]; by != "" && slices.Contains(r.Pause.Sources, "Annotation") {
			who = fmt.Sprintf(" (set by %s)", by)
		}
		p.event(false, "RolloutPaused", "paused by "+strings.Join(r.Pause.Sources, ", ")+who)
	case b.Pause != nil && r.Pause == nil:
		p.event(false, "RolloutResumed", fmt.Sprintf("rollout %d goes on", r.ID))
	}
	if r.Halt != nil && (b.Halt == nil || b.Halt.Reason != r.Halt.Reason || p.restart) {
		if r.Halt.Reason == HaltInvalidStrategy {
			p.event(true, "RolloutStrategyInvalid", p.invalid)
		}
		p.event(true, "RolloutHalted", fmt.Sprintf("rollout %d is halted: %s: %s", r.ID, r.Halt.Reason, p.haltWords(r.Halt)))
	}
	if r.Counts.Overlapping > 0 && (b.Counts == nil || b.Counts.Overlapping == 0) {
		p.event(true, "StepSelectorOverlap", fmt.Sprintf("%d Applications match several steps: the first one counts", r.Counts.Overlapping))
	}
}
