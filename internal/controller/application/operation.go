package application

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/domain/health"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

// operate carries the requested operation on by as much as is possible now.
// When it returns without error, the state in p.app is what happened.
func (p *pass) operate(ctx context.Context) error {
	if p.app.Operation == nil {
		return nil
	}
	state := p.app.Status.OperationState
	if state == nil || state.Phase.Completed() {
		if err := p.open(ctx); err != nil {
			return err
		}
		state = p.app.Status.OperationState
	}
	if done, err := p.expire(ctx, state); done || err != nil {
		return err
	}
	state = p.app.Status.OperationState
	waiting := state.Phase == v1alpha1.OperationRunning && state.FinishedAt != nil
	newer := ""
	if waiting {
		if newer = p.newer(ctx); newer != "" && p.app.Operation.InitiatedBy.Automated {
			p.finish(v1alpha1.OperationFailed, fmt.Sprintf("%s Abandoned for the newer revision %s.", state.Message, newer))
			return nil
		}
	}
	if p.heldByWindow(state) || (waiting && !p.retryDue(state, newer != "")) {
		return nil
	}
	if p.app.Operation.Sync == nil {
		p.finish(v1alpha1.OperationError, "Invalid operation request: no operation specified")
		return nil
	}
	late := expired(state)
	phase, message, err := p.stepped(ctx)
	if late {
		message = lateMessage(phase, message)
	}
	if apierrors.IsConflict(err) {
		return err // somebody else wrote the Application: begin anew
	}
	if cluster.Unreachable(err) {
		state.Message = fmt.Sprintf("waiting for cluster %s: %s", p.cluster.Name, err.Error())
		p.soon(2 * time.Second)
		return nil
	}
	if err != nil {
		phase, message = v1alpha1.OperationError, err.Error()
	}
	state = p.app.Status.OperationState
	if !phase.Completed() {
		state.Message = message
		return nil
	}
	if phase != v1alpha1.OperationSucceeded {
		again, err := p.retry(message)
		if again {
			return nil
		}
		if err != nil {
			phase, message = v1alpha1.OperationError, fmt.Sprintf("%s (failed to retry: %s)", message, err)
		}
	}
	p.finish(phase, message)
	return nil
}

// open stores the begin of the requested operation, after the end of the one
// before and ahead of the first act.
func (p *pass) open(ctx context.Context) error {
	if p.owes() {
		if err := p.patch(ctx); err != nil {
			return err
		}
	}
	p.begin()
	return p.patch(ctx)
}

// begin records a new operation under its id.
func (p *pass) begin() {
	id := ""
	for _, info := range p.app.Operation.Info {
		if info != nil && info.Name == "RolloutOperation" {
			id = info.Value
		}
	}
	if id == "" {
		id = p.NewID()
	}
	p.app.Status.OperationState = &v1alpha1.OperationState{
		Operation: *p.app.Operation, Phase: v1alpha1.OperationRunning, ID: id,
		StartedAt: metav1.NewTime(p.Clock.Now()).Rfc3339Copy(),
	}
}

// finish ends the operation; the same write that stores this removes the
// request.
func (p *pass) finish(phase v1alpha1.OperationPhase, message string) {
	state := p.app.Status.OperationState
	now := metav1.NewTime(p.Clock.Now()).Rfc3339Copy()
	state.Phase, state.Message, state.FinishedAt = phase, message, &now
	if state.RetryCount > 0 && phase != v1alpha1.OperationSucceeded {
		state.Message += fmt.Sprintf(" (retried %d times).", state.RetryCount)
	}
	operation, sync := p.app.Operation, p.app.Operation.Sync
	defer func() { p.keepEnd(operation) }()
	p.app.Operation, p.ended = nil, true
	if phase == v1alpha1.OperationSucceeded && sync != nil && !sync.DryRun && len(sync.Resources)+len(sync.Manifests) == 0 {
		p.remember(state)
	}
	p.metrics.syncs.WithLabelValues(p.app.Namespace, p.app.Name, policy.ProjectName(p.app), p.cluster.Server, string(phase), strconv.FormatBool(sync != nil && sync.DryRun)).Inc()
	p.metrics.seconds.WithLabelValues(p.app.Namespace, p.app.Name, policy.ProjectName(p.app), p.cluster.Server).Add(now.Sub(state.StartedAt.Time).Seconds())
	subject, revision := "Sync operation", ""
	if sync != nil && len(sync.Resources) > 0 {
		subject = "Partial sync operation"
	}
	if r := state.SyncResult; r != nil {
		if revision = r.Revision; len(r.Revisions) > 0 {
			revision = strings.Join(r.Revisions, ",")
		}
	}
	if phase == v1alpha1.OperationSucceeded {
		p.tell(corev1.EventTypeNormal, "OperationCompleted", fmt.Sprintf("%s to %s succeeded", subject, revision))
		return
	}
	p.tell(corev1.EventTypeWarning, "OperationCompleted", fmt.Sprintf("%s to %s failed: %s", subject, revision, state.Message))
}

