package application

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

const cleanupSuffix = "/cleanup"

var (
	cascadeFinalizers = []string{v1alpha1.FinalizerResources, v1alpha1.FinalizerResourcesForeground, v1alpha1.FinalizerResourcesBackground}
	preFinalizers     = []string{v1alpha1.FinalizerPreDelete, v1alpha1.FinalizerPreDelete + cleanupSuffix}
	postFinalizers    = []string{v1alpha1.FinalizerPostDelete, v1alpha1.FinalizerPostDelete + cleanupSuffix}
)

// finalizePause is the time between two looks at what is being deleted, for
// which no event comes.
const finalizePause = 2 * time.Second

// finalize is the table of contents of a deletion (spec/application.md §12):
// each step removes the finalizers that stand for it when it is done.
func (p *pass) finalize(ctx context.Context) (time.Duration, error) {
	steps := []struct {
		finalizers []string
		run        func(context.Context) (done bool, err error)
	}{
		{preFinalizers[:1], p.deletionHooks(syncplan.PreDelete)},
		{cascadeFinalizers, p.cascade},
		{postFinalizers[:1], p.deletionHooks(syncplan.PostDelete)},
		{preFinalizers[1:], p.deletionCleanup(syncplan.PreDelete)},
		{postFinalizers[1:], p.deletionCleanup(syncplan.PostDelete)},
	}
	for _, step := range steps {
		if !slices.ContainsFunc(step.finalizers, func(f string) bool { return slices.Contains(p.app.Finalizers, f) }) {
			continue
		}
		if state := p.conn.State(); state.Status != cluster.StatusSuccessful {
			p.deletionError(fmt.Sprintf("cluster %s does not answer: %s: deletion goes on when it does", p.cluster.Name, state.Message))
			return 0, p.save(ctx)
		}
		user, err := p.identity(false)
		if err != nil {
			p.deletionError(err.Error())
			return finalizePause, p.save(ctx)
		}
		done, err := step.run(cluster.As(ctx, user))
		if err != nil {
			p.deletionError(err.Error())
		}
		if err != nil || !done {
			return finalizePause, p.save(ctx)
		}
		p.conditions([]string{v1alpha1.ConditionDeletionError})
		p.app.Finalizers = without(p.app.Finalizers, step.finalizers...)
		if err := p.patch(ctx); err != nil { // written before the next step
			return 0, err
		}
	}
	return 0, nil
}

// deletionError notes why a deletion does not go on; what is new is told, too.
func (p *pass) deletionError(text string) {
	if !slices.ContainsFunc(p.app.Status.Conditions, func(c v1alpha1.ApplicationCondition) bool {
		return c.Type == v1alpha1.ConditionDeletionError && c.Message == text
	}) {
		p.tell(corev1.EventTypeWarning, "StatusRefreshed", "Unable to delete application resources: "+text)
	}
	p.conditions([]string{v1alpha1.ConditionDeletionError}, condition(v1alpha1.ConditionDeletionError, text))
}

// keepFinalizers makes the Application carry the finalizers of those hooks of
// its deletion that Git has.
func (p *pass) keepFinalizers(v *view) {
	pre, post := syncplan.DeletionPhases(v.hooks)
	for _, f := range []struct {
		wanted bool
		names  []string
	}{{pre, preFinalizers}, {post, postFinalizers}} {
		for _, name := range f.names {
			switch has := slices.Contains(p.app.Finalizers, name); {
			case f.wanted && !has:
				p.app.Finalizers = append(slices.Clone(p.app.Finalizers), name)
			case !f.wanted && has:
				p.app.Finalizers = without(p.app.Finalizers, name)
			}
		}
	}
}

// desiredNow renders what Git has at this moment, so that mending a hook there
// helps a deletion that hangs on it.
func (p *pass) desiredNow(ctx context.Context) (*view, error) {
	sources := p.app.Spec.GetSources()
	ids, err := p.resolve(ctx, sources, false)
	if err != nil {
		return nil, err
	}
	return p.look(ctx, sources, ids, asIs)
}

// deletionHooks runs the hooks of a phase to their end.
func (p *pass) deletionHooks(phase syncplan.Phase) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		v, err := p.desiredNow(ctx)
		if err != nil {
			return false, err
		}
		m := syncplan.Deletion(phase, v.hooks, p.assess(ctx, v))
		for _, h := range m.Create {
			if err := v.creatable(phase, h); err != nil {
				return false, err
			}
			if err := p.conn.Create(ctx, h.Target); err != nil && !apierrors.IsAlreadyExists(err) {
				return false, fmt.Errorf("%s hook %s: %s", phase, h.Key, cluster.Brief(h.Target, err))
			}
		}
		var failed []string
		for _, h := range m.Delete {
			failed = append(failed, h.Key.Namespace+"/"+h.Key.Name)
			if err := p.conn.Delete(ctx, h.Live, metav1.DeletePropagationForeground); err != nil {
				return false, fmt.Errorf("%s hook %s: %w", phase, h.Key, err)
			}
		}
		if len(failed) > 0 {
			return false, fmt.Errorf("%s hook(s) failed: %s", phase, strings.Join(failed, ", "))
		}
		return m.Done(), nil
	}
}

