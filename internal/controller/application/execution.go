package application

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

// execution carries out the moves of one operation.
type execution struct {
	*pass
	marker string
	// user is who writes to the cluster; empty is the controller itself.
	user string

	guard   sync.Mutex
	results map[syncplan.TaskID]syncplan.Result
	hooks   map[syncplan.TaskID]string
	// places are those of the tasks in the plan.
	places map[syncplan.TaskID]int
	// refused says that an act of this pass failed, provided that the
	// destination namespace was found and needs nothing, unwritten that acts
	// were carried out whose results are not stored yet.
	refused, provided, unwritten bool
}

// actsAtOnce bounds the writes of one operation at a time.
const actsAtOnce = 16

// move asks the planner what to do and does it. waiting says that nothing
// more can be done now.
func (x *execution) move(ctx context.Context, v *view) (phase v1alpha1.OperationPhase, message string, waiting bool, err error) {
	terminating := x.app.Status.OperationState.Phase == v1alpha1.OperationTerminating
	request, err := x.request(ctx, v)
	if err != nil {
		return v1alpha1.OperationFailed, err.Error(), false, unreachable(err)
	}
	tasks := syncplan.Tasks(request)
	x.hooks, x.places = map[syncplan.TaskID]string{}, map[syncplan.TaskID]int{}
	for i, t := range tasks {
		x.places[t.ID()] = i
		if t.Hook {
			x.hooks[t.ID()] = string(t.Phase)
		}
	}
	if !terminating {
		if reasons := x.invalidTasks(v, tasks); len(reasons) > 0 {
			return v1alpha1.OperationFailed, notValid(reasons), false, nil
		}
		if x.untouched(tasks) {
			if x.wipesOut(v) {
				return v1alpha1.OperationFailed, wipedOut, false, nil
			}
			if phase, message, err := x.prepare(ctx, tasks); phase != "" || err != nil {
				return phase, message, false, err
			}
		}
	}
	state := syncplan.State{Tasks: tasks, Results: x.results, Health: x.assess(ctx, v), Marker: x.marker}
	m := syncplan.Next(state)
	if terminating {
		m = syncplan.Terminate(state)
	}
	if rest := x.betweenWaves(m); rest > 0 && !terminating {
		x.soon(rest)
		return v1alpha1.OperationRunning, "one or more tasks are running", true, nil
	}
	for id, r := range m.Results {
		x.results[id] = r
	}
	if err := x.writeAhead(ctx, m); err != nil {
		return "", "", false, err
	}
	for _, group := range m.Groups {
		x.unwritten = true
		if err := x.carryOut(ctx, group); err != nil {
			return "", "", false, err
		}
	}
	x.wrote(m)
	if terminating && x.refused {
		return v1alpha1.OperationError, "Operation termination had errors", false, nil
	}
	if m.Phase.Completed() {
		return m.Phase, m.Message, false, nil
	}
	return m.Phase, m.Message + x.because(), len(m.Groups) == 0, nil
}

// because says what holds up the hooks that run, "" when nothing is known.
func (x *execution) because() string {
	var reasons []string
	for id, r := range x.results {
		if x.hooks[id] != "" && r.Phase == v1alpha1.OperationRunning && strings.HasPrefix(r.Message, "pod ") {
			reasons = append(reasons, r.Message)
		}
	}
	if len(reasons) == 0 {
		return ""
	}
	return ": " + slices.Min(reasons)
}

// wipedOut refuses an automated sync that would leave nothing.
const wipedOut = "auto-sync will wipe out all resources: Git holds no manifest any more. Restore them, set syncPolicy.automated.allowEmpty, or sync by hand"

// wipesOut says that an operation nobody asked for in person would prune all
// that the Application has (spec/application.md §10, rule 6). A rollout's
// operations count too: an empty canary must not pass for a healthy one.
func (x *execution) wipesOut(v *view) bool {
	op, policy := x.app.Operation, x.app.Spec.SyncPolicy
	if !op.InitiatedBy.Automated || !op.Sync.Prune || policy != nil && policy.Automated != nil && policy.Automated.AllowEmpty {
		return false
	}
	return len(v.pairs) > 0 && !slices.ContainsFunc(v.pairs, func(p syncplan.Pair) bool { return p.Target != nil })
}

// writeAhead stores what has been done before anything else is: the results of
// finished waves before the next wave, how hooks ended before anything lets go
// of them, and what is going to be pruned, for whoever takes over after us
// cannot read it from what is gone.
func (x *execution) writeAhead(ctx context.Context, m syncplan.Move) error {
	if len(m.Groups) == 0 || !x.unwritten && (!m.Removes() || len(m.Results) == 0) {
		return nil
	}
	x.store(x.app.Status.OperationState)
	x.app.Status.OperationState.Message = m.Message
	x.unwritten = false
	return x.patch(ctx)
}

