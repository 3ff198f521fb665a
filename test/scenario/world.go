package scenario

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// World is a simulated hub: one ApplicationSet and its Applications.
type World struct {
	Set  *v1alpha1.ApplicationSet
	Apps map[string]*v1alpha1.Application
	// Desired is what each Application would render to; its labels count.
	Desired map[string]*v1alpha1.Application
	Head    string
	Now     time.Time
	// Content is what each revision holds; equal content means no difference.
	Content map[string]string
	// Issued lists operations in order, by Application.
	Issued []rollout.Operation
	// Problems are broken invariants.
	Problems []string

	deployed map[string]string // content by Application
	ids      map[string]bool
}

// New makes an empty world.
func New() *World {
	w := &World{
		Apps: map[string]*v1alpha1.Application{}, Desired: map[string]*v1alpha1.Application{}, Now: time.Unix(1_800_000_000, 0),
		Content: map[string]string{}, deployed: map[string]string{}, ids: map[string]bool{},
	}
	w.Set = &v1alpha1.ApplicationSet{ObjectMeta: metav1.ObjectMeta{Name: "set", UID: "0123456789", Annotations: map[string]string{}}}
	w.Set.Spec.Strategy = &v1alpha1.ApplicationSetStrategy{Type: rollout.TypeRollingSync, RollingSync: &v1alpha1.RollingSync{FailureGracePeriod: "0s"}}
	return w
}

// AddStep adds a step that selects one label value; an empty key selects all.
func (w *World) AddStep(key, value, limit string) {
	s := v1alpha1.RolloutStep{}
	if key != "" {
		s.MatchExpressions = []v1alpha1.StepMatchExpression{{Key: key, Operator: "In", Values: []string{value}}}
	}
	if limit != "" {
		v := intstr.Parse(limit)
		s.MaxUpdate = &v
	}
	w.Set.Spec.Strategy.RollingSync.Steps = append(w.Set.Spec.Strategy.RollingSync.Steps, s)
}

// Add generates an Application that is not compared yet.
func (w *World) Add(name string, labels map[string]string) {
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	app.Spec.Source = &v1alpha1.ApplicationSource{RepoURL: "https://git.example.com/fleet.git", Path: "apps", TargetRevision: "HEAD"}
	app.Spec.Destination = v1alpha1.ApplicationDestination{Name: name}
	app.Spec.SyncPolicy = &v1alpha1.SyncPolicy{Automated: &v1alpha1.SyncPolicyAutomated{SelfHeal: true}}
	w.Desired[name], w.Apps[name] = app, app.DeepCopy()
}

// Compare makes an Application look at the head, as its controller does when
// no operation runs.
func (w *World) Compare(name string) {
	app := w.Apps[name]
	if app == nil || app.Operation != nil {
		return
	}
	delete(app.Annotations, v1alpha1.AnnotationRefresh)
	s := &app.Status
	s.Sync.Revision = w.Head
	s.Sync.ComparedTo = v1alpha1.ComparedTo{Source: *app.Spec.Source, Destination: app.Spec.Destination}
	s.Sync.Status = v1alpha1.SyncStatusOutOfSync
	if w.deployed[name] != "" && w.deployed[name] == w.Content[w.Head] {
		s.Sync.Status = v1alpha1.SyncStatusSynced
	}
	if s.OperationState != nil {
		s.Sync.AfterOperation = s.OperationState.ID
	}
	if s.Health.Status == "" {
		s.Health.Status = v1alpha1.HealthMissing
	}
}

// Finish ends the operation of an Application and compares it.
func (w *World) Finish(name string, health v1alpha1.HealthStatusCode) error {
	app := w.Apps[name]
	if app == nil || app.Operation == nil {
		return fmt.Errorf("%s has no operation to finish", name)
	}
	revision := app.Operation.Sync.Revision
	now := metav1.NewTime(w.Now)
	app.Status.OperationState = &v1alpha1.OperationState{
		Operation: *app.Operation, Phase: v1alpha1.OperationSucceeded, ID: idOf(app), StartedAt: now, FinishedAt: &now,
		SyncResult: &v1alpha1.SyncOperationResult{Revision: revision, Source: *app.Spec.Source},
	}
	app.Operation = nil
	w.deployed[name] = w.Content[revision]
	app.Status.Health.Status = health
	w.Compare(name)
	return nil
}

func idOf(app *v1alpha1.Application) string {
	for _, i := range app.Operation.Info {
		if i.Name == rollout.OperationInfo {
			return i.Value
		}
	}
	return "manual"
}

// Manual is a sync by a person to the head.
func (w *World) Manual(name string) {
	app := w.Apps[name]
	if app.Operation == nil {
		app.Operation = &v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{Revision: w.Head}}
	}
}

