package application

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/domain/diff"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

// prepare creates the namespace when asked to and then proves by dry run that
// every object would be accepted. It ends the operation, with phase and
// message, when one would not, or when only a dry run was asked for.
func (x *execution) prepare(ctx context.Context, tasks []syncplan.Task) (v1alpha1.OperationPhase, string, error) {
	op := x.app.Operation.Sync
	x.app.Status.OperationState.SyncResult.ManagedNamespaceMetadata = x.namespaceMetadata()
	missing := map[string]bool{}
	for _, t := range tasks {
		switch {
		case t.Prune() || t.Key.Group != "" || t.Key.Kind != "Namespace" || t.Live != nil && !t.Created:
		case !t.Created || op.DryRun:
			missing[t.Key.Name] = true
		default:
			if err := x.carryOut(ctx, []syncplan.Act{{Verb: syncplan.Apply, Task: t}}); err != nil {
				return "", "", err
			}
			if r := x.results[t.ID()]; r.Status == v1alpha1.ResultSyncFailed {
				return v1alpha1.OperationFailed, "the namespace failed to apply: " + r.Message, nil
			}
		}
	}
	problems, err := x.rehearse(ctx, tasks, missing)
	if err != nil {
		return "", "", err
	}
	if len(problems) > 0 {
		return v1alpha1.OperationFailed, "one or more objects failed to apply (dry run): " + strings.Join(problems, "; "), nil
	}
	if op.DryRun {
		x.recordDryRun(tasks)
		return v1alpha1.OperationSucceeded, "successfully synced (dry run)", nil
	}
	return "", "", nil
}

// rehearse lists why objects would be refused. What is missing is checked in
// memory by the cluster's schema; of what exists and differs the API server
// has been asked when it was compared, and is asked now when it has not. Of an
// object whose kind is not there yet nothing can be known.
func (x *execution) rehearse(ctx context.Context, tasks []syncplan.Task, missing map[string]bool) ([]string, error) {
	var guard sync.Mutex
	var problems []string
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(actsAtOnce)
	for _, t := range tasks {
		if t.Target == nil || t.Created || t.Identical || t.Hook && t.Live != nil {
			continue
		}
		if _, known := x.conn.Scope(t.Target.GroupVersionKind()); !known {
			continue
		}
		group.Go(func() error {
			// Another user may not be allowed what nobody has tried yet.
			text, err := x.doubted(gctx, t, (t.Live != nil || x.user != "") && !missing[t.Key.Namespace])
			if text == "" || err != nil {
				return err
			}
			guard.Lock()
			defer guard.Unlock()
			problems = append(problems, text)
			x.results[t.ID()] = syncplan.Result{Status: v1alpha1.ResultSyncFailed, Phase: v1alpha1.OperationFailed, Message: text, Version: t.Target.GroupVersionKind().Version}
			return nil
		})
	}
	err := group.Wait()
	slices.Sort(problems)
	return slices.Compact(problems), err
}

// doubted is doubt of an object that may be anything.
func (x *execution) doubted(ctx context.Context, t syncplan.Task, ask bool) (text string, err error) {
	var broken error
	func() {
		defer unexpected(x.log, "the check of "+t.Key.String(), &broken)
		text, err = x.doubt(ctx, t, ask)
	}()
	if broken != nil {
		return broken.Error(), nil
	}
	return text, err
}

// doubt says why the object of a task would be refused; ask allows a dry run.
// An error means that the cluster did not answer.
func (x *execution) doubt(ctx context.Context, t syncplan.Task, ask bool) (string, error) {
	text, err := x.bySchema(ctx, t)
	if err != nil {
		return "", err
	}
	if text != "" {
		return fmt.Sprintf("%s %s: %s", t.Key.Kind, t.Key.Name, text), nil
	}
	if !ask {
		return "", nil
	}
	manner := t.Manner
	if !manner.Force && manner.Mode != syncplan.Replace {
		manner = manner.Comparison() // that is what has been asked already
	}
	_, err = x.conn.Predict(cluster.As(ctx, x.user), t.Target, manner)
	switch {
	case err == nil, cannotAsk(err) && x.user == "", notThereYet(err):
		return "", nil
	case cluster.Unreachable(err):
		return "", err
	}
	return cluster.Brief(t.Target, err), nil
}

// bySchema says what speaks against the object of a task in the schema of its
// kind, which is looked up again before it is believed. An error means that the
// cluster did not answer.
func (x *execution) bySchema(ctx context.Context, t syncplan.Task) (text string, err error) {
	for _, read := range []func(context.Context, schema.GroupVersionKind) (diff.Schema, error){x.conn.Schema, x.conn.FreshSchema} {
		known, err := read(ctx, t.Target.GroupVersionKind())
		if cluster.Unreachable(err) {
			return "", err
		}
		if err != nil {
			return "", nil // then the API server will say it
		}
		if text = refusals(known.Problems(t.Target, t.Live == nil), t.Manner); text == "" {
			return "", nil
		}
	}
	return text, nil
}

// refusals words the problems for which an apply in this manner would be
// refused. Server-side apply falls back where only a strict reader objects.
func refusals(all []diff.Problem, m syncplan.Manner) string {
	strict := m.Validate && m.Mode != syncplan.ServerSide
	var texts []string
	for _, p := range all {
		if p.Repeated || p.Undeclared && !strict {
			continue
		}
		texts = append(texts, p.Text)
	}
	return strings.Join(texts, ", ")
}

// recordDryRun notes what a real operation would do (spec/sync.md §7).
func (x *execution) recordDryRun(tasks []syncplan.Task) {
	for _, t := range tasks {
		r := syncplan.Result{Status: v1alpha1.ResultSynced, Phase: v1alpha1.OperationSucceeded, Message: "would be applied (dry run)"}
		switch {
		case t.PruneRefused != "":
			r.Status, r.Message = v1alpha1.ResultPruneSkipped, t.PruneRefused
		case t.Prune():
			r.Status, r.Message = v1alpha1.ResultPruned, "pruned (dry run)"
		}
		x.results[t.ID()] = described(r, t)
	}
}

// described adds what is known of the object itself.
func described(r syncplan.Result, t syncplan.Task) syncplan.Result {
	if t.Target != nil {
		r.Version, r.Images = t.Target.GroupVersionKind().Version, syncplan.Images(t.Target)
	} else {
		r.Version = t.Live.GroupVersionKind().Version
	}
	return r
}

// notThereYet says that only the namespace of the object is missing.
func notThereYet(err error) bool {
	return apierrors.IsNotFound(err) && strings.Contains(err.Error(), "namespaces")
}
