package manifest

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/domain/kustomize"
)

// toolSettings reads argocd-cm and argocd-cmd-params-cm (spec/config.md §2.4,
// §5) for one source.
func (s *Service) toolSettings(src v1alpha1.ApplicationSource) (render.Settings, error) {
	config, params := s.options.Config(), s.options.Params()
	off := func(key string) bool { v := config[key]; return v != "" && v != "true" }
	t := render.Settings{
		KustomizeDisabled: off("kustomize.enable"), HelmDisabled: off("helm.enable"), JsonnetDisabled: off("jsonnet.enable"),
		RemoteBases: config["kustomize.remoteBases.enable"] == "true",
	}
	options := config["kustomize.buildOptions"]
	if k := src.Kustomize; k != nil && k.Version != "" {
		own, registered := config["kustomize.buildOptions."+k.Version]
		if registered {
			options = own
		}
		for _, key := range []string{"kustomize.path.", "kustomize.version."} {
			_, known := config[key+k.Version]
			registered = registered || known
		}
		if !registered {
			return t, fmt.Errorf("kustomize version %s is not registered", k.Version)
		}
	}
	var err error
	if t.Kustomize, err = kustomize.ParseBuildOptions(options); err != nil {
		return t, fmt.Errorf("ConfigMap/argocd-cm: %w", err)
	}
	if schemes, set := config["helm.valuesFileSchemes"]; set {
		t.ValuesSchemes = []string{}
		for _, one := range strings.Split(schemes, ",") {
			if one = strings.ToLower(strings.TrimSpace(one)); one != "" && !slices.Contains(t.ValuesSchemes, one) {
				t.ValuesSchemes = append(t.ValuesSchemes, one)
			}
		}
	}
	if raw := params["reposerver.max.combined.directory.manifests.size"]; raw != "" {
		q, err := resource.ParseQuantity(raw)
		if err != nil || q.Value() <= 0 {
			return t, fmt.Errorf("ConfigMap/argocd-cmd-params-cm: key reposerver.max.combined.directory.manifests.size: %q is not a size like 10M", raw)
		}
		t.MaxDirectoryBytes = q.Value()
	}
	return t, nil
}