// remember writes the deployment into the history.
func (p *pass) remember(state *v1alpha1.OperationState) {
	limit := int64(10)
	if p.app.Spec.RevisionHistoryLimit != nil {
		limit = max(0, *p.app.Spec.RevisionHistoryLimit)
	}
	next := int64(0)
	if n := len(p.app.Status.History); n > 0 {
		next = p.app.Status.History[n-1].ID + 1
	}
	r := state.SyncResult
	started := state.StartedAt
	history := append(slices.Clone(p.app.Status.History), v1alpha1.RevisionHistory{
		ID: next, Revision: r.Revision, Revisions: r.Revisions, Source: r.Source, Sources: r.Sources,
		DeployStartedAt: &started, DeployedAt: *state.FinishedAt, InitiatedBy: state.Operation.InitiatedBy,
	})
	if excess := int64(len(history)) - limit; excess > 0 {
		history = history[excess:]
	}
	p.app.Status.History = history
}

// retry keeps a failed operation running for another attempt, if its policy
// allows one.
func (p *pass) retry(message string) (bool, error) {
	state, strategy := p.app.Status.OperationState, p.app.Operation.Retry
	if state.Phase == v1alpha1.OperationTerminating || (strategy.Limit >= 0 && state.RetryCount >= strategy.Limit) {
		return false, nil
	}
	wait, err := backoff(strategy.Backoff, state.RetryCount)
	if err != nil {
		return false, err
	}
	now := metav1.NewTime(p.Clock.Now()).Rfc3339Copy()
	state.FinishedAt = &now
	state.RetryCount++
	state.Message = fmt.Sprintf("%s. Retrying attempt #%d at %s.", message, state.RetryCount, now.Add(wait).Format(time.Kitchen))
	p.soon(wait)
	return true, nil
}

// newer is the revision that an operation would sync if it began now, when
// that is not the one it keeps failing at. The repetitions of a bad commit must
// not hold up the commit that mends it: an automated operation makes room for
// the next one, one with retry.refresh takes the new commit itself. Others were
// asked for one revision and keep to it.
func (p *pass) newer(ctx context.Context) string {
	op, result := p.app.Operation, p.app.Status.OperationState.SyncResult
	if result == nil || isLocal(op) || !op.InitiatedBy.Automated && (!op.Retry.Refresh || ofRollout(op)) {
		return ""
	}
	head, err := p.resolve(ctx, p.app.Spec.GetSources(), false)
	failing := result.Revisions
	if len(failing) == 0 {
		failing = []string{result.Revision}
	}
	if err != nil || slices.Equal(head, failing) {
		return ""
	}
	return strings.Join(head, ", ")
}

// retryDue says that the pause before a repetition is over, or cut short by a
// commit, and prepares it.
func (p *pass) retryDue(state *v1alpha1.OperationState, cutShort bool) bool {
	wait, err := backoff(p.app.Operation.Retry.Backoff, state.RetryCount-1)
	if err == nil && !cutShort {
		if rest := wait - p.Clock.Since(state.FinishedAt.Time); rest > 0 {
			p.soon(rest)
			return false
		}
	}
	state.FinishedAt = nil
	state.Message = fmt.Sprintf("Retrying operation. Attempt #%d", state.RetryCount)
	if state.SyncResult != nil {
		state.SyncResult.Resources = nil
		if p.app.Operation.Retry.Refresh && !ofRollout(p.app.Operation) {
			state.Message = fmt.Sprintf("Retrying operation with latest revisions. Attempt #%d", state.RetryCount)
			state.SyncResult = nil
			p.app.Operation.Sync.Revision, p.app.Operation.Sync.Revisions = "", nil
		}
	}
	return true
}

// ofRollout says that a rollout chose the revision, which is its to change.
func ofRollout(op *v1alpha1.Operation) bool {
	return slices.ContainsFunc(op.Info, func(i *v1alpha1.Info) bool { return i != nil && i.Name == "RolloutOperation" })
}