// Members builds the planner's input as the controller does.
func (w *World) Members() []rollout.Member {
	names := make([]string, 0, len(w.Desired))
	for name := range w.Desired {
		names = append(names, name)
	}
	slices.Sort(names)
	var out []rollout.Member
	for _, name := range names {
		m := rollout.Member{Rendered: w.Desired[name], Live: w.Apps[name], Target: rollout.Target{SpecHash: "spec", Revisions: []string{w.Head}}}
		annotations := map[string]string{}
		if m.Live != nil {
			annotations = m.Live.Annotations
		}
		m.Class, m.Step = rollout.Classify(w.Set, true, m.Rendered, annotations)
		out = append(out, m)
	}
	return out
}

// Decide runs the planner once and stores its record. It returns the acts
// that the record before permitted.
func (w *World) Decide() (d rollout.Decision, changed bool) {
	before := w.Set.Status.DeepCopy()
	d = rollout.Next(rollout.Input{Set: w.Set, Members: w.Members(), Now: w.Now})
	w.Set.Status.ApplicationStatus, w.Set.Status.Rollout = d.Applications, d.Rollout
	w.Set.Status.Conditions = d.Conditions
	w.check(d)
	return d, !reflect.DeepEqual(before.ApplicationStatus, d.Applications) || !reflect.DeepEqual(before.Rollout, d.Rollout)
}

// Act carries out a decision.
func (w *World) Act(d rollout.Decision) {
	for _, op := range d.Operations {
		app := w.Apps[op.Application]
		if app == nil || app.Operation != nil {
			continue
		}
		w.permit(op)
		w.Issued = append(w.Issued, op)
		app.Operation = &v1alpha1.Operation{
			Sync: &v1alpha1.SyncOperation{Revision: op.Revisions[0]},
			Info: []*v1alpha1.Info{{Name: rollout.OperationInfo, Value: op.ID}},
		}
	}
	for _, name := range d.Refreshes {
		w.Compare(name)
	}
}

// maxRounds bounds how long a decision may take to come to rest.
const maxRounds = 20

// Rest runs the planner until nothing changes.
func (w *World) Rest() {
	for range maxRounds {
		d, changed := w.Decide()
		w.Act(d)
		if !changed && len(d.Operations) == 0 && len(d.Refreshes) == 0 {
			return
		}
	}
	w.problem("the planner does not come to rest")
}

func (w *World) problem(format string, args ...any) {
	w.Problems = append(w.Problems, fmt.Sprintf(format, args...))
}

// permit checks what must hold when an operation is issued.
func (w *World) permit(op rollout.Operation) {
	key := op.Application + " " + op.ID
	if w.ids[key] {
		w.problem("operation %s issued twice", key)
	}
	w.ids[key] = true
	if op.Revisions[0] != w.Head {
		w.problem("%s got %s, the target is %s", op.Application, op.Revisions[0], w.Head)
	}
	if _, paused := w.Set.Annotations[v1alpha1.AnnotationPauseRollout]; paused {
		w.problem("%s got an operation while paused", op.Application)
	}
	step := w.step(op.Application)
	for _, m := range w.Members() {
		if m.Step == 0 || m.Step >= step || m.Class != rollout.Managed {
			continue
		}
		s := m.Live.Status
		if s.Sync.Revision != w.Head || s.Health.Status != v1alpha1.HealthHealthy || s.Sync.Status != v1alpha1.SyncStatusSynced || m.Live.Operation != nil {
			w.problem("%s of step %d got an operation while %s of step %d is %s, %s at %s", op.Application, step, m.Name(), m.Step, s.Sync.Status, s.Health.Status, s.Sync.Revision)
		}
	}
}

func (w *World) step(name string) int {
	return rollout.StepOf(w.Set.Spec.Strategy.RollingSync.Steps, w.Desired[name].Labels)
}

// check holds the limits on the record.
func (w *World) check(d rollout.Decision) {
	used := map[string]int{}
	for _, r := range d.Applications {
		if r.Status == rollout.Pending || (r.Status == rollout.Progressing && r.Reason == "") {
			used[r.Step]++
		}
	}
	for _, s := range d.Rollout.Steps {
		if n := used[fmt.Sprint(s.Index)]; n > int(s.Limit) && s.Limit > 0 {
			w.problem("step %d: %d in flight, limit %d", s.Index, n, s.Limit)
		}
	}
}

// Status of an Application in the record.
func (w *World) Status(name string) string {
	for _, r := range w.Set.Status.ApplicationStatus {
		if r.Application == name {
			return r.Status
		}
	}
	return ""
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

// Condition says whether a condition of the type is True.
func (w *World) Condition(kind string) bool {
	return slices.ContainsFunc(w.Set.Status.Conditions, func(c v1alpha1.ApplicationSetCondition) bool { return c.Type == kind && c.Status == "True" })
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
