package repo

import (
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Push is what a webhook says: something moved in a repository.
type Push struct {
	// URL of the repository as the host names it, often its web page.
	URL string
	// Ref that moved, full or short; empty is unknown: any.
	Ref string
	// Default says that it is the branch that HEAD follows.
	Default bool
	// Commit that Ref is at now; empty when the host does not say.
	Commit string
}

// Locator is what URLs of one repository have in common whatever the
// transport: host without port, user and an "ssh." or "altssh." in front, and
// path without ".git", in lower case (spec/observability.md §5.1 rule 2). Empty
// when raw names no repository on a host.
func Locator(raw string) string {
	a, err := parse(strings.TrimSpace(raw))
	if err != nil || a.Host == "" {
		return ""
	}
	host := strings.TrimSuffix(a.Host, ".")
	for _, p := range []string{"ssh.", "altssh."} {
		if rest, ok := strings.CutPrefix(host, p); ok && strings.Contains(rest, ".") {
			host = rest
		}
	}
	path := trimEnd(squeeze(strings.ToLower(strings.Trim(a.Path, "/"))))
	if host == "dev.azure.com" { // _git in the web, v3 in front over ssh
		path = strings.TrimPrefix(strings.Replace(path, "/_git/", "/", 1), "v3/")
	}
	if path == "" {
		return ""
	}
	return host + "/" + path
}

// Touches says whether the push is about the repository at url.
func (p Push) Touches(url string) bool {
	l := Locator(p.URL)
	return l != "" && l == Locator(url)
}

// Moves says whether a source that follows revision may now resolve to another
// commit (spec/observability.md §5.1 rule 3). Unlike Argo CD, branches and tags
// of one name are told apart when the push says which one it is.
func (p Push) Moves(revision, tagPrefix string) bool {
	if p.Ref == "" {
		return true
	}
	short, isTag, isBranch := p.Ref, false, false
	if rest, ok := strings.CutPrefix(p.Ref, "refs/tags/"); ok {
		short, isTag = rest, true
	} else if rest, ok := strings.CutPrefix(p.Ref, "refs/heads/"); ok {
		short, isBranch = rest, true
	}
	switch {
	case revision == "" || revision == "HEAD":
		return p.Default
	case strings.HasPrefix(revision, "refs/"):
		if isTag || isBranch || strings.HasPrefix(p.Ref, "refs/") {
			return revision == p.Ref
		}
		return strings.TrimPrefix(strings.TrimPrefix(revision, "refs/heads/"), "refs/tags/") == short
	case tagPrefix == "" && revision == short:
		return true
	case isBranch:
		return false
	}
	version, ok := strings.CutPrefix(short, tagPrefix)
	return ok && satisfies(version, revision)
}

// satisfies says whether a tag could be what a version or range asks for. A tag
// that was removed counts as well: the range may have to fall back.
func satisfies(version, constraint string) bool {
	if version == constraint {
		return true
	}
	c, err := semver.NewConstraint(constraint)
	if err != nil {
		return false
	}
	v, err := semver.NewVersion(version)
	return err == nil && c.Check(v)
}
