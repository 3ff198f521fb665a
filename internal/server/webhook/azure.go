package webhook

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// azure is Azure DevOps.
type azure struct{}

func (azure) name() string { return "Azure DevOps" }

func (azure) sent(h http.Header) bool { return h.Get("X-Vss-Activityid") != "" }

func (azure) verify(s Secrets, r *http.Request, _ []byte) (bool, error) {
	return s.AzureUser != "" || s.AzurePassword != "", basic(s.AzureUser, s.AzurePassword, r)
}

type azureEvent struct {
	EventType string
	Resource  struct {
		RefUpdates []struct{ Name, NewObjectID string }
		Repository struct {
			Name, RemoteURL, WebURL, DefaultBranch string
			Project                                struct{ Name string }
		}
	}
}

func (azure) parse(_ http.Header, body []byte) (Event, error) {
	var e azureEvent
	if err := json.Unmarshal(body, &e); err != nil {
		return Event{}, err
	}
	r := e.Resource.Repository
	switch {
	case e.EventType == "git.push":
		var out Event
		for _, u := range e.Resource.RefUpdates {
			out.Pushes = append(out.Pushes, Push{Push: repo.Push{URL: r.RemoteURL, Ref: u.Name, Default: u.Name == r.DefaultBranch, Commit: known(u.NewObjectID)}})
		}
		return out, nil
	case strings.HasPrefix(e.EventType, "git.pullrequest."):
		at := r.WebURL
		if at == "" {
			at = r.RemoteURL
		}
		return Event{Pull: &appset.PullRequestEvent{Provider: "azuredevops", URL: at, Repo: r.Name, Project: r.Project.Name}}, nil
	}
	return Event{}, nil
}
