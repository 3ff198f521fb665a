package manifest

import (
	"context"
	"fmt"
	"strings"

	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/adapter/remote"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// outside fetches what a source names outside its tree, as far as its project
// may read it.
type outside struct {
	*Service
	project string
	// home is the repository of the source.
	home string
	// passCredentials is helm.passCredentials of the source.
	passCredentials bool
}

var _ render.Remote = (*outside)(nil)

// Chart fetches a dependency; its repository is a URL, or @name or alias:name
// of a declared one.
func (o *outside) Chart(ctx context.Context, c render.ChartRef) (tree.Tree, error) {
	r, err := o.helmRepository(c.Repository)
	if err != nil {
		return nil, err
	}
	if !o.options.Permitted(o.project, r.URL) {
		return nil, fmt.Errorf("helm repos %s are not permitted in project '%s'", repo.Redact(r.URL), o.project)
	}
	if err := o.inside(ctx, r.URL); err != nil {
		return nil, err
	}
	return o.options.Fetcher.Chart(ctx, remote.Chart{Repository: r, Name: c.Name, Versions: c.Versions, PassCredentials: o.passCredentials})
}

func (o *outside) helmRepository(name string) (repo.Repository, error) {
	for _, prefix := range []string{"@", "alias:"} {
		alias, isAlias := strings.CutPrefix(name, prefix)
		if !isAlias {
			continue
		}
		r, known := o.options.ByName(alias, o.project)
		if !known {
			return r, fmt.Errorf("no repository named %q is declared for project %s: create a Secret with key name", alias, o.project)
		}
		return r, nil
	}
	return o.chartRepository(name, o.project), nil
}

// chartRepository is what is declared about a Helm repository; one in a
// registry may be declared with or without oci://.
func (s *Service) chartRepository(url, project string) repo.Repository {
	r := s.options.Repository(url, project)
	if plain, isOCI := strings.CutPrefix(url, "oci://"); isOCI {
		if other := s.options.Repository(plain, project); r.Username == "" && other.Username != "" {
			other.URL = url
			return other
		}
	}
	return r
}

// inside refuses what a commit must not make Sluice call.
func (o *outside) inside(ctx context.Context, url string) error {
	if o.options.Inside == nil {
		return nil
	}
	return o.options.Inside(ctx, o.project, o.home, url)
}

// File fetches a value file or manifest by URL.
func (o *outside) File(ctx context.Context, url string) ([]byte, error) {
	if !o.options.Permitted(o.project, url) {
		return nil, fmt.Errorf("is not permitted in project '%s': add it to sourceRepos", o.project)
	}
	return o.options.Fetcher.File(ctx, o.options.Repository(url, o.project), url)
}

// Base reads another Git repository, for remote bases of kustomizations.
func (o *outside) Base(ctx context.Context, url, revision string) (tree.Tree, error) {
	if !o.options.Permitted(o.project, url) {
		return nil, fmt.Errorf("is not permitted in project '%s': add it to sourceRepos", o.project)
	}
	if err := o.inside(ctx, url); err != nil {
		return nil, err
	}
	r := o.options.Repository(url, o.project)
	id, err := o.options.Mirrors.Resolve(ctx, r, gitrepo.Target{Revision: revision}, false)
	if err != nil {
		return nil, err
	}
	return o.options.Mirrors.Tree(ctx, r, id)
}
