package application

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

// pass is one handling of one Application.
type pass struct {
	*Controller
	log *slog.Logger
	key types.NamespacedName
	// before is what is stored, app what will be.
	before, app *v1alpha1.Application
	instance    string
	project     *v1alpha1.AppProject
	cluster     destination.Cluster
	conn        *cluster.Connection
	refresh     v1alpha1.RefreshType
	// moved says that the pass is for a new revision of a source only.
	moved  bool
	again  time.Duration
	events []event
	// closed says in words which sync window holds the Application back now.
	closed string
	// ended says that an operation has ended, aside that what is looked at is
	// not the target but what is held, adrift why drift from it is not known.
	ended, aside bool
	// local says that what is looked at are the manifests of the operation.
	local  bool
	adrift string
	// started says that an automated sync was begun, later that the write of
	// the status was put off until nothing else is to be done.
	started, later bool
	// since is when what is not written yet was first found, plain that a sync
	// to what was compared would only apply objects.
	since time.Time
	plain bool
	// hurry says that what is not written must not wait for more.
	hurry   bool
	showing *showing
}

type event struct{ kind, reason, message string }

func newPass(c *Controller, app *v1alpha1.Application, log *slog.Logger) *pass {
	p := &pass{Controller: c, log: log, key: client.ObjectKeyFromObject(app), before: app, app: app.DeepCopy()}
	p.instance = object.Instance(app, c.Namespace)
	if v, ok := app.Annotations[v1alpha1.AnnotationRefresh]; ok {
		p.refresh = v1alpha1.RefreshNormal
		if v == string(v1alpha1.RefreshHard) {
			p.refresh = v1alpha1.RefreshHard
		}
	}
	return p
}

// soon asks to be called again after d, or earlier if someone else asked so.
func (p *pass) soon(d time.Duration) {
	if d > 0 && (p.again == 0 || d < p.again) {
		p.again = d
	}
}

// run is the table of contents of a pass.
func (p *pass) run(ctx context.Context) (time.Duration, error) {
	defer p.shown()
	if err := p.locate(ctx); err != nil {
		return p.invalid(ctx, err)
	}
	p.mu.Lock()
	p.byInstance[p.instance] = p.key
	p.mu.Unlock()
	if p.app.DeletionTimestamp != nil {
		return p.finalize(ctx)
	}
	if err := p.follow(p.key, p.project.Name, p.app.Spec.GetSources()); err != nil {
		return p.invalid(ctx, err)
	}
	p.holder(ctx)
	if state := p.conn.State(); state.Status != cluster.StatusSuccessful {
		return p.unreachable(ctx, state)
	}
	for range 2 { // a sync that was begun is carried on at once
		p.started = false
		if err := p.operate(ctx); err != nil {
			return p.again, err
		}
		p.compare(ctx)
		p.review()
		p.automate(ctx)
		p.showWindow()
		p.showHold()
		delete(p.app.Annotations, v1alpha1.AnnotationRefresh)
		if !p.noted(ctx) {
			if err := p.save(ctx); err != nil {
				return p.again, err
			}
		}
		if !p.started {
			break
		}
		p.refresh, p.moved, p.ended = "", false, false
	}
	if p.started {
		p.soon(time.Millisecond)
	}
	p.keep(ctx)
	return p.again, nil
}

// locate finds project and cluster, and checks that one may use the other.
func (p *pass) locate(ctx context.Context) error {
	name := policy.ProjectName(p.app)
	snapshot := p.Settings.Snapshot()
	var err error
	p.cluster, err = snapshot.Clusters.Resolve(p.app.Spec.Destination.Server, p.app.Spec.Destination.Name)
	if err != nil {
		return fmt.Errorf("spec.destination: %w", err)
	}
	p.lanes.settle(p.key, p.cluster.Server)
	var project v1alpha1.AppProject
	if err := p.Cache.Get(ctx, types.NamespacedName{Namespace: p.Namespace, Name: name}, &project); err != nil {
		return fmt.Errorf("spec.project: Application referencing project %s which does not exist: create the AppProject or correct the field", name)
	}
	p.project = snapshot.Effective(&project, func(name string) *v1alpha1.AppProject { return p.global(ctx, name) })
	if !policy.Namespace(p.project, p.app.Namespace, p.Namespace) {
		return fmt.Errorf("application '%s' in namespace '%s' is not permitted to use project '%s'", p.app.Name, p.app.Namespace, name)
	}
	if len(p.app.Spec.GetSources()) == 0 {
		return fmt.Errorf("spec.source is empty: set spec.source or spec.sources")
	}
	for _, src := range p.app.Spec.GetSources() {
		if !policy.Source(p.project, src.RepoURL) {
			return fmt.Errorf("spec.source.repoURL: application repo %s is not permitted in project '%s': add it to spec.sourceRepos of the project", src.RepoURL, name)
		}
	}
	if !policy.Destination(p.project, p.cluster, p.app.Spec.Destination.Namespace) {
		return fmt.Errorf("spec.destination: application destination server '%s' and namespace '%s' do not match any of the allowed destinations in project '%s'",
			p.cluster.Server, p.app.Spec.Destination.Namespace, name)
	}
	p.conn, err = p.Clusters.Connection(p.cluster.Server)
	return err
}

