package main

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/eventlog"
)

// eventLabels gives the labels that events about an object of ours carry, as
// argocd-cm says, from what the cache of the hub knows of the object.
func eventLabels(ctx context.Context, hub client.Reader, argocdCM func() map[string]string) eventlog.Labeller {
	return func(ref corev1.ObjectReference) map[string]string {
		config := argocdCM()
		if config["resource.includeEventLabelKeys"] == "" {
			return nil
		}
		var o client.Object
		switch ref.Kind {
		case "Application":
			o = &v1alpha1.Application{}
		case "ApplicationSet":
			o = &v1alpha1.ApplicationSet{}
		case "AppProject":
			o = &v1alpha1.AppProject{}
		default:
			return nil
		}
		if hub.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, o) != nil {
			return nil // it is gone, and its labels with it
		}
		return eventlog.Labels(config, o.GetLabels())
	}
}
