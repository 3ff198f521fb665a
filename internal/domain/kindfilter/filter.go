// Package kindfilter says which kinds of objects an installation does not look
// at: neither watched nor shown, neither applied nor pruned.
package kindfilter

import (
	"fmt"
	"slices"

	"github.com/gobwas/glob"
	"sigs.k8s.io/yaml"
)

// Keys of argocd-cm (spec/diff-health.md §6).
const (
	exclusionsKey = "resource.exclusions"
	inclusionsKey = "resource.inclusions"
)

// Respect says what becomes of kinds that the credential of a cluster may not
// list (key resource.respectRBAC, spec/config.md §2.3).
type Respect string

// The values of the key. Off, the default, makes every Application that needs
// to see such a kind Unknown; Normal leaves the kind out of the watches when
// the API server refuses the list; Strict only when a SelfSubjectAccessReview
// agrees.
const (
	RespectOff    Respect = ""
	RespectNormal Respect = "normal"
	RespectStrict Respect = "strict"
)

const respectKey = "resource.respectRBAC"

// ParseRespect reads the key resource.respectRBAC; another value than those
// above is a problem and counts as RespectOff.
func ParseRespect(config map[string]string) (Respect, error) {
	switch r := Respect(config[respectKey]); r {
	case RespectOff, RespectNormal, RespectStrict:
		return r, nil
	}
	return RespectOff, fmt.Errorf("ConfigMap/argocd-cm key %q is %q: want normal, strict or nothing", respectKey, config[respectKey])
}

// rule is one entry of a key; an empty list is any.
type rule struct {
	APIGroups []string `json:"apiGroups"`
	Kinds     []string `json:"kinds"`
	Clusters  []string `json:"clusters"`

	groups, servers []glob.Glob
}

// always are kinds that are never looked at: they change all the time, and
// nobody deploys them.
var always = []rule{
	{APIGroups: []string{"events.k8s.io", "metrics.k8s.io"}},
	{APIGroups: []string{""}, Kinds: []string{"Event"}},
	{APIGroups: []string{"coordination.k8s.io"}, Kinds: []string{"Lease"}},
}

// Filter is what the settings leave out.
type Filter struct{ exclusions, inclusions []rule }

// Parse reads the keys resource.exclusions and resource.inclusions. A key that
// cannot be read is a problem and excludes nothing.
func Parse(config map[string]string) (Filter, []error) {
	var problems []error
	read := func(key string) []rule {
		var out []rule
		if err := yaml.UnmarshalStrict([]byte(config[key]), &out); err != nil {
			problems = append(problems, fmt.Errorf("ConfigMap/argocd-cm key %q: want a list of {apiGroups, kinds, clusters}: %w", key, err))
			return nil
		}
		for i := range out {
			if err := out[i].compile(); err != nil {
				problems = append(problems, fmt.Errorf("ConfigMap/argocd-cm key %q, entry %d: %w", key, i, err))
				return nil
			}
		}
		return out
	}
	f := Filter{exclusions: read(exclusionsKey), inclusions: read(inclusionsKey)}
	for _, r := range always {
		if r.compile() == nil {
			f.exclusions = append(f.exclusions, r)
		}
	}
	return f, problems
}

func (r *rule) compile() error {
	for _, list := range []struct {
		from []string
		to   *[]glob.Glob
	}{{r.APIGroups, &r.groups}, {r.Clusters, &r.servers}} {
		for _, pattern := range list.from {
			g, err := glob.Compile(pattern)
			if err != nil {
				return fmt.Errorf("%q is not a pattern: %w", pattern, err)
			}
			*list.to = append(*list.to, g)
		}
	}
	return nil
}

// Excluded says that objects of a kind are not looked at on a server: an
// exclusion wins; where inclusions speak of the server, only those are seen.
func (f Filter) Excluded(group, kind, server string) bool {
	if slices.ContainsFunc(f.exclusions, func(r rule) bool { return r.covers(server) && r.names(group, kind) }) {
		return true
	}
	spoken := false
	for _, r := range f.inclusions {
		if !r.covers(server) {
			continue
		}
		if r.names(group, kind) {
			return false
		}
		spoken = true
	}
	return spoken
}

func (r rule) covers(server string) bool { return matches(r.servers, server) }

func (r rule) names(group, kind string) bool {
	return matches(r.groups, group) && (len(r.Kinds) == 0 || slices.Contains(r.Kinds, kind) || slices.Contains(r.Kinds, "*"))
}

func matches(patterns []glob.Glob, text string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(g glob.Glob) bool { return g.Match(text) })
}
