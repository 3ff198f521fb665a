package core

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/inspect"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// maxRehearsed bounds the Applications that are compared at the same time.
const maxRehearsed = 4

// Reconcile compares Applications as their controller would, and gives what
// their status would say, in their order. It takes one cluster after the other,
// so that of many clusters only one is held in memory. Nothing is written.
func (e *Engine) Reconcile(ctx context.Context, apps []v1alpha1.Application) ([]v1alpha1.ApplicationStatus, error) {
	known := e.o.Settings().Clusters
	clusters, on := map[string]destination.Clusters{}, map[string][]int{}
	for i := range apps {
		d := apps[i].Spec.Destination
		found, err := known.Resolve(d.Server, d.Name)
		if err == nil {
			clusters[found.Server] = destination.Clusters{found}
		}
		on[found.Server] = append(on[found.Server], i) // those that lead nowhere say so without a cluster
	}
	out := make([]v1alpha1.ApplicationStatus, len(apps))
	for _, server := range slices.Sorted(maps.Keys(on)) {
		if err := e.reconcileOn(ctx, clusters[server], on[server], func(i int) (*v1alpha1.Application, *v1alpha1.ApplicationStatus) { return &apps[i], &out[i] }); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (e *Engine) reconcileOn(ctx context.Context, to destination.Clusters, which []int, at func(int) (*v1alpha1.Application, *v1alpha1.ApplicationStatus)) error {
	o := e.connect(to, object.TrackingOf(e.o.Settings().Config))
	defer o.end()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxRehearsed)
	for _, i := range which {
		group.Go(func() error {
			app, into := at(i)
			key := client.ObjectKeyFromObject(app)
			status, err := o.reader.Reconciled(ctx, inspect.Seen{NamespacedName: key, ResourceVersion: app.ResourceVersion})
			if err != nil {
				return fmt.Errorf("Application %s: %w", key, err) //nolint:staticcheck // names an object
			}
			*into = *status
			return nil
		})
	}
	return group.Wait()
}
