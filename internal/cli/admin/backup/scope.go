package backup

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/gobwas/glob"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Scope says in which namespaces the objects of a hub are.
type Scope struct {
	// ControlPlane is the namespace of the control plane.
	ControlPlane string
	apps, sets   []matcher
}

// matcher says whether a namespace counts.
type matcher func(namespace string) bool

// Keys of argocd-cmd-params-cm that name namespaces (spec/config.md §5).
const (
	appNamespacesKey = "application.namespaces"
	setNamespacesKey = "applicationsetcontroller.namespaces"
)

// NewScope makes a Scope of the namespaces that somebody named, or else those of
// argocd-cmd-params-cm: names, globs and /expressions/. The error names an entry
// that is none of these.
func NewScope(controlPlane string, apps, sets []string, params map[string]string) (Scope, error) {
	s := Scope{ControlPlane: controlPlane}
	var err error
	if s.apps, err = matchers("--application-namespaces", apps, params[appNamespacesKey]); err != nil {
		return s, err
	}
	s.sets, err = matchers("--applicationset-namespaces", sets, params[setNamespacesKey])
	return s, err
}

func matchers(flag string, named []string, otherwise string) ([]matcher, error) {
	if len(named) == 0 {
		named = strings.Split(otherwise, ",")
	}
	var out []matcher
	for _, text := range named {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		if inner, ok := strings.CutPrefix(text, "/"); ok && strings.HasSuffix(inner, "/") {
			e, err := regexp.Compile("^(?:" + strings.TrimSuffix(inner, "/") + ")$")
			if err != nil {
				return nil, fmt.Errorf("%s: %q is no expression: %w", flag, text, err)
			}
			out = append(out, e.MatchString)
			continue
		}
		g, err := glob.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %q is no pattern: %w", flag, text, err)
		}
		out = append(out, g.Match)
	}
	return out, nil
}

// Spread says whether objects of a kind may be outside of the control plane.
func (s Scope) Spread(kind schema.GroupVersionKind) bool { return len(s.of(kind)) > 0 }

func (s Scope) of(kind schema.GroupVersionKind) []matcher {
	switch kind {
	case Application:
		return s.apps
	case ApplicationSet:
		return s.sets
	}
	return nil
}

// Holds says whether objects of a kind in a namespace count.
func (s Scope) Holds(kind schema.GroupVersionKind, namespace string) bool {
	if namespace == s.ControlPlane {
		return true
	}
	for _, matches := range s.of(kind) {
		if matches(namespace) {
			return true
		}
	}
	return false
}