// backoff is duration * factor^n, capped.
func backoff(b *v1alpha1.Backoff, n int64) (time.Duration, error) {
	base, factor, limit := 5*time.Second, int64(2), 3*time.Minute
	if b != nil {
		var err error
		if base, err = duration(b.Duration, base); err != nil {
			return 0, err
		}
		if limit, err = duration(b.MaxDuration, limit); err != nil {
			return 0, err
		}
		if b.Factor != nil {
			factor = *b.Factor
		}
	}
	wait := base
	for range n {
		if factor > 1 && wait > longestWait/time.Duration(factor) {
			wait = longestWait
			break
		}
		wait *= time.Duration(max(factor, 0))
	}
	if limit > 0 {
		wait = min(wait, limit)
	}
	return wait, nil
}

// longestWait bounds what grows without a cap.
const longestWait = 365 * 24 * time.Hour

func duration(text string, fallback time.Duration) (time.Duration, error) {
	if text == "" {
		return fallback, nil
	}
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(seconds) * time.Second, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("retry.backoff: %q is not a duration", text)
	}
	return d, nil
}

// pin fixes sources and revisions of the operation at its first step.
func (p *pass) pin(ctx context.Context) ([]v1alpha1.ApplicationSource, []string, error) {
	state, op := p.app.Status.OperationState, p.app.Operation.Sync
	sources := op.Sources
	switch {
	case len(sources) > 0:
	case op.Source != nil:
		sources = []v1alpha1.ApplicationSource{*op.Source}
	default:
		sources = p.app.Spec.GetSources()
	}
	if r := state.SyncResult; r != nil && (r.Revision != "" || len(r.Revisions) > 0) {
		if len(r.Revisions) > 0 {
			return r.Sources, r.Revisions, nil
		}
		return []v1alpha1.ApplicationSource{r.Source}, []string{r.Revision}, nil
	}
	if isLocal(p.app.Operation) {
		local, ids := p.pinLocal()
		return local, ids, nil
	}
	wanted := slices.Clone(sources)
	for i := range wanted {
		if len(op.Revisions) == len(wanted) && op.Revisions[i] != "" {
			wanted[i].TargetRevision = op.Revisions[i]
		} else if len(wanted) == 1 && op.Revision != "" {
			wanted[i].TargetRevision = op.Revision
		}
	}
	ids, err := p.resolve(ctx, wanted, false)
	if err != nil {
		return nil, nil, fmt.Errorf("ComparisonError: %w", err)
	}
	result := &v1alpha1.SyncOperationResult{}
	if len(p.app.Spec.Sources) > 0 || len(op.Sources) > 0 {
		result.Sources, result.Revisions = sources, ids
	} else {
		result.Source, result.Revision = sources[0], ids[0]
	}
	state.SyncResult = result
	state.Override = p.overrides(ctx, result)
	return sources, ids, nil
}

// stepped is step; a panic ends the operation with its text (spec/sync.md §2).
func (p *pass) stepped(ctx context.Context) (phase v1alpha1.OperationPhase, message string, err error) {
	var broken error
	func() {
		defer unexpected(p.log, "the sync", &broken)
		phase, message, err = p.step(ctx)
	}()
	if broken != nil {
		return v1alpha1.OperationError, broken.Error(), nil
	}
	return phase, message, err
}

// step advances a sync until it ends or has to wait.
func (p *pass) step(ctx context.Context) (v1alpha1.OperationPhase, string, error) {
	if isLocal(p.app.Operation) {
		if why := p.localRefused(); why != "" {
			return v1alpha1.OperationError, why, nil
		}
		p.local = true
		defer func() { p.local = false }() // what comes next compares with Git
	}
	sources, ids, err := p.pin(ctx)
	if err != nil {
		return "", "", err
	}
	state := p.app.Status.OperationState
	named := func(u *unstructured.Unstructured) *unstructured.Unstructured {
		return syncplan.NameHook(u, ids[0], state.StartedAt.Time)
	}
	user, err := p.identity(true)
	if err != nil {
		return v1alpha1.OperationError, err.Error(), nil
	}
	x := &execution{pass: p, user: user, results: stored(state), marker: fmt.Sprintf("%s/%d", state.ID, state.RetryCount)}
	for range maxMoves {
		v, err := p.look(ctx, sources, ids, named)
		if err != nil {
			if cluster.Unreachable(err) {
				return "", "", err
			}
			if state.Phase == v1alpha1.OperationTerminating {
				return v1alpha1.OperationError, "Operation termination had errors: " + err.Error(), nil
			}
			return v1alpha1.OperationError, "ComparisonError: " + err.Error(), nil
		}
		state.Digest = v.manifests.Digest
		if phase, why := x.stop(v); phase != "" {
			return phase, why, nil
		}
		phase, message, waiting, err := x.move(ctx, v)
		state = p.app.Status.OperationState
		x.store(state)
		if err != nil || phase.Completed() || waiting {
			return phase, message, err
		}
		state.Message = message
	}
	p.soon(time.Second)
	return v1alpha1.OperationRunning, "continuing", nil
}

