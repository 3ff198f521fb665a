package rollout

import (
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
	ReasonManualOverride    = "ManualOverride"
	ReasonFinishingPrevious = "FinishingPrevious"
	ReasonSyncFailed        = "SyncFailed"
	ReasonHealthDegraded    = "HealthDegraded"
	ReasonComparisonFailed  = "ComparisonFailed"
	ReasonTimedOut          = "TimedOut"
	ReasonRefreshing        = "Refreshing"
	ReasonUnresolved        = "RevisionUnresolved"
	ReasonInvalid           = "InvalidApplication"
	ReasonTerminating       = "Terminating"
	ReasonManualRequired    = "ManualSyncRequired"
	ReasonWindowClosed      = "SyncWindowClosed"
	ReasonUnmatched         = "Unmatched"
	ReasonRemaining         = "RemainingDifferences"
	ReasonSelfHealing       = "SelfHealing"
	ReasonRegressed         = "HealthRegressed"
	ReasonRollingBack       = "RollingBack"
	ReasonRolledBack        = "RolledBack"
	ReasonNoRollbackPoint   = "NoRollbackPoint"
)

// Phases of a rollout.
const (
	PhaseIdle        = "Idle"
	PhaseProgressing = "Progressing"
	PhasePaused      = "Paused"
	PhaseAwaiting    = "AwaitingApproval"
	PhaseBaking      = "Baking"
	PhaseAnalyzing   = "Analyzing"
	PhaseHalted      = "Halted"
	PhaseRollingBack = "RollingBack"
	PhaseRolledBack  = "RolledBack"
	PhaseAborted     = "Aborted"
	PhaseCompleted   = "Completed"
	PhaseDryRun      = "DryRun"
)

// Phases of a step that are not those of a rollout.
const (
	StepPending        = "Pending"
	StepSyncing        = "Syncing"
	StepWaitingHealthy = "WaitingHealthy"
	StepComplete       = "Complete"
	StepEmpty          = "Empty"
)

// Fixed times.
const (
	// gracePeriod is how long bad health must last to count as a failure.
	gracePeriod = time.Minute
	// settleTime is how long new revisions wait for evidence that they change
	// nothing; after that they are taken to change something.
	settleTime = 3 * time.Second
	// gatherTime is how long a batch waits for members that are being compared.
	gatherTime = time.Second
	// askAgain is when a refresh that brought nothing is asked for again.
	askAgain = time.Minute
	// persistBake is how often the bake clock is stored.
	persistBake = time.Minute
	// StallTime without progress is worth an event.
	StallTime = 30 * time.Minute
)

// planner holds one decision in the making.
type planner struct {
	Input
	rolling *v1alpha1.RollingSync
	steps   []setting
	grace   time.Duration
	before  *v1alpha1.RolloutStatus
	mem     *memory
	lost    bool // there was a rollout, its record cannot be read
	id      int64
	trigger string
	restart bool
	hold    bool   // new revisions wait for evidence
	invalid string // what is wrong with the strategy
	paused  []string
	now     int64 // milliseconds
	clock   int64 // milliseconds of the clock that stands still while paused
	prefix  string
	started bool // the stored rollout had found something to sync
	named   int  // events about newly unmatched Applications

	pinnedBefore map[v1alpha1.RolloutSource]string // made by stored
	targets      []Target
	changes      []change
	entries      []entry
	seen         []Observation
	current      int // 1-based, 0 for none
	halt         *v1alpha1.RolloutHalt
	stats        []tally
	queued       *v1alpha1.RolloutTarget
	events       []Event
	out          Decision
}

// Next decides what a rolling ApplicationSet does now.
func Next(in Input) Decision {
	p := newPlanner(in)
	p.identify()
	p.requests()
	for i := range p.Members {
		p.member(i)
	}
	p.gates()
	p.failures()
	p.revert()
	p.permit()
	p.admit()
	p.measure()
	p.withhold()
	p.finish()
	return p.out
}

func newPlanner(in Input) *planner {
	p := &planner{
		Input: in, rolling: in.Set.Spec.Strategy.RollingSync, grace: gracePeriod, before: in.Set.Status.Rollout,
		now: in.Now.UnixMilli(), prefix: operationPrefix(in.Set),
	}
	if p.before == nil {
		p.before = &v1alpha1.RolloutStatus{}
	}
	if p.rolling.FailureGracePeriod != "" {
		p.grace = span(p.rolling.FailureGracePeriod)
	}
	p.invalid = p.problem()
	p.steps = settings(p.rolling)
	p.id, p.trigger = p.before.ID, p.before.Trigger
	p.remember()
	p.started = p.mem.Needed
	p.paused = p.pauses()
	p.clock = p.now - p.mem.PausedFor
	if p.mem.PauseSince > 0 {
		p.clock -= max(0, p.now-p.mem.PauseSince)
	}
	return p
}

