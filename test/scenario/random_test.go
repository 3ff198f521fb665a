package scenario

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/autosync"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// machine plays random events against the planner: commits, syncs that end
// well or badly or late, stale views, crashes at any point, two controllers,
// clocks that jump, people and changes of fleet and strategy.
type machine struct {
	*World
	r    *rand.Rand
	next int
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func newMachine(seed uint64) *machine {
	m := &machine{World: New(), r: rand.New(rand.NewPCG(seed, 7))} //nolint:gosec // reproducible on purpose
	m.quick = true
	s := m.rolling()
	s.Batching = pick(m.r, "Batch", "Batch", "Sliding")
	s.OnNewTarget = pick(m.r, "Restart", "Restart", "Restart", "Queue")
	s.UnmatchedPolicy = pick(m.r, "SyncImmediately", "AfterLastStep", "Hold")
	s.ManualSyncPolicy = pick(m.r, "Wait", "Skip", "Sync")
	s.CompletedStepRegression = pick(m.r, "Warn", "Warn", "Halt", "Ignore")
	s.FailureGracePeriod = pick(m.r, "0s", "1m")
	for i := range 1 + m.r.IntN(3) {
		m.randomStep(i)
	}
	for range 2 + m.r.IntN(6) {
		m.addOne()
	}
	m.startAt("R0")
	m.Rest()
	return m
}

func (m *machine) randomStep(i int) {
	step := v1alpha1.RolloutStep{MatchExpressions: []v1alpha1.StepMatchExpression{{Key: "wave", Operator: "In", Values: []string{strconv.Itoa(i)}}}}
	max := intstr.Parse(pick(m.r, "1", "2", "3", "50%", "100%", "0"))
	if m.r.IntN(4) > 0 {
		step.MaxUpdate = &max
	}
	if m.r.IntN(3) == 0 {
		step.BakeTime = pick(m.r, "1m", "5m")
		step.BatchBakeTime = pick(m.r, "", "2m")
	}
	if m.r.IntN(3) == 0 {
		step.StepTimeout, step.ApplicationTimeout = pick(m.r, "", "20m"), pick(m.r, "", "10m")
		step.OnFailure = pick(m.r, "Halt", "Rollback", "Rollback", "Continue")
	}
	if m.r.IntN(5) == 0 {
		step.Approval = pick(m.r, "Before", "After")
		step.ApprovalTimeout = pick(m.r, "", "1h")
	}
	if m.r.IntN(5) == 0 {
		n := intstr.Parse(pick(m.r, "1", "40%"))
		step.MaxFailures = &n
	}
	m.rolling().Steps = append(m.rolling().Steps, step)
	if m.r.IntN(6) == 0 {
		_ = m.analyze([]string{strconv.Itoa(i + 1), "rate", "count", "2", "interval", "30s", "when", pick(m.r, "AfterHealthy", "DuringBake")})
	}
}

func (m *machine) addOne() {
	m.next++
	name := fmt.Sprintf("a%03d", m.next)
	m.Add(name, map[string]string{"wave": strconv.Itoa(m.r.IntN(len(m.rolling().Steps) + m.r.IntN(2)))})
	if m.r.IntN(8) == 0 {
		m.Desired[name].Spec.SyncPolicy.Automated, m.Apps[name].Spec.SyncPolicy.Automated = nil, nil
	}
	if m.Head != "" {
		m.Compare(name)
	}
}

// seldom events change more than one would in an hour.
var events = []func(m *machine, name string){
	func(m *machine, _ string) { // a commit, to some or all, or a revert
		m.next++
		args := []string{fmt.Sprintf("R%d", m.next)}
		switch m.r.IntN(4) {
		case 0:
			args = append(args, "like", m.Head)
		case 1:
			args = append(args, "only", m.sorted()[m.r.IntN(len(m.Desired))])
		}
		_ = m.push(args, m.r.IntN(2) == 0)
	},
	func(m *machine, name string) { m.Set.Annotations[v1alpha1.AnnotationPauseRollout] = "true" },
	func(m *machine, name string) { m.addOne() },
	func(m *machine, name string) {
		if len(m.Desired) > 2 {
			delete(m.Apps, name)
			delete(m.Desired, name)
			delete(m.stale, name)
			m.names = nil
		}
	},
	func(m *machine, name string) {
		wave := map[string]string{"wave": strconv.Itoa(m.r.IntN(len(m.rolling().Steps) + 1))}
		m.Desired[name].Labels, m.Apps[name].Labels = wave, wave
	},
	func(m *machine, name string) { m.Manual(name, pick(m.r, m.Head, "R0")) },
	func(m *machine, name string) {
		m.crash = pick(m.r, "before-store", "after-store", "after-act", "conflict")
	},
	func(m *machine, name string) { m.forget() },
	func(m *machine, name string) { m.stale[name] = m.Apps[name].DeepCopy() },
	func(m *machine, name string) { m.freeze() },
	func(m *machine, name string) { m.wakeOld() },
	func(m *machine, name string) { m.broken[name] = m.Head },
	func(m *machine, name string) {
		m.invalid[name] = pick(m.r, "", "no project")
	},
	func(m *machine, name string) { m.create(name); m.deployed[name] = ""; m.Compare(name) },
	func(m *machine, name string) { m.closed[name] = m.r.IntN(2) == 0 },
	func(m *machine, name string) {
		m.windows[1+m.r.IntN(len(m.rolling().Steps))] = m.Now.Add(10 * time.Minute)
	},
	func(m *machine, name string) {
		m.Set.Annotations[pick(m.r, rollout.Requests...)] = fmt.Sprintf("%d%s", m.Set.Status.Rollout.ID-int64(m.r.IntN(2)), pick(m.r, "", "", "/1", "/2"))
	},
	func(m *machine, name string) {
		n := intstr.Parse(pick(m.r, "1", "2", "50%"))
		m.rolling().Steps[m.r.IntN(len(m.rolling().Steps))].MaxUpdate = &n
	},
	func(m *machine, name string) { m.rolling().DryRun = m.r.IntN(4) == 0 },
	func(m *machine, name string) { m.unknown = m.r.IntN(2) == 0 },
	func(m *machine, name string) { m.Now = m.Now.Add(pick(m.r, -time.Hour, time.Hour, 10*time.Second)) },
	func(m *machine, name string) {
		app := m.Apps[name]
		if app.Annotations[v1alpha1.AnnotationRolloutSkip] == "" {
			app.Annotations[v1alpha1.AnnotationRolloutSkip] = "true"
		} else {
			delete(app.Annotations, v1alpha1.AnnotationRolloutSkip)
		}
	},
	func(m *machine, name string) {
		m.deployed[name], m.ledger.drifted[name] = "drifted", true
		m.Compare(name)
	},
	func(m *machine, name string) {
		m.outcomes["rate"] = pick(m.r, rollout.OutcomeSuccessful, rollout.OutcomeSuccessful, rollout.OutcomeFailed, rollout.OutcomeInconclusive, rollout.OutcomeError)
	},
	func(m *machine, name string) { m.refuse[name] = 1 },
	func(m *machine, name string) { m.silent[name] = m.r.IntN(2) == 0 },
	func(m *machine, _ string) { m.garble() },
}

// garble writes an operator that does not exist into a step, or corrects it:
// that lets nobody go who was held before.
func (m *machine) garble() {
	held := func() map[string]bool {
		out := map[string]bool{}
		for name, app := range m.Desired {
			out[name] = autosync.Enabled(app.Spec.SyncPolicy) && rollout.Holds(m.Set, true, app, m.annotationsOf(name))
		}
		return out
	}
	before := held()
	e := &m.rolling().Steps[m.r.IntN(len(m.rolling().Steps))].MatchExpressions[0]
	if e.Operator != "In" {
		e.Operator = "In"
		return
	}
	e.Operator = "Equals"
	for name, now := range held() {
		if before[name] && !now {
			m.problem("%s syncs by itself since its step cannot be read", name)
		}
	}
}

// usual events are what happens all the time.
var usual = []func(m *machine, name string){
	(*machine).ends, (*machine).ends, (*machine).ends, (*machine).ends,
	func(m *machine, name string) { m.Compare(name) },
	func(m *machine, name string) { m.Compare(name) },
	func(m *machine, name string) { delete(m.Set.Annotations, v1alpha1.AnnotationPauseRollout) },
	func(m *machine, name string) { clear(m.stale) },
	func(m *machine, name string) { clear(m.closed); clear(m.windows) },
	func(m *machine, name string) { m.Now = m.Now.Add(time.Duration(m.r.IntN(200)) * time.Second) },
	func(m *machine, name string) {
		app := m.Apps[name]
		app.Status.Health.Status = pick(m.r, v1alpha1.HealthHealthy, v1alpha1.HealthHealthy, v1alpha1.HealthHealthy, v1alpha1.HealthProgressing, v1alpha1.HealthDegraded, v1alpha1.HealthMissing)
		m.touch(app)
	},
	func(m *machine, name string) {
		if k := m.Set.Status.Rollout.CurrentStep; k > 0 {
			m.Set.Annotations[v1alpha1.AnnotationPromoteRollout] = strconv.Itoa(int(k))
		}
	},
}

// ends finishes an operation, mostly well.
func (m *machine) ends(name string) {
	app := m.Apps[name]
	if app.Operation == nil {
		return
	}
	switch m.r.IntN(8) {
	case 0:
		_ = m.end(name, v1alpha1.OperationFailed)
		m.Compare(name)
	case 1:
		_ = m.end(name, v1alpha1.OperationSucceeded) // compared later
	case 2:
		_ = m.Finish(name, pick(m.r, v1alpha1.HealthDegraded, v1alpha1.HealthProgressing))
	default:
		_ = m.Finish(name, v1alpha1.HealthHealthy)
	}
}

// wakeOld lets a deposed leader act within what is left of its lease: on
// records that still stand.
func (m *machine) wakeOld() {
	if m.frozen == nil {
		return
	}
	old := m.frozen
	m.frozen = nil
	stale := m.stale
	m.stale = old.apps
	in := m.input(old.set)
	m.stale = stale
	for _, op := range rollout.Next(in).Operations {
		rec := m.Status(op.Application)
		if m.Desired[op.Application] != nil && rollout.OperationID(m.Set, m.Set.Status.Rollout.ID, rec.Attempt) == op.ID && rec.Status == rollout.Pending && m.Set.Status.Rollout.Record == old.set.Status.Rollout.Record {
			m.issue(op, old.apps[op.Application])
		}
	}
}

func (m *machine) step() {
	all := m.sorted()
	name := all[m.r.IntN(len(all))]
	if m.Apps[name] == nil {
		return
	}
	if m.r.IntN(5) == 0 {
		events[m.r.IntN(len(events))](m, name)
	} else {
		usual[m.r.IntN(len(usual))](m, name)
	}
	if m.r.IntN(6) > 0 { // sometimes the event is lost
		m.Rest()
	}
}

// calm takes all faults away and lets everything end well. It says why the
// rollout is not complete in the end; empty when it is.
func (m *machine) calm() string {
	m.crash, m.unknown, m.rolling().DryRun = "", false, false
	for i := range m.rolling().Steps {
		m.rolling().Steps[i].MatchExpressions[0].Operator = "In"
	}
	clear(m.stale)
	clear(m.closed)
	clear(m.windows)
	clear(m.invalid)
	clear(m.broken)
	clear(m.silent)
	clear(m.refuse)
	clear(m.Set.Annotations)
	m.outcomes["rate"] = rollout.OutcomeSuccessful
	m.next++
	_ = m.push([]string{fmt.Sprintf("R%d", m.next)}, true)
	for range 400 {
		for name, app := range m.Apps {
			if app.Operation != nil {
				_ = m.Finish(name, v1alpha1.HealthHealthy)
			}
			app.Status.Health.Status = v1alpha1.HealthHealthy
			m.Compare(name)
		}
		m.Wait(time.Minute)
		r := m.Set.Status.Rollout
		if r.CompletedAt != nil {
			return m.delivered()
		}
		m.people(r)
	}
	r := m.Set.Status.Rollout
	return fmt.Sprintf("step %d in phase %s, halt %+v, record %s", r.CurrentStep, r.Phase, r.Halt, r.Record)
}

// people do what only people may.
func (m *machine) people(r *v1alpha1.RolloutStatus) {
	if r.CurrentStep > 0 {
		m.Set.Annotations[v1alpha1.AnnotationPromoteRollout] = fmt.Sprintf("%d/%d", r.ID, r.CurrentStep)
	}
	if r.Halt != nil && r.Halt.Sticky {
		m.Set.Annotations[v1alpha1.AnnotationRetryRollout] = strconv.FormatInt(r.ID, 10)
	}
	for i := range m.rolling().Steps { // steps of limit 0, and Applications without automated sync
		for name := range m.Desired {
			rec := m.Status(name)
			s := m.rolling().Steps[i]
			zero := s.MaxUpdate != nil && s.MaxUpdate.Type == intstr.Int && s.MaxUpdate.IntVal == 0
			if rec.Status == rollout.Waiting && rec.Step == strconv.Itoa(i+1) && (zero || m.Desired[name].Spec.SyncPolicy.Automated == nil) {
				m.Manual(name, m.Head)
			}
		}
	}
}

// delivered says which member of a complete rollout does not run the head.
func (m *machine) delivered() string {
	for name := range m.Desired {
		rec := m.Status(name)
		if rec.Step == "-1" || m.ledger.drifted[name] && rec.Reason != "" {
			continue
		}
		if want := m.contentOf(m.Head, name); m.deployed[name] != want && rec.Reason == "" {
			return fmt.Sprintf("%s runs %q, the head is %q, record %+v", name, m.deployed[name], want, rec)
		}
	}
	return ""
}

// eventsPerRun is how many random events one world lives through.
const eventsPerRun = 400

func runSeed(seed uint64) error {
	m := newMachine(seed)
	for i := range eventsPerRun {
		m.step()
		if len(m.Problems) > 0 {
			return fmt.Errorf("seed %d, event %d: %v", seed, i, m.Problems)
		}
		m.Issued, m.Events = m.Issued[:0], m.Events[:0]
	}
	if why := m.calm(); why != "" || len(m.Problems) > 0 {
		return fmt.Errorf("seed %d: calm does not complete: %s %v", seed, why, m.Problems)
	}
	return nil
}

// TestRandom holds the invariants over random events, a million of them by
// default, and requires that a calm fleet completes. SLUICE_ROLLOUT_EVENTS
// sets the number of events, SLUICE_ROLLOUT_SEED the first seed.
func TestRandom(t *testing.T) {
	t.Parallel()
	total, first := uint64(1_000_000), uint64(1)
	for env, v := range map[string]*uint64{"SLUICE_ROLLOUT_EVENTS": &total, "SLUICE_ROLLOUT_SEED": &first} {
		if text := os.Getenv(env); text != "" {
			n, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				t.Fatalf("%s=%s: %v", env, text, err)
			}
			*v = n
		}
	}
	runs := max(1, total/eventsPerRun)
	defer debug.SetGCPercent(debug.SetGCPercent(800)) // small worlds, much garbage
	t.Logf("%d runs of %d events, seeds from %d", runs, eventsPerRun, first)
	begin, report := time.Now(), max(1, runs/20)
	var next atomic.Uint64
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for n := next.Add(1) - 1; n < runs && !t.Failed(); n = next.Add(1) - 1 {
				if err := runSeed(first + n); err != nil {
					t.Error(err)
				}
				if (n+1)%report == 0 {
					t.Logf("%d of %d runs after %s", n+1, runs, time.Since(begin).Round(time.Second))
				}
			}
		})
	}
	wait.Wait()
}
