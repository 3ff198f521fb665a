package webhook

import (
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// Push says that something moved in a repository.
type Push struct {
	repo.Push
	// Files changed; nil is not known: any may have.
	Files []string
	// Range is set when the host can be asked for the files; nil is not.
	Range *Range
}

// Image says that a registry has a new version of an artifact.
type Image struct {
	// URL is that of the repository, oci://host/path.
	URL, Tag string
}

// Event is what one request says.
type Event struct {
	Provider string
	Pushes   []Push
	Images   []Image
	Pull     *appset.PullRequestEvent
}

// empty says that nobody needs to do anything.
func (e Event) empty() bool { return len(e.Pushes)+len(e.Images) == 0 && e.Pull == nil }

// Bounds of one event.
const (
	// maxPushes is how many refs one event may name; more are one push of
	// anything.
	maxPushes = 100
	// maxFiles is how many changed files are looked at.
	maxFiles = 3000
	// maxName is the longest URL or ref, in bytes.
	maxName = 4096
)

// cut brings an event within its bounds; what is too long to be true says
// nothing.
func (e Event) cut() Event {
	kept := e.Pushes[:0:0]
	for _, p := range e.Pushes {
		if p.URL == "" || len(p.URL) > maxName || len(p.Ref) > maxName {
			continue
		}
		if len(p.Files) > maxFiles {
			p.Files = nil
		}
		kept = append(kept, p)
	}
	if len(kept) > maxPushes {
		kept = []Push{{Push: repo.Push{URL: kept[0].URL}}}
	}
	e.Pushes = kept
	images := e.Images[:0:0]
	for _, i := range e.Images {
		if len(i.URL) <= maxName && len(i.Tag) <= maxName {
			images = append(images, i)
		}
	}
	e.Images = images
	if p := e.Pull; p != nil && len(p.URL)+len(p.Owner)+len(p.Repo)+len(p.Project)+len(p.Action) > maxName {
		e.Pull = nil
	}
	return e
}

// commit is what pushes say of commits.
type commit struct {
	Added    []string `json:"added"`
	Modified []string `json:"modified"`
	Removed  []string `json:"removed"`
}

// files are those of all commits, nil when the list is not known to be whole.
func files(commits []commit, whole bool) []string {
	if !whole || len(commits) == 0 {
		return nil
	}
	out := []string{}
	for _, c := range commits {
		for _, list := range [][]string{c.Added, c.Modified, c.Removed} {
			if out = append(out, list...); len(out) > maxFiles {
				return nil
			}
		}
	}
	return out
}

// null is the id of no commit.
const null = "0000000000000000000000000000000000000000"

// known gives an id, or nothing for that of no commit.
func known(id string) string {
	if id == null {
		return ""
	}
	return id
}