// problem says why the strategy cannot be carried out.
func (p *planner) problem() string {
	if err := Validate(p.rolling); err != nil {
		return err.Error()
	}
	if p.Refused != "" {
		return p.Refused
	}
	if len(p.rolling.Windows) > 0 && p.Windows == nil {
		return at + ".windows cannot be evaluated by this controller: remove them"
	}
	for i := range p.rolling.Steps {
		if p.rolling.Steps[i].Analysis != nil && !p.Measures {
			return at + ".steps: analysis cannot be measured by this controller: remove it"
		}
	}
	return ""
}

// remember reads the record and fits it to the steps of today.
func (p *planner) remember() {
	p.mem = &memory{}
	if p.before.Record != "" {
		mem, err := decode(p.before.Record)
		if err == nil {
			p.mem = mem
		}
		p.lost = err != nil
	} else {
		p.lost = p.before.ID > 0
	}
	p.mem.reindex()
	where := make(map[string]int, len(p.steps))
	for i := range p.steps {
		where[p.steps[i].key] = i + 1
	}
	same := len(p.mem.Steps) == len(p.steps)
	kept, moved := make([]stepMemory, len(p.steps)), make([]int, len(p.mem.Steps)+1)
	for i := range p.mem.Steps {
		if n := where[p.mem.Steps[i].Key]; n > 0 {
			kept[n-1], moved[i+1] = p.mem.Steps[i], n
			same = same && n == i+1
		} else {
			same = false
		}
	}
	for i := range p.mem.Steps { // what runs was admitted there, whatever the step selects now
		if moved[i+1] == 0 && i < len(kept) && kept[i].Key == "" {
			moved[i+1] = i + 1
		}
	}
	for i := range kept {
		kept[i].Key = p.steps[i].key
	}
	p.mem.Steps = kept
	if same {
		return
	}
	for i := range p.mem.entries {
		e := &p.mem.entries[i]
		if e.Admitted > 0 && e.Admitted < len(moved) {
			e.Admitted = moved[e.Admitted]
		}
	}
}

// pauses lists what pauses the rollout, without windows.
func (p *planner) pauses() []string {
	var out []string
	if pausedByHand(p.Set) {
		out = append(out, "Annotation")
	}
	if p.rolling.Paused {
		out = append(out, "Spec")
	}
	return out
}

// window is the answer of the strategy's windows for a step.
func (p *planner) window(step int) Closure {
	if step < 1 || step > len(p.Windows) {
		return Closure{}
	}
	return p.Windows[step-1]
}

// barred says that nothing may be admitted to the step, whatever its gate.
func (p *planner) barred(step int) bool {
	return p.invalid != "" || len(p.paused) > 0 || p.rolling.DryRun || p.halt != nil || p.mem.Mode != "" || p.window(step).Closed
}

// active says that the stored rollout is unfinished.
func (p *planner) active() bool { return p.before.ID > 0 && p.before.CompletedAt == nil }

func (p *planner) wake(d time.Duration) {
	if d <= 0 {
		d = time.Millisecond
	}
	if p.out.Wake == 0 || d < p.out.Wake {
		p.out.Wake = d
	}
}

// wakeIn is wake for milliseconds.
func (p *planner) wakeIn(ms int64) { p.wake(time.Duration(ms) * time.Millisecond) }

func (p *planner) event(warning bool, reason, message string) {
	p.events = append(p.events, Event{Warning: warning, Reason: reason, Message: message})
}

func (p *planner) about(application string, warning bool, reason, message string) {
	p.events = append(p.events, Event{Warning: warning, Reason: reason, Message: message, Application: application})
}

// stamp is a time for the status; zero is none.
func stamp(seconds int64) *metav1.Time {
	if seconds == 0 {
		return nil
	}
	t := metav1.Unix(seconds, 0)
	return &t
}

// label names a step for people.
func (p *planner) label(step int) string {
	if step >= 1 && step <= len(p.steps) {
		return stepLabel(step, p.steps[step-1].name)
	}
	return stepLabel(step, "")
}
