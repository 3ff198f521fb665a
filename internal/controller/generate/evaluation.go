package generate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

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

// globSetting switches the new patterns of git files on.
const globSetting = "applicationsetcontroller.enable.new.git.file.globbing"

// gitPause is how often a set with git generators is evaluated without cause.
const gitPause = 3 * time.Minute

func (e *evaluation) run(ctx context.Context) (time.Duration, error) {
	_, fresh := e.set.Annotations[v1alpha1.AnnotationAppSetRefresh]
	project := e.set.Spec.Template.Spec.Project
	if strings.Contains(project, "{{") {
		project = ""
	}
	if err := e.finalizer(ctx); err != nil {
		return 0, err
	}
	rendered, err := appset.Evaluate(e.set, appset.World{
		Clusters: e.Settings.Snapshot().Clusters, Unusable: e.Settings.Snapshot().Unusable, Go: e.Engine, TrackingLabel: e.Settings.Snapshot().Config["application.instanceLabelKey"],
		NewGlobs: e.NewGlobs || e.Settings.Snapshot().Params[globSetting] == "true",
		Tree: func(repoURL, revision string) (tree.Tree, error) {
			e.git = append(e.git, v1alpha1.ApplicationSource{RepoURL: repoURL, TargetRevision: revision, Path: "."})
			return e.Tree(ctx, project, repoURL, revision, fresh)
		},
	})
	e.follow(e.key, project, slices.Clip(e.git))
	if err != nil {
		e.offerError("ApplicationGenerationFromParamsError", err.Error()+"; "+e.kept(), false)
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
	if len(rendered.Incomplete) > 0 {
		failure = errors.Join(failure, errors.New(strings.Join(rendered.Incomplete, "; ")))
	}
	writeErr := e.write(ctx, rendered, owned)
	ruling := appset.Ruling{}
	if failure == nil && writeErr == nil {
		ruling, writeErr = e.prune(ctx, rendered, owned)
	}
	e.report(withMissing(e.set, rendered, owned, failure), failure, writeErr, ruling)
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
	o, known := e.last[e.key]
	e.mu.Unlock()
	o.Set, o.Generation, o.Complete, o.Blind = e.key, e.set.Generation, false, !known
	o.Conditions = []v1alpha1.ApplicationSetCondition{
		cond(v1alpha1.AppSetErrorOccurred, true, reason, message),
		cond(v1alpha1.AppSetParametersGenerated, generated, map[bool]string{true: "ParametersGenerated", false: "ErrorOccurred"}[generated], message),
		cond(v1alpha1.AppSetResourcesUpToDate, false, "ErrorOccurred", message),
	}
	o.Conditions = append(o.Conditions, e.guardStands()...)
	e.Offer(o)
}

// reasonDrop is the reason of condition DeletionGuarded.
const reasonDrop = "DropExceedsLimit"

// guardStands is the condition of a drop that was held back before: a failing
// evaluation neither ends nor repeats it.
func (e *evaluation) guardStands() []v1alpha1.ApplicationSetCondition {
	held := e.held()
	if len(held) == 0 {
		return nil
	}
	return []v1alpha1.ApplicationSetCondition{cond(v1alpha1.AppSetDeletionGuarded, true, reasonDrop, held[0])}
}

// kept says which answer of the generators stands while they fail.
func (e *evaluation) kept() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	at, known := e.lastAt[e.key]
	if !known {
		return "nothing is deleted; there has been no complete answer since this process started"
	}
	return "nothing is deleted; the last complete answer, of " + at.UTC().Format(time.RFC3339) + ", is used"
}

// report hands over the outcome of a complete evaluation.
func (e *evaluation) report(r *appset.Rendered, failure, writeErr error, ruling appset.Ruling) {
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
		reason, message = "RenderTemplateParamsError", failure.Error()+"; "+e.kept()
		if len(r.Errors) == 0 {
			reason = "ApplicationGenerationFromParamsError"
		}
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
	if failure != nil || writeErr != nil {
		o.Conditions = append(o.Conditions, e.guardStands()...)
	} else if ruling.Guarded != "" {
		o.Conditions = append(o.Conditions, cond(v1alpha1.AppSetDeletionGuarded, true, reasonDrop, ruling.Guarded))
	}
	e.mu.Lock()
	e.last[e.key] = o
	if failure == nil {
		e.lastAt[e.key] = e.Clock.Now()
	}
	e.mu.Unlock()
	e.Offer(o)
}
