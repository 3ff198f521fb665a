package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/internal/domain/customization"
	"github.com/sluice-cd/sluice/internal/domain/diff"
)

// overrides verifies what is said of single kinds: every rule is read and every
// script compiled; what scripts say of an object is for the verbs of
// resource-overrides.
func overrides(s *Settings) Result {
	set, problems := customization.Parse(s.Config)
	r := Result{Problems: problems}
	compare := diff.ParseSettings(s.Config)
	for _, p := range compare.Problems { // both name a key that is none
		if !slices.ContainsFunc(problems, func(e error) bool { return keyOf(e) == keyOf(p) }) {
			r.Problems = append(r.Problems, p)
		}
	}
	kinds := map[string]bool{}
	for _, k := range set.Kinds() {
		kinds[k.Key] = true
		r.Problems = append(r.Problems, s.scripts(k)...)
	}
	for _, rule := range slices.Concat(compare.Rules, compare.Updates) {
		if !strings.HasPrefix(rule.Origin, "ConfigMap") {
			continue // those of the product
		}
		kinds[strings.TrimPrefix(rule.Group+"/"+rule.Kind, "/")] = true
		if rule.Problem != "" {
			r.Problems = append(r.Problems, fmt.Errorf("%s: %s", rule.Origin, rule.Problem))
		}
		for _, e := range rule.Expressions {
			if err := s.Query(e); err != nil {
				r.Problems = append(r.Problems, fmt.Errorf("%s: %w", rule.Origin, err))
			}
		}
	}
	r.Problems = unique(r.Problems)
	r.Summary = []string{count(len(kinds), "resource override")}
	return r
}

// keyOf is the key that a problem names in quotes.
func keyOf(err error) string {
	_, rest, _ := strings.Cut(err.Error(), "key \"")
	name, _, _ := strings.Cut(rest, "\"")
	return name
}

func (s *Settings) scripts(k customization.Kind) []error {
	sources := map[string]string{}
	if customization.Scripted(k) {
		sources["health script of "+k.Key] = k.Health
	}
	if k.Actions != nil {
		if k.Actions.Discovery != "" {
			sources["discovery.lua of "+k.Key] = k.Actions.Discovery
		}
		for name, source := range k.Actions.Scripts {
			sources["action "+name+" of "+k.Key] = source
		}
	}
	var out []error
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		if err := s.Script(name, sources[name]); err != nil {
			out = append(out, err)
		}
	}
	return out
}

// unique drops what is said twice: rules on differences hold for updates too.
func unique(all []error) []error {
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(e error) bool {
		twice := seen[e.Error()]
		seen[e.Error()] = true
		return twice
	})
}
