package gitrepo

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Refs is what a remote offers: id by full ref name, HEAD included. The id of
// an annotated tag is that of the commit it points to.
type Refs struct {
	ids   map[string]string
	order []string
}

var (
	fullID  = regexp.MustCompile(`^[0-9a-f]{40}$`)
	shortID = regexp.MustCompile(`^[0-9a-fA-F]{7,}$`)
)

// parseRefs reads the output of git ls-remote.
func parseRefs(raw []byte) Refs {
	r := Refs{ids: map[string]string{}}
	for _, line := range strings.Split(string(raw), "\n") {
		id, name, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok || !fullID.MatchString(id) {
			continue
		}
		if peeled, isPeeled := strings.CutSuffix(name, "^{}"); isPeeled {
			r.ids[peeled] = id
			continue
		}
		if _, seen := r.ids[name]; !seen {
			r.order = append(r.order, name)
		}
		r.ids[name] = id
	}
	return r
}

// Resolve turns a revision into a commit id by the rules of
// spec/application.md §6: full id, semver range over tags, full ref, short
// branch or tag name, abbreviated id (returned unchanged).
func (r Refs) Resolve(revision string) (string, error) {
	if fullID.MatchString(revision) {
		return revision, nil
	}
	if revision == "" {
		revision = "HEAD"
	}
	if tag, ok := r.semver(revision); ok {
		return r.ids["refs/tags/"+tag], nil
	}
	if id, ok := r.ids[revision]; ok {
		return id, nil
	}
	for _, name := range r.order {
		if name == "refs/heads/"+revision || name == "refs/tags/"+revision {
			return r.ids[name], nil
		}
	}
	if shortID.MatchString(revision) {
		return revision, nil
	}
	return "", fmt.Errorf("unable to resolve '%s' to a commit SHA", revision)
}

// semver picks the highest tag that satisfies a range; a plain version or a
// word is not a range.
func (r Refs) semver(revision string) (string, bool) {
	if _, err := semver.NewVersion(revision); err == nil {
		return "", false
	}
	constraint, err := semver.NewConstraint(revision)
	if err != nil {
		return "", false
	}
	if _, exact := r.ids["refs/tags/"+revision]; exact {
		return revision, true
	}
	type candidate struct {
		tag     string
		version *semver.Version
	}
	var found []candidate
	for _, name := range r.order {
		tag, ok := strings.CutPrefix(name, "refs/tags/")
		if !ok {
			continue
		}
		if v, err := semver.NewVersion(tag); err == nil && constraint.Check(v) {
			found = append(found, candidate{tag, v})
		}
	}
	if len(found) == 0 {
		return "", false
	}
	best := slices.MaxFunc(found, func(a, b candidate) int { return a.version.Compare(b.version) })
	return best.tag, true
}
