package application

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

// watchHolders looks again at the Applications that an ApplicationSet holds
// when that set comes or goes.
func (c *Controller) watchHolders(ctx context.Context) error {
	sets, err := c.Cache.GetInformer(ctx, &v1alpha1.ApplicationSet{})
	if err != nil {
		return fmt.Errorf("watch ApplicationSets: %w", err)
	}
	look := func(o any) {
		set, ok := keyOf(o)
		if !ok {
			return
		}
		var list v1alpha1.ApplicationList
		if err := c.Cache.List(ctx, &list, client.InNamespace(set.Namespace)); err != nil {
			c.Log.Warn("Applications not listed", "error", err.Error())
			return
		}
		for i := range list.Items {
			if policy.Holder(&list.Items[i]) == set.Name {
				c.lanes.add(client.ObjectKeyFromObject(&list.Items[i]))
			}
		}
	}
	if _, err := sets.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: look, DeleteFunc: look}); err != nil {
		return fmt.Errorf("watch ApplicationSets: %w", err)
	}
	return nil
}

// holder shows when nobody is left who would sync the Application.
func (p *pass) holder(ctx context.Context) {
	owned := []string{v1alpha1.ConditionRolloutHolderGone}
	name := policy.Holder(p.app)
	if name == "" {
		p.conditions(owned)
		return
	}
	var set v1alpha1.ApplicationSet
	err := p.Cache.Get(ctx, types.NamespacedName{Namespace: p.app.Namespace, Name: name}, &set)
	switch {
	case err == nil:
		p.conditions(owned)
	case apierrors.IsNotFound(err):
		message := policy.HolderGone(name)
		before := len(p.app.Status.Conditions)
		p.conditions(owned, condition(v1alpha1.ConditionRolloutHolderGone, message))
		if len(p.app.Status.Conditions) > before {
			p.tell(corev1.EventTypeWarning, v1alpha1.ConditionRolloutHolderGone, message)
		}
	default:
		p.log.Warn("holder not read", "applicationset", name, "error", err.Error())
	}
}
