package appset

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Engine renders one string of a template with parameters. Plain mode has one
// here; Go templates are an adapter.
type Engine interface {
	Render(text string, values map[string]any, options []string) (string, error)
}

// World is what generators read from outside.
type World struct {
	Clusters destination.Clusters
	// Unusable are registrations of clusters that cannot be used: a generator
	// that would have chosen one gives an incomplete answer.
	Unusable destination.Clusters
	// Tree reads a revision of a repository.
	Tree func(repoURL, revision string) (tree.Tree, error)
	// Outside answers generators whose answer lies with somebody else.
	Outside Outside
	// Go is the engine for goTemplate: true.
	Go Engine
	// Stop says why an evaluation must end; it is asked before each parameter
	// set. Nil never ends it.
	Stop func() error
	// TrackingLabel is the configured key of the label that marks what an
	// Application owns; empty when the default is used.
	TrackingLabel string
	// NewGlobs makes patterns of git files cross folders with ** only.
	NewGlobs bool
}

// maxParams bounds the parameter sets of one generator: what Git holds must
// not exhaust the memory of the controller.
const maxParams = 50_000

// Bounds of what is rendered, in bytes: of one Application with all its fields,
// of one field in plain mode, and of a whole evaluation.
const (
	maxApplication = 8 << 20
	maxField       = 1 << 20
	maxRendered    = 512 << 20
)

// spent counts what an evaluation has rendered.
type spent struct{ application, all int }

func (s *spent) add(n int) error {
	s.application += n
	s.all += n
	switch {
	case s.application > maxApplication:
		return fmt.Errorf("renders more than %d MiB for one parameter set", maxApplication>>20)
	case s.all > maxRendered:
		return fmt.Errorf("the set renders more than %d MiB", maxRendered>>20)
	}
	return nil
}

// evaluation is one evaluation of an ApplicationSet.
type evaluation struct {
	World
	goMode  bool
	options []string
	// outer are the parameters of the first child while the second child of a
	// matrix is evaluated.
	outer map[string]any
	// incomplete collects why an answer lacks something, doubts why one that is
	// complete may be a mistake all the same.
	incomplete, doubts *[]string
	spent              *spent
}

func (e *evaluation) render(s string, values map[string]any, options []string) (string, error) {
	if !strings.Contains(s, "{{") {
		return s, nil
	}
	var out string
	var err error
	if e.goMode {
		out, err = e.Go.Render(s, values, options)
	} else {
		out, err = plainRender(s, values)
	}
	if err != nil {
		return "", err
	}
	return out, e.spent.add(len(out))
}

// plainRender replaces {{ key }}; unknown keys and values that are not
// strings stay as they are.
func plainRender(s string, values map[string]any) (string, error) {
	var b strings.Builder
	for {
		start := strings.Index(s, "{{")
		if start < 0 {
			break
		}
		end := strings.Index(s[start:], "}}")
		if end < 0 {
			break
		}
		key := strings.TrimSpace(s[start+2 : start+end])
		b.WriteString(s[:start])
		if v, ok := values[key].(string); ok {
			b.WriteString(v)
		} else {
			b.WriteString(s[start : start+end+2])
		}
		s = s[start+end+2:]
		if b.Len() > maxField {
			return "", fmt.Errorf("renders a text of more than %d bytes", maxField)
		}
	}
	return b.String() + s, nil
}

// generator is one generator at any level, with nested ones decoded.
type generator struct {
	v1alpha1.ApplicationSetGenerator
	level int
}

func nested(n v1alpha1.NestedGenerator, level int) (generator, error) {
	g := generator{level: level, ApplicationSetGenerator: v1alpha1.ApplicationSetGenerator{
		List: n.List, Clusters: n.Clusters, Git: n.Git, SCMProvider: n.SCMProvider,
		ClusterDecisionResource: n.ClusterDecisionResource, PullRequest: n.PullRequest, Plugin: n.Plugin, Selector: n.Selector,
	}}
	if (n.Matrix != nil || n.Merge != nil) && level > 1 {
		return g, fmt.Errorf("matrix and merge may be nested once only: flatten the generators")
	}
	if n.Matrix != nil {
		g.Matrix = &v1alpha1.MatrixGenerator{}
		if err := yaml.UnmarshalStrict(n.Matrix.Raw, g.Matrix); err != nil {
			return g, fmt.Errorf("matrix: %w", err)
		}
	}
	if n.Merge != nil {
		g.Merge = &v1alpha1.MergeGenerator{}
		if err := yaml.UnmarshalStrict(n.Merge.Raw, g.Merge); err != nil {
			return g, fmt.Errorf("merge: %w", err)
		}
	}
	if kinds := len(split(g.ApplicationSetGenerator)); kinds > 1 {
		return g, fmt.Errorf("names %d generators: a child names exactly one", kinds)
	}
	return g, nil
}

