package appset

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// Event is what a webhook says that may concern generators: a push, or
// something about a pull request; the other one is nil.
type Event struct {
	Push        *repo.Push
	PullRequest *PullRequestEvent
}

// PullRequestEvent says that something happened to a pull request.
type PullRequestEvent struct {
	// Provider is github, gitlab, azuredevops, gitea, bitbucket or
	// bitbucketServer.
	Provider string
	// URL is any address on the host, such as that of the repository.
	URL string
	// Owner and Repo name the repository: organisation, group or project key and
	// slug. ID is the number of a GitLab project, Project that of Azure DevOps.
	Owner, Repo, Project string
	ID                   int64
	// Action in the words of the host; empty counts as one that matters.
	Action string
}

// actions are those after which a list of pull requests may differ
// (spec/applicationset.md §9); those of other hosts all count.
var actions = map[string][]string{
	"github": {"opened", "closed", "synchronize", "labeled", "reopened", "unlabeled"},
	"gitlab": {"open", "close", "reopen", "update", "merge"},
}

func (e *PullRequestEvent) matters() bool {
	known, listed := actions[e.Provider]
	return !listed || e.Action == "" || slices.Contains(known, e.Action)
}

// Concerns says whether an event can change what the set generates
// (spec/applicationset.md §9). The second child of a matrix is looked at with the
// parameters of the first, which w answers; when it gives no answer, as it is
// written. Plugins are concerned by everything, scmProvider by nothing.
func Concerns(set *v1alpha1.ApplicationSet, ev Event, w World) bool {
	if ev.PullRequest != nil && !ev.PullRequest.matters() {
		return false
	}
	var incomplete, doubts []string
	e := &evaluation{World: w, goMode: set.Spec.GoTemplate, options: set.Spec.GoTemplateOptions, incomplete: &incomplete, doubts: &doubts, spent: &spent{}}
	return slices.ContainsFunc(set.Spec.Generators, func(entry v1alpha1.ApplicationSetGenerator) bool {
		return slices.ContainsFunc(kinds(entry), func(g v1alpha1.ApplicationSetGenerator) bool {
			return e.concerns(generator{ApplicationSetGenerator: g}, ev)
		})
	})
}

func (e *evaluation) concerns(g generator, ev Event) bool {
	switch {
	case g.Plugin != nil:
		return true
	case g.Git != nil:
		return ev.Push != nil && ev.Push.Touches(g.Git.RepoURL) && ev.Push.Moves(g.Git.Revision, "")
	case g.PullRequest != nil:
		return ev.PullRequest != nil && ev.PullRequest.about(g.PullRequest)
	case g.Merge != nil:
		return slices.ContainsFunc(g.Merge.Generators, func(n v1alpha1.NestedGenerator) bool {
			child, err := nested(n, g.level+1)
			return err == nil && e.concerns(child, ev)
		})
	case g.Matrix != nil && len(g.Matrix.Generators) == 2:
		return e.matrixConcerns(g, ev)
	}
	return false
}

func (e *evaluation) matrixConcerns(g generator, ev Event) bool {
	first, err := nested(g.Matrix.Generators[0], g.level+1)
	if err != nil {
		return false
	}
	if e.concerns(first, ev) {
		return true
	}
	children := []v1alpha1.NestedGenerator{g.Matrix.Generators[1]}
	if raw, err := json.Marshal(children[0]); err == nil && strings.Contains(string(raw), "{{") {
		if params, err := e.generate(first); err == nil {
			children = nil
			seen := map[string]bool{}
			for _, a := range params {
				child, err := e.interpolate(g.Matrix.Generators[1], a)
				raw, encode := json.Marshal(child)
				if err != nil || encode != nil || seen[string(raw)] {
					continue
				}
				seen[string(raw)] = true
				children = append(children, child)
			}
		}
	}
	return slices.ContainsFunc(children, func(n v1alpha1.NestedGenerator) bool {
		child, err := nested(n, g.level+1)
		return err == nil && e.concerns(child, ev)
	})
}

// about says whether the event is about the repository of the generator.
func (e *PullRequestEvent) about(g *v1alpha1.PullRequestGenerator) bool {
	switch {
	case g.Github != nil:
		return e.Provider == "github" && e.named(g.Github.Owner, g.Github.Repo) && e.on(g.Github.API, "github.com")
	case g.GitLab != nil:
		path := strings.Trim(e.Owner+"/"+e.Repo, "/")
		return e.Provider == "gitlab" && e.on(g.GitLab.API, "gitlab.com") &&
			(e.ID != 0 && g.GitLab.Project == strconv.FormatInt(e.ID, 10) || path != "" && strings.EqualFold(g.GitLab.Project, path))
	case g.AzureDevOps != nil:
		return e.Provider == "azuredevops" && strings.EqualFold(e.Project, g.AzureDevOps.Project) && strings.EqualFold(e.Repo, g.AzureDevOps.Repo)
	case g.Gitea != nil:
		return e.Provider == "gitea" && e.named(g.Gitea.Owner, g.Gitea.Repo) && e.on(g.Gitea.API, "")
	case g.BitbucketServer != nil:
		return e.Provider == "bitbucketServer" && e.named(g.BitbucketServer.Project, g.BitbucketServer.Repo) && e.on(g.BitbucketServer.API, "")
	case g.Bitbucket != nil:
		return e.Provider == "bitbucket" && e.named(g.Bitbucket.Owner, g.Bitbucket.Repo)
	}
	return false
}

func (e *PullRequestEvent) named(owner, name string) bool {
	return strings.EqualFold(e.Owner, owner) && strings.EqualFold(e.Repo, name)
}

// on says whether the event comes from the host of an API, or from the public
// one when there is none.
func (e *PullRequestEvent) on(api, public string) bool {
	host := func(s string) string {
		u, err := url.Parse(s)
		if err != nil {
			return ""
		}
		return strings.TrimPrefix(strings.ToLower(u.Hostname()), "api.")
	}
	want := public
	if api != "" {
		want = host(api)
	}
	return want != "" && host(e.URL) == want
}
