package manifest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/plugin"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/adapter/render/worker"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

func (s *Service) pluginNames() string {
	if s.options.Plugins == nil {
		return ""
	}
	return strings.Join(s.options.Plugins.Names(), ",")
}

// run renders by the plugin, if one is for the source, else by the pool
// (spec/wire.md §4.5).
func (s *Service) run(ctx context.Context, w *work, r render.Request, rec *render.Recorder) (worker.Rendered, error) {
	if s.options.Plugins == nil || r.Source.Plugin == nil && len(s.options.Plugins.Names()) == 0 {
		return s.options.Pool.Render(ctx, r)
	}
	source, kind, err := render.Detect(r)
	if err != nil {
		return worker.Rendered{}, err
	}
	block := source.Plugin != nil
	if kind != render.TypePlugin && (block || source.Helm != nil || source.Kustomize != nil || source.Directory != nil) {
		return s.options.Pool.Render(ctx, r)
	}
	request := plugin.Request{Tree: rec.Unrecorded(), Path: source.Path, Env: pluginEnvironment(r, source)}
	wanted := ""
	if block {
		wanted = source.Plugin.Name
	}
	for _, read := range pluginReads(source.Path, w.GeneratePaths) {
		rec.Below(read)
	}
	name, err := s.options.Plugins.Find(ctx, wanted, request)
	if err != nil {
		if !block {
			return s.options.Pool.Render(ctx, r) // none is for this folder
		}
		return worker.Rendered{Type: render.TypePlugin}, fmt.Errorf("CMP processing failed for application %q: %w", r.App.Instance, err)
	}
	if s.options.Params()["reposerver.plugin.use.manifest.generate.paths"] == "true" {
		request.Root = commonRoot(source.Path, w.GeneratePaths)
	}
	request.Loan = func(ctx context.Context) (plugin.Loan, error) { return s.loan(ctx, r.App.Project, r.Source) }
	out := worker.Rendered{Type: render.TypePlugin, Used: everything}
	if w.GeneratePaths != "" {
		out.Used &^= render.UsesRevision // another one that touches none of the paths brings nothing new
	}
	documents, err := s.options.Plugins.Generate(ctx, name, request)
	if err != nil {
		return out, fmt.Errorf("CMP processing failed for application %q: error generating manifests in cmp: %w", r.App.Instance, err)
	}
	var objects []*unstructured.Unstructured
	for i, d := range documents {
		more, err := render.Decode([]byte(d), fmt.Sprintf("%s: output %d of plugin %s", source.Path, i+1, name))
		if err != nil {
			return out, err
		}
		objects = append(objects, more...)
	}
	out.Objects, err = worker.Encode(objects)
	return out, err
}

// loan is what a plugin may be lent of the credentials of a source (spec/wire.md
// §4.9).
func (s *Service) loan(ctx context.Context, project string, src v1alpha1.ApplicationSource) (plugin.Loan, error) {
	r := s.options.Repository(src.RepoURL, project)
	at, err := repo.Parse(r.URL)
	if err != nil || kindOf(src) != repo.Git || !r.HasCredentials() {
		return plugin.Loan{}, nil //nolint:nilerr // what is no Git repository with credentials has none to lend
	}
	l := plugin.Loan{
		Present: true, Username: r.Username, Password: r.Password.Reveal(), BearerToken: r.BearerToken.Reveal(), SSHPrivateKey: r.SSHPrivateKey.Reveal(), KnownHosts: r.KnownHosts,
		ClientCertificate: r.TLSClientCertData, ClientKey: r.TLSClientCertKey.Reveal(), SSH: at.Scheme == "ssh", Insecure: r.Insecure, ForceBasic: r.ForceHTTPBasicAuth,
	}
	if r.GitHubApp.PrivateKey != "" {
		token, err := s.options.Mirrors.Token(ctx, r)
		if err != nil {
			return plugin.Loan{}, err
		}
		l.Username, l.Password = "", token
	}
	return l, nil
}

// pluginEnvironment is what a plugin gets, in this order (spec/wire.md §4.6).
func pluginEnvironment(r render.Request, source v1alpha1.ApplicationSource) []plugin.EnvVar {
	var out []plugin.EnvVar
	known := map[string]string{}
	add := func(name, value string) { out = append(out, plugin.EnvVar{Name: name, Value: value}) }
	for _, e := range append(render.BuildEnvironment(r), [2]string{"KUBE_VERSION", strings.TrimPrefix(r.KubeVersion, "v")},
		[2]string{"KUBE_API_VERSIONS", strings.Join(slices.Sorted(slices.Values(r.APIVersions)), ",")}) {
		known[e[0]] = e[1]
		add(e[0], e[1])
	}
	if source.Plugin == nil {
		return out
	}
	for _, e := range source.Plugin.Env {
		add("ARGOCD_ENV_"+e.Name, render.Expand(e.Value, func(name string) string { return known[name] }))
	}
	var all []map[string]any
	for _, p := range source.Plugin.Parameters {
		one := map[string]any{"name": p.Name}
		if p.String != nil {
			one["string"] = *p.String
		}
		if p.Map != nil {
			one["map"] = p.Map
		}
		if p.Array != nil {
			one["array"] = p.Array
		}
		all = append(all, one)
	}
	raw, err := json.Marshal(all)
	if err != nil {
		raw = []byte("null") // strings always have a JSON form
	}
	add("ARGOCD_APP_PARAMETERS", string(raw))
	for _, p := range source.Plugin.Parameters {
		upper := "PARAM_" + variableName(p.Name)
		if p.String != nil {
			add(upper, *p.String)
		}
		for _, key := range slices.Sorted(maps.Keys(p.Map)) {
			add(upper+"_"+variableName(key), p.Map[key])
		}
		for i, value := range p.Array {
			add(fmt.Sprintf("%s_%d", upper, i), value)
		}
	}
	return out
}

// variableName writes a name as an environment variable.
func variableName(name string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' {
			return c
		}
		return '_'
	}, strings.ToUpper(name))
}

// pluginReads are the paths that a plugin counts as having read: the whole tree,
// or what the annotation manifest-generate-paths names, and the folder of the
// Application. A commit that touches nothing of them brings nothing new.
func pluginReads(app, annotation string) []string {
	if annotation == "" {
		return []string{"."}
	}
	return append(generatePaths(app, annotation), path.Clean(app))
}

// generatePaths reads the annotation: paths of the repository with a leading
// slash, else below the folder of the Application; a pattern counts as the
// folder above it (spec/wire.md §4.10).
func generatePaths(app, annotation string) (out []string) {
	for _, entry := range strings.Split(annotation, ";") {
		if entry == "" {
			continue
		}
		if rooted, ok := strings.CutPrefix(entry, "/"); ok {
			entry = path.Clean(rooted)
		} else {
			entry = path.Join(app, entry)
		}
		parts := strings.Split(entry, "/")
		for i, p := range parts {
			if strings.ContainsAny(p, "*?[") || p == ".." {
				parts = parts[:i]
				break
			}
		}
		out = append(out, path.Clean(path.Join(parts...)))
	}
	return out
}

// commonRoot is the deepest folder with the path and every entry of the
// annotation manifest-generate-paths; empty is the root.
func commonRoot(app, annotation string) string {
	if annotation == "" {
		return ""
	}
	common := strings.Split(path.Clean(app), "/")
	for _, entry := range generatePaths(app, annotation) {
		parts := strings.Split(entry, "/")
		n := 0
		for n < min(len(common), len(parts)) && common[n] == parts[n] {
			n++
		}
		common = common[:n]
	}
	return path.Join(common...)
}
