package advance

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// sent is an operation that was written and may not be visible yet.
type sent struct {
	id string
	// version of the Application that carries it.
	version uint64
	uid     types.UID
}

// pending is the id of an operation that was sent to an Application and is not
// visible on what the cache shows of it.
func (s *state) pending(app *v1alpha1.Application) string {
	op, ok := s.sent[app.Name]
	if !ok {
		return ""
	}
	if op.uid != app.UID || version(app) >= op.version {
		delete(s.sent, app.Name)
		return ""
	}
	return op.id
}

// maxActs bounds the writes to Applications at a time.
const maxActs = 16

// act carries out what the stored record permits.
func (t *turn) act(ctx context.Context, d rollout.Decision) error {
	var group errgroup.Group // one that fails does not keep the others from being done
	group.SetLimit(maxActs)
	for _, op := range d.Operations {
		if app := t.live[op.Application]; app != nil {
			group.Go(func() error { return t.issue(ctx, app, op) })
		}
	}
	for _, name := range d.Refreshes {
		if app := t.live[name]; app != nil {
			group.Go(func() error { return t.refresh(ctx, app) })
		}
	}
	for _, name := range d.Terminate {
		if app := t.live[name]; app != nil {
			group.Go(func() error { return t.terminate(ctx, app) })
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	t.measure(d.Measurements)
	return t.consume(ctx, d.Consume)
}

// moved says that the Application is no longer what was seen; the decision is
// made anew when the cache has caught up.
func moved(err error) bool { return apierrors.IsConflict(err) || apierrors.IsNotFound(err) }

// again looks at the set soon: something moved under a decision.
func (t *turn) again() { t.queue.AddAfter(t.key, 20*time.Millisecond) }

func (t *turn) refresh(ctx context.Context, app *v1alpha1.Application) error {
	next := app.DeepCopy()
	if next.Annotations == nil {
		next.Annotations = map[string]string{}
	}
	next.Annotations[v1alpha1.AnnotationRefresh] = string(v1alpha1.RefreshNormal)
	return client.IgnoreNotFound(t.Client.Patch(ctx, next, client.MergeFrom(app)))
}

// terminate asks the application controller to end the running operation.
func (t *turn) terminate(ctx context.Context, app *v1alpha1.Application) error {
	if s := app.Status.OperationState; app.Operation == nil || s == nil || s.Phase != v1alpha1.OperationRunning {
		return nil
	}
	next := app.DeepCopy()
	next.Status.OperationState.Phase = v1alpha1.OperationTerminating
	err := t.Client.Patch(ctx, next, client.MergeFromWithOptions(app, client.MergeFromWithOptimisticLock{}))
	if moved(err) {
		t.again()
		return nil
	}
	if err == nil {
		t.log.Info("operation told to end", "application", app.Name, "operation", app.Status.OperationState.ID)
	}
	return err
}

// issue requests one operation; it never replaces one that is there.
func (t *turn) issue(ctx context.Context, app *v1alpha1.Application, op rollout.Operation) error {
	if app.Operation != nil {
		return nil
	}
	next := app.DeepCopy()
	next.Operation = operation(app, op)
	err := t.Client.Patch(ctx, next, client.MergeFromWithOptions(app, client.MergeFromWithOptimisticLock{}))
	switch {
	case moved(err):
		t.counted("conflict")
		t.again()
		return nil
	case err != nil:
		t.counted("refused")
		return fmt.Errorf("request sync of Application %s: %w", app.Name, err)
	}
	t.mu.Lock()
	t.state.sent[app.Name] = sent{id: op.ID, version: version(next), uid: next.UID}
	t.mu.Unlock()
	result := "issued"
	switch op.Kind {
	case rollout.KindSelfHeal:
		result = "selfheal"
	case rollout.KindRollback:
		result = "rollback"
	}
	t.counted(result)
	t.log.Info("sync requested", "application", app.Name, "operation", op.ID, "kind", string(op.Kind), "revisions", strings.Join(op.Revisions, ","))
	return nil
}

func (t *turn) counted(result string) {
	t.metrics.operations.WithLabelValues(t.key.Namespace, t.key.Name, result).Inc()
}

var reasons = map[rollout.Kind]string{
	rollout.KindSync:     "ApplicationSet RollingSync triggered a sync of this Application resource",
	rollout.KindSelfHeal: "ApplicationSet RollingSync heals this Application resource",
	rollout.KindRollback: "ApplicationSet RollingSync returns this Application resource to what it ran before",
}

// operation is what is written: retry and options from the Application's own
// policy (spec/progressive-sync.md §6.9).
func operation(app *v1alpha1.Application, op rollout.Operation) *v1alpha1.Operation {
	sync := &v1alpha1.SyncOperation{Prune: op.Prune, AutoHealAttemptsCount: op.Heals}
	out := &v1alpha1.Operation{
		Sync: sync, InitiatedBy: v1alpha1.OperationInitiator{Username: "applicationset-controller", Automated: true},
		Info:  []*v1alpha1.Info{{Name: "Reason", Value: reasons[op.Kind]}, {Name: rollout.OperationInfo, Value: op.ID}},
		Retry: v1alpha1.RetryStrategy{Limit: 5},
	}
	if op.Kind != rollout.KindSync {
		out.Info = append(out.Info, &v1alpha1.Info{Name: string(op.Kind), Value: "true"})
	}
	switch {
	case op.List:
		sync.Revisions, sync.Sources = op.Revisions, op.Sources
	case len(op.Revisions) > 0:
		sync.Revision = op.Revisions[0]
		if len(op.Sources) > 0 {
			sync.Source = &op.Sources[0]
		}
	}
	if p := app.Spec.SyncPolicy; p != nil {
		sync.SyncOptions = p.SyncOptions
		if p.Retry != nil {
			out.Retry = *p.Retry
		}
	}
	return out
}

// consume removes annotations that the stored record has taken in, unless
// somebody has written another value meanwhile.
func (t *turn) consume(ctx context.Context, taken map[string]string) error {
	if len(taken) == 0 {
		return nil
	}
	type step struct {
		Op    string  `json:"op"`
		Path  string  `json:"path"`
		Value *string `json:"value,omitempty"`
	}
	var steps []step
	for key, value := range taken {
		path := "/metadata/annotations/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
		steps = append(steps, step{Op: "test", Path: path, Value: &value}, step{Op: "remove", Path: path})
	}
	raw, err := json.Marshal(steps)
	if err != nil {
		return err
	}
	set := t.set.DeepCopy()
	err = t.Client.Patch(ctx, set, client.RawPatch(types.JSONPatchType, raw))
	if apierrors.IsInvalid(err) || moved(err) {
		t.again() // it has another value by now
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove annotations of ApplicationSet %s: %w", t.key, err)
	}
	t.set, t.state.written = set, set.DeepCopy()
	return nil
}

// measure hands due measurements to whoever measures, and brings the answers
// back as a new turn.
func (t *turn) measure(due []rollout.Measurement) {
	if t.Measure == nil {
		return
	}
	for _, m := range due {
		key := measurement{m.Rollout, m.Step, m.Metric.Name, m.Application, m.Number}
		t.mu.Lock()
		started := t.state.measuring[key]
		t.state.measuring[key] = true
		t.mu.Unlock()
		if started {
			continue
		}
		set, state, queueKey := t.set.DeepCopy(), t.state, t.key
		t.Measure(set, m, func(answer rollout.Measured) {
			t.mu.Lock()
			state.measured = append(state.measured, answer)
			delete(state.measuring, key)
			t.mu.Unlock()
			t.queue.Add(queueKey)
		})
	}
}

// measurement names one measurement.
type measurement struct {
	rollout     int64
	step        int
	metric      string
	application string
	number      int32
}

// emit tells what the stored decision brought, on the set and on the
// Applications that it names.
func (t *turn) emit(events []rollout.Event) {
	for _, e := range events {
		kind := corev1.EventTypeNormal
		if e.Warning {
			kind = corev1.EventTypeWarning
		}
		t.Recorder.Event(t.set, kind, e.Reason, e.Message)
		if app := t.live[e.Application]; app != nil {
			t.Recorder.Event(app, kind, e.Reason, e.Message)
		}
		t.log.Info(e.Message, "reason", e.Reason, "application", e.Application)
	}
}
