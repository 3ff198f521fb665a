package webhook

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// github is GitHub, the public one and Enterprise.
type github struct{}

func (github) name() string { return "GitHub" }

func (github) sent(h http.Header) bool {
	kind := h.Get("X-GitHub-Event")
	return kind != "" && kind != "package"
}

func (github) verify(s Secrets, r *http.Request, body []byte) (bool, error) {
	return s.GitHub != "", signed(s.GitHub, r.Header.Get("X-Hub-Signature-256"), body)
}

// maxCommits is how many commits GitHub puts into an event.
const maxCommits = 2048

type githubEvent struct {
	Ref, Before, After string
	Forced             bool
	Commits            []commit
	Action             string
	Repository         struct {
		HTMLURL       string `json:"html_url"`
		DefaultBranch string `json:"default_branch"`
		Name          string
		Owner         struct{ Login, Name string }
	}
}

func (github) parse(h http.Header, body []byte) (Event, error) {
	kind := h.Get("X-GitHub-Event")
	if kind != "push" && kind != "pull_request" {
		return Event{}, nil // ping, and what nobody waits for
	}
	var e githubEvent
	if err := json.Unmarshal(body, &e); err != nil {
		return Event{}, err
	}
	r := e.Repository
	if kind == "push" {
		whole := !e.Forced && e.Before != null && e.After != null && len(e.Commits) < maxCommits
		return Event{Pushes: []Push{{
			Push:  repo.Push{URL: r.HTMLURL, Ref: e.Ref, Default: branchOf(e.Ref) == r.DefaultBranch, Commit: known(e.After)},
			Files: files(e.Commits, whole),
		}}}, nil
	}
	owner := r.Owner.Login
	if owner == "" {
		owner = r.Owner.Name
	}
	return Event{Pull: &appset.PullRequestEvent{Provider: "github", URL: r.HTMLURL, Owner: owner, Repo: r.Name, Action: e.Action}}, nil
}

// branchOf is the name of a branch, or nothing for other refs.
func branchOf(ref string) string {
	name, ok := strings.CutPrefix(ref, "refs/heads/")
	if !ok {
		return "\x00"
	}
	return name
}
