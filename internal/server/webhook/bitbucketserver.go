package webhook

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// bitbucketServer is Bitbucket Server and Data Center.
type bitbucketServer struct{}

func (bitbucketServer) name() string { return "Bitbucket Server" }

func (bitbucketServer) sent(h http.Header) bool { return h.Get("X-Event-Key") != "" }

func (bitbucketServer) verify(s Secrets, r *http.Request, body []byte) (bool, error) {
	if r.Header.Get("X-Event-Key") == "diagnostics:ping" {
		return true, nil // it is not signed, and does nothing
	}
	return s.BitbucketServer != "", signed(s.BitbucketServer, r.Header.Get("X-Hub-Signature"), body)
}

type serverRepository struct {
	Slug    string
	Project struct{ Key string }
	Links   struct {
		Clone []struct{ Href, Name string }
	}
}

type serverEvent struct {
	Changes []struct {
		Ref    struct{ ID string }
		ToHash string
	}
	Repository  serverRepository
	PullRequest struct {
		ToRef struct{ Repository serverRepository }
	}
}

func (bitbucketServer) parse(h http.Header, body []byte) (Event, error) {
	kind := h.Get("X-Event-Key")
	if kind != "repo:refs_changed" && !strings.HasPrefix(kind, "pr:") {
		return Event{}, nil
	}
	var e serverEvent
	if err := json.Unmarshal(body, &e); err != nil {
		return Event{}, err
	}
	if kind != "repo:refs_changed" {
		r := e.PullRequest.ToRef.Repository
		at := ""
		for _, l := range r.Links.Clone {
			at = l.Href
		}
		return Event{Pull: &appset.PullRequestEvent{Provider: "bitbucketServer", URL: at, Owner: r.Project.Key, Repo: r.Slug}}, nil
	}
	var out Event
	for _, l := range e.Repository.Links.Clone {
		for _, c := range e.Changes {
			out.Pushes = append(out.Pushes, Push{Push: repo.Push{URL: l.Href, Ref: c.Ref.ID, Default: true, Commit: known(c.ToHash)}}) // it does not say which is
		}
	}
	return out, nil
}
