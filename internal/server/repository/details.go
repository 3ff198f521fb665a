package repository

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/tree"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// DetailsRequest asks what a source is made of.
type DetailsRequest struct {
	URL         string                     `json:"-" path:"repo"`
	Source      v1alpha1.ApplicationSource `json:"source"`
	AppName     string                     `json:"appName,omitempty"`
	AppProject  string                     `json:"appProject,omitempty"`
	SourceIndex int64                      `json:"sourceIndex,omitempty"`
	VersionID   int64                      `json:"versionId,omitempty"`
}

// Details is what a source is made of.
type Details struct {
	Type      string            `json:"type"`
	Helm      *HelmDetails      `json:"helm,omitempty"`
	Kustomize *KustomizeDetails `json:"kustomize,omitempty"`
	Directory *struct{}         `json:"directory,omitempty"`
	Plugin    *PluginDetails    `json:"plugin,omitempty"`
}

// HelmDetails is what a chart may be given.
type HelmDetails struct {
	Name           string                       `json:"name,omitempty"`
	ValueFiles     []string                     `json:"valueFiles,omitempty"`
	Parameters     []v1alpha1.HelmParameter     `json:"parameters,omitempty"`
	Values         string                       `json:"values,omitempty"`
	FileParameters []v1alpha1.HelmFileParameter `json:"fileParameters,omitempty"`
}

// KustomizeDetails is what a kustomization names.
type KustomizeDetails struct {
	Images []string `json:"images,omitempty"`
}

// PluginDetails is what a plugin announces.
type PluginDetails struct {
	ParametersAnnouncement []struct{} `json:"parametersAnnouncement,omitempty"`
}

// Details says what a source is made of: for an Application that exists, one of
// its present or former sources; for a new one, any that its project permits.
func (s *Service) Details(ctx context.Context, c *route.Call, q *DetailsRequest) (*Details, error) {
	src := q.Source
	if src.RepoURL == "" {
		src.RepoURL = q.URL
	}
	if q.URL != "" && src.RepoURL != q.URL {
		return nil, fault.New(fault.InvalidArgument, "source.repoURL is not the repository that the URL names")
	}
	project := cmp.Or(q.AppProject, policy.DefaultProject)
	if !c.Can(access.Request{Resource: "repositories", Action: "get", Object: s.objectFor(src.RepoURL, project)}) {
		return nil, route.Hidden()
	}
	if err := s.readable(c, q, src, project); err != nil {
		return nil, err
	}
	if _, err := s.permitted(project, src.RepoURL); err != nil {
		return nil, err
	}
	read := s.tree
	if src.Chart != "" || strings.HasPrefix(src.RepoURL, "oci://") {
		read = s.packed
	}
	t, err := read(ctx, project, src)
	if err != nil {
		return nil, err
	}
	return details(t, src)
}

// packed fetches a chart or an artifact.
func (s *Service) packed(ctx context.Context, project string, src v1alpha1.ApplicationSource) (tree.Tree, error) {
	remotes, err := s.remotes()
	if err != nil {
		return nil, err
	}
	t, err := remotes.Files(ctx, s.Settings().Repository(src.RepoURL, project), src)
	if err != nil {
		return nil, fault.New(fault.FailedPrecondition, "%w", err)
	}
	return t, nil
}

func (s *Service) objectFor(url, project string) string {
	if secret := s.find(reading, url, project, false); secret != nil {
		return Object(text(secret, "project"), url)
	}
	return url
}

// readable says whether the caller may look into a source.
func (s *Service) readable(c *route.Call, q *DetailsRequest, src v1alpha1.ApplicationSource, project string) error {
	namespace, name, found := strings.Cut(q.AppName, "/")
	if !found {
		namespace, name = "", q.AppName
	}
	app, exists := s.Hub.App(namespace, name)
	if !exists {
		if !c.Can(access.Request{Resource: "applications", Action: "create", Object: s.Hub.Object(project, namespace, name)}) {
			return route.Hidden()
		}
		return nil
	}
	if !c.Can(access.Request{Resource: "applications", Action: "get", Object: s.Hub.Object(policy.ProjectName(app), app.Namespace, app.Name)}) || policy.ProjectName(app) != project {
		return route.Hidden()
	}
	known := slices.Clone(app.Spec.GetSources())
	for _, h := range app.Status.History {
		known = append(append(known, h.Sources...), h.Source)
	}
	if !slices.ContainsFunc(known, func(k v1alpha1.ApplicationSource) bool { return reflect.DeepEqual(k, src) }) {
		return fault.New(fault.PermissionDenied, "source is neither one of application %s nor of its history", name)
	}
	return nil
}

