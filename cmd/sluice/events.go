package main

import (
	"context"
	"os"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/eventlog"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

// Where the reasons of events may be chosen, besides the keys of
// argocd-cmd-params-cm.
const (
	eventsFlag     = "enable-k8s-event"
	eventsVariable = "ARGOCD_ENABLE_K8S_EVENT"
)

// apiComponent is the component of events about what the API did.
const apiComponent = "argocd-server"

// reasons are those of which events are made: what the flag or its variable
// says, or else what argocd-cmd-params-cm says at the time, in
// server.enable.k8s.event for the API and in controller.enable.k8s.event for
// all others (spec/observability.md §3).
func (f *serverFlags) reasons(params func() map[string]string) eventlog.Reasons {
	given := f.changed != nil && f.changed(eventsFlag) || os.Getenv(eventsVariable) != ""
	return func(component string) []string {
		key := "controller.enable.k8s.event"
		if component == apiComponent {
			key = "server.enable.k8s.event"
		}
		if list := listOf(params()[key], ","); len(list) > 0 && !given {
			return list
		}
		return f.events
	}
}

// eventLabels gives the labels that events about an object of ours carry, as
// argocd-cm says, from what the cache of the hub knows of the object. Events
// about an Application carry those of its AppProject in namespace, too.
func eventLabels(ctx context.Context, hub client.Reader, namespace string, argocdCM func() map[string]string) eventlog.Labeller {
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
		sets := []map[string]string{o.GetLabels()}
		if app, ok := o.(*v1alpha1.Application); ok {
			var project v1alpha1.AppProject
			if hub.Get(ctx, client.ObjectKey{Namespace: namespace, Name: policy.ProjectName(app)}, &project) == nil {
				sets = append(sets, project.GetLabels())
			}
		}
		return eventlog.Labels(config, sets...)
	}
}
