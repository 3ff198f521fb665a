package scenario

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// World is a simulated hub: one ApplicationSet, its Applications, their
// controller, and a controller of rollouts that can crash and see stale state.
type World struct {
	Set  *v1alpha1.ApplicationSet
	Apps map[string]*v1alpha1.Application
	// Desired is what each Application would render to; its labels count.
	Desired map[string]*v1alpha1.Application
	Head    string
	Now     time.Time
	// Issued lists operations in order.
	Issued []rollout.Operation
	// Events lists the events of the set in order.
	Events []rollout.Event
	// Problems are broken invariants.
	Problems []string
	// Writes counts stored records.
	Writes int

	content  map[string]map[string]string // by revision and Application; "" for the rest
	deployed map[string]string            // content by Application
	spec     string                       // digest of the template
	version  int                          // changes with every write to an Application
	stale    map[string]*v1alpha1.Application
	sent     map[string]string
	invalid  map[string]string
	broken   map[string]string // revision whose manifests cannot be rendered, by Application
	silent   map[string]bool   // its cluster does not answer, by Application
	closed   map[string]bool   // by Application: the project's window
	windows  map[int]time.Time // closed windows by step, until when
	outcomes map[string]rollout.Outcome
	answers  []rollout.Measured
	late     []rollout.Measured // answers that come a second time
	watched  time.Time
	unknown  bool // revisions cannot be resolved
	gate     bool // --enable-progressive-syncs
	refused  string
	deletion *deletion // of the set
	refuse   map[string]int
	crash    string
	frozen   *frozen
	names    []string
	ledger   ledger
	wake     time.Duration
	quick    bool // compare records only, not whole statuses
	dead     bool
	stopped  bool // no controller of rollouts runs
}

// frozen is what a deposed leader remembers.
type frozen struct {
	set  *v1alpha1.ApplicationSet
	apps map[string]*v1alpha1.Application
}

// New makes an empty world.
func New() *World {
	w := &World{
		Apps: map[string]*v1alpha1.Application{}, Desired: map[string]*v1alpha1.Application{}, Now: time.Unix(1_800_000_000, 0),
		content: map[string]map[string]string{}, deployed: map[string]string{}, spec: "spec-1", stale: map[string]*v1alpha1.Application{},
		sent: map[string]string{}, invalid: map[string]string{}, broken: map[string]string{}, closed: map[string]bool{}, silent: map[string]bool{}, windows: map[int]time.Time{},
		outcomes: map[string]rollout.Outcome{}, refuse: map[string]int{}, ledger: newLedger(), gate: true,
	}
	w.watched = w.Now
	w.Set = &v1alpha1.ApplicationSet{ObjectMeta: metav1.ObjectMeta{Name: "set", UID: "0123456789", Annotations: map[string]string{}}}
	w.Set.Spec.Strategy = &v1alpha1.ApplicationSetStrategy{Type: rollout.TypeRollingSync, RollingSync: &v1alpha1.RollingSync{FailureGracePeriod: "0s"}}
	return w
}

func (w *World) rolling() *v1alpha1.RollingSync { return w.Set.Spec.Strategy.RollingSync }

// Add generates an Application that is not compared yet.
func (w *World) Add(name string, labels map[string]string) {
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels, Annotations: map[string]string{}}}
	app.Spec.Source = &v1alpha1.ApplicationSource{RepoURL: "https://git.example.com/fleet.git", Path: "apps", TargetRevision: "HEAD"}
	app.Spec.Destination = v1alpha1.ApplicationDestination{Name: name}
	app.Spec.SyncPolicy = &v1alpha1.SyncPolicy{Automated: &v1alpha1.SyncPolicyAutomated{SelfHeal: true, Prune: true}}
	w.Desired[name] = app
	w.names = nil
	w.create(name)
}

// create makes the live object of a generated Application.
func (w *World) create(name string) {
	w.version++
	app := w.Desired[name].DeepCopy()
	app.UID = types.UID(fmt.Sprintf("u%05d-%s", w.version, name))
	w.Apps[name] = app
	w.touch(app)
}

// touch gives an Application a new version.
func (w *World) touch(app *v1alpha1.Application) {
	w.version++
	app.ResourceVersion = fmt.Sprint(w.version)
}

// contentOf is what a revision holds for an Application.
func (w *World) contentOf(revision, name string) string {
	c := w.content[revision]
	if v, ok := c[name]; ok {
		return v
	}
	return c[""]
}