// untouched says that the operation has done nothing yet but, perhaps, provide
// the namespace.
func (x *execution) untouched(tasks []syncplan.Task) bool {
	created := 0
	for _, t := range tasks {
		if _, done := x.results[t.ID()]; done && t.Created {
			created++
		}
	}
	return len(x.results) == created
}

// unreachable keeps an error only when the cluster did not answer.
func unreachable(err error) error {
	if cluster.Unreachable(err) {
		return err
	}
	return nil
}

func (x *execution) request(ctx context.Context, v *view) (syncplan.Request, error) {
	op, state := x.app.Operation.Sync, x.app.Status.OperationState
	options := x.options()
	r := syncplan.Request{
		Pairs: v.pairs, Hooks: v.hooks, WithHooks: op.SyncStrategy == nil || op.SyncStrategy.Apply == nil,
		Prune: op.Prune, Options: options, StartedAt: state.StartedAt.Time, Managers: x.migrationManagers(),
		OutOfSyncOnly: slices.Contains(options, "ApplyOutOfSyncOnly=true"),
		Attempted:     func(id syncplan.TaskID) bool { _, done := x.results[id]; return done },
		Approved:      x.approved(state.StartedAt.Time),
	}
	if s := op.SyncStrategy; s != nil {
		r.Force = s.Apply != nil && s.Apply.Force || s.Hook != nil && s.Hook.Force
	}
	if len(op.Resources) > 0 {
		r.Selected = func(k object.Key) bool {
			return slices.ContainsFunc(op.Resources, func(s v1alpha1.SyncOperationResource) bool {
				return s.Group == k.Group && s.Kind == k.Kind && s.Name == k.Name && (s.Namespace == "" || s.Namespace == k.Namespace)
			})
		}
	}
	if slices.Contains(options, "RespectIgnoreDifferences=true") {
		if err := x.respect(ctx, v); err != nil {
			return r, err
		}
	}
	var err error
	r.Namespace, err = x.destinationNamespace(ctx, v)
	return r, err
}

// respect puts ignored fields as they are on the cluster into what is applied
// (spec/sync.md §8.4).
func (x *execution) respect(ctx context.Context, v *view) error {
	rules := x.judgement(&v.verdicts).rules
	for i := range v.pairs {
		pair := &v.pairs[i]
		if pair.Target == nil || pair.Live == nil {
			continue
		}
		target, err := rules.For(pair.Key).Respect(ctx, pair.Target, pair.Live)
		if err != nil {
			return fmt.Errorf("%s: %w", pair.Key, err)
		}
		pair.Target = target
	}
	return nil
}

// approved says that somebody approved deletions since a moment.
func (p *pass) approved(since time.Time) bool {
	at, err := time.Parse(time.RFC3339, p.app.Annotations[v1alpha1.AnnotationDeletionApproved])
	return err == nil && !at.Before(since.Truncate(time.Second))
}

func (x *execution) options() []string {
	if op := x.app.Operation.Sync; len(op.SyncOptions) > 0 {
		return op.SyncOptions
	}
	return x.specOptions()
}

