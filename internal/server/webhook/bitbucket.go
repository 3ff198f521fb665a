package webhook

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// bitbucket is Bitbucket Cloud. It is known by the id of the hook, which is no
// signature: the id must be kept secret.
type bitbucket struct{}

func (bitbucket) name() string { return "Bitbucket" }

func (bitbucket) sent(h http.Header) bool { return h.Get("X-Hook-UUID") != "" }

func (bitbucket) verify(s Secrets, r *http.Request, _ []byte) (bool, error) {
	bare := func(id string) string { return strings.ToLower(strings.Trim(id, "{}")) }
	return s.BitbucketUUID != "", same(repo.Secret(bare(s.BitbucketUUID.Reveal())), bare(r.Header.Get("X-Hook-UUID")))
}

// ref is what a change says of a branch or tag.
type bitbucketRef struct {
	Type, Name string
	Target     struct{ Hash string }
}

type bitbucketEvent struct {
	Push struct {
		Changes []struct{ New, Old *bitbucketRef }
	}
	Repository struct {
		FullName string `json:"full_name"`
		Links    struct{ HTML struct{ Href string } }
	}
}

func (bitbucket) parse(h http.Header, body []byte) (Event, error) {
	kind := h.Get("X-Event-Key")
	if kind != "repo:push" && !strings.HasPrefix(kind, "pullrequest:") {
		return Event{}, nil
	}
	var e bitbucketEvent
	if err := json.Unmarshal(body, &e); err != nil {
		return Event{}, err
	}
	at := e.Repository.Links.HTML.Href
	if kind != "repo:push" {
		owner, name, _ := strings.Cut(e.Repository.FullName, "/")
		return Event{Pull: &appset.PullRequestEvent{Provider: "bitbucket", URL: at, Owner: owner, Repo: name}}, nil
	}
	var out Event
	for _, c := range e.Push.Changes {
		ref := c.New
		if ref == nil {
			ref = c.Old
		}
		if ref == nil {
			continue
		}
		p := repo.Push{URL: at, Ref: fullRef(ref.Type, ref.Name), Default: true} // it does not say which is
		if c.New != nil {
			p.Commit = c.New.Target.Hash
		}
		next := Push{Push: p}
		if c.New != nil && c.Old != nil {
			next.Range = &Range{Repository: e.Repository.FullName, From: c.Old.Target.Hash, To: c.New.Target.Hash}
		}
		out.Pushes = append(out.Pushes, next)
	}
	return out, nil
}

// fullRef is the ref of a branch or tag; of other kinds the name.
func fullRef(kind, name string) string {
	switch strings.ToLower(kind) {
	case "branch", "named_branch":
		return "refs/heads/" + name
	case "tag", "annotated_tag":
		return "refs/tags/" + name
	}
	return name
}
