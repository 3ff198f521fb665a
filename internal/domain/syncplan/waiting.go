package syncplan

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// waitingFor words what an operation waits for (spec/sync.md §6.3).
func waitingFor(reason string, tasks []Task) string {
	k := tasks[0].Key
	text := fmt.Sprintf("waiting for %s %s/%s/%s", reason, k.Group, k.Kind, k.Name)
	if len(tasks) == 1 {
		return text
	}
	noun := "hooks"
	for _, t := range tasks {
		if !t.Hook {
			noun = "resources"
		}
	}
	return fmt.Sprintf("%s and %d more %s", text, len(tasks)-1, noun)
}

// heldBy names the finalizers that an object which goes still has, but for
// those of the garbage collector; "" when there are none.
func heldBy(live *unstructured.Unstructured) string {
	names := slices.DeleteFunc(slices.Clone(live.GetFinalizers()), func(f string) bool {
		return f == metav1.FinalizerDeleteDependents || f == metav1.FinalizerOrphanDependents
	})
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf(" (finalizers %s)", strings.Join(names, ", "))
}

func firstText(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