// global is a project whose rules others inherit; nil when there is none.
func (p *pass) global(ctx context.Context, name string) *v1alpha1.AppProject {
	var project v1alpha1.AppProject
	if err := p.Cache.Get(ctx, types.NamespacedName{Namespace: p.Namespace, Name: name}, &project); err != nil {
		return nil
	}
	return &project
}

// invalid ends the pass of an Application whose spec cannot be followed.
func (p *pass) invalid(ctx context.Context, err error) (time.Duration, error) {
	if p.app.DeletionTimestamp != nil && p.cluster.Server == "" {
		p.app.Finalizers = without(p.app.Finalizers, slices.Concat(cascadeFinalizers, preFinalizers, postFinalizers)...)
		return 0, p.save(ctx)
	}
	p.unknown(specConditions, condition(v1alpha1.ConditionInvalidSpecError, err.Error()))
	if p.app.Operation != nil {
		if state := p.app.Status.OperationState; state == nil || state.Phase.Completed() {
			p.begin()
		}
		p.finish(v1alpha1.OperationError, "InvalidSpecError: "+err.Error())
	}
	delete(p.app.Annotations, v1alpha1.AnnotationRefresh)
	return 0, p.save(ctx)
}

// unreachable says what is known of an Application on a cluster that does not
// answer: nothing. A running operation waits.
func (p *pass) unreachable(ctx context.Context, state cluster.State) (time.Duration, error) {
	text := p.silence(state)
	if p.app.Operation != nil {
		if p.app.Status.OperationState == nil || p.app.Status.OperationState.Phase.Completed() {
			p.begin()
		}
		p.app.Status.OperationState.Message = "waiting for " + text
	}
	p.unknown(compareConditions, condition(v1alpha1.ConditionComparisonError, "Failed to load live state: "+text))
	return 0, p.save(ctx)
}

// silence words that the cluster does not answer.
func (p *pass) silence(state cluster.State) string {
	return fmt.Sprintf("cluster %s does not answer: %s", p.cluster.Name, state.Message)
}

// unknown says that sync and health cannot be told, and why.
func (p *pass) unknown(owned []string, why v1alpha1.ApplicationCondition) {
	p.conditions(owned, why)
	p.app.Status.Sync.Status = v1alpha1.SyncStatusUnknown
	p.health(v1alpha1.HealthUnknown)
}

// automate starts a sync when the policy asks for one.
func (p *pass) automate(ctx context.Context) {
	d := p.decide(ctx)
	if p.automationHeld(d.Operation != nil || d.Wait > 0) {
		return // the result of the last attempt stays as it is
	}
	if d.Operation != nil && p.owes() { // the last one is shown before the next one begins
		p.hurry = true
		p.soon(time.Millisecond)
		return
	}
	p.soon(d.Wait)
	if d.Refused != "" {
		p.conditions([]string{v1alpha1.ConditionSyncError}, condition(v1alpha1.ConditionSyncError, d.Refused))
	} else {
		p.conditions([]string{v1alpha1.ConditionSyncError})
	}
	if d.Operation != nil {
		p.app.Operation = d.Operation
		p.begin() // stored with the comparison that asks for it, before the first act
		p.started = true
		if d.Hold != nil { // stored with it too: nothing else may take its place
			p.holdOn(d.Hold)
		}
		p.tell(corev1.EventTypeNormal, "OperationStarted", fmt.Sprintf("Initiated automated sync to '%s'", strings.Join(asked(d.Operation.Sync), ",")))
	}
}