// creatable says why a hook of a deletion must not be created, nil when it may.
func (v *view) creatable(phase syncplan.Phase, h syncplan.Pair) error {
	if err := v.forbidden[h.Key]; err != nil {
		return fmt.Errorf("%s hook %s: %w", phase, h.Key, err)
	}
	if h.Target.GetName() == "" {
		return fmt.Errorf("%s hook %s has no name: set metadata.name", phase, h.Key)
	}
	return nil
}

// deletionCleanup removes the finished hooks that ask for it.
func (p *pass) deletionCleanup(phase syncplan.Phase) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		v, err := p.desiredNow(ctx)
		if err != nil {
			return false, err
		}
		for _, h := range syncplan.DeletionCleanup(phase, v.hooks, p.assess(ctx, v)) {
			if err := p.conn.Delete(ctx, h.Live, metav1.DeletePropagationForeground); err != nil {
				return false, fmt.Errorf("%s hook %s: %w", phase, h.Key, err)
			}
		}
		return true, nil
	}
}

// cascade deletes what the Application deployed, the highest wave first.
func (p *pass) cascade(ctx context.Context) (bool, error) {
	v := &view{}
	if err := p.observe(ctx, v, nil); err != nil {
		return false, err
	}
	if key, why := v.live.FirstUnread(); why != nil {
		return false, fmt.Errorf("%s can neither be listed nor read, so that nobody knows whether it is gone: %w", key, why)
	}
	doomed := p.doomed(v)
	if len(doomed) == 0 {
		return true, nil
	}
	if !p.approved(p.app.DeletionTimestamp.Time) {
		for _, live := range doomed {
			if syncplan.AsksConfirmation("Delete", live, p.specOptions()) {
				return false, fmt.Errorf("waiting for deletion confirmation of %s: set annotation %s to the present time", object.KeyOf(live), v1alpha1.AnnotationDeletionApproved)
			}
		}
	}
	propagation := metav1.DeletePropagationForeground
	if slices.Contains(p.app.Finalizers, v1alpha1.FinalizerResourcesBackground) {
		propagation = metav1.DeletePropagationBackground
	}
	highest := syncplan.Wave(slices.MaxFunc(doomed, func(a, b *unstructured.Unstructured) int { return syncplan.Wave(a) - syncplan.Wave(b) }))
	for _, live := range doomed {
		if syncplan.Wave(live) != highest {
			continue
		}
		if err := p.destroy(ctx, live, propagation); err != nil {
			return false, fmt.Errorf("%s: %w", object.KeyOf(live), err)
		}
	}
	return false, nil
}

// destroy deletes one object. A hook of an operation that was cut off still
// carries the finalizer that kept it until its result was read: nobody will
// read it any more.
func (p *pass) destroy(ctx context.Context, live *unstructured.Unstructured, propagation metav1.DeletionPropagation) error {
	if slices.Contains(live.GetFinalizers(), syncplan.HookFinalizer) {
		if err := p.conn.RemoveFinalizer(ctx, live, syncplan.HookFinalizer); err != nil {
			return err
		}
	}
	if live.GetDeletionTimestamp() != nil {
		return nil
	}
	return p.conn.Delete(ctx, live, propagation)
}

// doomed lists the live objects that go with the Application.
func (p *pass) doomed(v *view) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for key, live := range v.live.Live {
		owner, self := p.systemRules().tracking.Owner(live)
		itself := key.Group == "argoproj.io" && key.Kind == "Application" && key.Name == p.app.Name && key.Namespace == p.app.Namespace
		switch {
		case !self, owner != p.instance, key.Kind == "CustomResourceDefinition", len(live.GetOwnerReferences()) > 0, itself:
		case syncplan.Kept(live, p.specOptions()), live.GetAnnotations()["helm.sh/resource-policy"] == "keep", !p.permits(live):
		default:
			out = append(out, live)
		}
	}
	return out
}

// permits says that the project lets the Application manage the object: what
// it does not permit is out of sight.
func (p *pass) permits(live *unstructured.Unstructured) bool {
	key := object.KeyOf(live)
	namespaced, _ := p.conn.Scope(live.GroupVersionKind())
	return policy.Manage(p.project, p.cluster, policy.Object{Group: key.Group, Kind: key.Kind, Namespace: key.Namespace, Name: key.Name, Namespaced: namespaced}) == nil
}
