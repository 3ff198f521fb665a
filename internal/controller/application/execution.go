package application

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
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

	guard   sync.Mutex
	results map[syncplan.TaskID]syncplan.Result
	hooks   map[syncplan.TaskID]string
}

// actsAtOnce bounds the writes of one operation at a time.
const actsAtOnce = 16

// move asks the planner what to do and does it. waiting says that nothing
// more can be done now.
func (x *execution) move(ctx context.Context, v *view) (phase v1alpha1.OperationPhase, message string, waiting bool, err error) {
	op := x.app.Operation.Sync
	tasks := syncplan.Tasks(x.request(v))
	x.hooks = map[syncplan.TaskID]string{}
	for _, t := range tasks {
		if t.Hook {
			x.hooks[t.ID()] = string(t.Phase)
		}
	}
	if reasons := x.invalidTasks(v, tasks); len(reasons) > 0 {
		return v1alpha1.OperationFailed, notValid(reasons), false, nil
	}
	if len(x.results) == 0 {
		if message, err := x.prepare(ctx, tasks); message != "" || err != nil {
			return v1alpha1.OperationFailed, message, false, err
		}
		if op.DryRun {
			return v1alpha1.OperationSucceeded, "successfully synced (dry run)", false, nil
		}
	}
	state := syncplan.State{Tasks: tasks, Results: x.results, Health: x.assess(ctx, v), Marker: x.marker}
	m := syncplan.Next(state)
	if x.app.Status.OperationState.Phase == v1alpha1.OperationTerminating {
		m = syncplan.Terminate(state)
	}
	for id, r := range m.Results {
		x.results[id] = r
	}
	for _, group := range m.Groups {
		if err := x.carryOut(ctx, group); err != nil {
			return "", "", false, err
		}
	}
	if m.Phase.Completed() {
		return m.Phase, m.Message, false, nil
	}
	return m.Phase, m.Message, len(m.Groups) == 0, nil
}

func (x *execution) request(v *view) syncplan.Request {
	op, state := x.app.Operation.Sync, x.app.Status.OperationState
	options := op.SyncOptions
	if len(options) == 0 && x.app.Spec.SyncPolicy != nil {
		options = x.app.Spec.SyncPolicy.SyncOptions
	}
	r := syncplan.Request{
		Pairs: v.pairs, Hooks: v.hooks, WithHooks: op.SyncStrategy == nil || op.SyncStrategy.Apply == nil,
		Prune: op.Prune, Options: options, StartedAt: state.StartedAt.Time,
		OutOfSyncOnly: slices.Contains(options, "ApplyOutOfSyncOnly=true") && len(x.results) == 0,
	}
	if len(op.Resources) > 0 {
		r.Selected = func(k object.Key) bool {
			return slices.ContainsFunc(op.Resources, func(s v1alpha1.SyncOperationResource) bool {
				return s.Group == k.Group && s.Kind == k.Kind && s.Name == k.Name && (s.Namespace == "" || s.Namespace == k.Namespace)
			})
		}
	}
	return r
}

