package application

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/signature"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// Settings of argocd-cm that bound what a request may ask for.
const (
	overrideForRevisionKey = "application.sync.requireOverridePrivilegeForRevisionSync"
	manualOnlyKey          = "application.rollback.requireManualSync"
)

// SyncResource is an object that a sync is limited to, or that it leaves out.
type SyncResource struct {
	Group     string `json:"group,omitempty"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
	Exclude   bool   `json:"exclude,omitempty"`
}

// SyncOptions are options of one sync, in place of those of the spec.
type SyncOptions struct {
	Items []string `json:"items,omitempty"`
}

// SyncRequest begins a sync.
type SyncRequest struct {
	Target
	Revision        string                  `json:"revision,omitempty"`
	DryRun          bool                    `json:"dryRun,omitempty"`
	Prune           bool                    `json:"prune,omitempty"`
	Strategy        *v1alpha1.SyncStrategy  `json:"strategy,omitempty"`
	Resources       []SyncResource          `json:"resources,omitempty"`
	Manifests       []string                `json:"manifests,omitempty"`
	Infos           []*v1alpha1.Info        `json:"infos,omitempty"`
	RetryStrategy   *v1alpha1.RetryStrategy `json:"retryStrategy,omitempty"`
	SyncOptions     *SyncOptions            `json:"syncOptions,omitempty"`
	SourcePositions []int64                 `json:"sourcePositions,omitempty"`
	Revisions       []string                `json:"revisions,omitempty"`
}

// Sync puts an operation on an Application. The checks come in the order of
// spec/api.md §3.
func (s *Service) Sync(ctx context.Context, c *route.Call, q *SyncRequest) (*v1alpha1.Application, error) {
	app, err := s.find(c, q.Target, "get")
	if err != nil {
		return nil, err
	}
	project, err := s.projectOf(app)
	if err != nil {
		return nil, err
	}
	op := &v1alpha1.Operation{
		Sync:        &v1alpha1.SyncOperation{Prune: q.Prune, DryRun: q.DryRun, SyncStrategy: q.Strategy, Manifests: q.Manifests},
		InitiatedBy: v1alpha1.OperationInitiator{Username: username(c)}, Info: q.Infos,
	}
	if v := policy.SyncWindow(project, app, op, time.Time{}, s.Clock.Now()); !v.Allowed {
		return nil, fault.New(fault.PermissionDenied, "cannot sync: blocked by sync window")
	}
	if err := s.may(c, "sync", app); err != nil {
		return nil, err
	}
	if err := s.local(c, app, project, q); err != nil {
		return nil, err
	}
	if err := deleting(app); err != nil {
		return nil, err
	}
	shown, named, err := s.revisions(ctx, c, app, op.Sync, q)
	if err != nil {
		return nil, err
	}
	if !named {
		op.Info = append(slices.Clone(op.Info), &v1alpha1.Info{Name: v1alpha1.InfoTarget, Value: shown})
	}
	if err := s.options(app, op, q); err != nil {
		return nil, err
	}
	if op.Sync.Resources, err = selected(app, q.Resources); err != nil {
		return nil, err
	}
	message := "initiated sync to " + shown
	switch {
	case len(q.Manifests) > 0:
		message = "initiated sync locally"
	case len(q.Resources) > 0:
		message = "initiated partial sync to " + shown
	}
	return s.operate(ctx, c, app, op, message)
}

func username(c *route.Call) string {
	if c.Who.Name != "" {
		return c.Who.Name
	}
	return c.Who.Subject
}

func automated(app *v1alpha1.Application) bool {
	p := app.Spec.SyncPolicy
	return p != nil && p.Automated != nil && yes(p.Automated.Enabled) && policy.Holder(app) == ""
}

// local judges manifests that come with the request.
func (s *Service) local(c *route.Call, app *v1alpha1.Application, project *v1alpha1.AppProject, q *SyncRequest) error {
	if len(q.Manifests) == 0 {
		return nil
	}
	if err := s.may(c, "override", app); err != nil {
		return err
	}
	if automated(app) && !q.DryRun {
		return fault.New(fault.FailedPrecondition, "cannot use local sync when Automatic Sync Policy is enabled unless for dry run")
	}
	if signature.Demanded(project) {
		return fault.New(fault.FailedPrecondition, "cannot use local sync when signature keys are required.")
	}
	if len(app.Spec.Sources) > 0 {
		return fault.New(fault.FailedPrecondition, "cannot use local sync for an application with several sources: the manifests stand for one source only")
	}
	for i, text := range q.Manifests {
		u := &unstructured.Unstructured{}
		if err := json.Unmarshal([]byte(text), &u.Object); err != nil || u.GetKind() == "" || u.GetAPIVersion() == "" || u.GetName() == "" && u.GetGenerateName() == "" {
			return fault.New(fault.InvalidArgument, "manifests[%d] is no Kubernetes object in JSON", i)
		}
		if u.GetKind() == "Secret" && u.GetAPIVersion() == "v1" { // it would be readable in the Application; the controller leaves Secrets alone
			masked, err := s.text(u)
			if err != nil {
				return err
			}
			q.Manifests[i] = masked
		}
	}
	return nil
}

// revisions resolves what is to be synced and puts it into the operation; it
// returns how people read it, and whether the request named another revision
// than the target.
func (s *Service) revisions(ctx context.Context, c *route.Call, app *v1alpha1.Application, op *v1alpha1.SyncOperation, q *SyncRequest) (shown string, named bool, err error) {
	sources := app.Spec.GetSources()
	asked := make([]string, len(sources))
	switch {
	case len(q.Revisions) != len(q.SourcePositions):
		return "", false, fault.New(fault.InvalidArgument, "revisions and sourcePositions have different lengths: each revision needs the position of its source")
	case len(app.Spec.Sources) > 0:
		for i, at := range q.SourcePositions {
			if at < 1 || int(at) > len(sources) {
				return "", false, fault.New(fault.InvalidArgument, "sourcePositions[%d] is %d: the application has sources 1 to %d", i, at, len(sources))
			}
			asked[at-1] = q.Revisions[i]
		}
	case len(sources) > 0:
		asked[0] = q.Revision
	}
	var resolved []string
	for i, src := range sources {
		if asked[i] != "" && asked[i] != src.TargetRevision {
			if err := s.otherRevision(c, app, asked[i], q.DryRun); err != nil {
				return "", false, err
			}
			named = true
			src.TargetRevision = asked[i]
		}
		if s.renderer() == nil || len(q.Manifests) > 0 {
			resolved = append(resolved, src.TargetRevision)
			continue
		}
		id, err := s.renderer().Resolve(ctx, policy.ProjectName(app), src, true)
		if err != nil {
			return "", false, fault.New(fault.FailedPrecondition, "cannot resolve revision %q: %w", src.TargetRevision, err)
		}
		resolved = append(resolved, id)
	}
	if len(app.Spec.Sources) > 0 {
		op.Revisions = resolved
	} else if len(resolved) > 0 {
		op.Revision = resolved[0]
	}
	return strings.Join(resolved, ", "), named, nil
}

// otherRevision judges a revision that the spec does not name.
func (s *Service) otherRevision(c *route.Call, app *v1alpha1.Application, revision string, dryRun bool) error {
	if s.Hub.Config("argocd-cm")[overrideForRevisionKey] == "true" {
		if err := s.may(c, "override", app); err != nil {
			return err
		}
	}
	if s.strict() && automated(app) && !dryRun {
		return fault.New(fault.FailedPrecondition, "Cannot sync to %s: auto-sync currently set to %s", revision, app.Spec.GetSources()[0].TargetRevision)
	}
	return nil
}

// options fills in sync options and retries: those of the request replace those
// of the spec.
func (s *Service) options(app *v1alpha1.Application, op *v1alpha1.Operation, q *SyncRequest) error {
	if p := app.Spec.SyncPolicy; p != nil {
		op.Sync.SyncOptions = slices.Clone(p.SyncOptions)
		if p.Retry != nil {
			op.Retry = *p.Retry
		}
	}
	if q.SyncOptions != nil {
		op.Sync.SyncOptions = slices.Clone(q.SyncOptions.Items)
	}
	if q.RetryStrategy != nil {
		op.Retry = *q.RetryStrategy
	}
	if !s.ReplaceAllowed && slices.Contains(op.Sync.SyncOptions, "Replace=true") {
		return fault.New(fault.FailedPrecondition, "sync with replace was disabled on the API Server level via the server configuration")
	}
	return nil
}

// selected lists what a sync is limited to. Names that are left out are turned
// into the names that are not.
func selected(app *v1alpha1.Application, asked []SyncResource) ([]v1alpha1.SyncOperationResource, error) {
	var out []v1alpha1.SyncOperationResource
	var excluded []SyncResource
	for i, r := range asked {
		if r.Kind == "" || r.Name == "" {
			return nil, fault.New(fault.InvalidArgument, "resources[%d] needs kind and name", i)
		}
		if r.Exclude {
			excluded = append(excluded, r)
			continue
		}
		out = append(out, v1alpha1.SyncOperationResource{Group: r.Group, Kind: r.Kind, Name: r.Name, Namespace: r.Namespace})
	}
	if len(excluded) == 0 {
		return out, nil
	}
	hit := func(r v1alpha1.SyncOperationResource) bool {
		return slices.ContainsFunc(excluded, func(e SyncResource) bool {
			return wild(e.Group, r.Group) && wild(e.Kind, r.Kind) && wild(e.Name, r.Name) && (e.Namespace == "" || wild(e.Namespace, r.Namespace))
		})
	}
	if len(out) == 0 {
		for _, r := range app.Status.Resources {
			out = append(out, v1alpha1.SyncOperationResource{Group: r.Group, Kind: r.Kind, Name: r.Name, Namespace: r.Namespace})
		}
	}
	if out = slices.DeleteFunc(out, hit); len(out) == 0 {
		return nil, fault.New(fault.InvalidArgument, "resources: everything is excluded, nothing is left to sync")
	}
	return out, nil
}

func wild(pattern, value string) bool { return pattern == "*" || pattern == value }

// operate puts an operation on the Application unless one runs.
func (s *Service) operate(ctx context.Context, c *route.Call, app *v1alpha1.Application, op *v1alpha1.Operation, message string) (*v1alpha1.Application, error) {
	uid := app.UID
	next, err := s.change(ctx, c, client.ObjectKeyFromObject(app), message, func(a *v1alpha1.Application) error {
		switch {
		case a.UID != uid:
			return fault.New(fault.Aborted, "the application was made anew: read it again")
		case a.Operation != nil:
			return fault.New(fault.FailedPrecondition, "another operation is already in progress")
		}
		if err := deleting(a); err != nil {
			return err
		}
		a.Operation = op
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("set operation: %w", err)
	}
	return next, nil
}

// RollbackRequest begins a sync to an entry of the history.
type RollbackRequest struct {
	Target
	ID     int64 `json:"id"`
	DryRun bool  `json:"dryRun,omitempty"`
	Prune  bool  `json:"prune,omitempty"`
}

// Rollback deploys what an entry of the history names, without hooks and
// without a change of the spec (spec/application.md §11).
func (s *Service) Rollback(ctx context.Context, c *route.Call, q *RollbackRequest) (*v1alpha1.Application, error) {
	app, err := s.find(c, q.Target, "sync")
	if err != nil {
		return nil, err
	}
	if err := deleting(app); err != nil {
		return nil, err
	}
	if automated(app) && s.strict() {
		return nil, fault.New(fault.FailedPrecondition, "rollback cannot be initiated when auto-sync is enabled")
	}
	at := slices.IndexFunc(app.Status.History, func(h v1alpha1.RevisionHistory) bool { return h.ID == q.ID })
	if at < 0 {
		return nil, fault.New(fault.InvalidArgument, "application %s does not have deployment with id %d", app.Name, q.ID)
	}
	h := app.Status.History[at]
	op := &v1alpha1.Operation{
		Sync: &v1alpha1.SyncOperation{
			Revision: h.Revision, Revisions: h.Revisions, Sources: h.Sources, Prune: q.Prune, DryRun: q.DryRun,
			SyncStrategy: &v1alpha1.SyncStrategy{Apply: &v1alpha1.SyncStrategyApply{}},
		},
		InitiatedBy: v1alpha1.OperationInitiator{Username: username(c)},
	}
	if len(h.Sources) == 0 {
		op.Sync.Source = h.Source.DeepCopy()
	}
	if p := app.Spec.SyncPolicy; p != nil {
		op.Sync.SyncOptions = slices.Clone(p.SyncOptions)
	}
	return s.operate(ctx, c, app, op, fmt.Sprintf("initiated rollback to %d", q.ID))
}

// TerminateRequest ends the running operation.
type TerminateRequest struct{ Target }

// Terminate asks the controller to end the running operation.
func (s *Service) Terminate(ctx context.Context, c *route.Call, q *TerminateRequest) (*Empty, error) {
	app, err := s.find(c, q.Target, "sync")
	if err != nil {
		return nil, err
	}
	_, err = s.change(ctx, c, client.ObjectKeyFromObject(app), "terminated running operation", func(a *v1alpha1.Application) error {
		if a.Operation == nil || a.Status.OperationState == nil {
			return fault.New(fault.InvalidArgument, "Unable to terminate operation. No operation is in progress")
		}
		a.Status.OperationState.Phase = v1alpha1.OperationTerminating
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Empty{}, nil
}

// Window is a sync window as this call shows it.
type Window struct {
	Kind       string `json:"kind"`
	Schedule   string `json:"schedule"`
	Duration   string `json:"duration"`
	ManualSync bool   `json:"manualSync"`
}

// Windows are the sync windows of an Application.
type Windows struct {
	ActiveWindows   []Window `json:"activeWindows,omitempty"`
	AssignedWindows []Window `json:"assignedWindows,omitempty"`
	// CanSync says that a sync by hand may begin now.
	CanSync bool `json:"canSync"`
}

// WindowsQuery asks for the sync windows of an Application.
type WindowsQuery struct{ Target }

// SyncWindows lists the windows of the project that concern an Application.
func (s *Service) SyncWindows(_ context.Context, c *route.Call, q *WindowsQuery) (*Windows, error) {
	app, err := s.find(c, q.Target, "get")
	if err != nil {
		return nil, err
	}
	project, err := s.projectOf(app)
	if err != nil {
		return nil, err
	}
	now := s.Clock.Now()
	assigned := windowsOf(project, app)
	manual := &v1alpha1.Operation{}
	return &Windows{
		ActiveWindows: shown(assigned.Active(now)), AssignedWindows: shown(assigned.Windows()),
		CanSync: policy.SyncWindow(project, app, manual, time.Time{}, now).Allowed,
	}, nil
}

func shown(windows []v1alpha1.SyncWindow) []Window {
	var out []Window
	for _, w := range windows {
		out = append(out, Window{Kind: w.Kind, Schedule: w.Schedule, Duration: w.Duration, ManualSync: w.ManualSync})
	}
	return out
}
