package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// Statuses of a member in the record.
const (
	Waiting     = "Waiting"
	Pending     = "Pending"
	Progressing = "Progressing"
	Healthy     = "Healthy"
)

// Reasons in the record.
const (
	ReasonNoSyncNeeded      = "NotHealthyNoSyncNeeded"
	ReasonManualSync        = "ManualSync"
	ReasonFinishingPrevious = "FinishingPrevious"
	ReasonSyncFailed        = "SyncFailed"
	ReasonHealthDegraded    = "HealthDegraded"
	ReasonComparisonFailed  = "ComparisonFailed"
	ReasonRefreshing        = "Refreshing"
	ReasonUnresolved        = "RevisionUnresolved"
	ReasonInvalid           = "InvalidApplication"
	ReasonTerminating       = "Terminating"
	ReasonManualRequired    = "ManualSyncRequired"
	ReasonUnmatched         = "Unmatched"
	ReasonRemaining         = "RemainingDifferences"
	ReasonDrifted           = "Drifted"
)

// Input is everything Next decides on.
type Input struct {
	// Set carries spec, annotations and, in its status, the record.
	Set *v1alpha1.ApplicationSet
	// Members in name order.
	Members []Member
	Now     time.Time
}

// Operation is a sync to request, once, under its id.
type Operation struct {
	Application string
	ID          string
	Revisions   []string
}

// Decision is the answer of Next.
type Decision struct {
	// Applications and Rollout are the record to store.
	Applications []v1alpha1.ApplicationSetAppStatus
	Rollout      *v1alpha1.RolloutStatus
	Conditions   []v1alpha1.ApplicationSetCondition
	// Operations and Refreshes are permitted by the record in Input.
	Operations []Operation
	Refreshes  []string
	// Wake asks to be called again after this time; zero is never.
	Wake time.Duration
}

// OperationID names the attempt of a rollout on one of its Applications.
func OperationID(set *v1alpha1.ApplicationSet, rollout int64, attempt int32) string {
	uid := string(set.UID)
	return fmt.Sprintf("%s/%d/%d", uid[:min(8, len(uid))], rollout, attempt)
}

// gracePeriod is how long bad health must last to count as a failure.
const gracePeriod = time.Minute

// planner holds one decision in the making.
type planner struct {
	Input
	rolling *v1alpha1.RollingSync
	grace   time.Duration
	old     map[string]v1alpha1.ApplicationSetAppStatus
	before  *v1alpha1.RolloutStatus
	id      int64
	trigger string
	restart bool
	halted  string
	paused  []string
	out     Decision
	records []v1alpha1.ApplicationSetAppStatus // by member
	seen    []Observation
}

// Next decides what a rolling ApplicationSet does now.
func Next(in Input) Decision {
	p := &planner{Input: in, rolling: in.Set.Spec.Strategy.RollingSync, grace: gracePeriod, old: map[string]v1alpha1.ApplicationSetAppStatus{}}
	for _, r := range in.Set.Status.ApplicationStatus {
		p.old[r.Application] = r
	}
	p.before = in.Set.Status.Rollout
	if p.before == nil {
		p.before = &v1alpha1.RolloutStatus{}
	}
	if d, err := time.ParseDuration(p.rolling.FailureGracePeriod); err == nil && d >= 0 {
		p.grace = d
	}
	p.paused = p.pauses()
	if err := Validate(p.rolling); err != nil {
		p.halted = err.Error()
	}
	p.identify()
	for i := range p.Members {
		p.member(i)
	}
	p.steps()
	p.finish()
	return p.out
}

// pauses lists what pauses the rollout.
func (p *planner) pauses() []string {
	var out []string
	if v, ok := p.Set.Annotations[v1alpha1.AnnotationPauseRollout]; ok && !strings.EqualFold(v, "false") {
		out = append(out, "Annotation")
	}
	if p.rolling.Paused {
		out = append(out, "Spec")
	}
	return out
}

// stopped says that nothing may be admitted.
func (p *planner) stopped() bool { return p.halted != "" || len(p.paused) > 0 }

// active says that the stored rollout is unfinished.
func (p *planner) active() bool { return p.before.ID > 0 && p.before.CompletedAt == nil }

// identify decides whether a new rollout starts.
func (p *planner) identify() {
	p.id, p.trigger = p.before.ID, p.before.Trigger
	revision, respec, fresh, members := false, 0, 0, 0
	for _, m := range p.Members {
		if !m.member() {
			continue
		}
		members++
		rec, known := p.old[m.Name()]
		switch {
		case !known || rec.Step == "-1":
			fresh++
		case m.Target.Problem != "":
		case !slices.Equal(rec.TargetRevisions, m.Target.Revisions) && m.observe() != Current:
			revision = true
		case rec.SpecHash != "" && rec.SpecHash != m.Target.SpecHash && m.observe() != Current:
			respec++
		}
	}
	template := respec > 0 && respec == members-fresh
	switch {
	case p.before.ID == 0:
		p.begin("Membership")
	case revision:
		p.begin("Revision")
	case template:
		p.begin("Template")
	case respec > 0 && !p.active():
		p.begin("Parameters")
	case fresh > 0 && !p.active():
		p.begin("Membership")
	}
}

