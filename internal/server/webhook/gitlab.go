package webhook

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// gitlab is GitLab; system hooks are sent by an administrator for everything.
type gitlab struct{}

func (gitlab) name() string { return "GitLab" }

func (gitlab) sent(h http.Header) bool { return h.Get("X-Gitlab-Event") != "" }

func (gitlab) verify(s Secrets, r *http.Request, _ []byte) (bool, error) {
	return s.GitLab != "", same(s.GitLab, r.Header.Get("X-Gitlab-Token"))
}

type gitlabEvent struct {
	Kind               string `json:"object_kind"`
	Name               string `json:"event_name"`
	Ref, Before, After string
	TotalCommits       int `json:"total_commits_count"`
	Commits            []commit
	Project            struct {
		ID            int64
		WebURL        string `json:"web_url"`
		DefaultBranch string `json:"default_branch"`
		Path          string `json:"path_with_namespace"`
	}
	Attributes struct{ Action string } `json:"object_attributes"`
}

func (gitlab) parse(_ http.Header, body []byte) (Event, error) {
	var e gitlabEvent
	if err := json.Unmarshal(body, &e); err != nil {
		return Event{}, err
	}
	kind := e.Kind
	if kind == "" {
		kind = e.Name
	}
	switch kind {
	case "push", "tag_push":
		whole := len(e.Commits) == e.TotalCommits && e.Before != null && e.After != null // a hook has twenty commits at most
		return Event{Pushes: []Push{{
			Push:  repo.Push{URL: e.Project.WebURL, Ref: e.Ref, Default: branchOf(e.Ref) == e.Project.DefaultBranch, Commit: known(e.After)},
			Files: files(e.Commits, whole),
		}}}, nil
	case "repository_update": // it names no single ref
		return Event{Pushes: []Push{{Push: repo.Push{URL: e.Project.WebURL}}}}, nil
	case "merge_request":
		owner, name := "", e.Project.Path
		if i := strings.LastIndexByte(name, '/'); i >= 0 {
			owner, name = name[:i], name[i+1:]
		}
		return Event{Pull: &appset.PullRequestEvent{Provider: "gitlab", URL: e.Project.WebURL, Owner: owner, Repo: name, ID: e.Project.ID, Action: e.Attributes.Action}}, nil
	}
	return Event{}, nil
}
