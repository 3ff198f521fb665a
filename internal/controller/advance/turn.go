package advance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// turn is one advance of one set.
type turn struct {
	*Controller
	key     types.NamespacedName
	set     *v1alpha1.ApplicationSet
	state   *state
	outcome appset.Outcome
	live    map[string]*v1alpha1.Application
	log     *slog.Logger
}

// Bounds of a turn: rounds of decide, store, act, and how long changes that
// nobody waits for are collected.
const (
	maxRounds = 6
	coalesce  = 500 * time.Millisecond
)

func (t *turn) run(ctx context.Context) (time.Duration, error) {
	if err := t.read(ctx); err != nil {
		return 0, err
	}
	for range maxRounds {
		next, decision, ignored := t.decide(ctx)
		changed := !reflect.DeepEqual(next, t.set.Status)
		if changed && !t.urgent(next) {
			if rest := coalesce - t.Clock.Since(t.state.wroteAt); rest > 0 {
				changed = false
				decision.Wake = earlier(decision.Wake, rest)
			}
		}
		if changed {
			if err := t.store(ctx, next, ignored); err != nil {
				return 0, err
			}
		}
		if err := t.act(ctx, decision); err != nil {
			return 0, err
		}
		if !changed {
			return t.wake(decision), nil
		}
	}
	return time.Millisecond, nil
}

func earlier(a, b time.Duration) time.Duration {
	if a == 0 || b < a {
		return b
	}
	return a
}

func (t *turn) wake(d rollout.Decision) time.Duration {
	wake := d.Wake
	if r := t.set.Status.Rollout; r != nil && r.CurrentStep != 0 && t.Safety > 0 {
		wake = earlier(wake, t.Safety)
	}
	return wake
}

func pendingIn(s v1alpha1.ApplicationSetStatus) bool {
	return slices.ContainsFunc(s.ApplicationStatus, func(a v1alpha1.ApplicationSetAppStatus) bool {
		return a.Status == rollout.Pending || a.Reason == rollout.ReasonRefreshing
	})
}

// urgent says that somebody waits for this change.
func (t *turn) urgent(next v1alpha1.ApplicationSetStatus) bool {
	old := t.set.Status
	if (old.Rollout == nil) != (next.Rollout == nil) || pendingIn(next) {
		return true
	}
	if next.Rollout == nil {
		return false
	}
	return old.Rollout.ID != next.Rollout.ID || old.Rollout.Phase != next.Rollout.Phase || old.Rollout.CurrentStep != next.Rollout.CurrentStep
}

// read finds the live Applications of the set.
func (t *turn) read(ctx context.Context) error {
	var list v1alpha1.ApplicationList
	if err := t.Cache.List(ctx, &list, client.InNamespace(t.key.Namespace)); err != nil {
		return fmt.Errorf("list Applications: %w", err)
	}
	t.live = map[string]*v1alpha1.Application{}
	for i := range list.Items {
		app := &list.Items[i]
		if ref := metav1.GetControllerOf(app); ref != nil && ref.Kind == v1alpha1.ApplicationSetKind && ref.Name == t.key.Name {
			t.live[app.Name] = app
		}
	}
	return nil
}

// decide computes the next status and what may be done now.
func (t *turn) decide(ctx context.Context) (v1alpha1.ApplicationSetStatus, rollout.Decision, string) {
	next := *t.set.Status.DeepCopy()
	conditions := slices.Clone(t.outcome.Conditions)
	decision := rollout.Decision{}
	ignored, words := rollout.Ignored(t.set, t.Gate)
	if rollout.Rolling(t.set, t.Gate) {
		decision = rollout.Next(rollout.Input{Set: t.set, Members: t.members(ctx), Now: t.Clock.Now()})
		next.ApplicationStatus, next.Rollout = decision.Applications, decision.Rollout
		conditions = append(conditions, decision.Conditions...)
	} else {
		next.ApplicationStatus, next.Rollout = nil, nil
		if ignored != "" {
			conditions = append(conditions, v1alpha1.ApplicationSetCondition{Type: v1alpha1.AppSetStrategyIgnored, Status: "True", Reason: ignored, Message: words})
		}
	}
	next.Conditions = t.dated(conditions)
	next.Resources, next.ResourcesCount = t.resources()
	next.Health = health(next.Conditions)
	return next, decision, ignored
}

