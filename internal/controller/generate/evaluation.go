package generate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
)

// evaluation is one evaluation of one set.
type evaluation struct {
	*Controller
	set *v1alpha1.ApplicationSet
	key types.NamespacedName
	log *slog.Logger
}

func (e *evaluation) run(ctx context.Context) (time.Duration, error) {
	refresh, fresh := e.set.Annotations[v1alpha1.AnnotationAppSetRefresh]
	if err := e.finalizer(ctx); err != nil {
		return 0, err
	}
	got, err := e.evaluate(ctx, e.set, mode{fresh: fresh})
	e.follow(e.key, got.project, slices.Clip(got.git))
	if err != nil {
		e.offerError("ApplicationGenerationFromParamsError", err.Error()+"; "+e.kept(), false)
		return got.wake, err
	}
	e.set = got.set
	for _, note := range got.rendered.Notes {
		e.log.Debug(note)
	}
	live, err := e.live(ctx, e.key.Namespace)
	if err != nil {
		return 0, err
	}
	if got.rules.DryRun {
		e.say(e.preview(ctx, got, live))
		return got.wake, nil
	}
	failure := errors.Join(got.rendered.Errors...)
	if len(got.rendered.Incomplete) > 0 {
		failure = errors.Join(failure, errors.New(strings.Join(got.rendered.Incomplete, "; ")))
	}
	d := e.decider(ctx, got)
	writeErr := e.write(ctx, got, d, live)
	ruling := appset.Ruling{}
	if failure == nil && writeErr == nil {
		ruling, writeErr = e.prune(ctx, got, d, live)
	}
	e.report(withMissing(e.set, got.rendered, live, failure), failure, writeErr, ruling)
	if fresh && writeErr == nil && failure == nil {
		writeErr = e.refreshed(ctx, refresh)
	}
	return got.wake, errors.Join(failure, writeErr)
}

// say logs what would be done.
func (e *evaluation) say(p *Preview) {
	counts := map[Action]int{}
	for _, c := range p.Changes {
		counts[c.Action]++
		if c.Action != None {
			e.log.Info("dry run", "application", c.Name, "action", string(c.Action), "reason", c.Reason)
		}
	}
	e.log.Info("dry run: nothing is written", "create", counts[Create], "update", counts[Update], "delete", counts[Delete], "errors", len(p.Errors))
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
	o.Set, o.Generation, o.Complete, o.Blind, o.Policy = e.key, e.set.Generation, false, !known, appliedPolicy(e.set)
	o.Conditions = []v1alpha1.ApplicationSetCondition{
		cond(v1alpha1.AppSetErrorOccurred, true, reason, message),
		cond(v1alpha1.AppSetParametersGenerated, generated, map[bool]string{true: "ParametersGenerated", false: "ErrorOccurred"}[generated], message),
		cond(v1alpha1.AppSetResourcesUpToDate, false, "ErrorOccurred", message),
	}
	o.Conditions = append(o.Conditions, e.guardStands()...)
	o.Conditions = append(o.Conditions, e.templatedProject()...)
	e.Offer(o)
}

// appliedPolicy is the policy of a set that is effective already.
func appliedPolicy(set *v1alpha1.ApplicationSet) string {
	if p := set.Spec.SyncPolicy; p != nil && p.ApplicationsSync != nil {
		return *p.ApplicationsSync
	}
	return ""
}

// templatedProject tells people once that parameters choose the project
// (spec/applicationset.md §5.6).
func (e *evaluation) templatedProject() []v1alpha1.ApplicationSetCondition {
	if !TemplatedProject(e.set) {
		return nil
	}
	var kinds []string
	for i, g := range e.set.Spec.Generators {
		kinds = append(kinds, fmt.Sprintf("generators[%d] (%s)", i, strings.Join(appset.Kinds(g), ", ")))
	}
	message := fmt.Sprintf("%s: whoever controls %s chooses the project of the Applications", appset.ProjectChoice(e.set), strings.Join(kinds, ", "))
	c := cond(v1alpha1.AppSetTemplatedProject, true, "ParametersChooseProject", message)
	told := slices.ContainsFunc(e.set.Status.Conditions, func(old v1alpha1.ApplicationSetCondition) bool { return old.Type == c.Type && old.Message == message })
	e.mu.Lock()
	told = told || e.templated[e.key] == message
	e.templated[e.key] = message
	e.mu.Unlock()
	if !told {
		e.Recorder.Event(e.set, corev1.EventTypeWarning, c.Type, message)
	}
	return []v1alpha1.ApplicationSetCondition{c}
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
	o := appset.Outcome{Set: e.key, Generation: e.set.Generation, Applications: r.Applications, Invalid: r.Invalid, Complete: failure == nil, Policy: appliedPolicy(e.set)}
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
	o.Conditions = append(o.Conditions, e.templatedProject()...)
	e.mu.Lock()
	e.last[e.key] = o
	if failure == nil {
		e.lastAt[e.key] = e.Clock.Now()
	}
	e.mu.Unlock()
	e.Offer(o)
}