// prepare creates the namespace when asked to and then proves by dry run that
// every object would be accepted; a message says what would not.
func (x *execution) prepare(ctx context.Context, tasks []syncplan.Task) (string, error) {
	namespace := x.app.Spec.Destination.Namespace
	exists, err := x.conn.NamespaceExists(ctx, namespace)
	if namespace != "" && err != nil {
		return "", err
	}
	if namespace != "" && !exists && slices.Contains(x.options(), "CreateNamespace=true") && !x.app.Operation.Sync.DryRun {
		if err := x.createNamespace(ctx, namespace); err != nil {
			return "", err
		}
		exists = true
	}
	var guard sync.Mutex
	var problems []string
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(actsAtOnce)
	for _, t := range tasks {
		if t.Target == nil || t.Hook || (t.Target.GetNamespace() != "" && !exists) {
			continue
		}
		if _, known := x.conn.Scope(t.Target.GroupVersionKind()); !known {
			continue
		}
		group.Go(func() error {
			_, err := x.conn.Predict(gctx, t.Target)
			if err == nil || apierrors.IsForbidden(err) && strings.Contains(err.Error(), "dry run") || notThereYet(err) {
				return nil
			}
			if cluster.Unreachable(err) {
				return err
			}
			guard.Lock()
			defer guard.Unlock()
			problems = append(problems, err.Error())
			id := t.ID()
			x.results[id] = syncplan.Result{Status: v1alpha1.ResultSyncFailed, Phase: v1alpha1.OperationFailed, Message: err.Error(), Version: t.Target.GetAPIVersion()}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	if len(problems) > 0 {
		slices.Sort(problems)
		return "one or more objects failed to apply (dry run): " + strings.Join(slices.Compact(problems), "; "), nil
	}
	return "", nil
}

// notThereYet says that only the namespace of the object is missing.
func notThereYet(err error) bool {
	return apierrors.IsNotFound(err) && strings.Contains(err.Error(), "namespaces")
}

func (x *execution) options() []string {
	if op := x.app.Operation.Sync; len(op.SyncOptions) > 0 {
		return op.SyncOptions
	}
	if x.app.Spec.SyncPolicy != nil {
		return x.app.Spec.SyncPolicy.SyncOptions
	}
	return nil
}

func (x *execution) createNamespace(ctx context.Context, name string) error {
	ns := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name}}}
	if x.app.Spec.SyncPolicy != nil && x.app.Spec.SyncPolicy.ManagedNamespaceMetadata != nil {
		m := x.app.Spec.SyncPolicy.ManagedNamespaceMetadata
		ns.SetLabels(m.Labels)
		ns.SetAnnotations(m.Annotations)
	}
	if _, err := x.conn.Apply(ctx, ns); err != nil {
		return fmt.Errorf("the namespace failed to apply: namespace %s: %w", name, err)
	}
	return nil
}

// carryOut does the acts of a group concurrently and notes the results. An
// error means that the cluster did not answer; then nothing is noted for the
// act, and it is done again.
func (x *execution) carryOut(ctx context.Context, group []syncplan.Act) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(actsAtOnce)
	for _, act := range group {
		g.Go(func() error {
			r, err := x.do(gctx, act)
			if cluster.Unreachable(err) {
				return err
			}
			if err != nil {
				r = &syncplan.Result{Status: v1alpha1.ResultSyncFailed, Phase: v1alpha1.OperationFailed, Message: err.Error()}
			}
			if r == nil {
				return nil
			}
			if act.Task.Target != nil {
				r.Version, r.Images = act.Task.Target.GroupVersionKind().Version, syncplan.Images(act.Task.Target)
			} else {
				r.Version = act.Task.Live.GroupVersionKind().Version
			}
			x.guard.Lock()
			defer x.guard.Unlock()
			x.results[act.Task.ID()] = *r
			return nil
		})
	}
	return g.Wait()
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
	message, err := x.conn.Apply(ctx, x.marked(t))
	if err != nil {
		return nil, err
	}
	return &syncplan.Result{Status: v1alpha1.ResultSynced, Phase: v1alpha1.OperationRunning, Message: message}, nil
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
	annotations[syncplan.AnnotationOperation] = x.marker
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
	return &syncplan.Result{Status: v1alpha1.ResultSynced, Phase: v1alpha1.OperationRunning, Message: t.Key.Name + " created"}, nil
}

func (x *execution) deleteHook(ctx context.Context, live *unstructured.Unstructured) error {
	if slices.Contains(live.GetFinalizers(), syncplan.HookFinalizer) {
		if err := x.conn.RemoveFinalizer(ctx, live, syncplan.HookFinalizer); err != nil {
			return err
		}
	}
	return x.conn.Delete(ctx, live, metav1.DeletePropagationBackground)
}

// store puts the results into the status, in a stable order.
func (x *execution) store(state *v1alpha1.OperationState) {
	out := make([]*v1alpha1.ResourceResult, 0, len(x.results))
	for id, r := range x.results {
		hookType := x.hooks[id]
		out = append(out, &v1alpha1.ResourceResult{
			Group: id.Key.Group, Version: r.Version, Kind: id.Key.Kind, Namespace: id.Key.Namespace, Name: id.Key.Name,
			Status: r.Status, Message: r.Message, HookType: hookType, HookPhase: r.Phase, SyncPhase: string(id.Phase), Images: r.Images,
		})
	}
	slices.SortFunc(out, func(a, b *v1alpha1.ResourceResult) int {
		return strings.Compare(a.SyncPhase+a.Group+a.Kind+a.Namespace+a.Name, b.SyncPhase+b.Group+b.Kind+b.Namespace+b.Name)
	})
	state.SyncResult.Resources = out
}
