package appset

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

func (e *evaluation) matrix(m *v1alpha1.MatrixGenerator, level int) ([]Params, error) {
	if len(m.Generators) != 2 {
		return nil, fmt.Errorf("matrix: has %d children, wants exactly 2", len(m.Generators))
	}
	first, err := nested(m.Generators[0], level+1)
	if err != nil {
		return nil, err
	}
	as, err := e.generate(first)
	if err != nil {
		return nil, fmt.Errorf("matrix.generators[0]: %w", err)
	}
	var out []Params
	for _, a := range as {
		e.spent.application = 0
		child, err := e.interpolate(m.Generators[1], a)
		if err != nil {
			return nil, fmt.Errorf("matrix.generators[1]: %w", err)
		}
		second, err := nested(child, level+1)
		if err != nil {
			return nil, err
		}
		bs, err := e.within(a).generate(second)
		if err != nil {
			return nil, fmt.Errorf("matrix.generators[1]: %w", err)
		}
		for _, b := range bs {
			c, err := combine(a, b, e.goMode)
			if err != nil {
				return nil, fmt.Errorf("matrix: %w", err)
			}
			out = append(out, c)
		}
		if len(out) > maxParams {
			return nil, fmt.Errorf("matrix: yields more than %d parameter sets: narrow the generators", maxParams)
		}
	}
	return out, nil
}

// within is the evaluation seen from the second child of a matrix.
func (e *evaluation) within(a Params) *evaluation {
	inner := *e
	inner.outer = a.Values
	if len(e.outer) > 0 {
		inner.outer = deepMerge(a.Values, e.outer)
	}
	return &inner
}

// merge overrides the parameter sets of the first child with those of the
// others that agree in the merge keys. What has no partner in the first child
// is dropped.
func (e *evaluation) merge(m *v1alpha1.MergeGenerator, level int) ([]Params, error) {
	if len(m.Generators) < 2 {
		return nil, fmt.Errorf("merge: has %d children, wants at least 2", len(m.Generators))
	}
	if len(m.MergeKeys) == 0 {
		return nil, errors.New("merge.mergeKeys is empty: name the parameters that identify a set")
	}
	var base []Params
	var order []string
	place := map[string]int{}
	for i, n := range m.Generators {
		child, err := nested(n, level+1)
		if err != nil {
			return nil, fmt.Errorf("merge.generators[%d]: %w", i, err)
		}
		params, err := e.generate(child)
		if err != nil {
			return nil, fmt.Errorf("merge.generators[%d]: %w", i, err)
		}
		keys, err := identify(params, m.MergeKeys)
		if err != nil {
			return nil, fmt.Errorf("merge.generators[%d]: %w", i, err)
		}
		if i == 0 {
			base, order = params, keys
			for at, key := range order {
				place[key] = at
			}
			continue
		}
		for j, p := range params {
			if at, ok := place[keys[j]]; ok {
				base[at] = override(base[at], p, e.goMode)
			}
		}
	}
	return base, nil
}

// identify gives each parameter set its key; a parameter that is missing
// counts as null. Two sets with the same key are an error.
func identify(params []Params, mergeKeys []string) ([]string, error) {
	seen := map[string]int{}
	out := make([]string, len(params))
	for i, p := range params {
		values := make([]any, len(mergeKeys))
		for j, k := range mergeKeys {
			values[j] = p.Values[k]
		}
		raw, err := json.Marshal(values)
		if err != nil {
			return nil, fmt.Errorf("encode: %w", err)
		}
		out[i] = string(raw)
		if first, twice := seen[out[i]]; twice {
			return nil, fmt.Errorf("the parameters %s are not unique: sets %d and %d both have %s", strings.Join(mergeKeys, ", "), first+1, i+1, out[i])
		}
		seen[out[i]] = i
	}
	return out, nil
}

// override lays the set b over a.
func override(a, b Params, goMode bool) Params {
	out := Params{Values: maps.Clone(a.Values), Labels: map[string]string{}}
	maps.Copy(out.Labels, a.Labels)
	maps.Copy(out.Labels, b.Labels)
	if goMode {
		out.Values = deepMerge(b.Values, a.Values)
		return out
	}
	maps.Copy(out.Values, b.Values)
	return out
}

// interpolate fills the strings of the second child with the parameters of
// the first. Entries of "values" that need the child's own parameters stay.
func (e *evaluation) interpolate(n v1alpha1.NestedGenerator, a Params) (v1alpha1.NestedGenerator, error) {
	if len(a.Values) == 0 {
		return n, nil
	}
	raw, err := json.Marshal(n)
	if err != nil {
		return n, fmt.Errorf("encode: %w", err)
	}
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return n, fmt.Errorf("decode: %w", err)
	}
	filled, err := e.fill(value, a.Values, "")
	if err != nil {
		return n, err
	}
	if raw, err = json.Marshal(filled); err != nil {
		return n, fmt.Errorf("encode: %w", err)
	}
	var out v1alpha1.NestedGenerator
	if err := json.Unmarshal(raw, &out); err != nil {
		return n, fmt.Errorf("decode: %w", err)
	}
	return out, nil
}

func (e *evaluation) fill(v any, values map[string]any, at string) (any, error) {
	switch t := v.(type) {
	case string:
		if strings.Contains(at, ".values.") {
			if s, err := e.render(t, values, []string{"missingkey=error"}); err == nil {
				return s, nil
			}
			return t, nil
		}
		s, err := e.render(t, values, e.options)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", strings.TrimPrefix(at, "."), err)
		}
		return s, nil
	case map[string]any:
		out := make(map[string]any, len(t))
		for _, k := range slices.Sorted(maps.Keys(t)) {
			x := t[k]
			key, err := e.render(k, values, e.options)
			if err != nil {
				return nil, fmt.Errorf("key %s: %w", k, err)
			}
			if out[key], err = e.fill(x, values, at+"."+k); err != nil {
				return nil, err
			}
		}
		return out, nil
	case []any:
		out := make([]any, len(t))
		for i, x := range t {
			var err error
			if out[i], err = e.fill(x, values, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}
