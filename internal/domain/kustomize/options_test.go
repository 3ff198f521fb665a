package kustomize_test

import (
	"testing"

	"github.com/sluice-cd/sluice/internal/domain/kustomize"
)

func TestBuildOptions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]kustomize.BuildOptions{
		"": {}, "--enable-helm": {Helm: true}, "--enable-helm=false": {}, " --load-restrictor LoadRestrictionsNone  --enable-helm": {Helm: true, Unrestricted: true},
		"--load-restrictor=LoadRestrictionsRootOnly": {}, "--reorder none": {Unsorted: true}, "--reorder=legacy --enable-managedby-label": {Legacy: true, ManagedBy: true},
	} {
		if got, err := kustomize.ParseBuildOptions(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"--enable-exec", "--enable-alpha-plugins", "--helm-command /bin/sh", "--helm-command=/bin/sh", "--network", "--mount x", "-o /etc/x", "--output /etc/x",
		"/etc", "--enable-star", "--load-restrictor x", "--reorder", "--env A=B", "--", "--enable-helm;id",
	} {
		if got, err := kustomize.ParseBuildOptions(text); err == nil {
			t.Errorf("%q is allowed: %+v", text, got)
		}
	}
}