// split makes one generator of each kind that an entry names.
func split(g v1alpha1.ApplicationSetGenerator) []v1alpha1.ApplicationSetGenerator {
	var out []v1alpha1.ApplicationSetGenerator
	add := func(named bool, one v1alpha1.ApplicationSetGenerator) {
		if named {
			one.Selector = g.Selector
			out = append(out, one)
		}
	}
	add(g.List != nil, v1alpha1.ApplicationSetGenerator{List: g.List})
	add(g.Clusters != nil, v1alpha1.ApplicationSetGenerator{Clusters: g.Clusters})
	add(g.Git != nil, v1alpha1.ApplicationSetGenerator{Git: g.Git})
	add(g.SCMProvider != nil, v1alpha1.ApplicationSetGenerator{SCMProvider: g.SCMProvider})
	add(g.ClusterDecisionResource != nil, v1alpha1.ApplicationSetGenerator{ClusterDecisionResource: g.ClusterDecisionResource})
	add(g.PullRequest != nil, v1alpha1.ApplicationSetGenerator{PullRequest: g.PullRequest})
	add(g.Plugin != nil, v1alpha1.ApplicationSetGenerator{Plugin: g.Plugin})
	add(g.Matrix != nil, v1alpha1.ApplicationSetGenerator{Matrix: g.Matrix})
	add(g.Merge != nil, v1alpha1.ApplicationSetGenerator{Merge: g.Merge})
	return out
}

// generate evaluates one generator and filters by its selector.
func (e *evaluation) generate(g generator) ([]Params, error) {
	all, err := e.unfiltered(g)
	if err != nil {
		return nil, err
	}
	if len(all) > maxParams {
		return nil, fmt.Errorf("yields %d parameter sets, at most %d are allowed: narrow the generators", len(all), maxParams)
	}
	var out []Params
	for _, p := range all {
		ok, err := selects(g.Selector, p)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, p)
		}
	}
	return out, nil
}

func (e *evaluation) unfiltered(g generator) ([]Params, error) {
	switch {
	case g.List != nil:
		return e.list(g.List)
	case g.Clusters != nil:
		return e.clusters(g.Clusters)
	case g.Git != nil:
		return e.git(g.Git)
	case g.Matrix != nil:
		return e.matrix(g.Matrix, g.level)
	case g.Merge != nil:
		return e.merge(g.Merge, g.level)
	case g.SCMProvider != nil:
		return e.scm(g.SCMProvider)
	case g.PullRequest != nil:
		return e.pullRequests(g.PullRequest)
	case g.ClusterDecisionResource != nil:
		return e.decisions(g.ClusterDecisionResource)
	case g.Plugin != nil:
		return e.service(g.Plugin)
	}
	return nil, errors.New("names no generator: set one of list, clusters, git, scmProvider, pullRequest, clusterDecisionResource, plugin, matrix, merge")
}

