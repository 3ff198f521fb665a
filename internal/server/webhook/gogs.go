package webhook

import (
	"encoding/json"
	"net/http"

	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// gogs is Gogs, and Gitea and Forgejo, which send its headers along.
type gogs struct{}

func (gogs) name() string { return "Gogs" }

func (gogs) sent(h http.Header) bool { return h.Get("X-Gogs-Event") != "" }

func (gogs) verify(s Secrets, r *http.Request, body []byte) (bool, error) {
	return s.Gogs != "", signed(s.Gogs, r.Header.Get("X-Gogs-Signature"), body)
}

type gogsEvent struct {
	Ref, Before, After string
	TotalCommits       *int `json:"total_commits"`
	Commits            []commit
	Action             string
	Repository         struct {
		HTMLURL       string `json:"html_url"`
		DefaultBranch string `json:"default_branch"`
		Name          string
		Owner         struct{ Login, Username string }
	}
}

func (gogs) parse(h http.Header, body []byte) (Event, error) {
	var e gogsEvent
	kind := h.Get("X-Gogs-Event")
	if kind != "push" && kind != "create" && kind != "delete" && kind != "pull_request" {
		return Event{}, nil
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return Event{}, err
	}
	r := e.Repository
	switch kind {
	case "pull_request":
		owner := r.Owner.Login
		if owner == "" {
			owner = r.Owner.Username
		}
		return Event{Pull: &appset.PullRequestEvent{Provider: "gitea", URL: r.HTMLURL, Owner: owner, Repo: r.Name, Action: e.Action}}, nil
	case "create", "delete": // of a branch or tag; the name is short and may be either
		return Event{Pushes: []Push{{Push: repo.Push{URL: r.HTMLURL}}}}, nil
	}
	whole := e.Before != null && e.After != null && (e.TotalCommits == nil || *e.TotalCommits == len(e.Commits))
	return Event{Pushes: []Push{{
		Push:  repo.Push{URL: r.HTMLURL, Ref: e.Ref, Default: branchOf(e.Ref) == r.DefaultBranch, Commit: known(e.After)},
		Files: files(e.Commits, whole),
	}}}, nil
}
