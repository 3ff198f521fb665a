package scm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
)

// azureVersion is the version of the API that is asked for; heads is where
// branches are.
const (
	azureVersion = "6.0"
	heads        = "refs/heads/"
)

// azureHost is a team project on Azure DevOps.
type azureHost struct {
	api
	g *v1alpha1.SCMAzureDevOps
}

func (h *azureHost) question() *question { return h.api.question }

func (c *Client) azureAPI(ctx context.Context, a Access, base, field string, token *v1alpha1.SecretRef) (*api, error) {
	if base == "" {
		base = publicAzure
	}
	base, err := address("api", base)
	if err != nil {
		return nil, err
	}
	q, err := c.question(ctx, a, "azure-devops", security{})
	if err != nil {
		return nil, err
	}
	out := &api{question: q, base: base}
	if token == nil { // a public project
		return out, nil
	}
	secret, err := q.secret(ctx, *token)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	out.authorize = basic("", secret)
	return out, nil
}

func (c *Client) azureProject(ctx context.Context, a Access, g *v1alpha1.SCMProviderGenerator) (host, error) {
	if g.AzureDevOps.AccessTokenRef == nil {
		return nil, errors.New("azureDevOps.accessTokenRef is missing")
	}
	found, err := c.azureAPI(ctx, a, g.AzureDevOps.API, "accessTokenRef", g.AzureDevOps.AccessTokenRef)
	if err != nil {
		return nil, fmt.Errorf("azureDevOps.%w", err)
	}
	return &azureHost{api: *found, g: g.AzureDevOps}, nil
}

// azureList is how Azure answers a list: with its length.
type azureList[T any] struct {
	Count *int `json:"count"`
	Value []T  `json:"value"`
}

// azurePage reads one page; its length must be what it says.
func azurePage[T any](ctx context.Context, a *api, at string, query url.Values) ([]T, http.Header, error) {
	query.Set("api-version", azureVersion)
	var page azureList[T]
	header, err := a.get(ctx, at, query, &page)
	if err != nil {
		return nil, nil, err
	}
	if page.Count == nil || *page.Count != len(page.Value) {
		return nil, nil, errors.New("azureDevOps: the answer is not a whole list: check \"api\" and the token")
	}
	return page.Value, header, nil
}

func (h *azureHost) list(ctx context.Context) ([]appset.Repository, error) {
	type repository struct {
		ID       string `json:"id"`
		Name     string `json:"name"`
		Default  string `json:"defaultBranch"`
		Remote   string `json:"remoteUrl"`
		Disabled bool   `json:"isDisabled"`
	}
	got, _, err := azurePage[repository](ctx, &h.api, h.base+escape(h.g.Organization, h.g.TeamProject)+"/_apis/git/repositories", url.Values{})
	if err != nil {
		return nil, fmt.Errorf("azureDevOps project %s/%s: %w", h.g.Organization, h.g.TeamProject, err)
	}
	var out []appset.Repository
	for _, r := range got {
		if !r.Disabled { // no branch of a disabled one can be read
			out = append(out, appset.Repository{
				Organization: h.g.Organization, Name: r.Name, ID: r.ID, URL: r.Remote, Branch: strings.TrimPrefix(r.Default, heads),
			})
		}
	}
	return out, nil
}

func (h *azureHost) branches(ctx context.Context, r appset.Repository) ([]appset.Repository, error) {
	if !h.g.AllBranches && r.Branch == "" {
		return nil, nil
	}
	filter := "heads/"
	if !h.g.AllBranches {
		filter += r.Branch
	}
	type ref struct {
		Name   string `json:"name"`
		Object string `json:"objectId"`
	}
	at := h.base + escape(h.g.Organization, h.g.TeamProject) + "/_apis/git/repositories" + escape(fmt.Sprint(r.ID)) + "/refs"
	var out []appset.Repository
	continuation := ""
	for range maxPages {
		query := url.Values{"filter": {filter}, "$top": {"1000"}}
		if continuation != "" {
			query.Set("continuationToken", continuation)
		}
		got, header, err := azurePage[ref](ctx, &h.api, at, query)
		if err != nil {
			return nil, err
		}
		for _, b := range got {
			name := strings.TrimPrefix(b.Name, heads)
			if h.g.AllBranches || name == r.Branch { // the filter is a beginning
				next := r
				next.Branch, next.SHA = name, b.Object
				out = append(out, next)
			}
		}
		if continuation = header.Get("X-Ms-Continuationtoken"); continuation == "" {
			return out, nil
		}
	}
	return nil, fmt.Errorf("azureDevOps answers with more than %d pages", maxPages)
}

func (h *azureHost) has(ctx context.Context, r appset.Repository, path string) (bool, error) {
	at := h.base + escape(h.g.Organization, h.g.TeamProject) + "/_apis/git/repositories" + escape(fmt.Sprint(r.ID)) + "/items"
	_, err := h.get(ctx, at, url.Values{
		"path": {"/" + strings.TrimPrefix(path, "/")}, "versionDescriptor.version": {r.Branch}, "versionDescriptor.versionType": {"branch"},
		"includeContentMetadata": {"true"}, "$format": {"json"}, "api-version": {azureVersion},
	}, nil)
	if notFound(err) {
		return false, nil
	}
	return err == nil, err
}

type azureRequest struct {
	ID     int64  `json:"pullRequestId"`
	Title  string `json:"title"`
	Source string `json:"sourceRefName"`
	Target string `json:"targetRefName"`
	Commit struct {
		ID string `json:"commitId"`
	} `json:"lastMergeSourceCommit"`
	Author struct {
		Name string `json:"uniqueName"`
	} `json:"createdBy"`
	Labels []struct {
		Name string `json:"name"`
	} `json:"labels"`
}

func (c *Client) azurePullRequests(ctx context.Context, a Access, g *v1alpha1.PullRequestAzureDevOps) ([]appset.PullRequest, error) {
	found, err := c.azureAPI(ctx, a, g.API, "tokenRef", g.TokenRef)
	if err != nil {
		return nil, fmt.Errorf("azuredevops.%w", err)
	}
	defer found.close()
	var out []appset.PullRequest
	at := found.base + escape(g.Organization, g.Project) + "/_apis/git/repositories" + escape(g.Repo) + "/pullrequests"
	for page := range maxPages {
		got, _, err := azurePage[azureRequest](ctx, found, at, url.Values{
			"searchCriteria.status": {"active"}, "$top": {strconv.Itoa(pageSize)}, "$skip": {strconv.Itoa(page * pageSize)},
		})
		if err != nil {
			return nil, fmt.Errorf("azuredevops repository %s/%s/%s: %w", g.Organization, g.Project, g.Repo, err)
		}
		for _, r := range got {
			if one := r.request(); allIn(g.Labels, one.Labels) {
				out = append(out, one)
			}
		}
		if len(got) < pageSize {
			return out, nil
		}
	}
	return nil, fmt.Errorf("azuredevops answers with more than %d pages", maxPages)
}

func (r azureRequest) request() appset.PullRequest {
	author, _, _ := strings.Cut(r.Author.Name, "@")
	out := appset.PullRequest{
		Number: r.ID, Title: r.Title, Branch: strings.TrimPrefix(r.Source, heads), TargetBranch: strings.TrimPrefix(r.Target, heads),
		HeadSHA: r.Commit.ID, Author: author,
	}
	for _, l := range r.Labels {
		out.Labels = append(out.Labels, l.Name)
	}
	return out
}