// carryOut does the acts of a group concurrently and notes the results. An
// error means that the cluster did not answer; then nothing is noted for the
// act, and it is done again.
func (x *execution) carryOut(ctx context.Context, group []syncplan.Act) error {
	ctx = cluster.As(ctx, x.user)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(actsAtOnce)
	for _, act := range group {
		g.Go(func() error {
			r, err := x.done(gctx, act)
			if err = cluster.Unanswered(err); cluster.Unreachable(err) {
				return err
			}
			x.guard.Lock()
			defer x.guard.Unlock()
			if err != nil {
				text := err.Error()
				if act.Task.Target != nil {
					text = cluster.Brief(act.Task.Target, err)
				}
				x.refused = true
				r = &syncplan.Result{Status: v1alpha1.ResultSyncFailed, Phase: v1alpha1.OperationFailed, Message: text}
			}
			if r != nil {
				x.results[act.Task.ID()] = described(*r, act.Task)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return x.awaitDefinitions(ctx, group)
}

// awaitDefinitions waits until kinds that were just defined are served. When
// one is not in time, the objects of that kind say so themselves.
func (x *execution) awaitDefinitions(ctx context.Context, group []syncplan.Act) error {
	for _, act := range group {
		if act.Verb != syncplan.Apply || act.Task.Key.Kind != "CustomResourceDefinition" || act.Task.Identical || x.results[act.Task.ID()].Status != v1alpha1.ResultSynced {
			continue
		}
		err := x.conn.AwaitDefinition(ctx, act.Task.Target)
		if cluster.Unreachable(err) && ctx.Err() != nil {
			return err
		}
		if err != nil {
			x.log.Warn("definition not served yet", "error", err.Error())
		}
	}
	return nil
}

// done is do of an object that may be anything.
func (x *execution) done(ctx context.Context, act syncplan.Act) (r *syncplan.Result, err error) {
	defer unexpected(x.log, string(act.Verb)+" of "+act.Task.Key.String(), &err)
	return x.do(ctx, act)
}

func (x *execution) do(ctx context.Context, act syncplan.Act) (*syncplan.Result, error) {
	t := act.Task
	switch act.Verb {
	case syncplan.Prune:
		if t.PruneRefused != "" {
			return &syncplan.Result{Status: v1alpha1.ResultPruneSkipped, Phase: v1alpha1.OperationSucceeded, Message: t.PruneRefused}, nil
		}
		if t.Live.GetDeletionTimestamp() == nil {
			if err := x.conn.Delete(ctx, t.Live, x.propagation()); err != nil {
				return nil, err
			}
		}
		return &syncplan.Result{Status: v1alpha1.ResultPruned, Phase: v1alpha1.OperationSucceeded, Message: "pruned"}, nil
	case syncplan.CreateHook:
		return x.createHook(ctx, t)
	case syncplan.DeleteHook:
		return nil, x.deleteHook(ctx, t.Live)
	case syncplan.ReleaseHook:
		return nil, x.conn.RemoveFinalizer(ctx, t.Live, syncplan.HookFinalizer)
	}
	if t.Identical {
		return &syncplan.Result{Status: v1alpha1.ResultSynced, Phase: v1alpha1.OperationRunning, Message: t.Name() + " unchanged"}, nil
	}
	done, err := x.conn.Apply(ctx, x.marked(t), t.Manner)
	if err != nil {
		return nil, err
	}
	if done.Warning != "" {
		x.guard.Lock()
		x.tell(corev1.EventTypeWarning, "ResourceUpdated", done.Warning)
		x.guard.Unlock()
	}
	phase := v1alpha1.OperationRunning
	if t.Created { // it has no health, and what is watched may not show it yet
		phase = v1alpha1.OperationSucceeded
	}
	return &syncplan.Result{Status: v1alpha1.ResultSynced, Phase: phase, Message: done.Message}, nil
}

func (x *execution) propagation() metav1.DeletionPropagation {
	for _, o := range x.options() {
		switch o {
		case "PrunePropagationPolicy=background":
			return metav1.DeletePropagationBackground
		case "PrunePropagationPolicy=orphan":
			return metav1.DeletePropagationOrphan
		}
	}
	return metav1.DeletePropagationForeground
}

// marked adds to a hook what tells it apart from those of other operations.
func (x *execution) marked(t syncplan.Task) *unstructured.Unstructured {
	if !t.Hook {
		return t.Target
	}
	hook := t.Target.DeepCopy()
	annotations := hook.GetAnnotations()
	annotations[syncplan.AnnotationOperation] = syncplan.Mark(x.marker, t.Phase)
	hook.SetAnnotations(annotations)
	if !slices.Contains(hook.GetFinalizers(), syncplan.HookFinalizer) {
		hook.SetFinalizers(append(hook.GetFinalizers(), syncplan.HookFinalizer))
	}
	return hook
}

// createHook creates a hook; one that exists is looked at in the next move.
func (x *execution) createHook(ctx context.Context, t syncplan.Task) (*syncplan.Result, error) {
	err := x.conn.Create(ctx, x.marked(t))
	if apierrors.IsAlreadyExists(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &syncplan.Result{Status: v1alpha1.ResultSynced, Phase: v1alpha1.OperationRunning, Message: t.Name() + " created"}, nil
}

func (x *execution) deleteHook(ctx context.Context, live *unstructured.Unstructured) error {
	if slices.Contains(live.GetFinalizers(), syncplan.HookFinalizer) {
		if err := x.conn.RemoveFinalizer(ctx, live, syncplan.HookFinalizer); err != nil {
			return err
		}
	}
	return x.conn.Delete(ctx, live, x.propagation())
}

// store puts the results into the status, in the order in which they first
// appeared: what is new comes in the order of the plan (spec/sync.md §3).
func (x *execution) store(state *v1alpha1.OperationState) {
	shown := map[syncplan.TaskID]int{}
	for i, r := range state.SyncResult.Resources {
		shown[taskOf(r)] = i - len(state.SyncResult.Resources)
	}
	place := func(id syncplan.TaskID) int {
		if at, before := shown[id]; before {
			return at
		}
		return x.places[id]
	}
	ids := slices.SortedFunc(maps.Keys(x.results), func(a, b syncplan.TaskID) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), strings.Compare(string(a.Phase)+a.Key.String(), string(b.Phase)+b.Key.String()))
	})
	out := make([]*v1alpha1.ResourceResult, 0, len(ids))
	for _, id := range ids {
		r := x.results[id]
		out = append(out, &v1alpha1.ResourceResult{
			Group: id.Key.Group, Version: r.Version, Kind: id.Key.Kind, Namespace: id.Key.Namespace, Name: id.Key.Name,
			Status: r.Status, Message: r.Message, HookType: x.hooks[id], HookPhase: r.Phase, SyncPhase: string(id.Phase), Images: r.Images,
		})
	}
	state.SyncResult.Resources = out
}
