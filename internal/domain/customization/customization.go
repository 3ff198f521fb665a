// Package customization reads what argocd-cm says about single kinds: health
// scripts and resource actions (spec/diff-health.md §5.2, spec/config.md §2.3).
// Keys are either split, resource.customizations.<type>.<group>_<Kind>, or
// combined in the map resource.customizations; split keys win per type.
package customization

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gobwas/glob"
	"sigs.k8s.io/yaml"
)

// Prefix starts every key of this package.
const Prefix = "resource.customizations"

// types are the known values of <type> in a split key.
var types = []string{"health", "useOpenLibs", "actions", "ignoreDifferences", "ignoreResourceUpdates", "knownTypeFields"}

// Kind is what is said about one kind or, through wildcards, several.
type Kind struct {
	// Key is group/Kind as written, the core group left out.
	Key string
	// Health is a Lua script, empty for none.
	Health string
	// OpenLibs gives the health script the string and math libraries.
	OpenLibs bool
	// Actions are resource actions, nil for none.
	Actions *Actions
}

// Actions defines resource actions of a kind.
type Actions struct {
	// MergeBuiltin adds the shipped actions to those defined here.
	MergeBuiltin bool
	// Discovery is a Lua script that lists the actions.
	Discovery string
	// Scripts holds a Lua script for each action name.
	Scripts map[string]string
}

// Set is everything said about kinds.
type Set struct {
	exact map[string]Kind
	wild  []pattern
}

type pattern struct {
	Kind
	whole, group, kind glob.Glob
}

// combined is one entry of the map resource.customizations.
type combined struct {
	Health   string `json:"health.lua"`
	OpenLibs bool   `json:"health.lua.useOpenLibs"`
	Actions  string `json:"actions"`
}

type actionsValue struct {
	MergeBuiltin bool   `json:"mergeBuiltinActions"`
	Discovery    string `json:"discovery.lua"`
	Definitions  []struct {
		Name string `json:"name"`
		Lua  string `json:"action.lua"`
	} `json:"definitions"`
}

// Parse reads the data of argocd-cm. A key that cannot be used is left out and
// named by an error; the others hold.
func Parse(config map[string]string) (*Set, []error) {
	p := parser{kinds: map[string]*Kind{}}
	p.combined(config[Prefix])
	for _, key := range slices.Sorted(maps.Keys(config)) {
		if rest, ok := strings.CutPrefix(key, Prefix+"."); ok {
			p.split(key, rest, config[key])
		}
	}
	return p.set(), p.errs
}

type parser struct {
	kinds map[string]*Kind
	errs  []error
}

func (p *parser) wrong(key, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("ConfigMap/argocd-cm: key %q: %s", key, fmt.Sprintf(format, args...)))
}

func (p *parser) at(key string) *Kind {
	if p.kinds[key] == nil {
		p.kinds[key] = &Kind{Key: key}
	}
	return p.kinds[key]
}

func (p *parser) combined(raw string) {
	var entries map[string]any
	if err := yaml.Unmarshal([]byte(raw), &entries); err != nil {
		p.wrong(Prefix, "is not a YAML map from group/Kind to customizations: correct it, or use split keys")
		return
	}
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		var e combined
		one, err := yaml.Marshal(entries[key])
		if err == nil {
			err = yaml.Unmarshal(one, &e)
		}
		if err != nil {
			p.wrong(Prefix+"["+key+"]", "want a map with health.lua (text), health.lua.useOpenLibs (true or false), actions (text)")
			continue
		}
		k := p.at(strings.TrimPrefix(key, "/"))
		k.Health, k.OpenLibs = e.Health, e.OpenLibs
		if e.Actions != "" {
			k.Actions = p.actions(Prefix+"["+key+"].actions", e.Actions)
		}
	}
}

