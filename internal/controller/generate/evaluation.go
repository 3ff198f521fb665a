package generate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// evaluation is one evaluation of one set.
type evaluation struct {
	*Controller
	set *v1alpha1.ApplicationSet
	key types.NamespacedName
	log *slog.Logger
	git []v1alpha1.ApplicationSource
}

// Policies for created Applications.
const (
	createOnly   = "create-only"
	createUpdate = "create-update"
	createDelete = "create-delete"
)

func (e *evaluation) policy() string {
	if p := e.set.Spec.SyncPolicy; p != nil && p.ApplicationsSync != nil {
		return *p.ApplicationsSync
	}
	return "sync"
}

// writersAtOnce bounds the writes of one evaluation at a time.
const writersAtOnce = 10

// gitPause is how often a set with git generators is evaluated without cause.
const gitPause = 3 * time.Minute

func (e *evaluation) run(ctx context.Context) (time.Duration, error) {
	_, fresh := e.set.Annotations[v1alpha1.AnnotationAppSetRefresh]
	project := e.set.Spec.Template.Spec.Project
	if strings.Contains(project, "{{") {
		project = ""
	}
	rendered, err := appset.Evaluate(e.set, appset.World{
		Clusters: e.Settings.Snapshot().Clusters, Go: e.Engine, TrackingLabel: e.Settings.Snapshot().Config["application.instanceLabelKey"],
		Tree: func(repoURL, revision string) (tree.Tree, error) {
			e.git = append(e.git, v1alpha1.ApplicationSource{RepoURL: repoURL, TargetRevision: revision, Path: "."})
			return e.Tree(ctx, project, repoURL, revision, fresh)
		},
	})
	e.follow(e.key, project, slices.Clip(e.git))
	if err != nil {
		e.offerError("ApplicationGenerationFromParamsError", err.Error(), false)
		return 0, err
	}
	for _, note := range rendered.Notes {
		e.log.Debug(note)
	}
	if err := e.validate(ctx, rendered); err != nil {
		return 0, err
	}
	owned, err := e.owned(ctx)
	if err != nil {
		return 0, err
	}
	failure := errors.Join(rendered.Errors...)
	writeErr := e.write(ctx, rendered, owned)
	guard := ""
	if failure == nil && writeErr == nil {
		guard, writeErr = e.prune(ctx, rendered, owned)
	}
	e.report(rendered, failure, writeErr, guard)
	if fresh && writeErr == nil && failure == nil {
		writeErr = e.unmark(ctx, v1alpha1.AnnotationAppSetRefresh)
	}
	if len(e.git) > 0 {
		return gitPause, errors.Join(failure, writeErr)
	}
	return 0, errors.Join(failure, writeErr)
}

// validate notes which Applications must not be written.
func (e *evaluation) validate(ctx context.Context, r *appset.Rendered) error {
	projects := map[string]bool{}
	for i := range r.Applications {
		app := &r.Applications[i]
		if r.Invalid[app.Name] != "" {
			continue
		}
		name := policy.ProjectName(app)
		exists, known := projects[name]
		if !known {
			var project v1alpha1.AppProject
			err := e.Cache.Get(ctx, types.NamespacedName{Namespace: e.set.Namespace, Name: name}, &project)
			if err != nil && !apierrors.IsNotFound(err) {
				return err
			}
			exists = err == nil
			projects[name] = exists
		}
		if !exists {
			r.Invalid[app.Name] = fmt.Sprintf("application %s: spec.project: project %s does not exist: create the AppProject or correct the template", app.Name, name)
			continue
		}
		d := app.Spec.Destination
		if _, err := e.Settings.Snapshot().Clusters.Resolve(d.Server, d.Name); err != nil {
			r.Invalid[app.Name] = fmt.Sprintf("application %s: spec.destination: %s", app.Name, err)
		}
	}
	return nil
}

func (e *evaluation) owned(ctx context.Context) (map[string]*v1alpha1.Application, error) {
	var list v1alpha1.ApplicationList
	if err := e.Cache.List(ctx, &list, client.InNamespace(e.set.Namespace)); err != nil {
		return nil, fmt.Errorf("list Applications: %w", err)
	}
	out := map[string]*v1alpha1.Application{}
	for i := range list.Items {
		out[list.Items[i].Name] = &list.Items[i]
	}
	return out, nil
}

func ownedBy(app *v1alpha1.Application, set *v1alpha1.ApplicationSet) bool {
	ref := metav1.GetControllerOf(app)
	return ref != nil && ref.Kind == v1alpha1.ApplicationSetKind && ref.Name == set.Name
}