func (e *evaluation) list(g *v1alpha1.ListGenerator) ([]Params, error) {
	var out []Params
	for i, raw := range g.Elements {
		var element map[string]any
		if err := json.Unmarshal(raw.Raw, &element); err != nil {
			return nil, fmt.Errorf("list.elements[%d] is not an object", i)
		}
		p, err := e.element(element, i)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	if g.ElementsYaml == "" {
		return out, nil
	}
	var more []map[string]any
	if err := yaml.Unmarshal([]byte(g.ElementsYaml), &more); err != nil {
		return nil, fmt.Errorf("list.elementsYaml is not a YAML list of objects: %w", err)
	}
	for _, element := range more {
		out = append(out, Params{Values: element, Labels: scalarLabels(element)})
	}
	return out, nil
}

func (e *evaluation) element(element map[string]any, i int) (Params, error) {
	p := Params{Values: element, Labels: scalarLabels(element)}
	if e.goMode {
		return p, nil
	}
	flat := map[string]any{}
	for _, k := range slices.Sorted(maps.Keys(element)) {
		v := element[k]
		if values, ok := v.(map[string]any); ok && k == "values" {
			for _, vk := range slices.Sorted(maps.Keys(values)) {
				vv := values[vk]
				s, isText := vv.(string)
				if !isText {
					return p, fmt.Errorf("list.elements[%d].values.%s is not a string: quote it", i, vk)
				}
				flat["values."+vk] = s
			}
			continue
		}
		s, isText := v.(string)
		if !isText {
			return p, fmt.Errorf("list.elements[%d].%s is not a string: quote it, or set goTemplate: true", i, k)
		}
		flat[k] = s
	}
	p.Values = flat
	return p, nil
}

func (e *evaluation) clusters(g *v1alpha1.ClusterGenerator) ([]Params, error) {
	selector, err := metav1.LabelSelectorAsSelector(&g.Selector)
	if err != nil {
		return nil, fmt.Errorf("clusters.selector: %w", err)
	}
	everything := len(g.Selector.MatchLabels) == 0 && len(g.Selector.MatchExpressions) == 0
	var out []Params
	var local []Params
	seen := map[string]bool{}
	for _, c := range e.Clusters {
		implicit := c.SecretName == ""
		if (implicit && !everything) || (!implicit && !selector.Matches(labels.Set(c.Labels))) || seen[c.Name] {
			continue
		}
		seen[c.Name] = true
		p, err := e.cluster(c, g.Values)
		if err != nil {
			return nil, err
		}
		if implicit {
			local = append(local, p)
			continue
		}
		out = append(out, p)
	}
	out = append(out, local...)
	for _, c := range e.Unusable {
		if selector.Matches(labels.Set(c.Labels)) {
			e.incompleteFor("clusters", c.SecretName)
		}
	}
	if !g.FlatList {
		return out, nil
	}
	flat := []any{}
	for _, p := range out {
		flat = append(flat, p.Values)
	}
	return []Params{{Values: map[string]any{"clusters": flat}}}, nil
}

func (e *evaluation) cluster(c destination.Cluster, extra map[string]string) (Params, error) {
	p := Params{Labels: c.Labels, Values: map[string]any{
		"name": c.Name, "nameNormalized": Normalize(c.Name), "server": c.Server, "project": c.Project,
	}}
	if e.goMode {
		metadata := map[string]any{}
		if len(c.Labels) > 0 {
			metadata["labels"] = anyMap(c.Labels)
		}
		if len(c.Annotations) > 0 {
			metadata["annotations"] = anyMap(c.Annotations)
		}
		p.Values["metadata"] = metadata
	} else {
		for k, v := range c.Labels {
			p.Values["metadata.labels."+k] = v
		}
		for k, v := range c.Annotations {
			p.Values["metadata.annotations."+k] = v
		}
	}
	return p, e.addValues(&p, extra)
}

func anyMap(in map[string]string) map[string]any {
	out := make(map[string]any, len(in))
	for k, v := range in {
		out[k] = v
	}
	return out
}

// addValues renders a generator's values against its own parameters and, in
// the second child of a matrix, those of the first; never against one another.
func (e *evaluation) addValues(p *Params, extra map[string]string) error {
	if len(extra) == 0 {
		return nil
	}
	known := p.Values
	if len(e.outer) > 0 {
		known = deepMerge(p.Values, e.outer)
	}
	rendered := map[string]any{}
	e.spent.application = 0
	for _, k := range slices.Sorted(maps.Keys(extra)) {
		s, err := e.render(extra[k], known, e.options)
		if err != nil {
			return fmt.Errorf("values.%s: %w", k, err)
		}
		rendered[k] = s
	}
	if e.goMode {
		p.Values["values"] = rendered
		return nil
	}
	for k, v := range rendered {
		p.Values["values."+k] = v
	}
	return nil
}