// Compare makes an Application look at the head, as its controller does when
// no operation runs.
func (w *World) Compare(name string) {
	app := w.Apps[name]
	if app == nil || app.Operation != nil || app.DeletionTimestamp != nil {
		return
	}
	delete(app.Annotations, v1alpha1.AnnotationRefresh)
	s := &app.Status
	want := w.contentOf(w.Head, name)
	s.Sync.Revision = w.Head
	s.Sync.ComparedTo = v1alpha1.ComparedTo{Source: *app.Spec.Source, Destination: app.Spec.Destination}
	s.Sync.Status, s.Sync.Digest = v1alpha1.SyncStatusOutOfSync, fmt.Sprintf("%016s", want)
	if w.deployed[name] != "" && w.deployed[name] == want {
		s.Sync.Status = v1alpha1.SyncStatusSynced
	}
	s.Conditions = nil
	if w.broken[name] == w.Head {
		s.Sync.Status, s.Sync.Digest = v1alpha1.SyncStatusUnknown, ""
		s.Conditions = []v1alpha1.ApplicationCondition{{Type: v1alpha1.ConditionComparisonError, Message: "Failed to load target state: cannot render"}}
	}
	if w.silent[name] {
		s.Sync.Status, s.Sync.Digest, s.Health.Status = v1alpha1.SyncStatusUnknown, "", v1alpha1.HealthUnknown
		s.Conditions = []v1alpha1.ApplicationCondition{{Type: v1alpha1.ConditionComparisonError, Message: "Failed to load live state: the cluster does not answer"}}
	}
	if s.OperationState != nil {
		s.Sync.AfterOperation = s.OperationState.ID
	}
	if s.Health.Status == "" {
		s.Health.Status = v1alpha1.HealthMissing
	}
	w.touch(app)
}

// end finishes the operation of an Application without comparing it.
func (w *World) end(name string, phase v1alpha1.OperationPhase) error {
	app := w.Apps[name]
	if app == nil || app.Operation == nil {
		return fmt.Errorf("%s has no operation to finish", name)
	}
	op := app.Operation
	now := metav1.NewTime(w.Now)
	source := *app.Spec.Source
	if op.Sync.Source != nil {
		source = *op.Sync.Source
	}
	app.Status.OperationState = &v1alpha1.OperationState{
		Operation: *op, Phase: phase, ID: idOf(app), StartedAt: now, FinishedAt: &now,
		SyncResult: &v1alpha1.SyncOperationResult{Revision: op.Sync.Revision, Source: source},
	}
	app.Operation = nil
	if phase == v1alpha1.OperationSucceeded && !op.Sync.DryRun && len(op.Sync.Resources) == 0 {
		w.deployed[name] = w.contentOf(op.Sync.Revision, name)
		id := int64(0)
		if n := len(app.Status.History); n > 0 {
			id = app.Status.History[n-1].ID + 1
		}
		app.Status.History = append(app.Status.History, v1alpha1.RevisionHistory{ID: id, Revision: op.Sync.Revision, Source: source})
		app.Status.History = app.Status.History[max(0, len(app.Status.History)-10):]
	}
	w.touch(app)
	return nil
}

// Finish ends the operation of an Application well and compares it.
func (w *World) Finish(name string, health v1alpha1.HealthStatusCode) error {
	if err := w.end(name, v1alpha1.OperationSucceeded); err != nil {
		return err
	}
	w.Apps[name].Status.Health.Status = health
	w.Compare(name)
	return nil
}

func idOf(app *v1alpha1.Application) string {
	for _, i := range app.Operation.Info {
		if i.Name == rollout.OperationInfo {
			return i.Value
		}
	}
	return "manual-" + app.ResourceVersion
}

// Manual is a sync by a person.
func (w *World) Manual(name, revision string) {
	app := w.Apps[name]
	if app == nil || app.Operation != nil {
		return
	}
	app.Operation = &v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{Revision: revision}}
	w.touch(app)
	w.ledger.foreign(name)
}

// view is the Application as the controller of rollouts sees it.
func (w *World) view(name string) *v1alpha1.Application {
	if app, ok := w.stale[name]; ok {
		return app
	}
	return w.Apps[name]
}

