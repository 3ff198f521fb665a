package rollout

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// inFlight says that the record uses a slot of its step.
func inFlight(r v1alpha1.ApplicationSetAppStatus) bool {
	return r.Status == Pending || (r.Status == Progressing && r.Reason != ReasonNoSyncNeeded)
}

// steps walks the steps in order; the first that is not complete is the
// current one, and only its members may be admitted.
func (p *planner) steps() {
	status := &v1alpha1.RolloutStatus{
		ID: p.id, Trigger: p.trigger, ObservedGeneration: p.Set.Generation, StartedAt: p.before.StartedAt,
		CompletedAt: p.before.CompletedAt, History: p.before.History, Counts: p.counts(), Target: p.target(),
	}
	p.out.Rollout = status
	if p.restart {
		now := metav1.NewTime(p.Now).Rfc3339Copy()
		status.StartedAt, status.CompletedAt = &now, nil
		status.History = p.history("Superseded")
	}
	for i := range p.rolling.Steps {
		s := p.step(i)
		if status.CurrentStep == 0 && s.Phase != "Complete" && s.Phase != "Empty" {
			status.CurrentStep = int32(i + 1) //nolint:gosec // steps are few
			p.current(i, &s)
		} else if status.CurrentStep != 0 && s.Phase != "Empty" {
			s.Phase = "Pending"
		}
		status.Steps = append(status.Steps, s)
	}
}

// step counts the members of a step.
func (p *planner) step(i int) v1alpha1.RolloutStepStatus {
	s := v1alpha1.RolloutStepStatus{Index: int32(i + 1), Name: p.rolling.Steps[i].Name} //nolint:gosec // steps are few
	for _, old := range p.before.Steps {
		if old.Index == s.Index && !p.restart {
			s.StartedAt, s.Batch, s.CompletedAt = old.StartedAt, old.Batch, old.CompletedAt
		}
	}
	for n, m := range p.Members {
		if m.Step != i+1 || !m.member() {
			continue
		}
		s.Total++
		if p.seen[n] == Current {
			s.Synced++
		}
		switch p.records[n].Status {
		case Waiting:
			s.Waiting++
		case Pending:
			s.Pending++
		case Progressing:
			s.Progressing++
		case Healthy:
			s.Healthy++
		}
		if failure(p.records[n].Reason) {
			s.Failed++
		}
	}
	limit, err := Limit(p.rolling.Steps[i].MaxUpdate, int(s.Total))
	if err == nil {
		s.Limit = int32(limit) //nolint:gosec // bounded by members
	}
	switch {
	case s.Total == 0:
		s.Phase = "Empty"
	case s.Healthy == s.Total:
		s.Phase = "Complete"
		if s.CompletedAt == nil {
			now := metav1.NewTime(p.Now).Rfc3339Copy()
			s.CompletedAt = &now
		}
	default:
		s.CompletedAt = nil
	}
	return s
}

func failure(reason string) bool {
	return slices.Contains([]string{ReasonSyncFailed, ReasonHealthDegraded, ReasonComparisonFailed}, reason)
}

// current admits members of the current step and asks for evidence where it
// is missing.
func (p *planner) current(i int, s *v1alpha1.RolloutStepStatus) {
	if s.StartedAt == nil {
		now := metav1.NewTime(p.Now).Rfc3339Copy()
		s.StartedAt = &now
	}
	used, step := 0, i+1
	for n, m := range p.Members {
		if m.Step == step && m.member() && inFlight(p.records[n]) {
			used++
		}
	}
	p.ask(step)
	s.Phase = "WaitingHealthy"
	if used > 0 || s.Waiting > 0 {
		s.Phase = "Syncing"
	}
	if p.stopped() || s.Failed > 0 {
		s.Phase = map[bool]string{true: "Halted", false: s.Phase}[s.Failed > 0 || p.halted != ""]
		return
	}
	free := int(s.Limit) - used
	if p.rolling.Batching != "Sliding" && used > 0 {
		free = 0 // a batch is open: the next one starts when all of it is Healthy
	}
	opened := false
	for n, m := range p.Members {
		if free <= 0 {
			break
		}
		r := &p.records[n]
		if m.Step != step || m.Class != Managed || r.Status != Waiting || p.seen[n] != Outdated || m.Invalid != "" {
			continue
		}
		if !opened {
			s.Batch++
			opened = true
		}
		now := metav1.NewTime(p.Now).Rfc3339Copy()
		r.Status, r.Reason, r.Batch, r.Attempt, r.LastTransitionTime = Pending, "", s.Batch, r.Attempt+1, &now
		r.Message = "Application syncing"
		s.Waiting--
		s.Pending++
		free--
	}
}

