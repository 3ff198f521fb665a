package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

// Where the namespaces of Applications are named besides the flag
// (spec/config.md §5).
const (
	namespacesVariable = "ARGOCD_APPLICATION_NAMESPACES"
	namespacesKey      = "application.namespaces"
)

// registerNamespaces adds the flag that servers and controllers have.
func (f *serverFlags) registerNamespaces(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.namespaces, "application-namespaces", listOf(os.Getenv(namespacesVariable), ","),
		"namespaces of Applications besides the control plane's: names, globs, /expressions/; env "+namespacesVariable+", also "+namespacesKey+" of argocd-cmd-params-cm")
}

// namespacesFrom takes the namespaces of Applications from argocd-cmd-params-cm
// when nothing else names any, once: they decide what is watched, and a change
// needs a restart.
func (f *serverFlags) namespacesFrom(params map[string]string) error {
	if len(f.namespaces) == 0 {
		f.namespaces = listOf(params[namespacesKey], ",")
	}
	var err error
	if f.apart, err = policy.ParseNamespaces(f.namespaces); err != nil {
		return fmt.Errorf("--application-namespaces, %s of ConfigMap/%s: %w", namespacesKey, settings.ParamsName, err)
	}
	return nil
}

// paramsAt reads argocd-cmd-params-cm; one that is not there says nothing.
func paramsAt(ctx context.Context, hub client.Reader, namespace string) (map[string]string, error) {
	var params corev1.ConfigMap
	if err := hub.Get(ctx, client.ObjectKey{Namespace: namespace, Name: settings.ParamsName}, &params); err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("ConfigMap/%s: %w", settings.ParamsName, err)
	}
	return params.Data, nil
}

// fromParams takes what decides what is watched, and whether, from
// argocd-cmd-params-cm where flags and variables are silent.
func (f *allFlags) fromParams(ctx context.Context, hub client.Reader) error {
	params, err := paramsAt(ctx, hub, f.namespace)
	if err != nil {
		return err
	}
	if err := errors.Join(f.server.namespacesFrom(params), f.sets.fromParams(ctx, hub, f.namespace)); err != nil {
		return err
	}
	return f.gateFromParams(ctx, hub)
}

// watches says whether Applications of a namespace are looked at: where they may
// live, and where sets may make them.
func (f *allFlags) watches(namespace string) bool {
	return f.server.apart.Has(namespace) || f.sets.rules.Watches(namespace, f.namespace)
}
