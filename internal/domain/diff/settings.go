package diff

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Settings is what argocd-cm says about comparison.
type Settings struct {
	Rules []Rule
	// Compare holds the options that apply to every Application.
	Compare Options
	// Updates are the rules for changes that need no new comparison, AllUpdates
	// says that every change needs one (spec/diff-health.md §7).
	Updates    []Rule
	AllUpdates bool
	// Problems name keys that could not be used.
	Problems []error
}

const (
	customizations = "resource.customizations"
	compareOptions = "resource.compareoptions"
	maskKey        = "resource.sensitive.mask.annotations"
	updatesKey     = "resource.ignoreResourceUpdatesEnabled"
)

// customization is one entry of the combined key.
type customization struct {
	IgnoreDifferences     string      `json:"ignoreDifferences"`
	IgnoreResourceUpdates string      `json:"ignoreResourceUpdates"`
	KnownTypeFields       []knownType `json:"knownTypeFields"`
}

type knownType struct {
	Field string `json:"field"`
	Type  string `json:"type"`
}

type ignoreBlock struct {
	JSONPointers          []string `json:"jsonPointers"`
	JQPathExpressions     []string `json:"jqPathExpressions"`
	ManagedFieldsManagers []string `json:"managedFieldsManagers"`
}

// splitTypes of split keys; those of health and actions are read elsewhere.
var splitTypes = []string{"health", "useOpenLibs", "actions", "ignoreDifferences", "ignoreResourceUpdates", "knownTypeFields"}

// ParseSettings reads the keys of argocd-cm that shape comparison
// (spec/diff-health.md §5.2). A key that cannot be read becomes a broken rule
// for the objects it speaks of, or a problem; it never hides the others.
func ParseSettings(config map[string]string) Settings {
	s := Settings{Compare: Options{Known: DefaultKnownFields()}}
	rules, updates, known := map[string]Rule{}, map[string]Rule{}, map[string][]KnownField{}
	s.combined(config[customizations], rules, updates, known)
	for _, key := range slices.Sorted(maps.Keys(config)) {
		rest, ok := strings.CutPrefix(key, customizations+".")
		if !ok {
			continue
		}
		kind, target, _ := strings.Cut(rest, ".")
		switch kind {
		case "ignoreDifferences":
			rules[splitKey(target)] = ruleOf(fmt.Sprintf("ConfigMap/argocd-cm key %q", key), splitKey(target), config[key])
		case "ignoreResourceUpdates":
			updates[splitKey(target)] = ruleOf(fmt.Sprintf("ConfigMap/argocd-cm key %q", key), splitKey(target), config[key])
		case "knownTypeFields":
			var fields []knownType
			if err := yaml.Unmarshal([]byte(config[key]), &fields); err != nil {
				s.problem("key %q is not a YAML list of {field, type}: %v", key, err)
				continue
			}
			known[splitKey(target)] = s.known(key, splitKey(target), fields)
		default:
			if !slices.Contains(splitTypes, kind) {
				s.problem("key %q: %q is not a kind of customization: use one of %s", key, kind, strings.Join(splitTypes, ", "))
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(rules)) {
		s.Rules = append(s.Rules, rules[k])
	}
	for _, k := range slices.Sorted(maps.Keys(updates)) {
		s.Updates = append(s.Updates, updates[k])
	}
	for _, k := range slices.Sorted(maps.Keys(known)) {
		s.Compare.Known = append(s.Compare.Known, known[k]...)
	}
	s.options(config)
	return s
}

func (s *Settings) problem(format string, args ...any) {
	s.Problems = append(s.Problems, fmt.Errorf("ConfigMap/argocd-cm "+format, args...))
}

func (s *Settings) combined(text string, rules, updates map[string]Rule, known map[string][]KnownField) {
	if text == "" {
		return
	}
	var all map[string]customization
	if err := yaml.Unmarshal([]byte(text), &all); err != nil {
		rules["*/*"] = Rule{Origin: "ConfigMap/argocd-cm key " + customizations, Group: "*", Kind: "*", Problem: "is not YAML: " + err.Error()}
		return
	}
	for key, c := range all {
		if !strings.Contains(key, "/") {
			key = "/" + key
		}
		origin := fmt.Sprintf("ConfigMap/argocd-cm key %s, entry %q", customizations, key)
		if c.IgnoreDifferences != "" {
			rules[key] = ruleOf(origin, key, c.IgnoreDifferences)
		}
		if c.IgnoreResourceUpdates != "" {
			updates[key] = ruleOf(origin, key, c.IgnoreResourceUpdates)
		}
		if len(c.KnownTypeFields) > 0 {
			known[key] = s.known(customizations, key, c.KnownTypeFields)
		}
	}
}

// splitKey turns group_Kind, Kind or all into group/Kind.
func splitKey(target string) string {
	if target == "all" {
		return "*/*"
	}
	if i := strings.LastIndex(target, "_"); i >= 0 {
		return target[:i] + "/" + target[i+1:]
	}
	return "/" + target
}

func ruleOf(origin, key, text string) Rule {
	group, kind, _ := strings.Cut(key, "/")
	r := Rule{Origin: origin, Group: group, Kind: kind}
	var block ignoreBlock
	if err := yaml.UnmarshalStrict([]byte(text), &block); err != nil {
		r.Problem = "is not YAML with jsonPointers, jqPathExpressions and managedFieldsManagers: " + err.Error()
		return r
	}
	r.Pointers, r.Expressions, r.Managers = block.JSONPointers, block.JQPathExpressions, block.ManagedFieldsManagers
	return r
}

func (s *Settings) known(key, target string, fields []knownType) []KnownField {
	group, kind, _ := strings.Cut(target, "/")
	var out []KnownField
	for _, f := range fields {
		t, ok := builtInTypes()[f.Type]
		if !ok || f.Field == "" {
			s.problem("key %q, field %q: %q is not a known type: write for example core/v1/PodSpec, core/Quantity or meta/v1/Duration", key, f.Field, f.Type)
			continue
		}
		out = append(out, KnownField{Group: group, Kind: kind, Path: splitPath(f.Field), typ: t})
	}
	return out
}

func (s *Settings) options(config map[string]string) {
	for _, name := range strings.Split(config[maskKey], ",") {
		if name = strings.TrimSpace(name); name != "" {
			s.Compare.MaskAnnotations = append(s.Compare.MaskAnnotations, name)
		}
	}
	s.AllUpdates = config[updatesKey] == "false"
	differences := true
	defer func() {
		if differences {
			s.Updates = append(s.Updates, s.Rules...)
		}
	}()
	if config[compareOptions] == "" {
		return
	}
	var in struct {
		IgnoreAggregatedRoles bool  `json:"ignoreAggregatedRoles"`
		Status                any   `json:"ignoreResourceStatusField"`
		OnUpdates             *bool `json:"ignoreDifferencesOnResourceUpdates"`
	}
	if err := yaml.Unmarshal([]byte(config[compareOptions]), &in); err != nil {
		s.problem("key %s is not YAML: %v", compareOptions, err)
		return
	}
	s.Compare.IgnoreAggregatedRoles = in.IgnoreAggregatedRoles
	differences = in.OnUpdates == nil || *in.OnUpdates
	switch in.Status {
	case StatusOfDefinitions:
		s.Compare.Status = StatusOfDefinitions
	case StatusOfNone, "off", "false", false:
		s.Compare.Status = StatusOfNone
	}
}