func (p *planner) begin(trigger string) {
	p.id++
	p.trigger, p.restart = trigger, true
}

// member says that the Application takes part in a step.
func (m Member) member() bool { return m.Class == Managed || m.Class == Manual }

// member carries one record over to what is seen now.
func (p *planner) member(i int) {
	m := p.Members[i]
	rec, known := p.old[m.Name()]
	next := v1alpha1.ApplicationSetAppStatus{
		Application: m.Name(), Step: fmt.Sprint(m.Step), TargetRevisions: m.Target.Revisions, SpecHash: m.Target.SpecHash,
		Attempt: rec.Attempt, Batch: rec.Batch, Status: rec.Status, Reason: rec.Reason, FailedAt: rec.FailedAt,
		LastTransitionTime: rec.LastTransitionTime,
	}
	seen := drift(m, rec, m.observe())
	p.seen = append(p.seen, seen)
	if m.Target.Problem != "" && known {
		next.TargetRevisions, next.SpecHash = rec.TargetRevisions, rec.SpecHash
	}
	if p.restart {
		next.Attempt, next.Batch, next.FailedAt = 0, 0, nil
	}
	switch {
	case !m.member():
		next.Step, next.Batch, next.Attempt = "-1", 0, 0
		next.Status, next.Reason = settled(m, seen), string(m.Class)
	default:
		changed := known && m.Target.Problem == "" && !(Target{rec.SpecHash, rec.TargetRevisions, ""}).equal(m.Target)
		p.transit(m, seen, &next, !known || changed || p.restart && rec.Status != Healthy)
	}
	if next.Status == "" {
		next.Status = Waiting
	}
	if next.Status != Progressing {
		next.FailedAt = nil
	}
	if next.Status != rec.Status || next.LastTransitionTime == nil {
		now := metav1.NewTime(p.Now).Rfc3339Copy()
		next.LastTransitionTime = &now
	}
	next.Message = message(next.Status, m)
	p.records = append(p.records, next)
}

// drift tells differences that remained after a sync, which are accepted, from
// those that came later, which are not. The record remembers which is which.
func drift(m Member, rec v1alpha1.ApplicationSetAppStatus, seen Observation) Observation {
	if seen != Current || m.Live.Status.Sync.Status != v1alpha1.SyncStatusOutOfSync || !slices.Equal(rec.TargetRevisions, m.Target.Revisions) {
		return seen
	}
	if (rec.Status == Healthy && rec.Reason != ReasonRemaining) || (rec.Status == Waiting && rec.Reason == ReasonDrifted) {
		return Outdated
	}
	return seen
}

// arrived is the reason of a member that has become Healthy.
func arrived(m Member) string {
	if m.Live.Status.Sync.Status == v1alpha1.SyncStatusOutOfSync {
		return ReasonRemaining
	}
	return ""
}

func settled(m Member, seen Observation) string {
	if seen == Current && m.healthy() {
		return Healthy
	}
	return Waiting
}

func message(status string, m Member) string {
	switch {
	case status == Healthy:
		return "Application resource is Healthy"
	case (status == Pending || status == Progressing) && m.running():
		return "Application syncing"
	case status == Pending:
		return "Application syncing"
	case status == Progressing && m.Live != nil:
		return fmt.Sprintf("waiting for health: Application is %s", cmp.Or(string(m.Live.Status.Health.Status), "Unknown"))
	}
	return "waiting for its turn"
}

// transit is the state machine of spec §6.6.
func (p *planner) transit(m Member, seen Observation, r *v1alpha1.ApplicationSetAppStatus, anew bool) {
	mine := r.Attempt > 0 && m.issued(OperationID(p.Set, p.id, r.Attempt))
	switch {
	case m.Invalid != "":
		r.Status, r.Reason = Waiting, ReasonInvalid
		return
	case m.Live != nil && m.Live.DeletionTimestamp != nil:
		r.Status, r.Reason = Waiting, ReasonTerminating
		return
	case anew && m.running() && !mine:
		r.Status, r.Reason = Progressing, ReasonFinishingPrevious
		return
	case anew && !(r.Status == Progressing && mine):
		r.Status, r.Reason = Waiting, ""
	}
	switch r.Status {
	case Pending:
		p.pending(m, seen, r, mine)
	case Progressing:
		p.progressing(m, seen, r, mine)
	case Healthy:
		switch {
		case seen == Outdated || (!m.healthy() && !p.stepDone(r.Step)):
			p.relapse(m, seen, r)
		case seen == Current && r.Reason == ReasonRemaining:
			r.Reason = arrived(m)
		}
	default:
		p.waiting(m, seen, r)
	}
}

