package advance

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
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
	// answers are measurements to take in.
	answers []rollout.Measured
}

// maxRounds bounds the rounds of decide, store and act in a turn.
const maxRounds = 6

func (t *turn) run(ctx context.Context) (time.Duration, error) {
	if err := t.read(ctx); err != nil {
		return 0, err
	}
	t.mu.Lock()
	t.answers, t.state.measured = t.state.measured, nil
	t.mu.Unlock()
	for range maxRounds {
		next, decision, ignored := t.decide(ctx)
		changed := t.differs(next)
		if !changed {
			t.state.pace.unchanged()
		} else if rest := t.state.pace.rest(t.Clock.Now(), weigh(&t.set.Status, &next, decision), len(next.ApplicationStatus)); rest > 0 {
			changed = false
			decision.Wake, decision.Refreshes = earlier(decision.Wake, rest), nil
			t.giveBack()
		}
		if changed {
			if err := t.store(ctx, next, decision, ignored); err != nil {
				return 0, err
			}
			t.answers = nil
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

// differs says that a status is not the one that is stored.
func (t *turn) differs(next v1alpha1.ApplicationSetStatus) bool {
	return !equality.Semantic.DeepEqual(next, t.set.Status)
}

// giveBack keeps measurements for the turn that stores them.
func (t *turn) giveBack() {
	t.mu.Lock()
	t.state.measured = append(t.answers, t.state.measured...)
	t.mu.Unlock()
	t.answers = nil
}

func earlier(a, b time.Duration) time.Duration {
	if a == 0 || b < a {
		return b
	}
	return a
}

func (t *turn) wake(d rollout.Decision) time.Duration {
	wake := d.Wake
	if r := t.set.Status.Rollout; r != nil {
		t.metrics.stalled.WithLabelValues(t.key.Namespace, t.key.Name).Set(stalled(&t.set.Status, t.Clock.Now()))
		if r.CurrentStep != 0 && t.Safety > 0 {
			wake = earlier(wake, t.Safety)
		}
	}
	return wake
}

// read finds the live Applications of the set.
func (t *turn) read(ctx context.Context) error {
	var list v1alpha1.ApplicationList
	if err := t.Cache.List(ctx, &list, client.InNamespace(t.key.Namespace), client.MatchingFields{ownerIndex: t.key.Name}); err != nil {
		return fmt.Errorf("list Applications: %w", err)
	}
	t.live = map[string]*v1alpha1.Application{}
	for i := range list.Items {
		if app := &list.Items[i]; owned(app, t.set) {
			t.live[app.Name] = app
		}
	}
	return nil
}

// owned says that the Application belongs to this very set, not to one of the
// same name that is gone.
func owned(app *v1alpha1.Application, set *v1alpha1.ApplicationSet) bool {
	ref := metav1.GetControllerOf(app)
	return ref != nil && ref.Kind == v1alpha1.ApplicationSetKind && ref.Name == set.Name && ref.UID == set.UID
}

// decide computes the next status and what may be done now.
func (t *turn) decide(ctx context.Context) (v1alpha1.ApplicationSetStatus, rollout.Decision, string) {
	next := *t.set.Status.DeepCopy()
	conditions := slices.Clone(t.outcome.Conditions)
	decision := rollout.Decision{}
	if t.outcome.Blind {
		return t.blind(conditions), decision, ""
	}
	ignored, words := rollout.Ignored(t.set, t.Gate)
	if rollout.Rolling(t.set, t.Gate) {
		decision = rollout.Next(t.input(ctx))
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
	if size, ok := rollout.Fit(&next); !ok {
		return t.tooLarge(size), rollout.Decision{}, ignored
	}
	return next, decision, ignored
}

// blind keeps what is stored while nobody knows which Applications the set
// should have, and says what went wrong.
func (t *turn) blind(conditions []v1alpha1.ApplicationSetCondition) v1alpha1.ApplicationSetStatus {
	next := *t.set.Status.DeepCopy()
	for _, old := range next.Conditions {
		if !slices.ContainsFunc(conditions, func(c v1alpha1.ApplicationSetCondition) bool { return c.Type == old.Type }) {
			conditions = append(conditions, old)
		}
	}
	next.Conditions = t.dated(conditions)
	next.Health = health(next.Conditions)
	return next
}

// tooLarge keeps what is stored and says why nothing is decided.
func (t *turn) tooLarge(size int) v1alpha1.ApplicationSetStatus {
	next := *t.set.Status.DeepCopy()
	conditions := slices.DeleteFunc(next.Conditions, func(c v1alpha1.ApplicationSetCondition) bool { return c.Type == v1alpha1.AppSetErrorOccurred })
	next.Conditions = t.dated(append(conditions, v1alpha1.ApplicationSetCondition{
		Type: v1alpha1.AppSetErrorOccurred, Status: "True", Reason: "StatusTooLarge",
		Message: fmt.Sprintf("the status of ApplicationSet %s would take %d kB, more than can be stored: split the set", t.key, size>>10),
	}))
	next.Health = health(next.Conditions)
	return next
}

// input gathers everything that the planner decides on.
func (t *turn) input(ctx context.Context) rollout.Input {
	in := t.Facts.input(t.set)
	in.Watched, in.Measures, in.Measured = t.state.since, t.Measure != nil, t.answers
	var wanted map[source]v1alpha1.ApplicationSource
	in.Members, wanted = t.members(ctx, t.set, subject{
		applications: t.outcome.Applications, invalid: t.outcome.Invalid, live: t.live, hash: t.state.hash, sent: t.state.pending,
	})
	t.follow(wanted)
	t.state.prune(in.Members)
	return in
}

// prune forgets Applications that are gone, once there are many of them.
func (s *state) prune(members []rollout.Member) {
	if len(s.hashes)+len(s.sent) <= 4*len(members)+64 {
		return
	}
	known := make(map[string]bool, len(members))
	for i := range members {
		known[members[i].Name()] = true
	}
	gone := func(name string) bool { return !known[name] }
	maps.DeleteFunc(s.hashes, func(name string, _ hashed) bool { return gone(name) })
	maps.DeleteFunc(s.sent, func(name string, _ sent) bool { return gone(name) })
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

// hash digests a rendered spec without the switch that the rollout sets. The
// rendered Application is the same object until the next evaluation, so its
// digest is kept with it.
func (s *state) hash(app *v1alpha1.Application) string {
	if h, ok := s.hashes[app.Name]; ok && h.of == app {
		return h.text
	}
	text := specHash(app)
	s.hashes[app.Name] = hashed{of: app, text: text}
	return text
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
		{v1alpha1.AppSetRolloutPaused, v1alpha1.HealthSuspended}, {v1alpha1.AppSetRolloutAwaiting, v1alpha1.HealthSuspended}, {v1alpha1.AppSetRolloutProgressing, v1alpha1.HealthProgressing},
		{v1alpha1.AppSetResourcesUpToDate, v1alpha1.HealthHealthy},
	} {
		if c, ok := on[rule.condition]; ok {
			return &v1alpha1.HealthStatus{Status: rule.code, Message: c.Message}
		}
	}
	return &v1alpha1.HealthStatus{Status: v1alpha1.HealthUnknown}
}

// store writes the status onto the version it was computed from, and then
// tells what it brought.
func (t *turn) store(ctx context.Context, next v1alpha1.ApplicationSetStatus, d rollout.Decision, ignored string) error {
	written := t.set.DeepCopy()
	written.Status = next
	if err := t.Client.Status().Update(ctx, written); err != nil {
		return err
	}
	before := t.set.Status
	t.set = written
	t.state.written = written.DeepCopy()
	t.state.pace.wrote(t.Clock.Now())
	t.emit(append(t.changes(before, next), d.Events...))
	for reason, result := range map[string]string{rollout.ReasonManualSync: "foreign", rollout.ReasonTimedOut: "timeout"} {
		for range newly(reason, before, next) {
			t.counted(result)
		}
	}
	for _, e := range d.Events {
		if e.Reason == "RolloutRollbackStarted" {
			t.metrics.rollbacks.WithLabelValues(t.key.Namespace, t.key.Name).Inc()
		}
	}
	t.metrics.observe(t.key, before.Rollout, next.Rollout, t.Clock.Now())
	t.metrics.describe(t.key, &next, description{ignored: ignored, now: t.Clock.Now(), bytes: rollout.Size(&next), manual: d.Manual})
	return nil
}

// newly names Applications that have come to a reason between two stored
// statuses.
func newly(reason string, before, after v1alpha1.ApplicationSetStatus) []string {
	known := map[string]bool{}
	for i := range before.ApplicationStatus {
		if a := &before.ApplicationStatus[i]; a.Reason == reason {
			known[a.Application] = true
		}
	}
	var out []string
	for i := range after.ApplicationStatus {
		if a := &after.ApplicationStatus[i]; a.Reason == reason && !known[a.Application] {
			out = append(out, a.Application)
		}
	}
	return out
}