// write creates and updates what differs; one failure does not stop others.
func (e *evaluation) write(ctx context.Context, r *appset.Rendered, live map[string]*v1alpha1.Application) error {
	var guard sync.Mutex
	failures := map[string]error{}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(writersAtOnce)
	for i := range r.Applications {
		app := &r.Applications[i]
		if r.Invalid[app.Name] != "" {
			continue
		}
		group.Go(func() error {
			if err := e.one(gctx, app, live[app.Name]); err != nil && !apierrors.IsConflict(err) {
				guard.Lock()
				failures[app.Name] = err
				guard.Unlock()
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if len(failures) == 0 {
		return nil
	}
	names := make([]string, 0, len(failures))
	for name := range failures {
		names = append(names, name)
	}
	slices.Sort(names)
	return fmt.Errorf("application %s: %w", names[0], failures[names[0]])
}

func (e *evaluation) one(ctx context.Context, rendered, live *v1alpha1.Application) error {
	if live == nil {
		app := Desired(e.set, e.Gate, rendered, nil)
		if err := e.Client.Create(ctx, app); err != nil {
			return client.IgnoreAlreadyExists(err) // the cache lags behind: look again on the watch event
		}
		e.Recorder.Event(e.set, corev1.EventTypeNormal, "created", fmt.Sprintf("created Application %q", app.Name))
		e.log.Info("created Application", "application", app.Name)
		return nil
	}
	if ref := metav1.GetControllerOf(live); ref != nil && !ownedBy(live, e.set) {
		return fmt.Errorf("is owned by %s %s: give it another name in spec.template.metadata.name", ref.Kind, ref.Name)
	}
	if p := e.policy(); p == createOnly || p == createDelete || live.DeletionTimestamp != nil {
		return nil
	}
	app := Desired(e.set, e.Gate, rendered, live)
	if equal(app, live) {
		return nil
	}
	patch := client.MergeFrom(live)
	if err := e.Client.Patch(ctx, app, patch); err != nil {
		return client.IgnoreNotFound(err)
	}
	e.Recorder.Event(e.set, corev1.EventTypeNormal, "updated", fmt.Sprintf("updated Application %q", app.Name))
	e.log.Info("updated Application", "application", app.Name)
	return nil
}

// prune deletes Applications that are no longer generated, unless the drop is
// suspicious; then it says so and deletes nothing.
func (e *evaluation) prune(ctx context.Context, r *appset.Rendered, live map[string]*v1alpha1.Application) (string, error) {
	if p := e.policy(); p == createOnly || p == createUpdate {
		return "", nil
	}
	wanted := map[string]bool{}
	for _, a := range r.Applications {
		wanted[a.Name] = true
	}
	var surplus []string
	total := 0
	for name, app := range live {
		if !ownedBy(app, e.set) {
			continue
		}
		total++
		if !wanted[name] && app.DeletionTimestamp == nil {
			surplus = append(surplus, name)
		}
	}
	slices.Sort(surplus)
	confirmed := e.set.Annotations[v1alpha1.AnnotationConfirmDeletion] == fmt.Sprint(len(surplus)) && len(surplus) > 0
	if !confirmed && Guarded(e.set, len(surplus), total) {
		return fmt.Sprintf("%d of %d Applications are no longer generated and are kept: %s: confirm with annotation %s=%d",
			len(surplus), total, strings.Join(surplus[:min(10, len(surplus))], ", "), v1alpha1.AnnotationConfirmDeletion, len(surplus)), nil
	}
	for _, name := range surplus {
		if err := e.remove(ctx, live[name]); err != nil {
			return "", fmt.Errorf("application %s: %w", name, err)
		}
	}
	if confirmed {
		return "", e.unmark(ctx, v1alpha1.AnnotationConfirmDeletion)
	}
	return "", nil
}

// remove deletes one Application; when its cluster is gone, without waiting
// for its resources.
func (e *evaluation) remove(ctx context.Context, app *v1alpha1.Application) error {
	d := app.Spec.Destination
	if _, err := e.Settings.Snapshot().Clusters.Resolve(d.Server, d.Name); err != nil && len(app.Finalizers) > 0 {
		bare := app.DeepCopy()
		bare.Finalizers = slices.DeleteFunc(bare.Finalizers, func(f string) bool { return strings.HasPrefix(f, v1alpha1.FinalizerResources) })
		if err := e.Client.Patch(ctx, bare, client.MergeFrom(app)); err != nil {
			return client.IgnoreNotFound(err)
		}
	}
	uid := app.UID
	if err := e.Client.Delete(ctx, app, client.Preconditions{UID: &uid}); err != nil {
		return client.IgnoreNotFound(err)
	}
	e.Recorder.Event(e.set, corev1.EventTypeNormal, "Deleted", fmt.Sprintf("Deleted Application %q", app.Name))
	e.log.Info("deleted Application", "application", app.Name)
	return nil
}

func (e *evaluation) unmark(ctx context.Context, annotation string) error {
	next := e.set.DeepCopy()
	delete(next.Annotations, annotation)
	return client.IgnoreNotFound(e.Client.Patch(ctx, next, client.MergeFrom(e.set)))
}

func cond(kind string, on bool, reason, message string) v1alpha1.ApplicationSetCondition {
	status := "False"
	if on {
		status = "True"
	}
	return v1alpha1.ApplicationSetCondition{Type: kind, Status: status, Reason: reason, Message: message}
}

// offerError hands over the last complete answer with what went wrong.
func (e *evaluation) offerError(reason, message string, generated bool) {
	e.mu.Lock()
	o := e.last[e.key]
	e.mu.Unlock()
	o.Set, o.Generation, o.Complete = e.key, e.set.Generation, false
	o.Conditions = []v1alpha1.ApplicationSetCondition{
		cond(v1alpha1.AppSetErrorOccurred, true, reason, message),
		cond(v1alpha1.AppSetParametersGenerated, generated, map[bool]string{true: "ParametersGenerated", false: "ErrorOccurred"}[generated], message),
		cond(v1alpha1.AppSetResourcesUpToDate, false, "ErrorOccurred", message),
	}
	e.Offer(o)
}

// report hands over the outcome of a complete evaluation.
func (e *evaluation) report(r *appset.Rendered, failure, writeErr error, guard string) {
	o := appset.Outcome{Set: e.key, Generation: e.set.Generation, Applications: r.Applications, Invalid: r.Invalid, Complete: failure == nil}
	invalid := ""
	for name, why := range r.Invalid {
		if invalid == "" || name > invalid {
			invalid = name
		}
		_ = why
	}
	reason, message := "", ""
	switch {
	case failure != nil:
		reason, message = "RenderTemplateParamsError", failure.Error()
	case invalid != "":
		reason, message = "ApplicationValidationError", r.Invalid[invalid]
		if n := len(r.Invalid) - 1; n > 0 {
			message += fmt.Sprintf(" (and %d more)", n)
		}
	case writeErr != nil:
		reason, message = "UpdateApplicationError", writeErr.Error()
	}
	const fine = "ApplicationSet has successfully synced"
	if reason == "" {
		o.Conditions = []v1alpha1.ApplicationSetCondition{
			cond(v1alpha1.AppSetErrorOccurred, false, "ApplicationSetUpToDate", fine),
			cond(v1alpha1.AppSetParametersGenerated, true, "ParametersGenerated", "Successfully generated parameters for all Applications"),
			cond(v1alpha1.AppSetResourcesUpToDate, true, "ApplicationSetUpToDate", fine),
		}
	} else {
		o.Conditions = []v1alpha1.ApplicationSetCondition{
			cond(v1alpha1.AppSetErrorOccurred, true, reason, message),
			cond(v1alpha1.AppSetParametersGenerated, failure == nil, map[bool]string{true: "ParametersGenerated", false: "ErrorOccurred"}[failure == nil], message),
			cond(v1alpha1.AppSetResourcesUpToDate, false, "ErrorOccurred", message),
		}
	}
	e.mu.Lock()
	if guard != "" {
		o.Conditions = append(o.Conditions, cond(v1alpha1.AppSetDeletionGuarded, true, "DropExceedsLimit", guard))
		if e.guarded[e.key] != guard {
			e.Recorder.Event(e.set, corev1.EventTypeWarning, "DeletionGuarded", guard)
		}
	}
	e.guarded[e.key] = guard
	e.last[e.key] = o
	e.mu.Unlock()
	e.Offer(o)
}

// release lets a set go that is being deleted: its Applications follow by
// garbage collection, or are let go when the policy forbids deletion.
func (c *Controller) release(ctx context.Context, set *v1alpha1.ApplicationSet) error {
	if !slices.Contains(set.Finalizers, v1alpha1.FinalizerResources) {
		return nil
	}
	e := &evaluation{Controller: c, set: set}
	if p := e.policy(); p == createOnly || p == createUpdate {
		live, err := e.owned(ctx)
		if err != nil {
			return err
		}
		for _, app := range live {
			if !ownedBy(app, set) {
				continue
			}
			free := app.DeepCopy()
			free.OwnerReferences = nil
			delete(free.Annotations, v1alpha1.AnnotationRolloutHeldBy)
			if err := c.Client.Patch(ctx, free, client.MergeFrom(app)); client.IgnoreNotFound(err) != nil {
				return err
			}
		}
	}
	next := set.DeepCopy()
	next.Finalizers = slices.DeleteFunc(next.Finalizers, func(f string) bool { return f == v1alpha1.FinalizerResources })
	return client.IgnoreNotFound(c.Client.Patch(ctx, next, client.MergeFrom(set)))
}