// waiting members finish without a sync when they run the target already.
func (p *planner) waiting(m Member, seen Observation, r *v1alpha1.ApplicationSetAppStatus) {
	switch {
	case m.running():
		r.Status, r.Reason = Progressing, ReasonManualSync
	case seen == Current && m.healthy():
		r.Status, r.Reason = Healthy, arrived(m)
	case seen == Outdated && r.Reason == ReasonDrifted:
	case seen == Current:
		r.Status, r.Reason = Progressing, ReasonNoSyncNeeded
	case m.Target.Problem != "":
		r.Reason = ReasonUnresolved
	case seen == Failing:
		r.Reason = ReasonComparisonFailed
	case m.Class == Manual && seen == Outdated:
		r.Reason = ReasonManualRequired
	case r.Reason != ReasonRefreshing || seen != NotKnown:
		r.Reason = ""
	}
}

// pending members wait for their operation to become visible.
func (p *planner) pending(m Member, seen Observation, r *v1alpha1.ApplicationSetAppStatus, mine bool) {
	switch {
	case mine:
		r.Status, r.Reason = Progressing, ""
		p.progressing(m, seen, r, mine) // it may be over already
	case m.running():
		r.Status, r.Reason = Progressing, ReasonManualSync
	case p.stopped():
		r.Status, r.Reason, r.Attempt = Waiting, "", r.Attempt-1
	default:
		p.out.Operations = append(p.out.Operations, Operation{
			Application: m.Name(), ID: OperationID(p.Set, p.id, r.Attempt), Revisions: m.Target.Revisions,
		})
	}
}

func (p *planner) progressing(m Member, seen Observation, r *v1alpha1.ApplicationSetAppStatus, mine bool) {
	if m.running() {
		return
	}
	state := v1alpha1.OperationPhase("")
	if m.Live != nil && m.Live.Status.OperationState != nil {
		state = m.Live.Status.OperationState.Phase
	}
	failed := state == v1alpha1.OperationFailed || state == v1alpha1.OperationError
	switch {
	case seen == Current && m.healthy():
		r.Status, r.Reason, r.FailedAt = Healthy, arrived(m), nil
	case mine && failed && seen != Current:
		p.fail(r, ReasonSyncFailed, 0)
	case seen == Outdated:
		r.Status, r.Reason = Waiting, "" // it needs a sync of its own
	case m.Live != nil && m.Live.Status.Health.Status == v1alpha1.HealthDegraded && seen == Current:
		reason := ReasonHealthDegraded
		if r.Reason == ReasonNoSyncNeeded {
			return
		}
		p.fail(r, reason, p.grace)
	case seen == Failing:
		p.fail(r, ReasonComparisonFailed, p.grace)
	default:
		r.FailedAt = nil
		if r.Reason == ReasonHealthDegraded || r.Reason == ReasonComparisonFailed {
			r.Reason = ""
		}
	}
}

// fail notes since when something is wrong; it counts after the grace period.
func (p *planner) fail(r *v1alpha1.ApplicationSetAppStatus, reason string, grace time.Duration) {
	if r.FailedAt == nil {
		now := metav1.NewTime(p.Now).Rfc3339Copy()
		r.FailedAt = &now
	}
	lasted := p.Now.Sub(r.FailedAt.Time)
	if rest := grace - lasted; rest > 0 {
		p.wake(rest)
		return
	}
	r.Reason = reason
}

func (p *planner) wake(d time.Duration) {
	if p.out.Wake == 0 || d < p.out.Wake {
		p.out.Wake = d
	}
}

// stepDone says that the stored record has the step complete.
func (p *planner) stepDone(step string) bool {
	for _, s := range p.before.Steps {
		if fmt.Sprint(s.Index) == step {
			return s.Phase == "Complete" && !p.restart
		}
	}
	return false
}

// relapse handles a member that was Healthy at its target and no longer is.
// Drift is healed when the policy says so; it is not a new rollout.
func (p *planner) relapse(m Member, seen Observation, r *v1alpha1.ApplicationSetAppStatus) {
	policy := m.Rendered.Spec.SyncPolicy
	switch {
	case m.running():
		r.Status, r.Reason = Progressing, ReasonManualSync
	case seen == Outdated && (m.Class == Manual || policy == nil || policy.Automated == nil || !policy.Automated.SelfHeal):
		// Drift without self-heal stays as it is.
	case seen == Outdated:
		r.Status, r.Reason = Waiting, ReasonDrifted
	default:
		r.Status, r.Reason = Progressing, ReasonNoSyncNeeded
	}
}
