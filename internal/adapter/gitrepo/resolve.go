package gitrepo

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Target is what a source asks of a repository.
type Target struct {
	// Revision is a branch, tag, commit, full ref or version range; empty is HEAD.
	Revision string
	// TagPrefix limits a version range to the tags that start with it.
	TagPrefix string
}

// Refs is what a remote offers: id by full ref name, HEAD included. The id of
// an annotated tag is that of the commit it points to.
type Refs struct {
	ids   map[string]string
	order []string
}

var (
	fullID  = regexp.MustCompile(`^[0-9a-f]{40}$`)
	shortID = regexp.MustCompile(`^[0-9a-fA-F]{7,40}$`)
)

// parseRefs reads the output of git ls-remote.
func parseRefs(raw []byte) Refs {
	r := Refs{ids: map[string]string{}}
	for line := range bytes.Lines(raw) {
		id, name, ok := strings.Cut(strings.TrimSpace(string(line)), "\t")
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

// offers says that some ref points at id.
func (r Refs) offers(id string) bool {
	for _, has := range r.ids {
		if has == id {
			return true
		}
	}
	return false
}

// Resolve turns a target into a commit id by the rules of
// spec/application.md §6: full id, version range over tags, full ref, short
// branch or tag name, abbreviated id (returned unchanged).
func (r Refs) Resolve(t Target) (string, error) {
	revision := t.Revision
	if fullID.MatchString(revision) {
		return revision, nil
	}
	if revision == "" {
		revision = "HEAD"
	}
	tag, isRange, rangeErr := r.version(revision, t.TagPrefix)
	if tag != "" {
		return r.ids["refs/tags/"+tag], nil
	}
	if t.TagPrefix != "" && !isRange {
		return "", rangeErr
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
		return strings.ToLower(revision), nil
	}
	switch {
	case isRange:
		return "", fmt.Errorf("unable to resolve '%s' to a commit SHA: %w", revision, rangeErr)
	case len(r.ids) == 0:
		return "", fmt.Errorf("unable to resolve '%s' to a commit SHA: the repository has no commits", revision)
	}
	return "", fmt.Errorf("unable to resolve '%s' to a commit SHA", revision)
}

// version picks the tag that a revision means when it is a version range, or
// a plain version with a tag prefix.
func (r Refs) version(revision, prefix string) (tag string, isRange bool, err error) {
	if _, err := semver.NewVersion(revision); err == nil {
		if _, exists := r.ids["refs/tags/"+prefix+revision]; prefix != "" && exists {
			return prefix + revision, true, nil
		}
		if prefix == "" {
			return "", false, nil // a pin: found by its name
		}
		return "", false, fmt.Errorf("unable to resolve '%s' to a commit SHA: there is no tag %s", revision, prefix+revision)
	}
	constraint, err := semver.NewConstraint(revision)
	if err != nil {
		return "", false, fmt.Errorf("targetRevision '%s' is not a version or version range, which tagPrefix '%s' requires", revision, prefix)
	}
	tags := r.tags(prefix)
	if slices.Contains(tags, revision) {
		return prefix + revision, true, nil
	}
	var best *semver.Version
	for _, t := range tags {
		v, err := semver.NewVersion(t)
		if err == nil && constraint.Check(v) && (best == nil || v.GreaterThan(best)) {
			best, tag = v, prefix+t
		}
	}
	if best == nil {
		return "", true, fmt.Errorf("version matching constraint not found in %d tags", len(tags))
	}
	return tag, true, nil
}

// tags are the names of tags with a prefix, without it, in listing order.
func (r Refs) tags(prefix string) []string {
	var out []string
	for _, name := range r.order {
		if tag, ok := strings.CutPrefix(name, "refs/tags/"+prefix); ok {
			out = append(out, tag)
		}
	}
	return out
}
