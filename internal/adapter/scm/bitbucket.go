package scm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// bitbucketHost is an owner on Bitbucket Cloud.
type bitbucketHost struct {
	api
	g        *v1alpha1.SCMBitbucket
	protocol string
}

func (h *bitbucketHost) question() *question { return h.api.question }

// basic sends a user name and a password.
func basic(user string, password repo.Secret) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(user, password.Reveal()) }
}

// bearer sends a token.
func bearer(token repo.Secret) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token.Reveal()) }
}

// authorization of Bitbucket: a token rather than a password; nil is nobody.
func (q *question) authorization(ctx context.Context, b *v1alpha1.BasicAuth, t *v1alpha1.BearerTokenRef) (func(*http.Request), error) {
	switch {
	case t != nil && t.TokenRef != nil:
		token, err := q.secret(ctx, *t.TokenRef)
		if err != nil {
			return nil, fmt.Errorf("bearerToken.tokenRef: %w", err)
		}
		return bearer(token), nil
	case b != nil && b.PasswordRef != nil:
		password, err := q.secret(ctx, *b.PasswordRef)
		if err != nil {
			return nil, fmt.Errorf("basicAuth.passwordRef: %w", err)
		}
		return basic(b.Username, password), nil
	}
	return nil, nil
}

func (c *Client) bitbucketOwner(ctx context.Context, a Access, g *v1alpha1.SCMProviderGenerator) (host, error) {
	if _, err := cloneURL(g.CloneProtocol, "", ""); err != nil {
		return nil, err
	}
	if g.Bitbucket.AppPasswordRef == nil {
		return nil, errors.New("bitbucket.appPasswordRef is missing")
	}
	q, err := c.question(ctx, a, "bitbucket", security{})
	if err != nil {
		return nil, fmt.Errorf("bitbucket.%w", err)
	}
	password, err := q.secret(ctx, *g.Bitbucket.AppPasswordRef)
	if err != nil {
		return nil, fmt.Errorf("bitbucket.appPasswordRef: %w", err)
	}
	return &bitbucketHost{api: api{question: q, base: c.Bitbucket, authorize: basic(g.Bitbucket.User, password)}, g: g.Bitbucket, protocol: g.CloneProtocol}, nil
}