// maxRefreshes bounds the refreshes asked for at a time.
const maxRefreshes = 50

// ask requests a refresh, once per target, of members whose status says
// nothing about the target.
func (p *planner) ask(step int) {
	outstanding := 0
	for n, m := range p.Members {
		r := &p.records[n]
		if m.Step != step || r.Status == Healthy || p.seen[n] != NotKnown || m.Live == nil || m.running() || m.Target.Problem != "" || m.Live.DeletionTimestamp != nil {
			continue
		}
		if r.Reason == ReasonRefreshing {
			// Asked for by the stored record: permitted now, if not done yet.
			if p.old[m.Name()].Reason == ReasonRefreshing && !m.compared() && outstanding < maxRefreshes && p.stale(m) {
				p.out.Refreshes = append(p.out.Refreshes, m.Name())
			}
			outstanding++
			continue
		}
		if r.Status == Waiting && outstanding < maxRefreshes {
			r.Reason = ReasonRefreshing
			outstanding++
		}
	}
}

// stale says that a refresh would help: none is under way.
func (p *planner) stale(m Member) bool {
	_, asked := m.Live.Annotations[v1alpha1.AnnotationRefresh]
	return !asked
}

func (p *planner) counts() *v1alpha1.RolloutCounts {
	c := &v1alpha1.RolloutCounts{}
	for _, m := range p.Members {
		switch m.Class {
		case Managed:
			c.Managed++
		case Manual:
			c.Manual++
		case Unmatched:
			c.Unmatched++
		case Skipped:
			c.Skipped++
		}
		if overlaps(p.rolling.Steps, m.Rendered.Labels) > 1 {
			c.Overlapping++
		}
	}
	return c
}

// target lists the distinct sources with the revisions they are pinned to.
func (p *planner) target() *v1alpha1.RolloutTarget {
	t := &v1alpha1.RolloutTarget{}
	seen := map[v1alpha1.RolloutSource]bool{}
	for _, m := range p.Members {
		if m.Class != Managed {
			continue
		}
		for i, src := range m.Rendered.Spec.GetSources() {
			s := v1alpha1.RolloutSource{RepoURL: src.RepoURL, Chart: src.Chart, TargetRevision: src.TargetRevision}
			if i < len(m.Target.Revisions) {
				s.Revision = m.Target.Revisions[i]
			}
			if !seen[s] {
				seen[s] = true
				t.Sources = append(t.Sources, s)
			}
		}
	}
	return t
}

// history closes the stored rollout with a result when it is still open.
func (p *planner) history(result string) []v1alpha1.RolloutHistory {
	known := p.before.History
	if p.before.ID == 0 || p.before.CompletedAt != nil || (len(known) > 0 && known[len(known)-1].ID == p.before.ID) {
		return known
	}
	now := metav1.NewTime(p.Now).Rfc3339Copy()
	done := v1alpha1.RolloutHistory{ID: p.before.ID, Result: result, StartedAt: p.before.StartedAt, CompletedAt: &now}
	if p.before.Target != nil {
		done.Sources = p.before.Target.Sources
	}
	limit := 10
	if p.rolling.HistoryLimit != nil {
		limit = max(0, int(*p.rolling.HistoryLimit))
	}
	out := append(slices.Clone(p.before.History), done)
	return out[max(0, len(out)-limit):]
}

// finish derives phase and conditions from the steps.
func (p *planner) finish() {
	r := p.out.Rollout
	p.out.Applications = p.records
	failed := p.failed()
	switch {
	case r.CurrentStep == 0 && r.CompletedAt == nil:
		now := metav1.NewTime(p.Now).Rfc3339Copy()
		r.CompletedAt = &now
		if !p.restart {
			r.History = p.history("Completed")
		}
		r.Phase = "Completed"
	case r.CurrentStep == 0:
		r.Phase = "Completed"
	case p.halted != "" || len(failed) > 0:
		r.Phase, r.CompletedAt = "Halted", nil
	case len(p.paused) > 0:
		r.Phase, r.CompletedAt = "Paused", nil
	default:
		r.Phase, r.CompletedAt = "Progressing", nil
	}
	p.pauseStatus(r)
	p.haltStatus(r, failed)
	p.conditions(r, failed)
}