func (w *World) sorted() []string {
	if w.names == nil {
		w.names = slices.Sorted(maps.Keys(w.Desired))
	}
	return w.names
}

// Members builds the planner's input as the controller does.
func (w *World) Members() []rollout.Member {
	out := make([]rollout.Member, 0, len(w.Desired))
	for _, name := range w.sorted() {
		m := rollout.Member{
			Rendered: w.Desired[name], Live: w.view(name), Invalid: w.invalid[name], Sent: w.sent[name],
			Target: rollout.Target{SpecHash: w.spec + w.Desired[name].Annotations["test/parameter"], Revisions: []string{w.Head}},
		}
		m.Window.Closed = w.closed[name]
		if w.stale[name] == nil {
			m.Sent = "" // what was sent is visible
		}
		if w.unknown {
			m.Target.Problem, m.Target.Revisions = "the repository does not answer", nil
		}
		var annotations map[string]string
		if m.Live != nil {
			annotations = m.Live.Annotations
		}
		m.Class, m.Step = rollout.Classify(w.Set, w.gate, m.Rendered, annotations)
		out = append(out, m)
	}
	return out
}

func (w *World) input(set *v1alpha1.ApplicationSet) rollout.Input {
	in := rollout.Input{
		Set: set, Members: w.Members(), Now: w.Now, Watched: w.watched, Measures: true, Refused: w.refused, Measured: slices.Concat(w.answers, w.late),
		Actors: map[string]string{v1alpha1.AnnotationPromoteRollout: "ann"}, Windows: make([]rollout.Closure, len(w.rolling().Steps)+1),
	}
	for step, until := range w.windows {
		in.Windows[step-1] = rollout.Closure{Closed: w.Now.Before(until), Until: until}
	}
	return in
}

// Decide runs the planner once and stores its record. It returns the acts
// that the record before permitted.
func (w *World) Decide() (d rollout.Decision, changed bool) {
	if !rollout.Rolling(w.Set, w.gate) {
		return d, w.idle()
	}
	in := w.input(w.Set)
	d = rollout.Next(in)
	w.wake = d.Wake
	w.ahead(d)
	changed = w.differs(d)
	if !changed {
		return d, false
	}
	if w.crash == "before-store" && admits(d) {
		w.die()
		return rollout.Decision{}, true
	}
	if strings.HasPrefix(w.crash, "conflict") {
		if w.crash == "conflict-pause" { // that is what conflicts
			w.Set.Annotations[v1alpha1.AnnotationPauseRollout] = "true"
		}
		w.crash = ""
		return rollout.Decision{}, true
	}
	w.check(in, d)
	w.admitted(w.Set.Status.ApplicationStatus, d)
	w.Writes++
	w.Set.Status.ApplicationStatus, w.Set.Status.Rollout, w.Set.Status.Conditions = d.Applications, d.Rollout, d.Conditions
	w.Events = append(w.Events, d.Events...)
	w.answers, w.late = nil, w.answers
	w.settle()
	if w.crash == "after-store" && admits(d) {
		w.die()
		return rollout.Decision{}, true
	}
	return d, true
}

// die is a crash: what was decided is lost, and so is all memory.
func (w *World) die() {
	w.crash, w.dead = "", true
	w.forget()
}

// forget loses the memory of the process. The next one begins with a
// consistent read: its informers stream the state of now before they follow.
func (w *World) forget() {
	clear(w.sent)
	clear(w.stale)
	w.Set = w.Set.DeepCopy()
	w.answers = nil
	w.watched = w.Now
	if w.deletion != nil {
		clear(w.deletion.seen)
	}
}

func admits(d rollout.Decision) bool {
	return slices.ContainsFunc(d.Applications, func(a v1alpha1.ApplicationSetAppStatus) bool { return a.Status == rollout.Pending })
}

func (w *World) differs(d rollout.Decision) bool {
	old := &w.Set.Status
	if old.Rollout == nil || old.Rollout.Record != d.Rollout.Record || old.Rollout.Phase != d.Rollout.Phase || old.Rollout.CurrentStep != d.Rollout.CurrentStep {
		return true
	}
	if w.quick {
		return false
	}
	return !reflect.DeepEqual(old.ApplicationStatus, d.Applications) || !reflect.DeepEqual(old.Rollout, d.Rollout) || !reflect.DeepEqual(old.Conditions, d.Conditions)
}

