package scm

import (
	"context"
	"fmt"

	"github.com/google/go-github/v82/github"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
)

// githubHost is an organisation on GitHub.
type githubHost struct {
	q        *question
	client   *github.Client
	g        *v1alpha1.SCMGithub
	protocol string
}

func (h *githubHost) question() *question { return h.q }

// githubClient is a client of the API at api, or of github.com.
func (c *Client) githubClient(ctx context.Context, a Access, api string, token *v1alpha1.SecretRef, app githubAppRef) (*question, *github.Client, error) {
	q, err := c.question(ctx, a, "github", security{})
	if err != nil {
		return nil, nil, err
	}
	client := github.NewClient(q.http)
	if api != "" {
		at, err := address("api", api)
		if err != nil {
			return nil, nil, err
		}
		if client, err = client.WithEnterpriseURLs(at, at); err != nil {
			return nil, nil, fmt.Errorf("api: %w", err)
		}
	}
	if app.secret != "" {
		issued, err := q.appToken(ctx, app, client.BaseURL.String())
		if err != nil {
			return nil, nil, fmt.Errorf("appSecretName: %w", err)
		}
		return q, client.WithAuthToken(issued.Reveal()), nil
	}
	given, err := q.token(ctx, token, "GITHUB_TOKEN")
	if err != nil {
		return nil, nil, fmt.Errorf("tokenRef: %w", err)
	}
	if given != "" {
		client = client.WithAuthToken(given.Reveal())
	}
	return q, client, nil
}

func (c *Client) githubOrganization(ctx context.Context, a Access, g *v1alpha1.SCMProviderGenerator) (host, error) {
	if _, err := cloneURL(g.CloneProtocol, "", ""); err != nil {
		return nil, err
	}
	q, client, err := c.githubClient(ctx, a, g.Github.API, g.Github.TokenRef, githubAppRef{g.Github.AppSecretName, g.Github.Organization})
	if err != nil {
		return nil, fmt.Errorf("github.%w", err)
	}
	return &githubHost{q: q, client: client, g: g.Github, protocol: g.CloneProtocol}, nil
}

func (h *githubHost) list(ctx context.Context) ([]appset.Repository, error) {
	var out []appset.Repository
	err := pages(func(page int) (int, error) {
		got, response, err := h.client.Repositories.ListByOrg(ctx, h.g.Organization, &github.RepositoryListByOrgOptions{ListOptions: github.ListOptions{Page: page, PerPage: pageSize}})
		if err != nil {
			return 0, fmt.Errorf("github organization %s: %w", h.g.Organization, err)
		}
		for _, r := range got {
			if h.g.ExcludeArchivedRepos && r.GetArchived() {
				continue
			}
			at, err := cloneURL(h.protocol, r.GetSSHURL(), r.GetCloneURL())
			if err != nil {
				return 0, err
			}
			out = append(out, appset.Repository{
				Organization: r.GetOwner().GetLogin(), Name: r.GetName(), ID: r.GetID(), URL: at, Branch: r.GetDefaultBranch(), Labels: r.Topics,
			})
		}
		return response.NextPage, nil
	})
	return out, err
}

func (h *githubHost) branches(ctx context.Context, r appset.Repository) ([]appset.Repository, error) {
	if !h.g.AllBranches {
		b, _, err := h.client.Repositories.GetBranch(ctx, r.Organization, r.Name, r.Branch, 1)
		if notFound(err) || r.Branch == "" {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("branch %s: %w", r.Branch, err)
		}
		r.SHA = b.GetCommit().GetSHA()
		return []appset.Repository{r}, nil
	}
	var out []appset.Repository
	err := pages(func(page int) (int, error) {
		got, response, err := h.client.Repositories.ListBranches(ctx, r.Organization, r.Name, &github.BranchListOptions{ListOptions: github.ListOptions{Page: page, PerPage: pageSize}})
		if err != nil {
			return 0, fmt.Errorf("branches: %w", err)
		}
		for _, b := range got {
			next := r
			next.Branch, next.SHA = b.GetName(), b.GetCommit().GetSHA()
			out = append(out, next)
		}
		return response.NextPage, nil
	})
	return out, err
}

func (h *githubHost) has(ctx context.Context, r appset.Repository, path string) (bool, error) {
	_, _, _, err := h.client.Repositories.GetContents(ctx, r.Organization, r.Name, path, &github.RepositoryContentGetOptions{Ref: r.Branch})
	if notFound(err) {
		return false, nil
	}
	return err == nil, err //nolint:wrapcheck // wrapped by who asks
}

func (c *Client) githubPullRequests(ctx context.Context, a Access, g *v1alpha1.PullRequestGithub) ([]appset.PullRequest, error) {
	q, client, err := c.githubClient(ctx, a, g.API, g.TokenRef, githubAppRef{g.AppSecretName, g.Owner})
	if err != nil {
		return nil, fmt.Errorf("github.%w", err)
	}
	defer q.close()
	var out []appset.PullRequest
	err = pages(func(page int) (int, error) {
		got, response, err := client.PullRequests.List(ctx, g.Owner, g.Repo, &github.PullRequestListOptions{State: "open", ListOptions: github.ListOptions{Page: page, PerPage: pageSize}})
		if err != nil {
			return 0, fmt.Errorf("github repository %s/%s: %w", g.Owner, g.Repo, err)
		}
		for _, r := range got {
			labels := make([]string, len(r.Labels))
			for i, l := range r.Labels {
				labels[i] = l.GetName()
			}
			if allIn(g.Labels, labels) {
				out = append(out, appset.PullRequest{
					Number: int64(r.GetNumber()), Title: r.GetTitle(), Branch: r.GetHead().GetRef(), TargetBranch: r.GetBase().GetRef(),
					HeadSHA: r.GetHead().GetSHA(), Author: r.GetUser().GetLogin(), Labels: labels,
				})
			}
		}
		return response.NextPage, nil
	})
	return out, err
}