// members pairs rendered with live Applications and resolves their targets.
func (t *turn) members(ctx context.Context) []rollout.Member {
	revisions := map[source]func() (string, error){}
	wanted := map[source]v1alpha1.ApplicationSource{}
	var out []rollout.Member
	for i := range t.outcome.Applications {
		app := &t.outcome.Applications[i]
		m := rollout.Member{Rendered: app, Live: t.live[app.Name], Invalid: t.outcome.Invalid[app.Name]}
		annotations := app.Annotations
		if m.Live != nil {
			annotations = m.Live.Annotations
		}
		m.Class, m.Step = rollout.Classify(t.set, t.Gate, app, annotations)
		m.Target.SpecHash = specHash(app)
		for _, src := range app.Spec.GetSources() {
			key := source{policy.ProjectName(app), src.RepoURL, src.Chart, src.TargetRevision}
			wanted[key] = src
			if revisions[key] == nil {
				id, err := t.Resolve(ctx, key.project, src)
				revisions[key] = func() (string, error) { return id, err }
			}
			id, err := revisions[key]()
			if err != nil {
				m.Target.Problem = err.Error()
			}
			m.Target.Revisions = append(m.Target.Revisions, id)
		}
		out = append(out, m)
	}
	t.follow(wanted)
	return out
}

// follow keeps the set subscribed to the sources of its Applications.
func (t *turn) follow(wanted map[source]v1alpha1.ApplicationSource) {
	for key, src := range wanted {
		if t.state.following[key] != nil {
			continue
		}
		cancel, err := t.Subscribe(key.project, src, func() { t.queue.Add(t.key) })
		if err != nil {
			t.log.Warn("source not followed", "repository", src.RepoURL, "error", err.Error())
			continue
		}
		t.state.following[key] = cancel
	}
	for key, cancel := range t.state.following {
		if _, still := wanted[key]; !still {
			cancel()
			delete(t.state.following, key)
		}
	}
}