func revisions(s v1alpha1.SyncStatus) []string {
	if len(s.Revisions) > 0 {
		return s.Revisions
	}
	if s.Revision == "" {
		return nil
	}
	return []string{s.Revision}
}

func (p *pass) tell(kind, reason, message string) {
	p.events = append(p.events, event{kind, reason, message})
}

// Condition types by who evaluates them: an evaluation replaces all of its own.
var (
	specConditions    = []string{v1alpha1.ConditionInvalidSpecError, v1alpha1.ConditionUnknownError}
	compareConditions = []string{
		v1alpha1.ConditionInvalidSpecError, v1alpha1.ConditionUnknownError, v1alpha1.ConditionComparisonError,
		v1alpha1.ConditionSharedResourceWarning, v1alpha1.ConditionRepeatedResourceWarning, v1alpha1.ConditionComparisonWarning,
		v1alpha1.ConditionExcludedResourceWarning, v1alpha1.ConditionOrphanedResourceWarning, v1alpha1.ConditionNestingWarning,
		v1alpha1.ConditionDependencyLoopWarning, v1alpha1.ConditionSelfManagedWarning,
	}
)

func condition(kind, message string) v1alpha1.ApplicationCondition {
	return v1alpha1.ApplicationCondition{Type: kind, Message: message}
}

// conditions replaces the conditions of the owned types; a condition that
// says the same keeps its time.
func (p *pass) conditions(owned []string, found ...v1alpha1.ApplicationCondition) {
	var next []v1alpha1.ApplicationCondition
	for _, c := range p.app.Status.Conditions {
		if !slices.Contains(owned, c.Type) {
			next = append(next, c)
		}
	}
	now := metav1.NewTime(p.Clock.Now()).Rfc3339Copy()
	for _, c := range found {
		c.LastTransitionTime = &now
		for _, old := range p.app.Status.Conditions {
			if old.Type == c.Type && old.Message == c.Message {
				c.LastTransitionTime = old.LastTransitionTime
			}
		}
		next = append(next, c)
	}
	slices.SortStableFunc(next, func(a, b v1alpha1.ApplicationCondition) int {
		return strings.Compare(a.Type+a.Message, b.Type+b.Message)
	})
	p.app.Status.Conditions = next
}

// health sets the Application's health and the time of a change.
func (p *pass) health(code v1alpha1.HealthStatusCode) {
	if p.app.Status.Health.Status == code {
		return
	}
	now := metav1.NewTime(p.Clock.Now()).Rfc3339Copy()
	p.app.Status.Health = v1alpha1.AppHealthStatus{Status: code, LastTransitionTime: &now}
}

// reconciledPause bounds how often an unchanged Application is written.
const reconciledPause = 10 * time.Minute

// save writes what changed, once, and only onto the version it was computed
// from.
func (p *pass) save(ctx context.Context) error {
	p.shown()
	if p.app.Status.ReconciledAt == nil {
		p.app.Status.ReconciledAt = p.before.Status.ReconciledAt
	}
	refreshed := p.before.Annotations[v1alpha1.AnnotationRefresh] != p.app.Annotations[v1alpha1.AnnotationRefresh]
	same := reflect.DeepEqual(p.before.Status, p.app.Status) && reflect.DeepEqual(p.before.Operation, p.app.Operation) &&
		maps.Equal(p.before.Annotations, p.app.Annotations) && slices.Equal(p.before.Finalizers, p.app.Finalizers)
	old := p.before.Status.ReconciledAt
	if same && !refreshed && old != nil && p.Clock.Since(old.Time) < reconciledPause {
		p.mu.Lock()
		delete(p.unwritten, p.key)
		p.mu.Unlock()
		return nil
	}
	if !refreshed && !p.hurry && p.putOff() {
		p.later = true
		return nil
	}
	if !refreshed && !p.hurry && p.await() {
		return nil
	}
	now := metav1.NewTime(p.Clock.Now()).Rfc3339Copy()
	p.app.Status.ReconciledAt = &now
	return p.patch(ctx)
}

