package gitrepo

import (
	"fmt"
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

// Resolve gives the id a target means (spec/application.md §6): a commit id is
// itself; a version range is the highest tag in it; then full names, branches,
// tags; an abbreviated id is returned as it is. Where a branch and a tag have
// the same name the branch wins, as in the order of listings.
func (r *Refs) Resolve(t Target) (string, error) {
	revision := t.Revision
	if fullID.MatchString(revision) {
		return revision, nil
	}
	if revision == "" {
		revision = "HEAD"
	}
	tag, isRange, rangeErr := r.version(revision, t.TagPrefix)
	if id, ok := r.find(tagPath + tag); tag != "" && ok {
		return id, nil
	}
	if t.TagPrefix != "" && !isRange {
		return "", rangeErr
	}
	for _, name := range []string{revision, "refs/heads/" + revision, tagPath + revision} {
		if id, ok := r.find(name); ok {
			return id, nil
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

const tagPath = "refs/tags/"

// tagNamed is the tag that a target means, "" when it means something else.
func (r *Refs) tagNamed(t Target) string {
	if tag, _, _ := r.version(t.Revision, t.TagPrefix); tag != "" {
		return tag
	}
	if name, ok := strings.CutPrefix(t.Revision, tagPath); ok {
		return name
	}
	for _, name := range []string{t.Revision, "refs/heads/" + t.Revision} {
		if _, ok := r.find(name); ok {
			return ""
		}
	}
	if _, ok := r.find(tagPath + t.Revision); ok && t.TagPrefix == "" {
		return t.Revision
	}
	return ""
}

// version picks the tag that a revision means when it is a version range, or a
// plain version with a tag prefix.
func (r *Refs) version(revision, prefix string) (tag string, isRange bool, err error) {
	if _, err := semver.NewVersion(revision); err == nil {
		if prefix == "" {
			return "", false, nil // a pin: found by its name
		}
		if _, ok := r.find(tagPath + prefix + revision); ok {
			return prefix + revision, true, nil
		}
		return "", false, fmt.Errorf("unable to resolve '%s' to a commit SHA: there is no tag %s", revision, prefix+revision)
	}
	constraint, err := semver.NewConstraint(revision)
	if err != nil {
		return "", false, fmt.Errorf("targetRevision '%s' is not a version or version range, which tagPrefix '%s' requires", revision, prefix)
	}
	if _, ok := r.find(tagPath + prefix + revision); ok {
		return prefix + revision, true, nil
	}
	for _, v := range r.versionsOf(prefix) {
		if constraint.Check(v.parsed) {
			return strings.TrimPrefix(r.names[v.at], tagPath), true, nil
		}
	}
	return "", true, fmt.Errorf("version matching constraint not found in %d tags", r.count(tagPath+prefix))
}
