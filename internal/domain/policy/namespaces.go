package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gobwas/glob"
)

// Names is a list of names, globs and /expressions/, in which namespaces are
// written (spec/application.md §13 and §14).
type Names []func(name string) bool

// ParseNames reads such a list. What is neither is an error that names it.
func ParseNames(list []string) (Names, error) {
	var out Names
	for _, text := range list {
		match, err := parseName(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		out = append(out, match)
	}
	return out, nil
}

func parseName(text string) (func(string) bool, error) {
	if inner, ok := expression(text); ok {
		e, err := regexp.Compile("^(?:" + inner + ")$")
		if err != nil {
			return nil, fmt.Errorf("%q is no expression: %w", text, err)
		}
		return e.MatchString, nil
	}
	g, err := glob.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("%q is no pattern: %w", text, err)
	}
	return g.Match, nil
}

// expression is what stands between two slashes.
func expression(text string) (inner string, ok bool) {
	inner, ok = strings.CutPrefix(text, "/")
	return strings.TrimSuffix(inner, "/"), ok && len(inner) > 1 && strings.HasSuffix(inner, "/")
}

// Has says that a name is meant.
func (n Names) Has(name string) bool {
	return slices.ContainsFunc(n, func(match func(string) bool) bool { return match(name) })
}

// Listed is Has for a list that may hold entries which mean nothing.
func Listed(list []string, name string) bool {
	return slices.ContainsFunc(list, func(text string) bool {
		match, err := parseName(text)
		return err == nil && match(name)
	})
}

// Pattern says that an entry of such a list may mean more than one name.
func Pattern(entry string) bool { return strings.ContainsAny(entry, "*?[]{}!/\\") }
