package appset

import (
	"strings"

	"github.com/gosimple/slug"
)

// Bounds of a slug and of what is made into one, in bytes.
const (
	slugLimit  = 50
	maxSlugged = 4 << 10
)

// Slug makes text fit for a URL: letters of other scripts spelled in Latin,
// everything else a dash, at most limit bytes. A smart cut never cuts a word,
// unless the first word alone is too long.
func Slug(text string, limit int, smart bool) string {
	s := slug.Make(head(text, maxSlugged))
	s = strings.Trim(strings.ReplaceAll(s, "_", "-"), "-")
	if limit < 0 || len(s) <= limit {
		return s
	}
	cut := s[:limit]
	if smart && s[limit] != '-' {
		if at := strings.LastIndex(cut, "-"); at > 0 {
			cut = cut[:at]
		}
	}
	return strings.Trim(cut, "-")
}

// branchSlug is the slug of a branch (spec/applicationset.md §3.7).
func branchSlug(branch string) string { return Slug(branch, slugLimit, true) }