// specHash digests a rendered spec without the switch that the rollout sets.
func specHash(app *v1alpha1.Application) string {
	spec := app.Spec.DeepCopy()
	if spec.SyncPolicy != nil && spec.SyncPolicy.Automated != nil {
		spec.SyncPolicy.Automated.Enabled = nil
	}
	spec.Project = policy.ProjectName(app)
	raw, err := json.Marshal(spec)
	if err != nil {
		return "unknown"
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

// dated gives conditions their times: one that says the same keeps its own.
func (t *turn) dated(in []v1alpha1.ApplicationSetCondition) []v1alpha1.ApplicationSetCondition {
	now := metav1.NewTime(t.Clock.Now()).Rfc3339Copy()
	for i := range in {
		in[i].LastTransitionTime = &now
		for _, old := range t.set.Status.Conditions {
			if old.Type == in[i].Type && old.Status == in[i].Status && old.Reason == in[i].Reason && old.Message == in[i].Message {
				in[i].LastTransitionTime = old.LastTransitionTime
			}
		}
	}
	slices.SortFunc(in, func(a, b v1alpha1.ApplicationSetCondition) int { return strings.Compare(a.Type, b.Type) })
	return in
}

// maxResources bounds status.resources.
const maxResources = 5000

func (t *turn) resources() ([]v1alpha1.ResourceStatus, int64) {
	var out []v1alpha1.ResourceStatus
	for _, app := range t.live {
		out = append(out, v1alpha1.ResourceStatus{
			Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Kind: v1alpha1.ApplicationKind,
			Name: app.Name, Namespace: app.Namespace, Status: app.Status.Sync.Status,
			Health: &v1alpha1.HealthStatus{Status: app.Status.Health.Status},
		})
	}
	slices.SortFunc(out, func(a, b v1alpha1.ResourceStatus) int { return strings.Compare(a.Name, b.Name) })
	count := int64(len(out))
	return out[:min(len(out), maxResources)], count
}

func health(conditions []v1alpha1.ApplicationSetCondition) *v1alpha1.HealthStatus {
	on := map[string]v1alpha1.ApplicationSetCondition{}
	for _, c := range conditions {
		if c.Status == "True" {
			on[c.Type] = c
		}
	}
	for _, rule := range []struct {
		condition string
		code      v1alpha1.HealthStatusCode
	}{
		{v1alpha1.AppSetErrorOccurred, v1alpha1.HealthDegraded}, {v1alpha1.AppSetRolloutHalted, v1alpha1.HealthDegraded},
		{v1alpha1.AppSetRolloutPaused, v1alpha1.HealthSuspended}, {v1alpha1.AppSetRolloutProgressing, v1alpha1.HealthProgressing},
		{v1alpha1.AppSetResourcesUpToDate, v1alpha1.HealthHealthy},
	} {
		if c, ok := on[rule.condition]; ok {
			return &v1alpha1.HealthStatus{Status: rule.code, Message: c.Message}
		}
	}
	return &v1alpha1.HealthStatus{Status: v1alpha1.HealthUnknown}
}

// store writes the status onto the version it was computed from.
func (t *turn) store(ctx context.Context, next v1alpha1.ApplicationSetStatus, ignored string) error {
	written := t.set.DeepCopy()
	written.Status = next
	if err := t.Client.Status().Update(ctx, written); err != nil {
		return err
	}
	t.announce(t.set.Status, next)
	t.metrics.describe(t.key, &next, ignored)
	t.set = written
	t.state.written, t.state.wroteAt = written.DeepCopy(), t.Clock.Now()
	return nil
}

// act carries out what the stored record permits.
func (t *turn) act(ctx context.Context, d rollout.Decision) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for _, op := range d.Operations {
		if t.state.issued[op.Application] == op.ID {
			continue
		}
		app := t.live[op.Application]
		if app == nil {
			continue
		}
		t.state.issued[op.Application] = op.ID
		group.Go(func() error {
			err := t.issue(gctx, app, op)
			if err == nil {
				t.log.Info("sync requested", "application", op.Application, "operation", op.ID, "revisions", strings.Join(op.Revisions, ","))
			}
			return err
		})
	}
	for _, name := range d.Refreshes {
		app := t.live[name]
		group.Go(func() error {
			next := app.DeepCopy()
			if next.Annotations == nil {
				next.Annotations = map[string]string{}
			}
			next.Annotations[v1alpha1.AnnotationRefresh] = string(v1alpha1.RefreshNormal)
			err := t.Client.Patch(gctx, next, client.MergeFrom(app))
			return client.IgnoreNotFound(err)
		})
	}
	err := group.Wait()
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		clear(t.state.issued) // the Application moved: look again with fresh eyes
		t.queue.AddAfter(t.key, 20*time.Millisecond)
		return nil
	}
	if err != nil {
		clear(t.state.issued)
	}
	return err
}

// issue requests one operation; it never replaces one that is there.
func (t *turn) issue(ctx context.Context, app *v1alpha1.Application, op rollout.Operation) error {
	if app.Operation != nil {
		return nil
	}
	next := app.DeepCopy()
	sync := &v1alpha1.SyncOperation{}
	next.Operation = &v1alpha1.Operation{
		Sync: sync, InitiatedBy: v1alpha1.OperationInitiator{Username: "applicationset-controller", Automated: true},
		Info: []*v1alpha1.Info{
			{Name: "Reason", Value: "ApplicationSet RollingSync triggered a sync of this Application resource"},
			{Name: rollout.OperationInfo, Value: op.ID},
		},
		Retry: v1alpha1.RetryStrategy{Limit: 5},
	}
	if len(app.Spec.Sources) > 0 {
		sync.Revisions = op.Revisions
	} else if len(op.Revisions) > 0 {
		sync.Revision = op.Revisions[0]
	}
	if p := app.Spec.SyncPolicy; p != nil {
		sync.SyncOptions = p.SyncOptions
		if p.Retry != nil {
			next.Operation.Retry = *p.Retry
		}
		sync.Prune = p.Automated != nil && p.Automated.Prune
	}
	result := "issued"
	err := t.Client.Patch(ctx, next, client.MergeFromWithOptions(app, client.MergeFromWithOptimisticLock{}))
	if err != nil {
		result = "refused"
	}
	t.metrics.operations.WithLabelValues(t.key.Namespace, t.key.Name, result).Inc()
	return err
}
