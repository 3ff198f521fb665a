package scm

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-cd/sluice/internal/domain/appset"
)

// Bounds of one answer.
const (
	maxPages        = 1_000
	maxRepositories = 50_000
	pageSize        = 100
	// atOnce bounds the requests to one host at a time.
	atOnce = 6
)

// host is one organisation on one host.
type host interface {
	question() *question
	// list gives all repositories; Branch is the default branch.
	list(ctx context.Context) ([]appset.Repository, error)
	// branches gives the default branch, or all when the generator says so; none
	// when the repository has no such branch.
	branches(ctx context.Context, r appset.Repository) ([]appset.Repository, error)
	// has says whether a branch has a file or folder.
	has(ctx context.Context, r appset.Repository, path string) (bool, error)
}

// collect lists, filters, and lists the branches of what is left.
func collect(ctx context.Context, h host, filters *appset.RepositoryFilters) (appset.Listing, error) {
	all, err := h.list(ctx)
	if err != nil {
		return appset.Listing{}, err
	}
	if len(all) > maxRepositories {
		return appset.Listing{}, fmt.Errorf("the host lists %d repositories, at most %d are allowed", len(all), maxRepositories)
	}
	found := make([][]appset.Repository, len(all))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, r := range all {
		if !filters.Repository(r) {
			continue
		}
		group.Go(func() error {
			var err error
			found[i], err = chosen(inner, h, r, filters)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return appset.Listing{}, err //nolint:wrapcheck // wrapped where it is made
	}
	out := appset.Listing{Seen: len(all)}
	for _, branches := range found {
		out.Repositories = append(out.Repositories, branches...)
	}
	return out, nil
}

// chosen are the branches of one repository that the filters choose.
func chosen(ctx context.Context, h host, r appset.Repository, filters *appset.RepositoryFilters) ([]appset.Repository, error) {
	branches, err := h.branches(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", r.Name, err)
	}
	var out []appset.Repository
	for _, b := range branches {
		holds, err := filters.Branch(b, func(path string) (bool, error) {
			if path == "" {
				return true, nil
			}
			return h.has(ctx, b, path)
		})
		if err != nil {
			return nil, fmt.Errorf("repository %s, branch %s: %w", b.Name, b.Branch, err)
		}
		if holds {
			out = append(out, b)
		}
	}
	return out, nil
}

// pages calls next with page numbers from 1 until it says that there is none;
// the number that follows comes from the host.
func pages(next func(page int) (following int, err error)) error {
	page := 1
	for range maxPages {
		following, err := next(page)
		if err != nil || following == 0 {
			return err
		}
		if following <= page {
			return fmt.Errorf("the host answers page %d with page %d as the next", page, following)
		}
		page = following
	}
	return fmt.Errorf("the host answers with more than %d pages", maxPages)
}

// unknownProtocol refuses a cloneProtocol.
func unknownProtocol(protocol, known string) error {
	return fmt.Errorf("cloneProtocol %q is not known: write %s", protocol, known)
}

// cloneURL chooses by cloneProtocol.
func cloneURL(protocol, ssh, https string) (string, error) {
	switch protocol {
	case "", "ssh":
		return ssh, nil
	case "https":
		return https, nil
	}
	return "", unknownProtocol(protocol, "ssh or https")
}

// allIn says that every wanted label is among those given.
func allIn(wanted, given []string) bool {
	has := map[string]bool{}
	for _, g := range given {
		has[g] = true
	}
	for _, w := range wanted {
		if !has[w] {
			return false
		}
	}
	return true
}
