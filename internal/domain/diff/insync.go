package diff

import (
	"context"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// InSync says that live has every field of desired, and that no field we own
// is gone from desired; ignored fields do not count. False means "not sure",
// never "different". The objects are not changed.
func InSync(ctx context.Context, desired, live *unstructured.Unstructured, ignore Ignore, o Options) bool {
	if ClientSide(live) || ignore.Broken() != nil {
		return false
	}
	desired = Prepare(desired)
	want, have := desired, live
	if !ignore.Empty() || isSecret(desired) || isAggregated(desired) || len(o.Known) > 0 {
		want, have = o.normal(desired), o.normal(live)
		if err := strip(ctx, ignore, live, want, have); err != nil {
			return false
		}
	}
	c := coverage{builtIn: builtIn(desired), status: o.ignoresStatus(desired.GetKind())}
	if !c.object(want.Object, have.Object) {
		return false
	}
	mine := owned(live)
	return mine != nil && !stale(mine, desired, want, have)
}

// strip removes from each object what the rules ignore in it.
func strip(ctx context.Context, ignore Ignore, live *unstructured.Unstructured, objects ...*unstructured.Unstructured) error {
	if ignore.Empty() {
		return nil
	}
	for _, o := range objects {
		paths, err := ignore.paths(ctx, o, live)
		if err != nil {
			return err
		}
		remove(o.Object, paths)
	}
	return nil
}

// builtIn says that the kind is one of Kubernetes itself, whose API server
// rewrites quantities; custom resources keep what was sent.
func builtIn(o *unstructured.Unstructured) bool {
	group := o.GroupVersionKind().Group
	return !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io")
}

// coverage tells whether one value holds everything that another does.
type coverage struct{ builtIn, status bool }

func (c coverage) object(want, have map[string]any) bool {
	for k, v := range want {
		switch {
		case k == "status" && c.status:
		case k == "metadata":
			if !c.metadata(v, have[k]) {
				return false
			}
		case !c.covers(k, v, have[k]):
			return false
		}
	}
	return true
}

func (c coverage) metadata(want, have any) bool {
	w, okW := want.(map[string]any)
	h, okH := have.(map[string]any)
	if !okW || !okH {
		return false
	}
	for k, v := range w {
		switch m, _ := v.(map[string]any); {
		case slices.Contains(volatile, k):
		case (k == "annotations" || k == "labels") && len(m) == 0 && h[k] == nil:
		case k == "annotations" && m[lastApplied] != nil:
			return false
		case !c.covers(k, v, h[k]):
			return false
		}
	}
	return true
}

// covers compares want with have; field is the name of the nearest field.
func (c coverage) covers(field string, want, have any) bool {
	switch w := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok {
			return false
		}
		for k, v := range w {
			next := k
			if quantityMaps[field] {
				next = field // the names in limits are resources
			}
			if !c.covers(next, v, h[k]) {
				return false
			}
		}
		return true
	case []any:
		h, ok := have.([]any)
		if !ok || len(h) != len(w) {
			return false
		}
		for i := range w {
			if !c.covers(field, w[i], h[i]) {
				return false
			}
		}
		return true
	}
	return equalScalars(want, have) || c.builtIn && quantityMaps[field] && sameQuantity(want, have)
}

// equalScalars ignores in which number type a decoder put a number.
func equalScalars(a, b any) bool {
	if x, ok := number(a); ok {
		y, also := number(b)
		return also && x == y
	}
	switch a.(type) {
	case map[string]any, []any:
		return false
	}
	switch b.(type) {
	case map[string]any, []any:
		return false
	}
	return a == b
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int64:
		return float64(n), int64(float64(n)) == n
	case float64:
		return n, true
	case int:
		return float64(n), true
	}
	return 0, false
}

// quantityMaps are fields of built-in kinds whose values are quantities.
var quantityMaps = map[string]bool{"limits": true, "requests": true, "capacity": true, "hard": true, "sizeLimit": true, "overhead": true}

// sameQuantity says that two texts (or a number and a text) are one amount.
func sameQuantity(a, b any) bool {
	x, okX := quantity(a)
	y, okY := quantity(b)
	return okX && okY && x.Cmp(y) == 0
}

func quantity(v any) (resource.Quantity, bool) {
	if n, ok := v.(int64); ok {
		return *resource.NewQuantity(n, resource.DecimalSI), true
	}
	text, ok := v.(string)
	if !ok || text == "" || len(text) > 32 {
		return resource.Quantity{}, false
	}
	q, err := resource.ParseQuantity(text)
	return q, err == nil
}

// stale says that we own a field that desired no longer has and that counts:
// one that is still there after the rules took theirs away.
func stale(mine *fieldpath.Set, desired, want, have *unstructured.Unstructured) bool {
	found := false
	mine.Leaves().Iterate(func(p fieldpath.Path) {
		if !found && !has(want.Object, p) && !has(desired.Object, p) && has(have.Object, p) {
			found = true
		}
	})
	return found
}

// Without is a copy of an object without what does not count; an error names the
// rule that could not be followed.
func (i Ignore) Without(ctx context.Context, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if err := i.Broken(); err != nil {
		return nil, err
	}
	out := o.DeepCopy()
	return out, strip(ctx, i, o, out)
}
