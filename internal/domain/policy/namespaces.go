package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gobwas/glob"
)

// Namespaces are those outside of the control plane's in which Applications may
// live: names, globs and /expressions/ (spec/config.md §5,
// application.namespaces). The zero value has none.
type Namespaces struct {
	names    []string
	patterns []func(string) bool
}

// ParseNamespaces reads a list; empty entries count for nothing. The error names
// an entry that is neither name, glob nor expression.
func ParseNamespaces(list []string) (Namespaces, error) {
	var out Namespaces
	for _, text := range list {
		text = strings.TrimSpace(text)
		inner, opened := strings.CutPrefix(text, "/")
		switch {
		case text == "":
		case opened && len(inner) > 1 && strings.HasSuffix(inner, "/"):
			e, err := regexp.Compile("^(?:" + strings.TrimSuffix(inner, "/") + ")$")
			if err != nil {
				return Namespaces{}, fmt.Errorf("%q is no expression: %w", text, err)
			}
			out.patterns = append(out.patterns, e.MatchString)
		case strings.ContainsAny(text, `*?[]{}!\`):
			g, err := glob.Compile(text)
			if err != nil {
				return Namespaces{}, fmt.Errorf("%q is no pattern: %w", text, err)
			}
			out.patterns = append(out.patterns, g.Match)
		default:
			out.names = append(out.names, text)
		}
	}
	return out, nil
}

// Listed says whether a list of names, globs and /expressions/ has a namespace;
// an entry that cannot be read has none.
func Listed(list []string, namespace string) bool {
	return slices.ContainsFunc(list, func(text string) bool {
		one, err := ParseNamespaces([]string{text})
		return err == nil && one.Has(namespace)
	})
}

// Has says whether a namespace is listed.
func (n Namespaces) Has(namespace string) bool {
	return slices.Contains(n.names, namespace) || slices.ContainsFunc(n.patterns, func(fits func(string) bool) bool { return fits(namespace) })
}

// Empty says that there are none.
func (n Namespaces) Empty() bool { return len(n.names)+len(n.patterns) == 0 }

// Names are the namespaces to be watched; all says that only watching every
// namespace finds those that patterns mean.
func (n Namespaces) Names() (names []string, all bool) { return n.names, len(n.patterns) > 0 }
