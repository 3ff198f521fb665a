package scm

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
)

// bitbucketServerHost is a project on Bitbucket Server or Data Center.
type bitbucketServerHost struct {
	api
	g        *v1alpha1.SCMBitbucketServer
	protocol string
}

func (h *bitbucketServerHost) question() *question { return h.api.question }

func (c *Client) bitbucketServerAPI(ctx context.Context, a Access, g *v1alpha1.SCMBitbucketServer) (*api, error) {
	base, err := address("api", g.API)
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(base, "/rest") {
		base += "/rest"
	}
	q, err := c.question(ctx, a, "bitbucket-server", security{g.Insecure, g.CARef})
	if err != nil {
		return nil, err
	}
	who, err := q.authorization(ctx, g.BasicAuth, g.BearerToken)
	if err != nil {
		return nil, err
	}
	return &api{question: q, base: base + "/api/1.0", authorize: who}, nil
}

func (c *Client) bitbucketServerProject(ctx context.Context, a Access, g *v1alpha1.SCMProviderGenerator) (host, error) {
	if _, err := cloneURL(g.CloneProtocol, "", ""); err != nil {
		return nil, err
	}
	found, err := c.bitbucketServerAPI(ctx, a, g.BitbucketServer)
	if err != nil {
		return nil, fmt.Errorf("bitbucketServer.%w", err)
	}
	return &bitbucketServerHost{api: *found, g: g.BitbucketServer, protocol: g.CloneProtocol}, nil
}

// serverPages reads the pages of an address; each says where the next starts.
func serverPages[T any](ctx context.Context, a *api, at string, query url.Values, each func(T) error) error {
	start := 0
	for range maxPages {
		page := struct {
			Values []T   `json:"values"`
			Last   *bool `json:"isLastPage"`
			Next   *int  `json:"nextPageStart"`
		}{}
		asked := url.Values{"limit": {strconv.Itoa(pageSize)}, "start": {strconv.Itoa(start)}}
		for k, v := range query {
			asked[k] = v
		}
		if _, err := a.get(ctx, at, asked, &page); err != nil {
			return err
		}
		for _, v := range page.Values {
			if err := each(v); err != nil {
				return err
			}
		}
		switch {
		case page.Last == nil:
			return fmt.Errorf("%s does not answer in pages: check \"api\"", a.provider)
		case *page.Last:
			return nil
		case page.Next == nil || *page.Next <= start:
			return fmt.Errorf("%s does not say where the next page starts", a.provider)
		}
		start = *page.Next
	}
	return fmt.Errorf("%s answers with more than %d pages", a.provider, maxPages)
}

func (h *bitbucketServerHost) list(ctx context.Context) ([]appset.Repository, error) {
	var out []appset.Repository
	err := serverPages(ctx, &h.api, h.base+"/projects"+escape(h.g.Project)+"/repos", nil, func(r struct {
		Slug    string `json:"slug"`
		ID      int64  `json:"id"`
		Project struct {
			Key string `json:"key"`
		} `json:"project"`
		Links struct {
			Clone []cloneLink `json:"clone"`
		} `json:"links"`
	}) error {
		at, err := link(r.Links.Clone, h.protocol, "http")
		if err != nil {
			return fmt.Errorf("repository %s: %w", r.Slug, err)
		}
		out = append(out, appset.Repository{Organization: r.Project.Key, Name: r.Slug, ID: r.ID, URL: at})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("bitbucketServer project %s: %w", h.g.Project, err)
	}
	return out, nil
}

type serverBranch struct {
	Name   string `json:"displayId"`
	Commit string `json:"latestCommit"`
}

func (h *bitbucketServerHost) branches(ctx context.Context, r appset.Repository) ([]appset.Repository, error) {
	at := h.base + "/projects" + escape(r.Organization) + "/repos" + escape(r.Name)
	var out []appset.Repository
	add := func(b serverBranch) {
		next := r
		next.Branch, next.SHA = b.Name, b.Commit
		out = append(out, next)
	}
	if h.g.AllBranches {
		err := serverPages(ctx, &h.api, at+"/branches", nil, func(b serverBranch) error { add(b); return nil })
		return out, err
	}
	var b serverBranch
	_, err := h.get(ctx, at+"/branches/default", nil, &b)
	if notFound(err) { // the name of the newer versions
		_, err = h.get(ctx, at+"/default-branch", nil, &b)
	}
	if notFound(err) || err == nil && b.Name == "" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if b.Commit == "" { // default-branch says no commit
		err := serverPages(ctx, &h.api, at+"/branches", url.Values{"filterText": {b.Name}}, func(one serverBranch) error {
			if one.Name == b.Name {
				b.Commit = one.Commit
			}
			return nil
		})
		if err != nil || b.Commit == "" {
			return nil, err
		}
	}
	add(b)
	return out, nil
}

func (h *bitbucketServerHost) has(ctx context.Context, r appset.Repository, path string) (bool, error) {
	at := h.base + "/projects" + escape(r.Organization) + "/repos" + escape(r.Name) + "/browse" + escapePath(path)
	_, err := h.get(ctx, at, url.Values{"at": {"refs/heads/" + r.Branch}, "type": {"true"}}, nil)
	if notFound(err) {
		return false, nil
	}
	return err == nil, err
}

type serverRequest struct {
	ID     int64  `json:"id"`
	Title  string `json:"title"`
	Author struct {
		User struct {
			Name string `json:"name"`
		} `json:"user"`
	} `json:"author"`
	From serverBranch `json:"fromRef"`
	To   serverBranch `json:"toRef"`
}

func (c *Client) bitbucketServerPullRequests(ctx context.Context, a Access, g *v1alpha1.PullRequestBitbucketServer) ([]appset.PullRequest, error) {
	found, err := c.bitbucketServerAPI(ctx, a, &v1alpha1.SCMBitbucketServer{
		API: g.API, BasicAuth: g.BasicAuth, BearerToken: g.BearerToken, Insecure: g.Insecure, CARef: g.CARef,
	})
	if err != nil {
		return nil, fmt.Errorf("bitbucketServer.%w", err)
	}
	defer found.close()
	var out []appset.PullRequest
	at := found.base + "/projects" + escape(g.Project) + "/repos" + escape(g.Repo) + "/pull-requests"
	err = serverPages(ctx, found, at, url.Values{"state": {"OPEN"}, "direction": {"INCOMING"}}, func(r serverRequest) error {
		out = append(out, appset.PullRequest{
			Number: r.ID, Title: r.Title, Branch: r.From.Name, TargetBranch: r.To.Name, HeadSHA: r.From.Commit, Author: r.Author.User.Name,
		})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("bitbucketServer repository %s/%s: %w", g.Project, g.Repo, err)
	}
	return out, nil
}