func (p *planner) failed() []string {
	var out []string
	for _, r := range p.records {
		if failure(r.Reason) && r.Status == Progressing {
			out = append(out, r.Application)
		}
	}
	return out
}

func (p *planner) pauseStatus(r *v1alpha1.RolloutStatus) {
	if len(p.paused) == 0 {
		return
	}
	r.Pause = &v1alpha1.RolloutPause{Sources: p.paused, Reason: p.Set.Annotations[v1alpha1.AnnotationPauseReason]}
	if old := p.before.Pause; old != nil {
		r.Pause.Since = old.Since
	} else {
		now := metav1.NewTime(p.Now).Rfc3339Copy()
		r.Pause.Since = &now
	}
}

func (p *planner) haltStatus(r *v1alpha1.RolloutStatus, failed []string) {
	reason := ""
	switch {
	case p.halted != "":
		reason = "InvalidStrategy"
	case len(failed) > 0:
		reason = "ApplicationDegraded"
		for _, rec := range p.records {
			if rec.Application == failed[0] && rec.Reason != ReasonHealthDegraded {
				reason = rec.Reason
			}
		}
	default:
		return
	}
	r.Halt = &v1alpha1.RolloutHalt{Reason: reason, Step: r.CurrentStep, Applications: failed[:min(10, len(failed))]}
	if old := p.before.Halt; old != nil && old.Reason == reason {
		r.Halt.Since = old.Since
	} else {
		now := metav1.NewTime(p.Now).Rfc3339Copy()
		r.Halt.Since = &now
	}
}

func (p *planner) conditions(r *v1alpha1.RolloutStatus, failed []string) {
	add := func(on bool, kind, reason, text string) {
		status := "False"
		if on {
			status = "True"
		}
		p.out.Conditions = append(p.out.Conditions, v1alpha1.ApplicationSetCondition{Type: kind, Status: status, Reason: reason, Message: text})
	}
	if r.CurrentStep == 0 {
		add(false, v1alpha1.AppSetRolloutProgressing, "ApplicationSetRolloutComplete", "ApplicationSet performed rollout successfully")
	} else {
		add(true, v1alpha1.AppSetRolloutProgressing, "ApplicationSetModified", fmt.Sprintf("ApplicationSet is performing rollout of step %d", r.CurrentStep))
	}
	if len(p.paused) > 0 {
		add(true, v1alpha1.AppSetRolloutPaused, "PausedBy"+p.paused[0], "no further Application is picked up; running syncs finish. Remove the pause to go on")
	}
	if r.Halt != nil {
		text := p.halted
		if text == "" {
			text = fmt.Sprintf("step %d is held by %s: fix or revert in Git; the rollout goes on when they recover", r.Halt.Step, strings.Join(r.Halt.Applications, ", "))
		}
		add(true, v1alpha1.AppSetRolloutHalted, r.Halt.Reason, text)
	}
	p.classConditions(add)
}

func (p *planner) classConditions(add func(on bool, kind, reason, text string)) {
	byClass := map[Class][]string{}
	var overlapping []string
	for _, m := range p.Members {
		byClass[m.Class] = append(byClass[m.Class], m.Name())
		if overlaps(p.rolling.Steps, m.Rendered.Labels) > 1 {
			overlapping = append(overlapping, m.Name())
		}
	}
	names := func(list []string) string {
		return fmt.Sprintf("%d: %s", len(list), strings.Join(list[:min(10, len(list))], ", "))
	}
	if list := byClass[Unmatched]; len(list) > 0 {
		add(true, v1alpha1.AppSetUnmatchedApplications, "NoStepMatches", "Applications that match no step sync at once, outside the rollout: "+names(list))
	}
	if list := byClass[Manual]; len(list) > 0 {
		add(true, v1alpha1.AppSetManualSync, "AutomatedSyncDisabled", "Applications without automated sync wait for a person: "+names(list))
	}
	if len(overlapping) > 0 {
		add(true, v1alpha1.AppSetStepSelectorOverlap, "MultipleStepsMatch", "Applications match several steps; the first counts: "+names(overlapping))
	}
}
