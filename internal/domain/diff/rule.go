package diff

import (
	"context"
	"errors"
	"fmt"

	"github.com/gobwas/glob"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// Rule takes fields of some objects out of the comparison.
type Rule struct {
	// Origin says where the rule stands, for example "spec.ignoreDifferences[0]".
	Origin string
	// Group and Kind are globs; an empty group is the core group. Empty Name
	// and Namespace mean any.
	Group, Kind, Name, Namespace string
	// Pointers are JSON pointers, Expressions jq paths, Managers the field
	// managers whose fields do not count.
	Pointers, Expressions, Managers []string
	// Problem says why the rule could not be read; such a rule is broken.
	Problem string
}

// Query finds the places that an expression names in an object. The object
// is not changed. An error means that the answer is not known.
type Query interface {
	Paths(ctx context.Context, object map[string]any) ([]Path, error)
}

// Answer is what one of several queries found.
type Answer struct {
	Paths []Path
	Err   error
}

// Batch is a Query that can be asked together with others of its sort.
type Batch interface {
	Query
	// All asks the queries, of which the receiver is one, about one object.
	// The answers are in their order.
	All(ctx context.Context, queries []Query, object map[string]any) ([]Answer, error)
}

// Rules are compiled rules.
type Rules []compiled

type compiled struct {
	rule        Rule
	group, kind glob.Glob
	pointers    [][]string
	queries     []named
	broken      error
}

type named struct {
	origin string
	query  Query
}

// OfApplication gives the rules of spec.ignoreDifferences.
func OfApplication(in []v1alpha1.ResourceIgnoreDifferences) []Rule {
	out := make([]Rule, len(in))
	for i, r := range in {
		out[i] = Rule{
			Origin: fmt.Sprintf("spec.ignoreDifferences[%d]", i),
			Group:  r.Group, Kind: r.Kind, Name: r.Name, Namespace: r.Namespace,
			Pointers: r.JSONPointers, Expressions: r.JQPathExpressions, Managers: r.ManagedFieldsManagers,
		}
	}
	return out
}

// Compile prepares rules; parse reads an expression. A rule that cannot be
// understood is kept as broken, so that it is named wherever it matches.
func Compile(rules []Rule, parse func(string) (Query, error)) Rules {
	out := make(Rules, 0, len(rules))
	for _, r := range rules {
		out = append(out, compile(r, parse))
	}
	return out
}

func compile(r Rule, parse func(string) (Query, error)) compiled {
	c := compiled{rule: r}
	var problems []error
	add := func(field string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s%s: %w", r.Origin, field, err))
		}
	}
	if r.Problem != "" {
		add("", errors.New(r.Problem))
	}
	var err error
	c.group, err = glob.Compile(r.Group)
	add(".group", err)
	c.kind, err = glob.Compile(r.Kind)
	add(".kind", err)
	if r.Kind == "" {
		add(".kind", errors.New("is empty: name the kind the rule is for, or \"*\""))
	}
	for i, text := range r.Pointers {
		parts, err := pointer(text)
		add(fmt.Sprintf(".jsonPointers[%d]", i), err)
		c.pointers = append(c.pointers, parts)
	}
	for i, text := range r.Expressions {
		field := fmt.Sprintf(".jqPathExpressions[%d]", i)
		query, err := parse(text)
		add(field, err)
		c.queries = append(c.queries, named{r.Origin + field, query})
	}
	c.broken = errors.Join(problems...)
	return c
}

func (c compiled) matches(k object.Key) bool {
	r := c.rule
	group := c.group == nil || c.group.Match(k.Group)
	kind := c.kind == nil || r.Kind == "" || c.kind.Match(k.Kind)
	return group && kind && (r.Name == "" || r.Name == k.Name) && (r.Namespace == "" || r.Namespace == k.Namespace)
}

// Ignore is what does not count for one object.
type Ignore struct {
	pointers [][]string
	queries  []named
	managers []string
	broken   []error
}

// For collects the rules that match an object.
func (r Rules) For(k object.Key) Ignore {
	var out Ignore
	for _, c := range r {
		switch {
		case !c.matches(k):
		case c.broken != nil:
			out.broken = append(out.broken, c.broken)
		default:
			out.pointers = append(out.pointers, c.pointers...)
			out.queries = append(out.queries, c.queries...)
			out.managers = append(out.managers, c.rule.Managers...)
		}
	}
	return out
}

