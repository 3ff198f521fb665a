package scm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	gitlab "gitlab.com/gitlab-org/api/client-go"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
)

// gitlabHost is a group on GitLab.
type gitlabHost struct {
	q        *question
	client   *gitlab.Client
	g        *v1alpha1.SCMGitlab
	protocol string
}

func (h *gitlabHost) question() *question { return h.q }

func (c *Client) gitlabClient(ctx context.Context, a Access, api string, token *v1alpha1.SecretRef, s security) (*question, *gitlab.Client, error) {
	q, err := c.question(ctx, a, "gitlab", s)
	if err != nil {
		return nil, nil, err
	}
	// the guard decides what is an error, and when to ask again is decided above
	options := []gitlab.ClientOptionFunc{gitlab.WithHTTPClient(q.http), gitlab.WithoutRetries(), gitlab.WithCustomLimiter(unlimited{})}
	if api != "" {
		at, err := address("api", api)
		if err != nil {
			return nil, nil, err
		}
		options = append(options, gitlab.WithBaseURL(at))
	}
	given, err := q.token(ctx, token, "GITLAB_TOKEN")
	if err != nil {
		return nil, nil, fmt.Errorf("tokenRef: %w", err)
	}
	client, err := gitlab.NewClient(given.Reveal(), options...)
	if err != nil {
		return nil, nil, fmt.Errorf("api: %w", err)
	}
	return q, client, nil
}

// unlimited replaces the limiter of the library, which asks the host for its
// limits first.
type unlimited struct{}

// Wait never waits.
func (unlimited) Wait(context.Context) error { return nil }

func (c *Client) gitlabGroup(ctx context.Context, a Access, g *v1alpha1.SCMProviderGenerator) (host, error) {
	if _, err := cloneURL(g.CloneProtocol, "", ""); err != nil {
		return nil, err
	}
	q, client, err := c.gitlabClient(ctx, a, g.Gitlab.API, g.Gitlab.TokenRef, security{g.Gitlab.Insecure, g.Gitlab.CARef})
	if err != nil {
		return nil, fmt.Errorf("gitlab.%w", err)
	}
	return &gitlabHost{q: q, client: client, g: g.Gitlab, protocol: g.CloneProtocol}, nil
}

func (h *gitlabHost) list(ctx context.Context) ([]appset.Repository, error) {
	shared := h.g.IncludeSharedProjects == nil || *h.g.IncludeSharedProjects
	options := &gitlab.ListGroupProjectsOptions{
		ListOptions: gitlab.ListOptions{PerPage: pageSize}, IncludeSubGroups: &h.g.IncludeSubgroups, WithShared: &shared,
	}
	if !h.g.IncludeArchivedRepos {
		archived := false
		options.Archived = &archived
	}
	if h.g.Topic != "" {
		options.Topic = &h.g.Topic
	}
	var out []appset.Repository
	err := pages(func(page int) (int, error) {
		options.Page = int64(page)
		got, response, err := h.client.Groups.ListGroupProjects(h.g.Group, options, gitlab.WithContext(ctx))
		if err != nil {
			return 0, fmt.Errorf("gitlab group %s: %w", h.g.Group, err)
		}
		for _, p := range got {
			at, err := cloneURL(h.protocol, p.SSHURLToRepo, p.HTTPURLToRepo)
			if err != nil {
				return 0, err
			}
			labels := p.Topics
			if len(labels) == 0 {
				labels = p.TagList //nolint:staticcheck // what old servers have instead of topics (spec/applicationset.md §3.6)
			}
			r := appset.Repository{Name: p.Path, ID: p.ID, URL: at, Branch: p.DefaultBranch, Labels: labels}
			if p.Namespace != nil {
				r.Organization = p.Namespace.FullPath
			}
			out = append(out, r)
		}
		return int(response.NextPage), nil
	})
	return out, err
}

