package repository

import (
	"cmp"
	"context"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// Refs are the names of revisions.
type Refs struct {
	Branches []string `json:"branches,omitempty"`
	Tags     []string `json:"tags,omitempty"`
}

// declared gives what is known about a repository that the caller may see.
// A repository that nobody declared is seen by who may see all of its name.
func (s *Service) declared(c *route.Call, q *Query) (repo.Repository, error) {
	project := q.AppProject
	secret := s.find(reading, q.Repo, project, false)
	if secret != nil {
		project = text(secret, "project")
	} else {
		project = ""
	}
	if !c.Can(access.Request{Resource: "repositories", Action: "get", Object: Object(project, q.Repo)}) {
		return repo.Repository{}, route.Hidden()
	}
	if secret == nil && s.template(reading.templates, q.Repo) == nil {
		return repo.Repository{}, fault.New(fault.NotFound, "repository %s is not declared: declare it first", repo.Redact(q.Repo))
	}
	return s.Settings().Repository(q.Repo, q.AppProject), nil
}

// Refs lists branches and tags.
func (s *Service) Refs(ctx context.Context, c *route.Call, q *Query) (*Refs, error) {
	r, err := s.declared(c, q)
	if err != nil {
		return nil, err
	}
	remotes, err := s.remotes()
	if err != nil {
		return nil, err
	}
	branches, tags, err := remotes.Refs(ctx, r)
	if err != nil {
		return nil, fault.New(fault.FailedPrecondition, "%w", err)
	}
	return &Refs{Branches: branches, Tags: tags}, nil
}

// OCITags lists the tags of an OCI repository.
func (s *Service) OCITags(ctx context.Context, c *route.Call, q *Query) (*Refs, error) {
	r, err := s.declared(c, q)
	if err != nil {
		return nil, err
	}
	remotes, err := s.remotes()
	if err != nil {
		return nil, err
	}
	tags, err := remotes.Tags(ctx, r)
	if err != nil {
		return nil, fault.New(fault.FailedPrecondition, "%w", err)
	}
	return &Refs{Tags: tags}, nil
}

// Chart is a chart with its versions.
type Chart struct {
	Name     string   `json:"name"`
	Versions []string `json:"versions"`
}

// Charts is an answer with many charts.
type Charts struct {
	Items []Chart `json:"items"`
}

// Charts lists the charts of a Helm repository.
func (s *Service) Charts(ctx context.Context, c *route.Call, q *Query) (*Charts, error) {
	r, err := s.declared(c, q)
	if err != nil {
		return nil, err
	}
	remotes, err := s.remotes()
	if err != nil {
		return nil, err
	}
	found, err := remotes.Charts(ctx, r)
	if err != nil {
		return nil, fault.New(fault.FailedPrecondition, "%w", err)
	}
	out := &Charts{Items: []Chart{}}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		out.Items = append(out.Items, Chart{Name: name, Versions: found[name]})
	}
	return out, nil
}

// AppsQuery asks what a repository holds.
type AppsQuery struct {
	Query
	Revision string `json:"-" query:"revision"`
	AppName  string `json:"-" query:"appName"`
}

// AppInfo is a folder that holds something to deploy.
type AppInfo struct {
	Type string `json:"type"`
	Path string `json:"path"`
}

// Apps is an answer with many folders.
type Apps struct {
	Items []AppInfo `json:"items"`
}

// maxFolders bounds a search for folders.
const maxFolders = 20_000

// Apps lists the folders of a repository that hold a chart or a kustomization.
func (s *Service) Apps(ctx context.Context, c *route.Call, q *AppsQuery) (*Apps, error) {
	if _, err := s.declared(c, &q.Query); err != nil {
		return nil, err
	}
	object := s.Hub.Object(q.AppProject, "", q.AppName)
	may := func(action string) bool {
		return c.Can(access.Request{Resource: "applications", Action: action, Object: object})
	}
	if !may("create") && !may("update") {
		return nil, route.Hidden()
	}
	if _, err := s.permitted(q.AppProject, q.Repo); err != nil {
		return nil, err
	}
	t, err := s.tree(ctx, q.AppProject, v1alpha1.ApplicationSource{RepoURL: q.Repo, Path: ".", TargetRevision: q.Revision})
	if err != nil {
		return nil, err
	}
	out := &Apps{Items: []AppInfo{}}
	left := maxFolders
	if err := walk(t, ".", 0, &left, func(dir string, files []string) {
		if kind := kindOf(files); kind != "" {
			out.Items = append(out.Items, AppInfo{Type: kind, Path: dir})
		}
	}); err != nil {
		return nil, err
	}
	return out, nil
}

// permitted says whether a project may read a repository.
func (s *Service) permitted(project, url string) (*v1alpha1.AppProject, error) {
	p, ok := s.Hub.Project(cmp.Or(project, policy.DefaultProject))
	if ok {
		p = s.Settings().Effective(p, s.Hub.Global)
	}
	if !ok || !policy.Source(p, url) {
		return nil, fault.New(fault.PermissionDenied, "repository '%s' not permitted in project '%s'", repo.Redact(url), project)
	}
	return p, nil
}

func (s *Service) tree(ctx context.Context, project string, src v1alpha1.ApplicationSource) (tree.Tree, error) {
	m, err := s.renderer()
	if err != nil {
		return nil, err
	}
	revision, err := m.Resolve(ctx, cmp.Or(project, policy.DefaultProject), src, false)
	if err != nil {
		return nil, fault.New(fault.FailedPrecondition, "cannot resolve revision %q: %w", src.TargetRevision, err)
	}
	t, err := m.Tree(ctx, cmp.Or(project, policy.DefaultProject), src.RepoURL, revision, false)
	if err != nil {
		return nil, fault.New(fault.FailedPrecondition, "%w", err)
	}
	return t, nil
}

// maxDepth bounds how deep folders are searched.
const maxDepth = 30

// walk visits folders; files are the names in one.
func walk(t tree.Tree, dir string, depth int, left *int, visit func(dir string, files []string)) error {
	entries, err := t.ReadDir(dir)
	if err != nil {
		return fault.New(fault.FailedPrecondition, "%s: %w", dir, err)
	}
	var files, folders []string
	for _, e := range entries {
		switch {
		case e.Kind == tree.Dir && e.Name != ".git":
			folders = append(folders, e.Name)
		case e.Kind == tree.File:
			files = append(files, e.Name)
		}
	}
	visit(dir, files)
	for _, f := range folders {
		if *left--; *left < 0 || depth >= maxDepth {
			return nil
		}
		if err := walk(t, path.Join(dir, f), depth+1, left, visit); err != nil {
			return err
		}
	}
	return nil
}

// kindOf says what the files of a folder are, "" for plain ones.
func kindOf(files []string) string {
	for _, f := range files {
		switch strings.ToLower(f) {
		case "chart.yaml":
			return "Helm"
		case "kustomization.yaml", "kustomization.yml", "kustomization":
			return "Kustomize"
		}
	}
	return ""
}