// stop says why an operation must not begin or go on (spec/sync.md §3). One
// that is being terminated goes on to its end.
func (x *execution) stop(v *view) (v1alpha1.OperationPhase, string) {
	if x.app.Status.OperationState.Phase == v1alpha1.OperationTerminating {
		return "", ""
	}
	if slices.Contains(x.options(), "FailOnSharedResource=true") {
		for _, c := range v.conditions {
			if c.Type == v1alpha1.ConditionSharedResourceWarning {
				return v1alpha1.OperationFailed, "Shared resource found: " + c.Message
			}
		}
	}
	var texts []string
	for _, c := range slices.Concat(v.conditions, v.verdicts.conditions()) {
		if c.Type == v1alpha1.ConditionComparisonError || c.Type == v1alpha1.ConditionInvalidSpecError {
			texts = append(texts, c.Type+": "+c.Message)
		}
	}
	if len(texts) > 0 {
		return v1alpha1.OperationError, strings.Join(texts, ";")
	}
	return "", ""
}

// maxMoves bounds the moves of one pass.
const maxMoves = 50

// stored reads results from the status.
func stored(state *v1alpha1.OperationState) map[syncplan.TaskID]syncplan.Result {
	out := map[syncplan.TaskID]syncplan.Result{}
	if state.SyncResult == nil {
		return out
	}
	for _, r := range state.SyncResult.Resources {
		out[taskOf(r)] = syncplan.Result{Status: r.Status, Phase: r.HookPhase, Message: r.Message, Images: r.Images, Version: r.Version}
	}
	return out
}

func taskOf(r *v1alpha1.ResourceResult) syncplan.TaskID {
	return syncplan.TaskID{Key: object.Key{Group: r.Group, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}, Phase: syncplan.Phase(r.SyncPhase)}
}

// assess is the health of live objects for the planner.
func (p *pass) assess(ctx context.Context, v *view) func(object.Key) (health.Status, bool) {
	return func(k object.Key) (health.Status, bool) {
		live := v.live.Live[k]
		if live == nil {
			return health.Status{Code: health.Missing}, true
		}
		pods := v.live.Pods(k)
		judged := p.verdict(ctx, live, pods)
		if held := health.Held(pods); held != "" && judged.Code == v1alpha1.HealthProgressing {
			judged.Message = held // a Job says nothing of pods that cannot start
		}
		if stale(live) && (judged.Code == v1alpha1.HealthHealthy || judged.Code == v1alpha1.HealthDegraded) {
			judged.Status = health.Status{Code: v1alpha1.HealthProgressing, Message: "its controller has not seen the newest generation yet"}
		}
		return judged.Status, judged.Known
	}
}

// stale says that the status of an object speaks of an earlier generation: a
// sync that has just written the object must neither pass nor fail because of
// it.
func stale(live *unstructured.Unstructured) bool {
	seen, found, err := unstructured.NestedInt64(live.Object, "status", "observedGeneration")
	return found && err == nil && seen < live.GetGeneration()
}

// invalidTasks lists why tasks must not be carried out at all, and notes it
// among their results.
func (x *execution) invalidTasks(v *view, tasks []syncplan.Task) []string {
	var targets []*unstructured.Unstructured
	for _, pair := range v.pairs {
		if pair.Target != nil {
			targets = append(targets, pair.Target)
		}
	}
	skip := slices.Contains(x.options(), "SkipDryRunOnMissingResource=true")
	provided := syncplan.ProvidedKinds(targets)
	var out []string
	refuse := func(t syncplan.Task, text string) {
		out = append(out, text)
		x.results[t.ID()] = described(syncplan.Result{Status: v1alpha1.ResultSyncFailed, Phase: v1alpha1.OperationFailed, Message: text}, t)
	}
	for _, t := range tasks {
		if err := v.forbidden[t.Key]; err != nil {
			refuse(t, err.Error())
			continue
		}
		if t.Target == nil || provided[[2]string{t.Key.Group, t.Key.Kind}] || skip || syncplan.Option(t.Target, "SkipDryRunOnMissingResource=true") {
			continue
		}
		if _, known := x.conn.Scope(t.Target.GroupVersionKind()); !known {
			refuse(t, x.conn.NotServed(t.Target))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func notValid(reasons []string) string {
	return "one or more synchronization tasks are not valid: " + strings.Join(reasons, "; ")
}