// Act carries out a decision and says whether it did anything.
func (w *World) Act(d rollout.Decision) bool {
	acted := false
	for _, op := range d.Operations {
		acted = w.issue(op, w.view(op.Application)) || acted
	}
	for _, name := range d.Refreshes {
		if app := w.Apps[name]; app != nil && app.Annotations[v1alpha1.AnnotationRefresh] == "" {
			w.Compare(name)
			acted = true
		}
	}
	for _, name := range d.Terminate {
		if app := w.Apps[name]; app != nil && app.Operation != nil {
			_ = w.end(name, v1alpha1.OperationFailed)
			w.Compare(name)
			acted = true
		}
	}
	for key, value := range d.Consume {
		if w.Set.Annotations[key] == value {
			delete(w.Set.Annotations, key)
			acted = true
		}
	}
	for _, m := range d.Measurements {
		if o := w.outcomes[m.Metric.Name]; o != "" {
			w.answers = append(w.answers, rollout.Measured{Measurement: m, Outcome: o, Value: string(o)})
			acted = true
		}
	}
	return acted
}

// issue writes an operation under the precondition that the Application is as
// it was seen and has none.
func (w *World) issue(op rollout.Operation, seen *v1alpha1.Application) bool {
	app := w.Apps[op.Application]
	if app == nil || seen == nil || app.Operation != nil || app.ResourceVersion != seen.ResourceVersion {
		return false
	}
	if w.refuse[op.Application] > 0 {
		w.refuse[op.Application]--
		return false
	}
	w.permit(op)
	w.Issued = append(w.Issued, op)
	sync := &v1alpha1.SyncOperation{Revision: op.Revisions[0], Prune: op.Prune}
	if len(op.Sources) > 0 {
		sync.Source = &op.Sources[0]
	}
	app.Operation = &v1alpha1.Operation{Sync: sync, Info: []*v1alpha1.Info{{Name: rollout.OperationInfo, Value: op.ID}}}
	w.touch(app)
	w.sent[op.Application] = op.ID
	return true
}

// maxRounds bounds how long a decision may take to come to rest.
const maxRounds = 40

// Rest runs the planner until nothing changes.
func (w *World) Rest() {
	w.dead = false
	if w.stopped {
		return
	}
	if w.deletion != nil {
		w.tearDown()
		return
	}
	var last string
	for range maxRounds {
		if w.Set.Status.Rollout != nil {
			last = w.Set.Status.Rollout.Record
		}
		d, changed := w.Decide()
		if w.dead {
			return
		}
		acted := w.Act(d)
		if w.crash == "after-act" && acted {
			w.die()
			return
		}
		if !changed && !acted {
			return
		}
	}
	w.problem("the planner does not come to rest: last records %s and %s", last, w.Set.Status.Rollout.Record)
}

// Wait lets time pass; the planner is called when it asked to be.
func (w *World) Wait(d time.Duration) {
	end := w.Now.Add(d)
	for w.Rest(); w.wake > 0 && !w.Now.Add(w.wake).After(end); w.Rest() {
		w.Now = w.Now.Add(w.wake)
	}
	w.Now = end
	w.Rest()
}

func (w *World) problem(format string, args ...any) {
	w.Problems = append(w.Problems, fmt.Sprintf(format, args...))
}

// Status of an Application in the record.
func (w *World) Status(name string) v1alpha1.ApplicationSetAppStatus {
	all := w.Set.Status.ApplicationStatus
	i, found := slices.BinarySearchFunc(all, name, func(r v1alpha1.ApplicationSetAppStatus, n string) int { return strings.Compare(r.Application, n) })
	if !found {
		return v1alpha1.ApplicationSetAppStatus{}
	}
	return all[i]
}

// Syncing lists the Applications with an operation, by name.
func (w *World) Syncing() []string {
	var out []string
	for name, app := range w.Apps {
		if app.Operation != nil {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Condition finds the reason of a condition that is True; empty when it is not.
func (w *World) Condition(kind string) string {
	for _, c := range w.Set.Status.Conditions {
		if c.Type == kind && c.Status == "True" {
			return c.Reason
		}
	}
	return ""
}

// labels reads k=v[;k=v].
func labels(text string) map[string]string {
	out := map[string]string{}
	for _, pair := range strings.Split(text, ";") {
		if k, v, ok := strings.Cut(pair, "="); ok {
			out[k] = v
		}
	}
	return out
}
