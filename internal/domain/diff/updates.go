package diff

import (
	"context"
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/internal/domain/health"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// Updates says which changes of live objects are worth a new comparison
// (spec/diff-health.md §7).
type Updates struct {
	// Off lets every change count.
	Off bool
	// Rules take fields out of sight, beside those that never count.
	Rules Rules
	// Options say whether status may differ from Git; health is looked at in
	// any case.
	Options Options
}

// uncounted are fields of metadata whose change alone says nothing.
var uncounted = []string{"resourceVersion", "generation", "managedFields"}

// Matter says that after differs from before in something that counts, or in
// its health. When that cannot be known it says yes. scripted says that a
// script judges the health of the kind, so that status counts as a whole.
func (u Updates) Matter(ctx context.Context, before, after *unstructured.Unstructured, scripted bool) bool {
	if u.Off || before.GetUID() != after.GetUID() {
		return true
	}
	status := scripted || !u.Options.ignoresStatus(after.GetKind())
	if !status && (health.Unscripted(before, nil) != health.Unscripted(after, nil) || observed(before) != observed(after)) {
		return true
	}
	ignore := u.Rules.For(object.KeyOf(after))
	if ignore.Broken() != nil {
		return true
	}
	if ignore.Empty() {
		return !sameBut(before.Object, after.Object, status)
	}
	a, b := before.DeepCopy(), after.DeepCopy()
	if err := strip(ctx, ignore, before, a); err != nil {
		return true
	}
	if err := strip(ctx, ignore, after, b); err != nil {
		return true
	}
	return !sameBut(a.Object, b.Object, status)
}

// observed is the generation that the status speaks of: a sync waits for it.
func observed(o *unstructured.Unstructured) int64 {
	n, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
	return n
}

// sameBut compares two objects but for what never counts, and for status
// unless it does.
func sameBut(a, b map[string]any, status bool) bool {
	for _, pair := range [][2]map[string]any{{a, b}, {b, a}} {
		for k, v := range pair[0] {
			switch {
			case k == "status" && !status:
			case k == "metadata":
			case !reflect.DeepEqual(v, pair[1][k]):
				return false
			}
		}
	}
	x, _ := a["metadata"].(map[string]any)
	y, _ := b["metadata"].(map[string]any)
	for _, pair := range [][2]map[string]any{{x, y}, {y, x}} {
		for k, v := range pair[0] {
			if !contains(uncounted, k) && !reflect.DeepEqual(v, pair[1][k]) {
				return false
			}
		}
	}
	return true
}
