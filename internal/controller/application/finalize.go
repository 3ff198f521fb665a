package application

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

var cascadeFinalizers = []string{v1alpha1.FinalizerResources, v1alpha1.FinalizerResourcesForeground, v1alpha1.FinalizerResourcesBackground}

// finalize deletes what the Application deployed, the highest wave first, and
// then lets the Application go.
func (p *pass) finalize(ctx context.Context) (time.Duration, error) {
	cascade := slices.ContainsFunc(p.app.Finalizers, func(f string) bool { return slices.Contains(cascadeFinalizers, f) })
	if !cascade {
		return 0, nil
	}
	if state := p.conn.State(); state.Status != cluster.StatusSuccessful {
		p.conditions([]string{v1alpha1.ConditionDeletionError}, condition(v1alpha1.ConditionDeletionError,
			fmt.Sprintf("cluster %s does not answer: %s: deletion goes on when it does", p.cluster.Name, state.Message)))
		return 0, p.save(ctx)
	}
	v := &view{}
	if err := p.observe(ctx, v, nil); err != nil {
		return 0, err
	}
	doomed := p.doomed(v)
	if len(doomed) == 0 {
		p.app.Finalizers = without(p.app.Finalizers, cascadeFinalizers...)
		return 0, p.save(ctx)
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
			p.conditions([]string{v1alpha1.ConditionDeletionError}, condition(v1alpha1.ConditionDeletionError,
				fmt.Sprintf("%s: %s", object.KeyOf(live), err.Error())))
			p.soon(2 * time.Second)
			return p.again, p.save(ctx)
		}
	}
	return 2 * time.Second, p.save(ctx)
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
		owner, self := object.Owner(live)
		switch {
		case !self, owner != p.instance, key.Kind == "CustomResourceDefinition", len(live.GetOwnerReferences()) > 0:
		case syncplan.Option(live, "Delete=false"), live.GetAnnotations()["helm.sh/resource-policy"] == "keep":
		default:
			out = append(out, live)
		}
	}
	return out
}