func (h *gitlabHost) branches(ctx context.Context, r appset.Repository) ([]appset.Repository, error) {
	if !h.g.AllBranches {
		if r.Branch == "" {
			return nil, nil
		}
		b, _, err := h.client.Branches.GetBranch(r.ID, r.Branch, gitlab.WithContext(ctx))
		if missing(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("branch %s: %w", r.Branch, err)
		}
		return []appset.Repository{atBranch(r, b)}, nil
	}
	options := &gitlab.ListBranchesOptions{ListOptions: gitlab.ListOptions{PerPage: pageSize}}
	var out []appset.Repository
	err := pages(func(page int) (int, error) {
		options.Page = int64(page)
		got, response, err := h.client.Branches.ListBranches(r.ID, options, gitlab.WithContext(ctx))
		if err != nil {
			return 0, fmt.Errorf("branches: %w", err)
		}
		for _, b := range got {
			out = append(out, atBranch(r, b))
		}
		return int(response.NextPage), nil
	})
	return out, err
}

func atBranch(r appset.Repository, b *gitlab.Branch) appset.Repository {
	r.Branch = b.Name
	if b.Commit != nil {
		r.SHA = b.Commit.ID
	}
	return r
}

func missing(err error) bool { return notFound(err) || errors.Is(err, gitlab.ErrNotFound) }

// has asks for the file first and for the folder then.
func (h *gitlabHost) has(ctx context.Context, r appset.Repository, path string) (bool, error) {
	_, _, err := h.client.RepositoryFiles.GetFileMetaData(r.ID, path, &gitlab.GetFileMetaDataOptions{Ref: &r.Branch}, gitlab.WithContext(ctx))
	if err == nil || !missing(err) {
		return err == nil, err //nolint:wrapcheck // wrapped by who asks
	}
	path = strings.TrimPrefix(path, "/")
	below, _, err := h.client.Repositories.ListTree(r.ID, &gitlab.ListTreeOptions{Path: &path, Ref: &r.Branch, ListOptions: gitlab.ListOptions{PerPage: 1}}, gitlab.WithContext(ctx))
	if missing(err) {
		return false, nil
	}
	return len(below) > 0, err //nolint:wrapcheck // wrapped by who asks
}

func (c *Client) gitlabMergeRequests(ctx context.Context, a Access, g *v1alpha1.PullRequestGitLab) ([]appset.PullRequest, error) {
	q, client, err := c.gitlabClient(ctx, a, g.API, g.TokenRef, security{g.Insecure, g.CARef})
	if err != nil {
		return nil, fmt.Errorf("gitlab.%w", err)
	}
	defer q.close()
	options := &gitlab.ListProjectMergeRequestsOptions{ListOptions: gitlab.ListOptions{PerPage: pageSize}}
	switch g.PullRequestState {
	case "":
	case "opened", "closed", "merged", "locked":
		options.State = &g.PullRequestState
	default:
		return nil, fmt.Errorf("gitlab.pullRequestState %q is not known: write opened, closed, merged or locked", g.PullRequestState)
	}
	if len(g.Labels) > 0 {
		labels := gitlab.LabelOptions(g.Labels)
		options.Labels = &labels
	}
	var out []appset.PullRequest
	err = pages(func(page int) (int, error) {
		options.Page = int64(page)
		got, response, err := client.MergeRequests.ListProjectMergeRequests(g.Project, options, gitlab.WithContext(ctx))
		if err != nil {
			return 0, fmt.Errorf("gitlab project %s: %w", g.Project, err)
		}
		for _, m := range got {
			r := appset.PullRequest{Number: m.IID, Title: m.Title, Branch: m.SourceBranch, TargetBranch: m.TargetBranch, HeadSHA: m.SHA, Labels: m.Labels}
			if m.Author != nil {
				r.Author = m.Author.Username
			}
			out = append(out, r)
		}
		return int(response.NextPage), nil
	})
	return out, err
}
