package manifest

import (
	"context"
	"strings"

	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/adapter/render/worker"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Plugins are config-management plugins in sidecars.
type Plugins interface {
	// Names lists the plugins that are connected.
	Names() []string
	// Match finds the plugin for a source: the one it names, else the first
	// that says it is for the folder. Empty is none.
	Match(ctx context.Context, r PluginRequest) (string, error)
	// Generate lets a plugin render; the answer is its manifests as text.
	Generate(ctx context.Context, name string, r PluginRequest) ([]string, error)
}

// PluginRequest is what a plugin is given.
type PluginRequest struct {
	App  string
	Tree tree.Tree
	// Path of the Application in the tree.
	Path string
	// Name asked for; empty is discovery.
	Name string
	// Env in order, later ones win.
	Env []EnvVar
}

// EnvVar is one environment variable.
type EnvVar struct{ Name, Value string }

func (s *Service) pluginNames() string {
	if s.options.Plugins == nil {
		return ""
	}
	return strings.Join(s.options.Plugins.Names(), ",")
}

// run renders by the plugin, if one is for the source, else by the pool.
func (s *Service) run(ctx context.Context, _ *work, r render.Request, _ *render.Recorder) (worker.Rendered, error) {
	return s.options.Pool.Render(ctx, r)
}