// maxValues bounds the text of a values file that is answered.
const maxValues = 1 << 20

func details(t tree.Tree, src v1alpha1.ApplicationSource) (*Details, error) {
	dir := cmp.Or(src.Path, ".")
	entries, err := t.ReadDir(dir)
	if err != nil {
		return nil, fault.New(fault.InvalidArgument, "%s: app path does not exist", src.Path)
	}
	var files []string
	for _, e := range entries {
		if e.Kind == tree.File {
			files = append(files, e.Name)
		}
	}
	kind := kindOf(files)
	switch {
	case src.Plugin != nil:
		return &Details{Type: "Plugin", Plugin: &PluginDetails{}}, nil
	case kind == "Helm" || src.Helm != nil:
		h, err := helm(t, dir, files)
		return &Details{Type: "Helm", Helm: h}, err
	case kind == "Kustomize" || src.Kustomize != nil:
		k, err := kustomize(t, dir, files)
		return &Details{Type: "Kustomize", Kustomize: k}, err
	}
	return &Details{Type: "Directory", Directory: &struct{}{}}, nil
}

func helm(t tree.Tree, dir string, files []string) (*HelmDetails, error) {
	out := &HelmDetails{}
	var chart struct {
		Name string `json:"name"`
	}
	if err := read(t, path.Join(dir, "Chart.yaml"), &chart); err != nil {
		return nil, err
	}
	out.Name = chart.Name
	for _, f := range files {
		lower := strings.ToLower(f)
		if strings.Contains(lower, "values") && (strings.HasSuffix(lower, ".yaml") || strings.HasSuffix(lower, ".yml")) {
			out.ValueFiles = append(out.ValueFiles, f)
		}
	}
	if !slices.Contains(files, "values.yaml") {
		return out, nil
	}
	raw, err := t.ReadFile(path.Join(dir, "values.yaml"))
	if err != nil || len(raw) > maxValues {
		return nil, fault.New(fault.FailedPrecondition, "values.yaml cannot be read or has more than %d bytes", maxValues)
	}
	out.Values = string(raw)
	var values map[string]any
	if err := yaml.Unmarshal(raw, &values); err != nil {
		return nil, fault.New(fault.FailedPrecondition, "values.yaml is no YAML: %w", err)
	}
	flatten("", values, &out.Parameters)
	return out, nil
}

// maxParameters bounds the parameters that are answered.
const maxParameters = 10_000

// flatten lists the scalar values of a chart by their path.
func flatten(prefix string, v any, out *[]v1alpha1.HelmParameter) {
	if len(*out) >= maxParameters {
		return
	}
	switch x := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(x)) {
			at := strings.ReplaceAll(k, ".", `\.`)
			if prefix != "" {
				at = prefix + "." + at
			}
			flatten(at, x[k], out)
		}
	case []any:
		for i, one := range x {
			flatten(fmt.Sprintf("%s[%d]", prefix, i), one, out)
		}
	case nil:
	default:
		*out = append(*out, v1alpha1.HelmParameter{Name: prefix, Value: fmt.Sprint(x)})
	}
}

func kustomize(t tree.Tree, dir string, files []string) (*KustomizeDetails, error) {
	out := &KustomizeDetails{}
	for _, f := range files {
		if kindOf([]string{f}) != "Kustomize" {
			continue
		}
		var k struct {
			Images []struct {
				Name    string `json:"name"`
				NewName string `json:"newName"`
				NewTag  string `json:"newTag"`
				Digest  string `json:"digest"`
			} `json:"images"`
		}
		if err := read(t, path.Join(dir, f), &k); err != nil {
			return nil, err
		}
		for _, i := range k.Images {
			image := cmp.Or(i.NewName, i.Name)
			switch {
			case i.Digest != "":
				image += "@" + i.Digest
			case i.NewTag != "":
				image += ":" + i.NewTag
			}
			out.Images = append(out.Images, image)
		}
	}
	return out, nil
}

func read(t tree.Tree, name string, into any) error {
	raw, err := t.ReadFile(name)
	if err != nil {
		return fault.New(fault.FailedPrecondition, "%s: %w", name, err)
	}
	if len(raw) > maxValues {
		return fault.New(fault.FailedPrecondition, "%s has more than %d bytes", name, maxValues)
	}
	if err := yaml.Unmarshal(raw, into); err != nil {
		return fault.New(fault.FailedPrecondition, "%s is no YAML: %w", name, err)
	}
	return nil
}
