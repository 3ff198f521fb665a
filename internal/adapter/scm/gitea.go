package scm

import (
	"context"
	"fmt"
	"net/http"

	"code.gitea.io/sdk/gitea"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
)

// giteaHost is an owner on Gitea or Forgejo.
type giteaHost struct {
	q        *question
	client   *gitea.Client
	g        *v1alpha1.SCMGitea
	protocol string
}

func (h *giteaHost) question() *question { return h.q }

func (c *Client) giteaClient(ctx context.Context, a Access, api string, token *v1alpha1.SecretRef, insecure bool) (*question, *gitea.Client, error) {
	q, err := c.question(ctx, a, "gitea", security{insecure: insecure})
	if err != nil {
		return nil, nil, err
	}
	at, err := address("api", api)
	if err != nil {
		return nil, nil, err
	}
	given, err := q.token(ctx, token, "GITEA_TOKEN")
	if err != nil {
		return nil, nil, fmt.Errorf("tokenRef: %w", err)
	}
	client, err := gitea.NewClient(at, gitea.SetHTTPClient(q.http), gitea.SetContext(ctx), gitea.SetGiteaVersion(""), gitea.SetToken(given.Reveal()))
	if err != nil {
		return nil, nil, fmt.Errorf("api: %w", err)
	}
	return q, client, nil
}

func (c *Client) giteaOwner(ctx context.Context, a Access, g *v1alpha1.SCMProviderGenerator) (host, error) {
	if _, err := cloneURL(g.CloneProtocol, "", ""); err != nil {
		return nil, err
	}
	q, client, err := c.giteaClient(ctx, a, g.Gitea.API, g.Gitea.TokenRef, g.Gitea.Insecure)
	if err != nil {
		return nil, fmt.Errorf("gitea.%w", err)
	}
	return &giteaHost{q: q, client: client, g: g.Gitea, protocol: g.CloneProtocol}, nil
}

// giteaPage is the size that Gitea gives at most unless it is configured
// otherwise.
const giteaPage = 50

func (h *giteaHost) list(ctx context.Context) ([]appset.Repository, error) {
	var out []appset.Repository
	user := false
	err := pages(func(page int) (int, error) {
		options := gitea.ListOptions{Page: page, PageSize: giteaPage}
		var got []*gitea.Repository
		var response *gitea.Response
		var err error
		if !user {
			got, response, err = h.client.ListOrgRepos(h.g.Owner, gitea.ListOrgReposOptions{ListOptions: options})
			user = page == 1 && notFound(err) // no organisation: a person
		}
		if user {
			got, response, err = h.client.ListUserRepos(h.g.Owner, gitea.ListReposOptions{ListOptions: options})
		}
		if err != nil {
			return 0, fmt.Errorf("gitea owner %s: %w", h.g.Owner, err)
		}
		for _, r := range got {
			if r.Archived && h.g.ExcludeArchivedRepos {
				continue
			}
			one, err := h.repository(r)
			if err != nil {
				return 0, err
			}
			out = append(out, one)
		}
		return following(response, page, len(got)), ctx.Err()
	})
	return out, err
}

// following is the next page, which Gitea names in a header, or tells by a page
// that is full.
func following(r *gitea.Response, page, got int) int {
	switch {
	case r != nil && r.NextPage > 0:
		return r.NextPage
	case r != nil && r.Header.Get("Link") == "" && got >= giteaPage:
		return page + 1
	}
	return 0
}

func (h *giteaHost) repository(r *gitea.Repository) (appset.Repository, error) {
	at, err := cloneURL(h.protocol, r.SSHURL, r.CloneURL)
	if err != nil {
		return appset.Repository{}, err
	}
	out := appset.Repository{Name: r.Name, ID: r.ID, URL: at, Branch: r.DefaultBranch}
	if r.Owner != nil {
		out.Organization = r.Owner.UserName
	}
	err = pages(func(page int) (int, error) {
		labels, response, err := h.client.ListRepoLabels(out.Organization, r.Name, gitea.ListLabelsOptions{ListOptions: gitea.ListOptions{Page: page, PageSize: giteaPage}})
		if err != nil {
			return 0, fmt.Errorf("labels of repository %s: %w", r.Name, err)
		}
		for _, l := range labels {
			out.Labels = append(out.Labels, l.Name)
		}
		return following(response, page, len(labels)), nil
	})
	return out, err
}

func (h *giteaHost) branches(ctx context.Context, r appset.Repository) ([]appset.Repository, error) {
	if !h.g.AllBranches {
		b, _, err := h.client.GetRepoBranch(r.Organization, r.Name, r.Branch)
		if notFound(err) || r.Branch == "" {
			return nil, nil // an empty repository
		}
		if err != nil {
			return nil, fmt.Errorf("branch %s: %w", r.Branch, err)
		}
		return []appset.Repository{giteaBranch(r, b)}, nil
	}
	var out []appset.Repository
	err := pages(func(page int) (int, error) {
		got, response, err := h.client.ListRepoBranches(r.Organization, r.Name, gitea.ListRepoBranchesOptions{ListOptions: gitea.ListOptions{Page: page, PageSize: giteaPage}})
		if err != nil {
			return 0, fmt.Errorf("branches: %w", err)
		}
		for _, b := range got {
			out = append(out, giteaBranch(r, b))
		}
		return following(response, page, len(got)), ctx.Err()
	})
	return out, err
}

func giteaBranch(r appset.Repository, b *gitea.Branch) appset.Repository {
	r.Branch = b.Name
	if b.Commit != nil {
		r.SHA = b.Commit.ID
	}
	return r
}

func (h *giteaHost) has(_ context.Context, r appset.Repository, path string) (bool, error) {
	_, response, err := h.client.ListContents(r.Organization, r.Name, r.Branch, path)
	switch {
	case notFound(err):
		return false, nil
	case err != nil && response != nil && response.StatusCode == http.StatusOK: // a file, not a folder
		return true, nil
	}
	return err == nil, err //nolint:wrapcheck // wrapped by who asks
}

func (c *Client) giteaPullRequests(ctx context.Context, a Access, g *v1alpha1.PullRequestGitea) ([]appset.PullRequest, error) {
	q, client, err := c.giteaClient(ctx, a, g.API, g.TokenRef, g.Insecure)
	if err != nil {
		return nil, fmt.Errorf("gitea.%w", err)
	}
	defer q.close()
	var out []appset.PullRequest
	err = pages(func(page int) (int, error) {
		got, response, err := client.ListRepoPullRequests(g.Owner, g.Repo, gitea.ListPullRequestsOptions{
			ListOptions: gitea.ListOptions{Page: page, PageSize: giteaPage}, State: gitea.StateOpen,
		})
		if err != nil {
			return 0, fmt.Errorf("gitea repository %s/%s: %w", g.Owner, g.Repo, err)
		}
		for _, r := range got {
			labels := make([]string, len(r.Labels))
			for i, l := range r.Labels {
				labels[i] = l.Name
			}
			if allIn(g.Labels, labels) {
				out = append(out, giteaRequest(r, labels))
			}
		}
		return following(response, page, len(got)), nil
	})
	return out, err
}

func giteaRequest(r *gitea.PullRequest, labels []string) appset.PullRequest {
	out := appset.PullRequest{Number: r.Index, Title: r.Title, Labels: labels}
	if r.Head != nil {
		out.Branch, out.HeadSHA = r.Head.Ref, r.Head.Sha
	}
	if r.Base != nil {
		out.TargetBranch = r.Base.Ref
	}
	if r.Poster != nil {
		out.Author = r.Poster.UserName
	}
	return out
}
