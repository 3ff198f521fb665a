package rbac

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/gobwas/glob"
)

// Mode says how tokens of a policy are matched.
type Mode int

// Modes, by policy.matchMode; anything but "regex" is a glob.
const (
	Glob Mode = iota
	Regex
)

// ParseMode reads policy.matchMode (spec/rbac.md §1).
func ParseMode(s string) Mode {
	if s == "regex" {
		return Regex
	}
	return Glob
}

// token is a compiled pattern for a resource, an action or an object.
type token struct {
	// prefix is what every match begins with; whole says that nothing else
	// matches than prefix itself, open that everything with the prefix does.
	prefix      string
	whole, open bool
	match       func(string) bool
}

func (t token) matches(s string) bool {
	switch {
	case t.whole:
		return s == t.prefix
	case t.open:
		return strings.HasPrefix(s, t.prefix)
	case t.match == nil:
		return false
	}
	return strings.HasPrefix(s, t.prefix) && t.match(s)
}

// compiler remembers tokens that occur many times.
type compiler struct {
	mode Mode
	seen map[string]token
	// problems names patterns that are not valid; they match nothing.
	problems []error
}

func newCompiler(mode Mode) *compiler { return &compiler{mode: mode, seen: map[string]token{}} }

func (c *compiler) token(pattern, source string) token {
	if t, ok := c.seen[pattern]; ok {
		return t
	}
	build := globToken
	if c.mode == Regex {
		build = regexToken
	}
	t, err := build(pattern)
	if err != nil {
		c.problems = append(c.problems, fmt.Errorf("%s: pattern %q is not valid and matches nothing: %w", source, shorten(pattern), err))
	}
	c.seen[pattern] = t
	return t
}

// globMeta are the characters that mean something in a glob.
const globMeta = `*?[]{}\`

func globToken(pattern string) (token, error) {
	first := strings.IndexAny(pattern, globMeta)
	if first < 0 {
		return token{prefix: pattern, whole: true}, nil
	}
	if strings.Trim(pattern[first:], "*") == "" {
		return token{prefix: pattern[:first], open: true}, nil
	}
	g, err := glob.Compile(pattern)
	if err != nil {
		return token{}, err
	}
	return token{prefix: pattern[:first], match: g.Match}, nil
}

func regexToken(pattern string) (token, error) {
	if pattern == "" || pattern == ".*" {
		return token{open: true}, nil
	}
	if regexp.QuoteMeta(pattern) == pattern {
		return token{match: func(s string) bool { return strings.Contains(s, pattern) }}, nil
	}
	r, err := regexp.Compile(pattern)
	if err != nil {
		return token{}, err
	}
	return token{match: r.MatchString}, nil
}
