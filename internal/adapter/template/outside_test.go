package template_test

import (
	"fmt"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
)

// answers are what hosts, services and the hub answer in an archive: by
// organization, owner/repo and name of the config map.
type answers struct {
	RepositoriesOf map[string][]appset.Repository  `json:"repositories"`
	RequestsOf     map[string][]appset.PullRequest `json:"pullRequests"`
	DecisionsOf    map[string]struct {
		MatchKey string           `json:"matchKey"`
		Items    []map[string]any `json:"items"`
	} `json:"decisions"`
	ServiceOf map[string][]map[string]any `json:"service"`
}

var _ appset.Outside = (*answers)(nil)

func (a *answers) Repositories(g *v1alpha1.SCMProviderGenerator) (appset.Listing, error) {
	filters, err := appset.CompileRepositoryFilters(g.Filters)
	if err != nil {
		return appset.Listing{}, err
	}
	all, known := a.RepositoriesOf[g.Github.Organization]
	if !known {
		return appset.Listing{}, fmt.Errorf("github organization %s: the host answers 404", g.Github.Organization)
	}
	out := appset.Listing{Seen: len(all)}
	for _, r := range all {
		holds, err := filters.Branch(r, func(path string) (bool, error) { return path == "deploy", nil })
		if err != nil {
			return appset.Listing{}, err
		}
		if filters.Repository(r) && holds {
			out.Repositories = append(out.Repositories, r)
		}
	}
	return out, nil
}

func (a *answers) PullRequests(g *v1alpha1.PullRequestGenerator) ([]appset.PullRequest, error) {
	filters, err := appset.CompilePullRequestFilters(g.Filters)
	if err != nil {
		return nil, err
	}
	all, known := a.RequestsOf[g.Github.Owner+"/"+g.Github.Repo]
	if !known {
		return nil, fmt.Errorf("%w: %s/%s", appset.ErrNoRepository, g.Github.Owner, g.Github.Repo)
	}
	var out []appset.PullRequest
	for _, r := range all {
		if filters.Chooses(r) {
			out = append(out, r)
		}
	}
	return out, nil
}

func (a *answers) Decisions(g *v1alpha1.DuckTypeGenerator) (appset.Decisions, error) {
	d, known := a.DecisionsOf[g.ConfigMapRef]
	if !known {
		return appset.Decisions{}, fmt.Errorf("ConfigMap %s does not exist", g.ConfigMapRef)
	}
	return appset.Decisions{MatchKey: d.MatchKey, Items: d.Items}, nil
}

func (a *answers) Service(g *v1alpha1.PluginGenerator) ([]map[string]any, error) {
	objects, known := a.ServiceOf[g.ConfigMapRef.Name]
	if !known {
		return nil, fmt.Errorf("ConfigMap %s does not exist", g.ConfigMapRef.Name)
	}
	return objects, nil
}