func (p *parser) split(key, rest, value string) {
	kind, target, ok := strings.Cut(rest, ".")
	if !ok || target == "" || !slices.Contains(types, kind) {
		p.wrong(key, "want %s.<type>.<group>_<Kind> with one of the types %s", Prefix, strings.Join(types, ", "))
		return
	}
	name := target
	if group, k, grouped := strings.Cut(target, "_"); grouped {
		name = strings.TrimPrefix(group+"/"+k, "/")
	}
	if target == "all" {
		name = "*/*"
	}
	switch kind {
	case "health":
		p.at(name).Health = value
	case "useOpenLibs":
		open, err := strconv.ParseBool(strings.TrimSpace(value))
		if err != nil {
			p.wrong(key, "is not a boolean: write \"true\" or \"false\"")
			return
		}
		p.at(name).OpenLibs = open
	case "actions":
		p.at(name).Actions = p.actions(key, value)
	}
}

func (p *parser) actions(key, raw string) *Actions {
	var v actionsValue
	if err := yaml.UnmarshalStrict([]byte(raw), &v); err != nil {
		p.wrong(key, "want YAML with mergeBuiltinActions, discovery.lua and definitions (name, action.lua)")
		return nil
	}
	out := &Actions{MergeBuiltin: v.MergeBuiltin, Discovery: v.Discovery, Scripts: map[string]string{}}
	for i, d := range v.Definitions {
		switch _, twice := out.Scripts[d.Name]; {
		case d.Name == "" || d.Lua == "":
			p.wrong(key, "definitions[%d] needs name and action.lua", i)
		case twice:
			p.wrong(key, "definitions[%d]: the name %q is defined twice: the first one counts", i, d.Name)
		default:
			out.Scripts[d.Name] = d.Lua
		}
	}
	return out
}

func (p *parser) set() *Set {
	s := &Set{exact: map[string]Kind{}}
	for _, key := range slices.Sorted(maps.Keys(p.kinds)) {
		k := *p.kinds[key]
		if !strings.ContainsAny(key, "*?[{") {
			s.exact[key] = k
			continue
		}
		w, err := compile(k)
		if err != nil {
			p.wrong(Prefix+"["+key+"]", "is not a pattern: write group/Kind, with * for any text")
			continue
		}
		s.wild = append(s.wild, w)
	}
	// The longest pattern says most about a kind, so it answers first.
	slices.SortStableFunc(s.wild, func(a, b pattern) int { return len(b.Key) - len(a.Key) })
	return s
}

func compile(k Kind) (w pattern, err error) {
	w.Kind = k
	if w.whole, err = glob.Compile(k.Key); err != nil {
		return w, err
	}
	group, kind, divided := strings.Cut(k.Key, "/")
	if !divided {
		return w, nil
	}
	if w.group, err = glob.Compile(group); err != nil {
		return w, err
	}
	w.kind, err = glob.Compile(kind)
	return w, err
}

func (w pattern) matches(group, kind string) bool {
	whole := strings.TrimPrefix(group+"/"+kind, "/")
	return w.whole.Match(whole) || w.kind != nil && w.group.Match(group) && w.kind.Match(kind)
}

// Find gives the customization of a kind that has what is asked for: the exact
// key before wildcards, of those the longest.
func (s *Set) Find(group, kind string, has func(Kind) bool) (Kind, bool) {
	if k, ok := s.exact[strings.TrimPrefix(group+"/"+kind, "/")]; ok && has(k) {
		return k, true
	}
	for _, w := range s.wild {
		if w.matches(group, kind) && has(w.Kind) {
			return w.Kind, true
		}
	}
	return Kind{}, false
}

// Scripted says that a Kind has a health script.
func Scripted(k Kind) bool { return strings.TrimSpace(k.Health) != "" }

// Active says that a Kind defines actions.
func Active(k Kind) bool { return k.Actions != nil }

// Kinds is everything that is said, sorted by key.
func (s *Set) Kinds() []Kind {
	out := slices.Collect(maps.Values(s.exact))
	for _, w := range s.wild {
		out = append(out, w.Kind)
	}
	slices.SortFunc(out, func(a, b Kind) int { return strings.Compare(a.Key, b.Key) })
	return out
}