// bitbucketPages reads the pages that start at an address; each names the next.
func bitbucketPages[T any](ctx context.Context, a *api, at string, query url.Values, each func(T) error) error {
	for range maxPages {
		var page struct {
			Values []T    `json:"values"`
			Next   string `json:"next"`
		}
		if _, err := a.get(ctx, at, query, &page); err != nil {
			return err
		}
		if page.Values == nil {
			return errors.New("the answer is no page: check \"api\"")
		}
		for _, v := range page.Values {
			if err := each(v); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		if !sameHost(a.base, page.Next) {
			return errors.New("bitbucket: the next page is on another host, where no credentials go")
		}
		at, query = page.Next, nil
	}
	return fmt.Errorf("bitbucket answers with more than %d pages", maxPages)
}

type bitbucketRepository struct {
	Slug  string `json:"slug"`
	UUID  string `json:"uuid"`
	Owner struct {
		Username string `json:"username"`
		Nickname string `json:"nickname"`
	} `json:"owner"`
	MainBranch *struct {
		Name string `json:"name"`
	} `json:"mainbranch"`
	Links struct {
		Clone []cloneLink `json:"clone"`
	} `json:"links"`
}

type cloneLink struct {
	Name string `json:"name"`
	Href string `json:"href"`
}

// link finds the address for a protocol among clone links; names are those of
// the host for ssh and https.
func link(links []cloneLink, protocol, https string) (string, error) {
	name, err := cloneURL(protocol, "ssh", https)
	if err != nil {
		return "", err
	}
	for _, l := range links {
		if l.Name == name {
			return l.Href, nil
		}
	}
	return "", fmt.Errorf("the host names no address to clone by %s: choose another cloneProtocol", name)
}

func (h *bitbucketHost) list(ctx context.Context) ([]appset.Repository, error) {
	var out []appset.Repository
	err := bitbucketPages(ctx, &h.api, h.base+"/repositories"+escape(h.g.Owner), url.Values{"pagelen": {strconv.Itoa(pageSize)}}, func(r bitbucketRepository) error {
		at, err := link(r.Links.Clone, h.protocol, "https")
		if err != nil {
			return fmt.Errorf("repository %s: %w", r.Slug, err)
		}
		one := appset.Repository{Organization: h.g.Owner, Name: r.Slug, ID: r.UUID, URL: at}
		if r.MainBranch != nil {
			one.Branch = r.MainBranch.Name
		}
		out = append(out, one)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("bitbucket owner %s: %w", h.g.Owner, err)
	}
	return out, nil
}

type bitbucketBranch struct {
	Name   string `json:"name"`
	Target struct {
		Hash string `json:"hash"`
	} `json:"target"`
}

func (h *bitbucketHost) branches(ctx context.Context, r appset.Repository) ([]appset.Repository, error) {
	refs := h.base + "/repositories" + escape(r.Organization, r.Name) + "/refs/branches"
	if !h.g.AllBranches {
		if r.Branch == "" {
			return nil, nil
		}
		var b bitbucketBranch
		if _, err := h.get(ctx, refs+escape(r.Branch), nil, &b); err != nil {
			if notFound(err) {
				return nil, nil
			}
			return nil, err
		}
		r.SHA = b.Target.Hash
		return []appset.Repository{r}, nil
	}
	var out []appset.Repository
	err := bitbucketPages(ctx, &h.api, refs, url.Values{"pagelen": {strconv.Itoa(pageSize)}}, func(b bitbucketBranch) error {
		next := r
		next.Branch, next.SHA = b.Name, b.Target.Hash
		out = append(out, next)
		return nil
	})
	return out, err
}

func (h *bitbucketHost) has(ctx context.Context, r appset.Repository, path string) (bool, error) {
	at := h.base + "/repositories" + escape(r.Organization, r.Name) + "/src" + escape(r.SHA) + escapePath(path)
	_, err := h.get(ctx, at, url.Values{"format": {"meta"}}, nil)
	if notFound(err) {
		return false, nil
	}
	return err == nil, err
}

type bitbucketRequest struct {
	ID     int64  `json:"id"`
	Title  string `json:"title"`
	Author struct {
		Nickname string `json:"nickname"`
	} `json:"author"`
	Source, Destination struct {
		Branch struct {
			Name string `json:"name"`
		} `json:"branch"`
		Commit struct {
			Hash string `json:"hash"`
		} `json:"commit"`
	}
}

func (c *Client) bitbucketPullRequests(ctx context.Context, a Access, g *v1alpha1.PullRequestBitbucket) ([]appset.PullRequest, error) {
	base := g.API
	if base == "" {
		base = c.Bitbucket
	}
	base, err := address("bitbucket.api", base)
	if err != nil {
		return nil, err
	}
	q, err := c.question(ctx, a, "bitbucket", security{})
	if err != nil {
		return nil, fmt.Errorf("bitbucket.%w", err)
	}
	defer q.close()
	who, err := q.authorization(ctx, g.BasicAuth, g.BearerToken)
	if err != nil {
		return nil, fmt.Errorf("bitbucket.%w", err)
	}
	var out []appset.PullRequest
	at := base + "/repositories" + escape(g.Owner, g.Repo) + "/pullrequests"
	err = bitbucketPages(ctx, &api{question: q, base: base, authorize: who}, at, url.Values{"pagelen": {"50"}, "state": {"OPEN"}}, func(r bitbucketRequest) error {
		out = append(out, appset.PullRequest{
			Number: r.ID, Title: r.Title, Branch: r.Source.Branch.Name, TargetBranch: r.Destination.Branch.Name, HeadSHA: r.Source.Commit.Hash, Author: r.Author.Nickname,
		})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("bitbucket repository %s/%s: %w", g.Owner, g.Repo, err)
	}
	return out, nil
}
