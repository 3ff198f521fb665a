package diff

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Path names one place in an object: a string is a field, an int an index.
type Path []any

// pointer parses a JSON pointer (RFC 6901). Elements stay text: whether one
// is an index is decided by what is met.
func pointer(text string) ([]string, error) {
	if !strings.HasPrefix(text, "/") || text == "/" {
		return nil, fmt.Errorf("%q is not a JSON pointer: write it like /spec/replicas, with ~1 for a slash inside a name", text)
	}
	parts := strings.Split(text[1:], "/")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(strings.ReplaceAll(p, "~1", "/"), "~0", "~")
	}
	return parts, nil
}

// at finds what a pointer names in v.
func at(v any, parts []string) (Path, bool) {
	var out Path
	for _, p := range parts {
		switch t := v.(type) {
		case map[string]any:
			next, ok := t[p]
			if !ok {
				return nil, false
			}
			v, out = next, append(out, p)
		case []any:
			n, err := strconv.Atoi(p)
			if err != nil || n < 0 || n >= len(t) {
				return nil, false
			}
			v, out = t[n], append(out, n)
		default:
			return nil, false
		}
	}
	return out, true
}

// get reads what is at the path.
func get(v any, p Path) (any, bool) {
	for _, element := range p {
		switch t := v.(type) {
		case map[string]any:
			name, ok := element.(string)
			if !ok {
				return nil, false
			}
			if v, ok = t[name]; !ok {
				return nil, false
			}
		case []any:
			i, ok := element.(int)
			if !ok || i < 0 || i >= len(t) {
				return nil, false
			}
			v = t[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// remove deletes the paths from a value that may be changed. Higher indexes
// go first, so that the others keep their meaning.
func remove(root map[string]any, paths []Path) {
	paths = slices.Clone(paths)
	slices.SortFunc(paths, func(a, b Path) int { return -comparePaths(a, b) })
	for _, p := range paths {
		if len(p) > 0 {
			removeOne(root, p)
		}
	}
}

func comparePaths(a, b Path) int {
	for i := range min(len(a), len(b)) {
		x, isX := a[i].(int)
		y, isY := b[i].(int)
		c := 0
		if isX && isY {
			c = cmp.Compare(x, y)
		} else {
			c = strings.Compare(fmt.Sprint(a[i]), fmt.Sprint(b[i]))
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

func removeOne(v any, p Path) any {
	last := len(p) == 1
	switch t := v.(type) {
	case map[string]any:
		name, ok := p[0].(string)
		if !ok {
			return v
		}
		if last {
			delete(t, name)
		} else if next, there := t[name]; there {
			t[name] = removeOne(next, p[1:])
		}
	case []any:
		i, ok := p[0].(int)
		if !ok || i < 0 || i >= len(t) {
			return v
		}
		if last {
			return slices.Delete(t, i, i+1)
		}
		t[i] = removeOne(t[i], p[1:])
	}
	return v
}

// put sets what is at the path, making maps on the way; lists must be there.
func put(v any, p Path, set any) {
	for i, element := range p {
		last := i == len(p)-1
		switch t := v.(type) {
		case map[string]any:
			name, ok := element.(string)
			if !ok {
				return
			}
			if last {
				t[name] = set
				return
			}
			if _, there := t[name]; !there {
				t[name] = map[string]any{}
			}
			v = t[name]
		case []any:
			n, ok := element.(int)
			if !ok || n < 0 || n >= len(t) {
				return
			}
			if last {
				t[n] = set
				return
			}
			v = t[n]
		default:
			return
		}
	}
}

// listKeys are fields that tell the elements of a list apart, the likeliest
// first; they are only used where managed fields do not say it.
var listKeys = []string{"name", "containerPort", "port", "mountPath", "devicePath", "ip", "topologyKey", "type", "key", "uid", "kind"}

// keyOf finds the field that tells apart the elements of both lists.
func keyOf(a, b []any) string {
	for _, k := range listKeys {
		if distinct(a, k) && distinct(b, k) {
			return k
		}
	}
	return ""
}

func distinct(list []any, key string) bool {
	seen := map[any]bool{}
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			return false
		}
		switch v := m[key].(type) {
		case string, int64, float64:
			if seen[v] {
				return false
			}
			seen[v] = true
		default:
			return false
		}
	}
	return true
}

// counterpart is the path in other that names the same place as p in v: list
// elements are followed by their key, for their order may differ.
func counterpart(v, other any, p Path) (Path, bool) {
	out := make(Path, 0, len(p))
	for n, element := range p {
		if name, field := element.(string); field {
			a, okA := v.(map[string]any)
			b, okB := other.(map[string]any)
			if !okA || !okB {
				return nil, false
			}
			v, out = a[name], append(out, name)
			if other, okB = b[name]; !okB {
				rest := p[n+1:]
				return append(out, rest...), !slices.ContainsFunc(rest, func(e any) bool { _, index := e.(int); return index })
			}
			continue
		}
		a, okA := v.([]any)
		b, okB := other.([]any)
		i, _ := element.(int)
		if !okA || !okB || i >= len(a) {
			return nil, false
		}
		j := i
		if k := keyOf(a, b); k != "" {
			want := a[i].(map[string]any)[k]
			j = slices.IndexFunc(b, func(item any) bool { return item.(map[string]any)[k] == want })
		}
		if j < 0 || j >= len(b) {
			return nil, false
		}
		v, other, out = a[i], b[j], append(out, j)
	}
	return out, true
}

func sortedKeys(a, b map[string]any) []string {
	all := map[string]bool{}
	for k := range a {
		all[k] = true
	}
	for k := range b {
		all[k] = true
	}
	return slices.Sorted(maps.Keys(all))
}
