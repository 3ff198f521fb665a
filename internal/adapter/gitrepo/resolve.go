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
	id, isRange, rangeErr := r.version(revision, t.TagPrefix)
	if id != "" {
		return id, nil
	}
	if t.TagPrefix != "" && !isRange {
		return "", rangeErr
	}
	for _, name := range []string{revision, "refs/heads/" + revision, "refs/tags/" + revision} {
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

// version picks the id that a revision means when it is a version range, or a
// plain version with a tag prefix.
func (r *Refs) version(revision, prefix string) (id string, isRange bool, err error) {
	if _, err := semver.NewVersion(revision); err == nil {
		if prefix == "" {
			return "", false, nil // a pin: found by its name
		}
		if id, ok := r.find("refs/tags/" + prefix + revision); ok {
			return id, true, nil
		}
		return "", false, fmt.Errorf("unable to resolve '%s' to a commit SHA: there is no tag %s", revision, prefix+revision)
	}
	constraint, err := semver.NewConstraint(revision)
	if err != nil {
		return "", false, fmt.Errorf("targetRevision '%s' is not a version or version range, which tagPrefix '%s' requires", revision, prefix)
	}
	if id, ok := r.find("refs/tags/" + prefix + revision); ok {
		return id, true, nil
	}
	for _, v := range r.versionsOf(prefix) {
		if constraint.Check(v.parsed) {
			return r.ids[v.at].String(), true, nil
		}
	}
	return "", true, fmt.Errorf("version matching constraint not found in %d tags", r.count("refs/tags/"+prefix))
}
