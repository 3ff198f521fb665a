package scm

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
)

// Services and operations of AWS; batchSize is how many repositories one
// question may name.
const (
	codeCommit = "codecommit"
	tagging    = "tagging"
	operations = "CodeCommit_20150413."
	resources  = "ResourceGroupsTaggingAPI_20170126.GetResources"
	batchSize  = 25
)

var errNoList = errors.New("awsCodeCommit: the answer is no list")

// codeCommitHost is an account on AWS CodeCommit.
type codeCommitHost struct {
	*awsAPI
	g        *v1alpha1.SCMCodeCommit
	protocol string
}

func (h *codeCommitHost) question() *question { return h.awsAPI.question }

func (c *Client) codeCommitAccount(ctx context.Context, a Access, g *v1alpha1.SCMProviderGenerator) (host, error) {
	switch g.CloneProtocol {
	case "", "ssh", "https", "https-fips":
	default:
		return nil, unknownProtocol(g.CloneProtocol, "ssh, https or https-fips")
	}
	if !a.Default {
		return nil, fmt.Errorf("awsCodeCommit: the identity of this process is not lent to sets outside of its namespace")
	}
	q, err := c.question(ctx, a, "aws-codecommit", security{})
	if err != nil {
		return nil, fmt.Errorf("awsCodeCommit.%w", err)
	}
	found, err := q.awsAPI(ctx, g.AWSCodeCommit.Region, g.AWSCodeCommit.Role)
	if err != nil {
		return nil, fmt.Errorf("awsCodeCommit: %w", err)
	}
	return &codeCommitHost{awsAPI: found, g: g.AWSCodeCommit, protocol: g.CloneProtocol}, nil
}

func (h *codeCommitHost) list(ctx context.Context) ([]appset.Repository, error) {
	names, err := h.names(ctx)
	if err != nil {
		return nil, err
	}
	var out []appset.Repository
	for batch := range slices.Chunk(names, batchSize) {
		var answer struct {
			Repositories []struct {
				Account string `json:"accountId"`
				ID      string `json:"repositoryId"`
				Name    string `json:"repositoryName"`
				Default string `json:"defaultBranch"`
				HTTP    string `json:"cloneUrlHttp"`
				SSH     string `json:"cloneUrlSsh"`
			} `json:"repositories"`
			Missing []string `json:"repositoriesNotFound"`
		}
		if err := h.call(ctx, codeCommit, operations+"BatchGetRepositories", map[string]any{"repositoryNames": batch}, &answer); err != nil {
			return nil, err
		}
		if len(answer.Repositories)+len(answer.Missing) != len(batch) {
			return nil, fmt.Errorf("awsCodeCommit answers with %d repositories instead of %d", len(answer.Repositories), len(batch))
		}
		for _, r := range answer.Repositories {
			at := r.SSH
			switch h.protocol {
			case "https":
				at = r.HTTP
			case "https-fips":
				at = strings.Replace(r.HTTP, "https://git-codecommit.", "https://git-codecommit-fips.", 1)
			}
			out = append(out, appset.Repository{Organization: r.Account, Name: r.Name, ID: r.ID, URL: at, Branch: r.Default})
		}
	}
	return out, nil
}

// names lists all repositories, or those that carry the tags.
func (h *codeCommitHost) names(ctx context.Context) ([]string, error) {
	if len(h.g.TagFilters) > 0 {
		return h.tagged(ctx)
	}
	var out []string
	token := ""
	for range maxPages {
		input := map[string]any{}
		if token != "" {
			input["nextToken"] = token
		}
		var answer struct {
			Repositories []struct {
				Name string `json:"repositoryName"`
			} `json:"repositories"`
			Next string `json:"nextToken"`
		}
		if err := h.call(ctx, codeCommit, operations+"ListRepositories", input, &answer); err != nil {
			return nil, err
		}
		if answer.Repositories == nil {
			return nil, errNoList
		}
		for _, r := range answer.Repositories {
			out = append(out, r.Name)
		}
		if token = answer.Next; token == "" {
			return out, nil
		}
	}
	return nil, fmt.Errorf("awsCodeCommit answers with more than %d pages", maxPages)
}

// tagged lists repositories by tag: values of one key are alternatives, all keys
// must be there.
func (h *codeCommitHost) tagged(ctx context.Context) ([]string, error) {
	type filter struct {
		Key    string
		Values []string `json:",omitempty"`
	}
	var filters []filter
	for _, f := range h.g.TagFilters {
		if f == nil || f.Key == "" {
			return nil, fmt.Errorf("awsCodeCommit.tagFilters: a filter has no key")
		}
		at := slices.IndexFunc(filters, func(known filter) bool { return known.Key == f.Key })
		if at < 0 {
			at = len(filters)
			filters = append(filters, filter{Key: f.Key})
		}
		if f.Value != "" {
			filters[at].Values = append(filters[at].Values, f.Value)
		}
	}
	var out []string
	token := ""
	for range maxPages {
		var answer struct {
			List []struct {
				ARN string `json:"ResourceARN"`
			} `json:"ResourceTagMappingList"`
			Token string `json:"PaginationToken"`
		}
		input := map[string]any{"ResourceTypeFilters": []string{"codecommit:repository"}, "TagFilters": filters}
		if token != "" {
			input["PaginationToken"] = token
		}
		if err := h.call(ctx, tagging, resources, input, &answer); err != nil {
			return nil, err
		}
		if answer.List == nil {
			return nil, errNoList
		}
		for _, r := range answer.List {
			out = append(out, r.ARN[strings.LastIndex(r.ARN, ":")+1:])
		}
		if token = answer.Token; token == "" {
			return out, nil
		}
	}
	return nil, fmt.Errorf("awsCodeCommit answers with more than %d pages", maxPages)
}

func (h *codeCommitHost) branches(ctx context.Context, r appset.Repository) ([]appset.Repository, error) {
	if r.Branch == "" {
		return nil, nil
	}
	if !h.g.AllBranches {
		return []appset.Repository{r}, nil
	}
	var out []appset.Repository
	token := ""
	for range maxPages {
		input := map[string]any{"repositoryName": r.Name}
		if token != "" {
			input["nextToken"] = token
		}
		var answer struct {
			Branches []string `json:"branches"`
			Next     string   `json:"nextToken"`
		}
		if err := h.call(ctx, codeCommit, operations+"ListBranches", input, &answer); err != nil {
			return nil, err
		}
		if answer.Branches == nil {
			return nil, errNoList
		}
		for _, name := range answer.Branches {
			next := r
			next.Branch = name
			out = append(out, next)
		}
		if token = answer.Next; token == "" {
			return out, nil
		}
	}
	return nil, fmt.Errorf("awsCodeCommit answers with more than %d pages", maxPages)
}

// has looks for the name in the folder that would hold it.
func (h *codeCommitHost) has(ctx context.Context, r appset.Repository, name string) (bool, error) {
	name = path.Clean("/" + name)
	type entry struct {
		Path string `json:"absolutePath"`
	}
	var answer struct {
		Files, SubFolders, SubModules, SymbolicLinks []entry
	}
	err := h.call(ctx, codeCommit, operations+"GetFolder", map[string]any{
		"repositoryName": r.Name, "commitSpecifier": r.Branch, "folderPath": path.Dir(name),
	}, &answer)
	if awsKind(err) == "FolderDoesNotExistException" {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(slices.Concat(answer.Files, answer.SubFolders, answer.SubModules, answer.SymbolicLinks), func(e entry) bool {
		return strings.Trim(e.Path, "/") == strings.Trim(name, "/")
	}), nil
}