// putOff says that nothing but the revision is new, which may be written when
// nothing else is to be done: a commit to a repository of a thousand
// Applications must not delay the one that it changes. A rollout waits for
// the revisions of its members, so theirs are written at once.
func (p *pass) putOff() bool {
	p.mu.Lock()
	waited := p.deferred[p.key]
	delete(p.deferred, p.key)
	p.mu.Unlock()
	if waited || p.app.Operation != nil || policy.Holder(p.app) != "" || !maps.Equal(p.before.Annotations, p.app.Annotations) ||
		!slices.Equal(p.before.Finalizers, p.app.Finalizers) || !reflect.DeepEqual(p.before.Operation, p.app.Operation) {
		return false
	}
	status := p.app.Status
	status.Sync.Revision, status.Sync.Revisions = p.before.Status.Sync.Revision, p.before.Status.Sync.Revisions
	if !reflect.DeepEqual(p.before.Status, status) {
		return false
	}
	p.mu.Lock()
	p.deferred[p.key] = true
	p.mu.Unlock()
	return true
}

// rebases bounds how often a write is repeated because somebody has put labels
// or annotations on the Application.
const rebases = 3

func (p *pass) patch(ctx context.Context) error {
	p.shown()
	written, err := p.put(ctx, p.before, p.app)
	for n := 0; n < rebases && apierrors.IsConflict(err); n++ {
		var now v1alpha1.Application
		if p.Client.Get(ctx, p.key, &now) != nil || !rebasable(p.before, &now) {
			return err
		}
		base := p.before.DeepCopy()
		base.ResourceVersion = now.ResourceVersion
		written, err = p.put(ctx, base, p.app)
	}
	if apierrors.IsNotFound(err) {
		p.started = false // it is gone, and nobody asks for a sync any more
		return nil
	}
	if err != nil {
		return err
	}
	p.announce(written)
	p.mu.Lock()
	p.written[p.key] = written // nobody changes it, nor p.before
	delete(p.unwritten, p.key)
	delete(p.ends, p.key)
	p.mu.Unlock()
	p.journal.drop(p.key)
	p.since, p.hurry = time.Time{}, false
	p.before, p.app = written, written.DeepCopy()
	p.watchers.tell(p.key)
	return nil
}

// put writes the difference between a stored version and what it is to be.
func (p *pass) put(ctx context.Context, base, next *v1alpha1.Application) (*v1alpha1.Application, error) {
	patch, err := client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}).Data(next)
	if err != nil {
		return nil, fmt.Errorf("Application %s: %w", p.key, err) //nolint:staticcheck // names an object
	}
	if !json.Valid(patch) {
		return nil, fmt.Errorf("Application %s: patch is not valid JSON", p.key) //nolint:staticcheck // names an object
	}
	written := next.DeepCopy()
	return written, p.Client.Patch(ctx, written, client.RawPatch(types.MergePatchType, patch))
}

// rebasable says that what has become of an Application since it was read
// changes nothing that a pass rests on: only labels and annotations are others.
// What they ask for is seen in the next pass.
func rebasable(read, now *v1alpha1.Application) bool {
	return read.UID == now.UID && read.DeletionTimestamp.Equal(now.DeletionTimestamp) && slices.Equal(read.Finalizers, now.Finalizers) &&
		reflect.DeepEqual(read.Spec, now.Spec) && reflect.DeepEqual(read.Status, now.Status) && reflect.DeepEqual(read.Operation, now.Operation)
}

// announce emits the events of a change that has been stored.
func (p *pass) announce(written *v1alpha1.Application) {
	a, b := p.before.Status, written.Status
	var changes []string
	if a.Sync.Status != "" && a.Sync.Status != b.Sync.Status {
		changes = append(changes, fmt.Sprintf("Updated sync status: %s -> %s", a.Sync.Status, b.Sync.Status))
	}
	if a.Health.Status != "" && a.Health.Status != b.Health.Status {
		changes = append(changes, fmt.Sprintf("Updated health status: %s -> %s", a.Health.Status, b.Health.Status))
	}
	if len(changes) > 0 { // one event, for each is a write to the hub
		p.tell(corev1.EventTypeNormal, "ResourceUpdated", strings.Join(changes, "; "))
	}
	where := map[string]string{"dest-server": p.cluster.Server, "dest-namespace": written.Spec.Destination.Namespace} // spec/observability.md §3
	for _, e := range p.events {
		p.Recorder.AnnotatedEventf(written, where, e.kind, e.reason, "%s", e.message)
		p.log.Info(e.message, "reason", e.reason)
	}
	p.events = nil
	p.metrics.describe(written, p.cluster.Server)
}

func without(list []string, drop ...string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(drop, s) })
}