// Broken names the rules that could not be understood; nil when all could.
func (i Ignore) Broken() error { return errors.Join(i.broken...) }

// Empty says that no rule speaks of the object.
func (i Ignore) Empty() bool {
	return len(i.pointers) == 0 && len(i.queries) == 0 && len(i.managers) == 0 && len(i.broken) == 0
}

// paths lists what does not count in o; live tells what managers own.
func (i Ignore) paths(ctx context.Context, o, live *unstructured.Unstructured) ([]Path, error) {
	var out []Path
	for _, p := range i.pointers {
		if path, ok := at(o.Object, p); ok {
			out = append(out, path)
		}
	}
	found, err := i.ask(ctx, o.Object)
	if err != nil {
		return nil, err
	}
	out = append(out, found...)
	return append(out, i.managed(o, live)...), nil
}

// ask evaluates the queries, together when they can be.
func (i Ignore) ask(ctx context.Context, object map[string]any) ([]Path, error) {
	if len(i.queries) == 0 {
		return nil, nil
	}
	batch, ok := i.queries[0].query.(Batch)
	if !ok {
		var out []Path
		for _, q := range i.queries {
			found, err := q.query.Paths(ctx, object)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", q.origin, err)
			}
			out = append(out, found...)
		}
		return out, nil
	}
	queries := make([]Query, len(i.queries))
	for n, q := range i.queries {
		queries[n] = q.query
	}
	answers, err := batch.All(ctx, queries, object)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", i.queries[0].origin, err)
	}
	var out []Path
	for n, a := range answers {
		if a.Err != nil {
			return nil, fmt.Errorf("%s: %w", i.queries[n].origin, a.Err)
		}
		out = append(out, a.Paths...)
	}
	return out, nil
}

// managed lists the fields of o that ignored managers own on the cluster.
func (i Ignore) managed(o, live *unstructured.Unstructured) []Path {
	if len(i.managers) == 0 || live == nil {
		return nil
	}
	set := setOf(live, func(e metav1.ManagedFieldsEntry) bool { return contains(i.managers, e.Manager) })
	if set == nil {
		return nil
	}
	var out []Path
	set.Leaves().Iterate(func(p fieldpath.Path) {
		if path, ok := resolve(o.Object, p); ok && len(path) > 0 {
			out = append(out, path)
		}
	})
	return out
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// Respect gives desired with the ignored fields as they are on the cluster,
// so that a sync leaves them alone (option RespectIgnoreDifferences,
// spec/sync.md §8.4). Status is never copied. Without live it is desired.
func (i Ignore) Respect(ctx context.Context, desired, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if i.Empty() || live == nil {
		return desired, nil
	}
	if err := i.Broken(); err != nil {
		return nil, err
	}
	out := desired.DeepCopy()
	kept, err := i.paths(ctx, live, live)
	if err != nil {
		return nil, err
	}
	mine, err := i.paths(ctx, desired, live)
	if err != nil {
		return nil, err
	}
	var gone []Path
	for _, p := range mine {
		if other, ok := counterpart(desired.Object, live.Object, p); !ok {
			gone = append(gone, p)
		} else if _, ok := get(live.Object, other); !ok {
			gone = append(gone, p)
		}
	}
	owners := owned(live)
	for _, p := range kept {
		if len(p) == 0 || p[0] == "status" {
			continue
		}
		place, ok := counterpart(live.Object, out.Object, p)
		if !ok {
			continue
		}
		_, asked := get(out.Object, place)
		if asked || owns(owners, live.Object, p) {
			v, _ := get(live.Object, p)
			put(out.Object, place, deepCopy(v))
		}
	}
	remove(out.Object, gone)
	return out, nil
}

// owns says that the set holds the place p of v, or something below it.
func owns(set *fieldpath.Set, v any, p Path) bool {
	if set == nil {
		return false
	}
	found := false
	set.Leaves().Iterate(func(f fieldpath.Path) {
		if path, ok := resolve(v, f); ok && !found && len(path) >= len(p) {
			found = comparePaths(path[:len(p)], p) == 0
		}
	})
	return found
}
